package lun_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun"
)

// startOnly starts web1 by force with some drives alone, has something done, and stops it.
func (w *world) startOnly(drives []int, change func(w *world)) {
	w.t.Helper()
	var away []int
	for drive := range len(w.p.Drives()) {
		if !slices.Contains(drives, drive) {
			away = append(away, drive)
			w.mem.Vanish(w.path(drive))
		}
	}
	w.restart()
	results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}, Force: true})
	w.must(err)
	w.must(resultErrors(results))
	change(w)
	w.must(deactivate(w))
	for _, drive := range away {
		w.mem.Return(w.path(drive))
	}
	w.restart()
}

// owners is how many LUNs have each plex.
func (w *world) owners() map[uuid.UUID]int {
	owners := map[uuid.UUID]int{}
	for _, l := range w.p.LUNs() {
		for _, p := range w.record(l.Name()).Plexes {
			owners[p.ID]++
		}
	}
	return owners
}

// TestAHalfThatGaveTheOtherUp starts each half of a mirror by itself. The first one gives a plex of the other up: it is removed, or
// becomes a LUN again. Whichever half is kept, the LUN goes on with it, and no two LUNs have one plex.
func TestAHalfThatGaveTheOtherUp(t *testing.T) {
	ways := map[string]struct {
		prepare func(w *world)
		halves  [2][]int // drives of each
		change  func(w *world)
	}{
		"removed":   {func(w *world) { attached(w, -1) }, [2][]int{{0}, {1}}, func(w *world) { w.must(removePlexAt(w, 1)) }},
		"cancelled": {func(w *world) { tripled(w, 2) }, [2][]int{{0, 2}, {1}}, func(w *world) { w.must(cancel(w)) }},
	}
	for name, way := range ways {
		for keep := range 2 {
			t.Run(fmt.Sprint(name, ", kept ", keep), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, dmtest.Linux6_12, 3)
					w.create("web1", lunSize, 0)
					w.create("spare3", lunSize, 1)
					way.prepare(w)
					w.must(deactivate(w))
					kept := w.record("web1").Plexes[keep].ID
					w.startOnly(way.halves[0], way.change)
					w.startOnly(way.halves[1], func(*world) {})
					if len(w.p.Problems()) == 0 {
						t.Error("no problem")
					}
					w.must(w.find("web1").Keep(t.Context(), kept))
					w.restart()
					if problems := w.p.Problems(); len(problems) > 0 {
						t.Errorf("problems %v", problems)
					}
					owners := w.owners()
					for id, n := range owners {
						if n > 1 {
							t.Errorf("%d LUNs have plex %s", n, id)
						}
					}
					if _, err := w.p.LUN("third"); owners[kept] == 0 || (err == nil) != (name == "cancelled") {
						t.Errorf("the kept plex has %d LUNs; the LUN that was given back: %v", owners[kept], err)
					}
					w.assemble()
					w.settle()
				})
			})
		}
	}
}

// removePlexAt removes a plex of web1, whose drive may be away.
func removePlexAt(w *world, n int) error {
	_, err := w.find("web1").RemovePlex(w.t.Context(), w.record("web1").Plexes[n].ID)
	return err
}

// TestADecisionForAnEarlierCopyIsCutOff decides for the only plex that is there, an earlier copy of itself: by force, or by keeping it.
// Each is stopped in front of each of its effects, and the newest plex comes back. Then there is the newest data on both, or, once
// the decision is committed, what the earlier copy has on both.
func TestADecisionForAnEarlierCopyIsCutOff(t *testing.T) {
	byForce := func(w *world) error {
		results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}, Force: true})
		return errors.Join(err, resultErrors(results))
	}
	keep := func(w *world) error { return w.find("web1").Keep(w.t.Context(), w.plexOn(0).ID) }
	for name, act := range map[string]func(w *world) error{"by force": byForce, "kept": keep} {
		for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
			old := earlier{written: map[int64]uint64{}}
			s := scenario{name: name, release: release, drives: 2, act: act, prepare: func(w *world) {
				attached(w, -1)
				w.must(deactivate(w))
				_, image := w.kernel.Fork()
				maps.Copy(old.written, w.written)
				for range 2 {
					w.assemble()
					for at := range int64(10) {
						w.write(at * 140)
					}
					w.must(deactivate(w))
				}
				w.putBack(0, image)
				old.slot = slotOn(w.medium(0), w.plexOn(0))
				w.mem.Vanish(w.path(1))
				w.restart()
			}}
			m := s.machine(t)
			all := &sample{random: rand.New(rand.NewPCG(1, 2)), most: -1}
			s.stops(t, m, all)
			for _, at := range all.stops {
				for _, how := range crashes() {
					synctest.Test(t, func(t *testing.T) { decisionCutOff(t, at, how, old) })
					if t.Failed() {
						t.Fatalf("%s on %s, stopped %s, %s", s.name, release, at, how.name)
					}
				}
			}
		}
	}
}

// earlier is what an earlier copy of a plex has, and its metadata.
type earlier struct {
	written map[int64]uint64
	slot    raidmeta.Slot
}

// decisionCutOff is one point of TestADecisionForAnEarlierCopyIsCutOff.
func decisionCutOff(t *testing.T, at stop, how crash, old earlier) {
	t.Helper()
	w := at.crash(t, how, rand.New(rand.NewPCG(3, uint64(at.n))))
	if how.fate == nil {
		w.cut(blocktest.Kept)
	}
	w.mem.Return(w.path(1))
	w.restart()
	if w.plexOn(1).Stale {
		w.written = old.written
	} else if diff := cmp.Diff(old.slot, slotOn(w.medium(0), w.plexOn(0))); diff != "" {
		t.Errorf("the metadata that counts (-want +got):\n%s", diff)
	}
	w.assemble()
	w.verify()
	if w.plexOn(1).Stale {
		w.must(recoverWeb(w))
	}
	w.settle()
	w.verify()
	w.oracle().samePlexes()
}

// putBack puts the plex of web1 on a drive back to an image of the machine.
func (w *world) putBack(drive int, image *blocktest.Mem) {
	w.t.Helper()
	p := w.plexOn(drive)
	from := *w
	from.mem = image
	for _, e := range append(slices.Clone(p.Data), p.Meta) {
		b := make([]byte, e.Length.Bytes())
		_, err := from.medium(drive).ReadAt(b, int64(e.Start.Bytes()))
		w.must(err)
		_, err = w.medium(drive).WriteAt(b, int64(e.Start.Bytes()))
		w.must(err)
	}
	w.must(w.medium(drive).Sync())
}
