package lun_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// liveChanges is operations that exchange the table of a mirror in use.
func liveChanges() []scenario {
	pair := func(w *world) { attached(w, -1) }
	return []scenario{
		{name: "extend", drives: 2, prepare: pair, act: extend},
		{name: "rate", drives: 3, prepare: func(w *world) { tripled(w, 2) }, act: setRate(size.MiB)},
		{name: "attach a third", drives: 3, prepare: func(w *world) { attached(w, -1); w.create("third", lunSize, 2) }, act: addPlex("web1", "third")},
		{name: "remove the first", drives: 2, prepare: pair, act: removePlex(0)},
		{name: "remove the second", drives: 2, prepare: pair, act: removePlex(1)},
		{name: "split", drives: 2, prepare: pair, act: split(1)},
		{name: "split the first", drives: 2, prepare: pair, act: split(0)},
		{name: "remove the second, tracked", drives: 2, good: (*world).tracks, prepare: pair, act: removePlex(1)},
		{name: "cancel at the end of a copy", drives: 2, prepare: func(w *world) { attached(w, 4) }, act: cancel},
		{name: "remove the third", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: removePlex(2)},
		{name: "recover the third", drives: 3, prepare: func(w *world) { tripled(w, -1); broken(w, 2) }, act: recoverWeb},
		{name: "cancel", drives: 3, prepare: func(w *world) { tripled(w, 2) }, act: cancel},
		{name: "assemble after a failed copy", drives: 3, prepare: func(w *world) {
			tripled(w, 2)
			broken(w, 2)
		}, act: assemble},
	}
}

// writes writes blocks of web1 as a user does for whom some of them fail. Those that are acknowledged have to be there for good.
func (w *world) writes(random *rand.Rand, n int) {
	w.t.Helper()
	for range n {
		at := random.Int64N(noise)
		w.stamp++
		if err := w.kernel.WriteAt(w.t.Context(), "plex-web1", stamped(w.stamp), at*block); err != nil {
			delete(w.written, at) // nobody knows what it holds
			continue
		}
		if err := w.kernel.Flush(w.t.Context(), "plex-web1"); err != nil {
			delete(w.written, at)
			continue
		}
		w.written[at] = w.stamp
	}
}

// loses lets a drive fail under writes, and is what happens to it in every way in which a leg fails.
func (w *world) loses(random *rand.Rand, drive int) {
	w.t.Helper()
	w.mem.Fail(w.path(drive), blocktest.Fault{Kind: "write"})
	w.writes(random, 6)
	_ = w.kernel.Tick(random.IntN(4)) // the only leg with the data may be the one that fails
	w.writes(random, 6)
}

// TestRunsOnAfterAStop stops each change of a mirror in front of each of its effects. The LUN runs on, with its guard or without,
// with a plexctl run in between or without. Then a leg fails, its user writes on, and the power fails. The leg is back when the LUN
// is assembled: all that was acknowledged must be there.
func TestRunsOnAfterAStop(t *testing.T) {
	points, violations := 0, 0
	t.Cleanup(func() { t.Logf("SWEEP runs-on points=%d violations=%d", points, violations) })
	seed := sweep.Seed(t, 1)
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		for n, s := range liveChanges() {
			s.release = release
			m := s.machine(t)
			all := &sample{random: rand.New(rand.NewPCG(seed, uint64(n))), most: -1}
			s.stops(t, m, all)
			for _, at := range all.stops {
				for way := range 8 {
					if !sweep.On() && way != at.n%8 && way != (at.n+3)%8 {
						continue
					}
					points++
					random := rand.New(rand.NewPCG(seed, uint64(n)<<32|uint64(at.n)<<8|uint64(way)))
					synctest.Test(t, func(t *testing.T) { runsOn(t, at, way, random) })
					if t.Failed() {
						violations++
						t.Fatalf("%s on %s, stopped %s, way %d", s.name, release, at, way)
					}
				}
			}
		}
	}
}

// runsOn is one point of TestRunsOnAfterAStop. The bits of way are: the guard goes on, a plexctl runs, the second leg fails.
func runsOn(t *testing.T, at stop, way int, random *rand.Rand) {
	t.Helper()
	w := at.crash(t, crash{guard: way&1 > 0}, random)
	w.mem.OnEffect, w.faulty = nil, true
	if w.suspended() {
		return // its user waits: nothing is written
	}
	if way&2 > 0 {
		_ = assemble(w)
	}
	drive := way >> 2 & 1
	w.loses(random, drive)
	fate := blocktest.Lost
	if random.IntN(2) > 0 {
		fate = blocktest.Kept
	}
	w.cut(fate)
	w.mem.Heal(w.path(drive))
	w.restart()
	w.assemble()
	w.verify()
	w.settle()
	w.verify()
	w.nothingToDo("in the end")
}

// suspended reports whether the I/O of web1 waits.
func (w *world) suspended() bool {
	info, err := w.kernel.Info(w.t.Context(), "plex-web1")
	return err == nil && info.Suspended
}

// step is one in the life of a mirror. Each but a power cut begins a run.
type step struct {
	do  func(w *world)
	cut bool
}

// life is a machine, and a life of a mirror on it.
func life(t *testing.T, release dmtest.Release, plexes int) (w *world, steps []step) {
	t.Helper()
	w = newWorld(t, release, plexes)
	w.faulty = true
	random := rand.New(rand.NewPCG(7, uint64(plexes)))
	some := func(w *world) { w.writes(random, 8) }
	start := step{do: func(w *world) { w.assemble(); some(w) }}
	stop := step{do: func(w *world) { some(w); w.must(deactivate(w)) }}
	cut := step{cut: true, do: func(w *world) { some(w); w.cut(blocktest.Lost); w.restart() }}
	grow := step{do: func(w *world) { w.rest(); w.must(extend(w)); w.finishAll(); some(w) }}
	create := step{do: func(w *world) {
		w.create("web1", lunSize, 0)
		some(w)
		for i := 1; i < plexes; i++ {
			w.create(fmt.Sprint("spare", i), lunSize, i)
			w.must(addPlex("web1", fmt.Sprint("spare", i))(w))
			w.finishAll()
		}
	}}
	return w, []step{create, stop, start, stop, start, grow, stop, start, cut, start, cut, start, grow, cut, start, stop, start, stop}
}

// startAlone starts web1 by force with one of its two drives, writes, and stops.
func startAlone(w *world, drive int, renames ...string) {
	w.t.Helper()
	w.mem.Vanish(w.path(1 - drive))
	w.restart()
	results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}, Force: true})
	w.must(err)
	w.must(resultErrors(results))
	for _, name := range renames {
		w.must(w.find("web1").Rename(w.t.Context(), name))
		w.must(w.find(name).Rename(w.t.Context(), "web1"))
	}
	w.writes(rand.New(rand.NewPCG(uint64(drive), 1)), 10)
	w.must(deactivate(w))
	w.mem.Return(w.path(1 - drive))
	w.restart()
}

// TestEachHalfAlone starts each half of a mirror by itself. Together they are a conflict, whatever their generations, until one of
// them is kept. Then the LUN has what that one has, and the other is filled from it.
func TestEachHalfAlone(t *testing.T) {
	for keep := range 2 {
		for _, renames := range [][]string{nil, {"other"}, {"other", "another"}} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, dmtest.Linux6_12, 2)
				w.create("web1", lunSize, 0)
				w.create("spare3", lunSize, 1)
				for at := range int64(20) {
					w.write(at * 70)
				}
				attached(w, -1)
				w.must(deactivate(w))
				sides := make([]map[int64]uint64, 2)
				common := w.written
				for drive := range 2 {
					w.written = map[int64]uint64{}
					for at, stamp := range common {
						w.written[at] = stamp
					}
					startAlone(w, drive, renames[:len(renames)*drive]...)
					sides[drive] = w.written
				}
				if !slices.ContainsFunc(w.p.Problems(), func(err error) bool { return strings.Contains(err.Error(), "forked") }) {
					t.Errorf("problems %v", w.p.Problems())
				}
				if err := assemble(w); err == nil || !strings.Contains(err.Error(), "without each other") {
					t.Errorf("assemble: %v", err)
				}
				w.must(w.find("web1").Keep(t.Context(), w.plexOn(keep).ID))
				w.restart()
				if problems := w.p.Problems(); len(problems) > 0 {
					t.Errorf("problems %v", problems)
				}
				w.written, w.faulty = sides[keep], true
				w.assemble()
				w.verify()
				w.settle()
				w.verify()
				w.nothingToDo("in the end")
				if err := w.find("web1").Keep(t.Context(), w.plexOn(keep).ID); err == nil {
					t.Error("a decision about a LUN that needs none")
				}
			})
		}
	}
}

// TestReturnedAsItOnceWas pulls a drive of a mirror in use, and plugs it in again as it was before the mirror's last start. A recover
// copies everything to it, not only what was written while it was away.
func TestReturnedAsItOnceWas(t *testing.T) {
	for drive := range 2 {
		synctest.Test(t, func(t *testing.T) {
			w, steps := life(t, dmtest.Linux6_12, 2)
			steps[0].do(w)
			_, image := w.kernel.Fork()
			for _, step := range steps[1:5] {
				step.do(w)
			}
			w.rest()
			w.mem.Vanish(w.path(drive))
			w.writes(rand.New(rand.NewPCG(1, 2)), 8)
			w.mem.Restore(w.path(drive), image)
			w.mem.Return(w.path(drive))
			w.restart()
			w.must(recoverWeb(w))
			w.settle()
			w.verify()
			w.must(deactivate(w))
			w.assemble()
			w.verify()
			w.oracle().samePlexes()
		})
	}
}

// Each start, stop and change of the table begins a run of all plexes that take part, and commits it.
func TestEachStepBeginsARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, steps := life(t, dmtest.Linux6_12, 2)
		var last uint32
		for i, step := range steps {
			step.do(w)
			plexes := w.record("web1").Plexes
			if plexes[0].Run != plexes[1].Run {
				t.Errorf("step %d: runs %v and %v", i, plexes[0].Run, plexes[1].Run)
			}
			if now := plexes[0].Run.Number; step.cut != (now == last) {
				t.Errorf("step %d, a power cut: %v; run %d after run %d", i, step.cut, now, last)
			}
			last = plexes[0].Run.Number
		}
	})
}

// One commit begins the runs of several mirrors, and another one ends them. A drive gets the records of its own LUNs.
func TestOneCommitForSeveralMirrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dmtest.Linux6_12, 4)
		for i, name := range []string{"web1", "db"} {
			w.create(name, lunSize, 2*i)
			w.mirror(name, "spare", 2*i+1)
		}
		for _, do := range []func(w *world) error{deactivate, assemble} {
			before := w.sequences()
			w.must(do(w))
			for id, now := range w.sequences() {
				if now != before[id]+1 {
					t.Errorf("drive %s: catalog %d after catalog %d, want one write", id, now, before[id])
				}
			}
		}
		for _, name := range []string{"web1", "db"} {
			if l := w.record(name); len(l.Former) > 0 {
				t.Errorf("%s: former drives %v", name, l.Former)
			}
		}
	})
}

// sequences is the sequence of each drive's catalog.
func (w *world) sequences() map[uuid.UUID]uint64 {
	w.t.Helper()
	all := map[uuid.UUID]uint64{}
	for id, m := range w.oracle().media {
		all[id] = m.catalog.Catalog.Sequence
	}
	return all
}
