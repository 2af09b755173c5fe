package lun_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

// imagesOfGate is how many images from within operations are tried whenever a mirror is at rest, without a sweep.
const imagesOfGate = 24

// TestEarlierCopies puts one drive of a mirror back to earlier moments of its life, whenever the mirror is at rest. The moments are
// the end of each step, and those in front of each effect of each operation, between which users write. In a sweep it tries all of
// them, otherwise all ends and some of the others. The mirror has its newest data, and all of its plexes have it in the end.
//
// One kind of image is left out: it is of the present run, and the drive has been written since. An image from before the drive's LUN
// became a plex of the mirror is refused; see refused.
func TestEarlierCopies(t *testing.T) {
	points, violations := 0, 0
	t.Cleanup(func() { t.Logf("SWEEP copies points=%d violations=%d", points, violations) })
	seed := sweep.Seed(t, 1)
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		for plexes := 2; plexes <= 3; plexes++ {
			synctest.Test(t, func(t *testing.T) {
				a := &album{random: rand.New(rand.NewPCG(seed, uint64(plexes))), name: fmt.Sprintf("seed %d, %s, %d plexes", seed, release, plexes)}
				a.world, a.steps = life(t, release, plexes)
				a.live(plexes)
				points += a.points
			})
			if t.Failed() {
				violations++
			}
		}
	}
}

// picture is all drives at one moment.
type picture struct {
	mem    *blocktest.Mem
	step   int
	effect int // in front of which it was taken; 0: at the end of the step
}

// album is a life of a mirror, and pictures from it.
type album struct {
	*world
	steps    []step
	random   *rand.Rand
	name     string
	pictures []picture
	run      int // the step that has begun the present run
	points   int
}

// live lives the life, and tries pictures whenever the mirror is at rest.
func (a *album) live(plexes int) {
	a.t.Helper()
	for i, step := range a.steps {
		effects := 0
		a.mem.OnEffect = func(blocktest.Effect) error {
			effects++
			a.pictures = append(a.pictures, picture{a.mem.Fork(), i, effects})
			a.write(a.random.Int64N(noise))
			return nil
		}
		step.do(a.world)
		a.mem.OnEffect = nil
		if !step.cut {
			a.run = i
		}
		if _, err := a.kernel.Info(a.t.Context(), "plex-web1"); err != nil {
			a.tryAll(i, plexes)
		}
		a.pictures = append(a.pictures, picture{a.mem.Fork(), i, 0})
		if a.t.Failed() {
			return
		}
	}
}

// tryAll puts each drive back to pictures, after step now.
func (a *album) tryAll(now, plexes int) {
	a.t.Helper()
	type point struct{ picture, drive int }
	var ends, within []point
	for n, p := range a.pictures {
		for drive := range plexes {
			switch {
			case !a.tells(p, drive):
			case p.effect == 0:
				ends = append(ends, point{n, drive})
			default:
				within = append(within, point{n, drive})
			}
		}
	}
	if !sweep.On() {
		a.random.Shuffle(len(within), func(i, j int) { within[i], within[j] = within[j], within[i] })
		within = within[:min(len(within), imagesOfGate)]
	}
	for _, at := range slices.Concat(ends, within) {
		p := a.pictures[at.picture]
		a.points++
		restored(a.t, a.world, at.drive, p.mem, fmt.Sprintf("%s: %s of step %d, effect %d, after step %d", a.name, a.path(at.drive), p.step, p.effect, now))
	}
}

// tells reports whether a picture of a drive can be told from the drive, or is equal to it. It cannot if it is of the present run.
func (a *album) tells(p picture, drive int) bool {
	a.t.Helper()
	if p.step < a.run {
		return true
	}
	plex := a.plexOn(drive)
	then, now := a.onDrive(p.mem, drive), a.medium(drive)
	if runOn(then, plex) != plex.Run {
		return true
	}
	return !slices.ContainsFunc(plex.Data, func(e catalog.Extent) bool {
		return !then.Same(int64(e.Start.Bytes()), now, int64(e.Start.Bytes()), int64(e.Length.Bytes()))
	})
}

// onDrive is a drive as it was.
func (w *world) onDrive(mem *blocktest.Mem, drive int) *blocktest.Medium {
	w.t.Helper()
	m, err := mem.Medium(w.dev(drive))
	w.must(err)
	return m
}

// runOn is the run that the current metadata of a plex is of; the zero Run if there is none.
func runOn(m *blocktest.Medium, p catalog.Plex) catalog.Run {
	image := make([]byte, 12*size.KiB)
	if _, err := m.ReadAt(image, int64(record.CurrentSlot(p).Start.Bytes())); err != nil {
		return catalog.Run{}
	}
	slot, err := raidmeta.DecodeSlot(image)
	if err != nil {
		return catalog.Run{}
	}
	return catalog.Run{Number: slot.Bitmap.Run.Number, Nonce: slot.Bitmap.Run.Nonce}
}

// restored starts the machine with a drive as it once was.
func restored(t testing.TB, before *world, drive int, image *blocktest.Mem, where string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(where)
		}
	}()
	w := before.freeze().crash(t, crash{}, nil)
	w.mem.Restore(w.path(drive), image)
	w.restart()
	w.faulty = true
	if _, err := w.p.LUN(fmt.Sprint("spare", drive)); err == nil {
		refused(w, drive, where)
		return
	}
	for _, err := range w.p.Problems() {
		t.Errorf("%s: problem %v", where, err)
	}
	w.assemble()
	w.verify()
	w.settle()
	w.verify()
	w.nothingToDo(where)
}

// refused is the machine with a drive from before its LUN became a plex of web1. Two LUNs claim the plex: web1 is not started. Without
// that drive it has its newest data.
func refused(w *world, drive int, where string) {
	w.t.Helper()
	err := assemble(w)
	if _, active := w.devices()["plex-web1"]; active || err == nil || len(w.p.Problems()) == 0 {
		w.t.Errorf("%s: web1 is active: %v; assemble: %v; problems %v", where, active, err, w.p.Problems())
	}
	w.must(deactivate(w))
	w.mem.Vanish(w.path(drive))
	w.restart()
	results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}, Force: true})
	w.must(err)
	w.must(resultErrors(results))
	w.verify()
}

// TestATargetAsItOnceWas stops a mirror after a copy whose end nobody has looked at, and puts the plex that was filled back to an
// earlier moment of the copy. Everything is copied again.
func TestATargetAsItOnceWas(t *testing.T) {
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, release, 2)
			w.create("web1", lunSize, 0)
			for at := range int64(20) {
				w.write(at * 70)
			}
			w.create("spare3", lunSize, 1)
			w.must(addPlex("web1", "spare3")(w))
			image := w.mem.Fork()
			w.rest()
			w.must(w.kernel.Age())
			w.must(deactivate(w))
			w.mem.Restore(w.path(1), image)
			w.restart()
			w.assemble()
			w.rest()
			w.verify()
			w.oracle().samePlexes()
		})
	}
}

// TestARefillIsCutOff stops the start of a mirror with an earlier copy of a plex in front of each of its effects, and starts the mirror
// again. Everything is copied to that plex.
func TestARefillIsCutOff(t *testing.T) {
	for drive := range 2 {
		synctest.Test(t, func(t *testing.T) {
			w, steps := life(t, dmtest.Linux6_1, 2)
			steps[0].do(w)
			image := w.mem.Fork()
			for _, step := range steps[1:4] {
				step.do(w)
			}
			w.mem.Restore(w.path(drive), image)
			for n, done := 0, false; !done; n++ {
				at := w.freeze().crash(t, crash{}, nil)
				effects := 0
				at.mem.OnEffect = func(blocktest.Effect) error {
					if effects++; effects > n {
						return errors.New("cut off")
					}
					return nil
				}
				_ = assemble(at) // it is dead
				done = effects <= n
				at.cut(blocktest.Kept)
				at.assemble()
				at.verify()
				at.rest()
				at.verify()
				at.oracle().samePlexes()
				if t.Failed() {
					t.Fatalf("drive %d, cut off after %d effects", drive, n)
				}
			}
		})
	}
}

// A start that begins to fill an earlier copy says so in the kernel's log. So the copy has ended when the kernel says so, and nothing
// is compared.
func TestAStartLogsThatARefillBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, steps := life(t, dmtest.Linux6_12, 2)
		steps[0].do(w)
		w.must(deactivate(w))
		_, image := w.kernel.Fork()
		w.must(assemble(w))
		w.writes(rand.New(rand.NewPCG(1, 2)), 8)
		w.rest()
		w.must(deactivate(w))
		w.mem.Restore(w.path(1), image)
		w.restart()
		w.must(assemble(w))
		w.rest()
		w.must(w.p.Refresh(t.Context()))
		if st, err := w.operation().QueryStatus(t.Context()); err != nil || st.State != resync.Done {
			t.Errorf("%+v, %v", st, err)
		}
		w.settle()
		w.verify()
		w.oracle().samePlexes()
	})
}
