package lun_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/sweep"
)

// scenario is an operation that is stopped in front of each of its effects.
type scenario struct {
	release dmtest.Release
	name    string
	drives  int                  // of the machine; web1 is on the first, spare3 on the second
	prepare func(w *world)       // what is there before
	act     func(w *world) error // the operation
	retry   func(w *world) error // what the user does again before he assembles; nil: nothing
	after   func(w *world)       // what comes back before everything is made whole; nil: nothing
	alive   bool                 // the power does not fail: the kernel alone knows what counts
	part    string               // the LUN that a plex of web1 becomes
	good    func(w *world)       // makes the drives capable of zeroing; nil: they are not
}

// crash is what ends the process, and what is left after it.
type crash struct {
	name  string
	fate  func(*rand.Rand) blocktest.Fate // of what was not flushed, when the power fails
	guard bool                            // the process dies alone, and its guard goes on where there is one
}

// crashes is every way in which the scenario's machine can crash.
func (s scenario) crashes() []crash {
	if s.alive {
		return crashes()[:2]
	}
	return crashes()
}

// crashes is every way in which a machine can crash, those that leave the kernel alive first.
func crashes() []crash {
	always := func(fate blocktest.Fate) func(*rand.Rand) blocktest.Fate {
		return func(*rand.Rand) blocktest.Fate { return fate }
	}
	return []crash{
		{name: "process"},
		{name: "process, not its guard", guard: true},
		{name: "power, unflushed writes lost", fate: always(blocktest.Lost)},
		{name: "power, unflushed writes kept", fate: always(blocktest.Kept)},
		{name: "power, unflushed writes torn", fate: blocktest.Torn},
		{name: "power, unflushed writes reordered", fate: blocktest.Reordered},
	}
}

// play is a scenario whose machine stands in front of the operation.
type play struct {
	scenario
	number uint64
	lock   string
	ready  sync.Once
	m      machine
	whole  course
}

// crashTest counts what TestCrash does.
type crashTest struct {
	seed                      uint64
	sweeping                  bool
	points, pairs, violations atomic.Int64
}

// TestCrash stops every operation in front of each effect that it has on the world, each ioctl, each write, each flush, and
// after the last. All the while a user writes to web1. Then a new process assembles, and everything has to be in order.
// What assembles, or wakes a LUN, is stopped too, at points that are drawn, and so is what comes after that.
//
// Each point is taken in two of the six ways to crash, others from point to point; with PLEXCTL_SWEEP set in all of them,
// and more are drawn until its time is up. A failure says how to play it again. There the ids of LUNs and drives, which
// are random, are others.
func TestCrash(t *testing.T) {
	percent, limit := debug.SetGCPercent(2000), debug.SetMemoryLimit(3<<30) // many small machines, each soon forgotten
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	start := time.Now()
	length, sweeping := sweep.Time(t)
	c := &crashTest{seed: sweep.Seed(t, 1), sweeping: sweeping}
	t.Cleanup(func() {
		t.Logf("SWEEP crash points=%d pairs=%d violations=%d", c.points.Load(), c.pairs.Load(), c.violations.Load())
	})
	plays := newPlays(t)
	c.each(t, "stops", plays, c.everyStop)
	for n := uint64(0); n == 0 || sweeping && time.Since(start) < length; n++ {
		c.each(t, fmt.Sprint("draw ", n), plays, func(t *testing.T, p *play) { c.draw(t, p, n) })
	}
}

func newPlays(t *testing.T) []*play {
	t.Helper()
	folder := t.TempDir()
	var plays []*play
	for k, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		for i, s := range slices.Concat(onGoodDrives(scenarios()), driveScenarios()) {
			if !sweep.On() && s.good != nil && i/2%2 != k {
				continue // on the other one
			}
			s.release = release
			n := len(plays)
			plays = append(plays, &play{scenario: s, number: uint64(n), lock: filepath.Join(folder, fmt.Sprint(n))})
		}
	}
	return plays
}

// each runs a subtest for each play, several at a time.
func (c *crashTest) each(t *testing.T, name string, plays []*play, do func(*testing.T, *play)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		for _, p := range plays {
			t.Run(p.name+" on "+string(p.release), func(t *testing.T) {
				t.Parallel()
				defer c.judge(t)
				p.ready.Do(func() {
					p.m = p.machineAt(t, p.lock)
					p.whole = p.complete(t, p.m)
				})
				if p.whole.effects == 0 {
					t.Fatal("the operation has no effect, or failed")
				}
				do(t, p)
			})
		}
	})
}

// judge counts a failure and says how to repeat it.
func (c *crashTest) judge(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	c.violations.Add(1)
	again := ""
	if c.sweeping {
		again = sweep.TimeVar + "=1s "
	}
	t.Logf("again: %s%s=%d go test ./lun -run '^%s$'", again, sweep.SeedVar, c.seed, strings.ReplaceAll(t.Name(), "/", "$/^"))
}

// everyStop stops the operation at every point.
func (c *crashTest) everyStop(t *testing.T, p *play) {
	t.Helper()
	all := &sample{random: rand.New(rand.NewPCG(c.seed, p.number)), most: -1}
	p.stops(t, p.m, all)
	for _, at := range all.stops {
		for way, crash := range p.crashes() {
			n := len(p.crashes())
			if !c.sweeping && way != at.n%n && (way != (at.n+2)%n || p.good != nil) || c.spares(p, at.n) {
				continue
			}
			random := rand.New(rand.NewPCG(c.seed, p.number<<32|uint64(at.n)<<8|uint64(way)))
			c.point(t, p, at, crash, random, p.name)
			if t.Failed() {
				return
			}
		}
	}
}

// spares reports whether a stop is left out in the quick run. Scenarios on good drives are similar to the others, so one stop
// in three is enough.
func (c *crashTest) spares(p *play, n int) bool {
	return !c.sweeping && p.good != nil && (n+int(p.number))%3 > 0
}

// point crashes at a stop and checks what a new process makes of it.
func (c *crashTest) point(t *testing.T, p *play, at stop, how crash, random *rand.Rand, before string) {
	t.Helper()
	c.points.Add(1)
	where := fmt.Sprintf("%s, stopped %s: %s", before, at, how.name)
	synctest.Test(t, func(t *testing.T) {
		defer func() {
			if t.Failed() {
				t.Log(where)
			}
		}()
		p.recovered(at.crash(t, how, random), p.whole, where)
	})
}

// draw stops the operation at some points, and what comes after that too, once or twice.
func (c *crashTest) draw(t *testing.T, p *play, n uint64) {
	t.Helper()
	if c.spares(p, int(n)) {
		return
	}
	random := rand.New(rand.NewPCG(c.seed, 1<<63|n<<16|p.number))
	some := &sample{random: random, most: 2}
	p.stops(t, p.m, some)
	for _, at := range some.stops {
		c.follow(t, p, at, random, p.name, 1+random.IntN(2))
	}
}

// follow crashes at a stop, and stops what a new process makes of it at some points. There it does the same again, or
// checks what the next process makes of it when that was deep enough.
func (c *crashTest) follow(t *testing.T, p *play, at stop, random *rand.Rand, before string, deep int) {
	t.Helper()
	how := p.anyCrash(random)
	some := &sample{random: random, most: 3}
	var next string
	synctest.Test(t, func(t *testing.T) {
		w := at.crash(t, how, random)
		name, again := p.recovery(random)
		next = fmt.Sprintf("%s, stopped %s: %s; then %s", before, at, how.name, name)
		if err := w.run(some, again); err != nil {
			t.Errorf("%s: %v", next, err)
		}
	})
	for _, at := range some.stops {
		if t.Failed() {
			return
		}
		if deep > 1 {
			c.follow(t, p, at, random, next, deep-1)
			continue
		}
		c.pairs.Add(1)
		c.point(t, p, at, p.anyCrash(random), random, next)
	}
}

func (s scenario) anyCrash(random *rand.Rand) crash {
	all := s.crashes()
	return all[random.IntN(len(all))]
}

// recovery is what a process does after a crash.
func (s scenario) recovery(random *rand.Rand) (string, func(w *world) error) {
	switch n := random.IntN(4); {
	case s.retry != nil:
		return "the same again", s.retry
	case n == 0:
		return "reenumerate", reenumerate
	case n == 1:
		return "assemble web1", assembleOnly("web1")
	}
	return "assemble", assemble
}

// course is an operation that nothing has stopped.
type course struct {
	effects       int
	before, after string   // shapes
	ended         []string // shapes when the operations of before and after have ended
}

// allows reports whether a shape is that of before or after, where operations may have ended meanwhile.
func (c course) allows(shape string) bool {
	if lasting(shape) != lasting(c.before) && lasting(shape) != lasting(c.after) {
		return false
	}
	known := c.before + c.after + strings.Join(c.ended, "")
	known += strings.ReplaceAll(known, waiting+"true", waiting+"false")
	return !slices.ContainsFunc(strings.Split(shape, "\n"), func(line string) bool {
		return !strings.Contains("\n"+known, "\n"+line+"\n") && line != ""
	})
}

// lasting is a shape without the parts that the end of an operation changes.
func lasting(shape string) string {
	lines := strings.Split(strings.ReplaceAll(shape, filling, ""), "\n")
	for i, line := range lines {
		lines[i], _, _ = strings.Cut(line, during)
	}
	return strings.Join(lines, "\n")
}

// machine is the scenario's machine in front of the operation.
func (s scenario) machine(t *testing.T) machine {
	t.Helper()
	return s.machineAt(t, filepath.Join(t.TempDir(), "lock"))
}

// machineAt is machine with the host's lock at a path.
func (s scenario) machineAt(t *testing.T, lock string) (m machine) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorldAt(t, s.release, max(2, s.drives), lock)
		stride := int64(70)
		if s.good != nil {
			s.good(w)
			stride = 25 // in two of the regions
		}
		w.create("web1", lunSize, 0)
		w.create("spare3", lunSize, 1)
		for at := range int64(20) {
			w.write(at * stride)
		}
		s.prepare(w)
		w.keep()
		m = w.freeze()
	})
	return m
}

// world is the machine with a process.
func (s scenario) world(t *testing.T, m machine) *world {
	t.Helper()
	return m.crash(t, crash{}, nil)
}

// stops runs the operation to its end on a machine and samples its stops.
func (s scenario) stops(t *testing.T, m machine, some *sample) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if err := s.world(t, m).run(some, s.act); err != nil {
			t.Fatal(err)
		}
	})
}

// complete runs the operation to its end.
func (s scenario) complete(t *testing.T, m machine) (whole course) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := s.world(t, m)
		whole.before = w.shape()
		whole.ended = append(whole.ended, w.ended())
		w.mem.OnEffect = func(blocktest.Effect) error { whole.effects++; return nil }
		if err := s.act(w); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.mem.OnEffect = nil
		whole.after = w.shape()
		whole.ended = append(whole.ended, w.ended())
	})
	return whole
}

// ended is the shape of the machine when all operations have ended. w stays as it is.
func (w *world) ended() string {
	w.t.Helper()
	other := w.freeze().crash(w.t, crash{}, nil)
	other.faulty = true
	_ = assemble(other)
	other.release()
	other.finishAll()
	return other.shape()
}

// recovered assembles as a new process and checks that everything is in order.
func (s scenario) recovered(w *world, whole course, where string) {
	w.t.Helper()
	w.mem.OnEffect = nil
	if s.retry != nil {
		w.must(s.retry(w))
	}
	w.assemble()
	w.must(w.p.Refresh(w.t.Context()))
	if problems := w.p.Problems(); len(problems) > 0 {
		w.t.Errorf("%s: problems: %v", where, problems)
	}
	if got := w.shape(); !whole.allows(got) {
		w.t.Errorf("%s: the machine is\n%snot as before\n%sand not as after\n%s", where, got, whole.before, whole.after)
	}
	w.oracle().inOrder()
	w.verifyPart(s.part)
	w.nothingToDo(where)
	if s.after != nil {
		s.after(w)
	}
	w.settle()
	w.oracle().inOrder()
	w.oracle().stands()
	w.verifyPart(s.part)
	w.put(noise)
	w.nothingToDo(where)
}

// errStop ends the process in front of an effect.
var errStop = errors.New("stop")
