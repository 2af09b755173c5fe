package lun_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// errStop ends the process in front of an effect.
var errStop = errors.New("stop")

// scenario is an operation that is stopped in front of each of its effects.
type scenario struct {
	release dmtest.Release
	name    string
	drives  int                  // of the machine; web1 is on the first, spare3 on the second
	prepare func(w *world)       // what is there before
	act     func(w *world) error // the operation
	after   func(w *world)       // what comes back before everything is made whole; nil: nothing
	part    string               // a LUN that act makes of a plex of web1
}

// crash is what ends the process, and what is left after it.
type crash struct {
	name string
	end  func(w *world, random *rand.Rand)
}

func crashes() []crash {
	return []crash{
		{"process", func(w *world, _ *rand.Rand) { w.restart() }},
		{"power, unflushed writes lost", func(w *world, _ *rand.Rand) { w.cut(blockdev.Lost) }},
		{"power, unflushed writes kept", func(w *world, _ *rand.Rand) { w.cut(blockdev.Kept) }},
		{"power, unflushed writes torn", func(w *world, random *rand.Rand) { w.cut(blockdev.Torn(random)) }},
	}
}

// TestCrash stops every operation in front of each effect that it has on the world: each ioctl, each write, each flush.
// All the while a user writes to web1. Then a new process assembles, and everything has to be in order; in half of the
// cases that process is stopped too, at a random effect, and a third one finishes. Of the eight ways to crash at a point
// two are taken, others at each point; all of them with PLEXCTL_SWEEP set.
func TestCrash(t *testing.T) {
	usual := debug.SetGCPercent(400) // many small machines, each soon forgotten
	t.Cleanup(func() { debug.SetGCPercent(usual) })
	var points atomic.Int64
	t.Cleanup(func() { t.Logf("%d points", points.Load()) })
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		for _, s := range scenarios() {
			t.Run(s.name+" on "+string(release), func(t *testing.T) {
				t.Parallel()
				s.release = release
				points.Add(int64(s.crashEverywhere(t)))
			})
		}
	}
}

// crashEverywhere stops the operation at every point in every way, and returns how many that were.
func (s scenario) crashEverywhere(t *testing.T) int {
	t.Helper()
	m := s.machine(t)
	whole := s.complete(t, m)
	if whole.effects == 0 {
		t.Fatal("the operation has no effect")
	}
	points := 0
	for stop := range whole.effects {
		for _, way := range ways(stop) {
			points++
			synctest.Test(t, func(t *testing.T) { s.crashOnce(t, m, whole, crashes()[way/2], stop, way%2 == 1) })
			if t.Failed() {
				return points
			}
		}
	}
	return points
}

// ways is how to crash at a point: twice the number of a crash, and one more to crash again while assembling.
func ways(stop int) []int {
	const all = 8
	if os.Getenv(sweepVar) == "" {
		return []int{stop % all, (stop + 3) % all}
	}
	return []int{0, 1, 2, 3, 4, 5, 6, 7}
}

// course is an operation that nothing has stopped.
type course struct {
	effects       int
	before, after string // shapes
}

// machine is a machine with two LUNs, switched off. Every point begins with a copy of it.
type machine struct {
	mem     *blockdev.Mem
	written map[int64]uint64
	stamp   uint64
	lock    string
}

func (s scenario) machine(t *testing.T) machine {
	t.Helper()
	m := machine{lock: filepath.Join(t.TempDir(), "lock")}
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, s.release, max(2, s.drives), m.lock)
		w.create("web1", lunSize, 0)
		w.create("spare3", lunSize, 1)
		for at := range int64(20) {
			w.write(at * 70)
		}
		w.cut(blockdev.Kept)
		m.mem, m.written, m.stamp = w.mem, w.written, w.stamp
	})
	return m
}

// world is the scenario's machine in front of the operation.
func (s scenario) world(t *testing.T, m machine) *world {
	t.Helper()
	w := &world{t: t, linux: s.release, mem: m.mem.Cut(blockdev.Kept), lock: m.lock, written: maps.Clone(m.written), stamp: m.stamp}
	w.kernel = dmtest.New(w.mem, w.linux)
	w.open()
	w.assemble()
	s.prepare(w)
	return w
}

// complete runs the operation to its end.
func (s scenario) complete(t *testing.T, m machine) course {
	t.Helper()
	var whole course
	synctest.Test(t, func(t *testing.T) {
		w := s.world(t, m)
		whole.before = w.shape()
		w.mem.OnEffect = func(blockdev.Effect) error { whole.effects++; return nil }
		if err := s.act(w); err != nil {
			t.Fatal(err)
		}
		w.mem.OnEffect = nil
		if err := w.p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		whole.after = w.shape()
	})
	return whole
}

// crashOnce stops the operation in front of effect number stop.
func (s scenario) crashOnce(t *testing.T, m machine, whole course, c crash, stop int, again bool) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(stop), uint64(len(s.name))))
	w := s.world(t, m)
	where := fmt.Sprintf("%s, %s, stopped before effect %d", s.name, c.name, stop)
	w.keep()
	w.stopBefore(stop, random)
	_ = s.act(w)
	c.end(w, random)
	if again {
		w.stopBefore(random.IntN(30), random)
		_, _ = w.p.Assemble(t.Context(), lun.AssembleOptions{})
		crashes()[random.IntN(len(crashes()))].end(w, random)
		where += ", and again while assembling"
	}
	s.recovered(w, whole, where)
}

// stopBefore ends the process in front of an effect, and lets a user write to web1 in front of each: a write that is
// flushed, and one that is in flight.
func (w *world) stopBefore(stop int, random *rand.Rand) {
	n := 0
	w.mem.OnEffect = func(e blockdev.Effect) error {
		if n <= stop { // the user is no faster than that; a process that has been stopped goes on trying
			w.write(random.Int64N(noise))
			w.put(noise + random.Int64N(100))
		}
		n++
		if n > stop {
			w.lastEffect = e
			return errStop
		}
		return nil
	}
}

// recovered assembles as a new process and checks that everything is in order.
func (s scenario) recovered(w *world, whole course, where string) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("%s (%s %s)", where, w.lastEffect.Kind, w.lastEffect.Object)
		}
	}()
	w.mem.OnEffect = nil
	w.assemble()
	if err := w.p.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if problems := w.p.Problems(); len(problems) > 0 {
		w.t.Errorf("%s: problems: %v", where, problems)
	}
	if got := w.shape(); got != whole.before && got != whole.after {
		w.t.Errorf("%s: LUNs are\n%snot as before\n%sand not as after\n%s", where, got, whole.before, whole.after)
	}
	w.nothingWaits(where)
	w.notSuspended()
	w.verify()
	w.verifyPart(s.part)
	w.nothingToDo(where)
	if s.after != nil {
		s.after(w)
	}
	w.settle()
	w.verify()
	w.verifyPart(s.part)
	w.put(noise)
	w.nothingToDo(where)
}

// shape is what LUNs there are, without what differs between two runs: a line for each with its size, its plexes by drive
// with a letter for those that do not hold all of the data, and its operation.
func (w *world) shape() string {
	w.t.Helper()
	paths := map[string]string{}
	for _, d := range w.p.Drives() {
		paths[d.ID.String()] = d.Info.Path
	}
	var text strings.Builder
	for _, l := range w.p.LUNs() {
		record, err := l.Record()
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s %s", record.Name, record.Size)
		for _, p := range record.Plexes {
			state := ""
			if p.Stale {
				state = ":stale"
			}
			if op := record.Operation; op != nil && slices.Contains(op.Plexes, p.ID) {
				state = ":filled"
			}
			fmt.Fprintf(&text, " %s%s", paths[p.Meta.Drive.String()], state)
		}
		if op := record.Operation; op != nil {
			fmt.Fprintf(&text, " %s rate %d queued %v", op.Type, record.MaxRate, op.Queued)
		}
		fmt.Fprintln(&text)
	}
	return text.String()
}

// nothingWaits checks that every LUN is active, and that there is no device that no LUN needs and no table that waits.
func (w *world) nothingWaits(where string) {
	w.t.Helper()
	devices := w.devices()
	for name, info := range devices {
		if info.Inactive {
			w.t.Errorf("%s: %s has a table waiting", where, name)
		}
	}
	active, failed := 0, 0
	for _, l := range w.p.LUNs() {
		props, err := l.Properties(w.t.Context())
		if err != nil || props.Device == "" {
			w.t.Errorf("%s: %s is not active: %+v, %v", where, l.Name(), props, err)
		}
		active++
		for _, p := range props.Plexes {
			if len(props.Plexes) > 1 && p.Status != vds.StatusFailed {
				active += 2
			} else if len(props.Plexes) > 1 {
				failed += 2 // the kernel keeps a leg that it has dropped until the next change
			}
		}
	}
	if n := len(devices); n != active && n != active+failed {
		w.t.Errorf("%s: %d devices, want %d: %v", where, len(devices), active, devices)
	}
}

// nothingToDo checks that assembling again has no effect.
func (w *world) nothingToDo(where string) {
	w.t.Helper()
	var effects []blockdev.Effect
	w.mem.OnEffect = func(e blockdev.Effect) error { effects = append(effects, e); return nil }
	w.assemble()
	w.mem.OnEffect = nil
	if len(effects) > 0 {
		w.t.Errorf("%s: assembling again does %v", where, effects)
	}
}
