package lun_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
)

// errStop ends the process in front of an effect.
var errStop = errors.New("stop")

// scenario is an operation that is stopped in front of each of its effects.
type scenario struct {
	release dmtest.Release
	name    string
	prepare func(w *world)       // what is there before
	act     func(w *world) error // the operation
}

// attached makes web1 a mirror and lets the kernel copy some regions: all of them when n is negative.
func attached(w *world, n int) {
	w.t.Helper()
	if _, err := w.find("web1").AddPlex(w.t.Context(), w.find("spare3").ID(), lun.AttachOptions{}); err != nil {
		w.t.Fatal(err)
	}
	if n < 0 {
		w.settle()
		return
	}
	if err := w.kernel.Tick(n); err != nil {
		w.t.Fatal(err)
	}
}

func scenarios() []scenario {
	addPlex := func(w *world) error {
		_, err := w.find("web1").AddPlex(w.t.Context(), w.find("spare3").ID(), lun.AttachOptions{})
		return err
	}
	assemble := func(w *world) error {
		results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{})
		for _, r := range results {
			err = errors.Join(err, r.Err)
		}
		return err
	}
	deactivate := func(w *world) error {
		results, err := w.p.Deactivate(w.t.Context())
		for _, r := range results {
			err = errors.Join(err, r.Err)
		}
		return err
	}
	cancel := func(w *world) error {
		op, err := w.p.Operation("web1")
		if err != nil {
			return err
		}
		return op.Cancel(w.t.Context())
	}
	return []scenario{
		{dmtest.Linux6_12, "create", func(*world) {}, func(w *world) error {
			_, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "third", Size: lunSize, Drives: []string{w.path(1)}})
			return err
		}},
		{dmtest.Linux6_12, "delete", func(w *world) { w.spareMayBeGone = true }, func(w *world) error { return w.find("spare3").Delete(w.t.Context()) }},
		{dmtest.Linux6_12, "attach", func(*world) {}, addPlex},
		{dmtest.Linux6_12, "attach again after a cancel", func(w *world) {
			attached(w, 3)
			if err := cancel(w); err != nil {
				w.t.Fatal(err)
			}
		}, addPlex},
		{dmtest.Linux6_12, "cancel at once", func(w *world) { attached(w, 0) }, cancel},
		{dmtest.Linux6_12, "cancel in mid-copy", func(w *world) { attached(w, 4) }, cancel},
		{dmtest.Linux6_12, "settle", func(w *world) {
			attached(w, 0)
			if err := w.kernel.RunToEnd(); err != nil {
				w.t.Fatal(err)
			}
		}, func(w *world) error {
			op, err := w.p.Operation("web1")
			if err != nil {
				return err
			}
			_, err = op.QueryStatus(w.t.Context())
			return err
		}},
		{dmtest.Linux6_12, "recover", func(w *world) {
			attached(w, -1)
			w.mem.Fail(w.path(1), blockdev.Fault{Kind: "write"})
			w.write(11)
			w.mem.Heal(w.path(1))
		}, func(w *world) error {
			_, err := w.find("web1").Recover(w.t.Context())
			return err
		}},
		{dmtest.Linux6_12, "deactivate in mid-copy", func(w *world) { attached(w, 3) }, deactivate},
		{dmtest.Linux6_12, "deactivate a mirror", func(w *world) { attached(w, -1) }, deactivate},
		{dmtest.Linux6_12, "assemble in mid-copy", func(w *world) { attached(w, 3); w.cut(blockdev.Lost) }, assemble},
		{dmtest.Linux6_12, "assemble a mirror", func(w *world) { attached(w, -1); w.put(noise); w.cut(blockdev.Lost) }, assemble},
		{dmtest.Linux6_12, "delete a mirror", func(w *world) {
			attached(w, -1)
			w.create("web2", lunSize, 0)
		}, func(w *world) error { return w.find("web2").Delete(w.t.Context()) }},
	}
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
// All the while a user writes to web1. Then a new process assembles, and everything has to be in order; in a second
// sweep that process is stopped too, at a random effect, and a third one finishes.
func TestCrash(t *testing.T) {
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
	effects := countEffects(t, s)
	if effects == 0 {
		t.Fatal("the operation has no effect")
	}
	points := 0
	for stop := range effects {
		for _, c := range crashes() {
			for _, again := range []bool{false, true} {
				points++
				crashOnce(t, s, c, stop, again)
			}
		}
	}
	return points
}

// countEffects runs an operation to its end.
func countEffects(t *testing.T, s scenario) int {
	t.Helper()
	w, _, _ := pairOn(t, s.release)
	s.prepare(w)
	n := 0
	w.mem.OnEffect = func(blockdev.Effect) error { n++; return nil }
	if err := s.act(w); err != nil {
		t.Fatal(err)
	}
	w.mem.OnEffect = nil
	return n
}

// crashOnce stops the operation in front of effect number stop.
func crashOnce(t *testing.T, s scenario, c crash, stop int, again bool) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(stop), uint64(len(s.name))))
	w, _, _ := pairOn(t, s.release)
	s.prepare(w)
	where := fmt.Sprintf("%s, %s, stopped before effect %d", s.name, c.name, stop)
	w.stopBefore(stop, random)
	_ = s.act(w)
	c.end(w, random)
	if again {
		w.stopBefore(random.IntN(30), random)
		_, _ = w.p.Assemble(t.Context(), lun.AssembleOptions{})
		c.end(w, random)
		where += ", and again while assembling"
	}
	w.recovered(where)
	if t.Failed() {
		t.FailNow()
	}
}

// stopBefore ends the process in front of an effect, and lets a user write to web1 in front of each: a write that is
// flushed, and one that is in flight.
func (w *world) stopBefore(stop int, random *rand.Rand) {
	n := 0
	w.mem.OnEffect = func(e blockdev.Effect) error {
		w.write(random.Int64N(noise))
		w.put(noise + random.Int64N(100))
		if n == stop {
			w.lastEffect = e
			return errStop
		}
		n++
		return nil
	}
}

// recovered assembles as a new process and checks that everything is in order.
func (w *world) recovered(where string) {
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
	w.knownState(where)
	w.notSuspended()
	w.verify()
	w.nothingToDo(where)
	w.settle()
	w.verify()
	w.put(noise)
	w.nothingToDo(where)
}

// knownState checks that the LUNs are those before or those after an operation.
func (w *world) knownState(where string) {
	w.t.Helper()
	mirrored := len(w.record("web1").Plexes) == 2
	_, err := w.p.LUN("spare3")
	if mirrored == (err == nil) && !w.spareMayBeGone {
		w.t.Errorf("%s: web1 mirrored: %v, spare3: %v", where, mirrored, err)
	}
	for name, info := range w.devices() {
		if info.Inactive {
			w.t.Errorf("%s: %s has a table waiting", where, name)
		}
	}
	active := 0
	for _, l := range w.p.LUNs() {
		if props, err := l.Properties(w.t.Context()); err != nil || props.Device == "" {
			w.t.Errorf("%s: %s is not active: %+v, %v", where, l.Name(), props, err)
		}
		active++
		if record := w.record(l.Name()); len(record.Plexes) > 1 {
			active += 2 * len(record.Plexes)
		}
	}
	if got := len(w.devices()); got != active {
		w.t.Errorf("%s: %d devices, want %d: %v", where, got, active, w.devices())
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
