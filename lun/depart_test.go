package lun_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// leaves is a pair that loses its second plex.
func leaves(act func(w *world) error) scenario {
	return scenario{
		name: "leaves", release: dmtest.Linux6_12, drives: 2, act: act,
		prepare: func(w *world) { attached(w, -1); w.must(deleteUnused(w)) },
	}
}

// deleteUnused deletes what the scenario made besides web1.
func deleteUnused(w *world) error {
	if _, err := w.p.LUN("spare3"); err != nil {
		return nil //nolint:nilerr // it is a plex of web1
	}
	return deleteLUN("spare3")(w)
}

// inFrontOf is the machine whose process dies in front of the first effect of a kind on an object, or right behind that effect. It has
// committed that a plex is leaving web1.
func (s scenario) inFrontOf(t *testing.T, kind, object string, behind int) stop {
	t.Helper()
	all := &sample{random: rand.New(rand.NewPCG(1, 1)), most: -1}
	s.stops(t, s.machine(t), all)
	for i, at := range all.stops {
		if at.before.Kind == kind && at.before.Object == object {
			return all.stops[i+behind]
		}
	}
	t.Fatalf("no %s of %s", kind, object)
	return stop{}
}

// A plex that is leaving is shown. Its space is not free, and the name of the LUN that is made of it is taken, until the kernel has
// let go of it.
func TestALeavingPlex(t *testing.T) {
	for name, act := range map[string]func(w *world) error{"remove": removePlex(1), "split": split(1)} {
		for behind := range 2 { // with the table from before, and with the new one
			kind := []string{"suspend", "resume"}[behind]
			at := leaves(act).inFrontOf(t, kind, "plex-web1", behind)
			synctest.Test(t, func(t *testing.T) {
				w := at.crash(t, crash{}, nil)
				props, err := w.find("web1").Properties(t.Context())
				w.must(err)
				if n := len(props.Plexes); n != 2 || props.Plexes[0].Leaving || !props.Plexes[1].Leaving || props.Plexes[1].Health != vds.HealthUnknown {
					t.Errorf("%s: plexes %+v", name, props.Plexes)
				}
				if p := props.Problem; p == nil || !strings.Contains(p.Reason, "is leaving it") || p.Hint != "run `plexctl assemble`" {
					t.Errorf("%s: problem %v", name, p)
				}
				drive, err := w.p.Drive(w.path(1))
				w.must(err)
				_, err = w.p.CreateLUN(t.Context(), lun.Spec{Name: "more", Size: drive.Free.Bytes() + size.MiB, Drives: []string{w.path(1)}})
				if !errors.Is(err, vds.ErrNotEnoughSpace) {
					t.Errorf("%s: a LUN in the space of a plex that is leaving: %v", name, err)
				}
				if name == "split" {
					if _, err = w.p.CreateLUN(t.Context(), lun.Spec{Name: "part", Size: lunSize, Drives: []string{w.path(0)}}); !errors.Is(err, vds.ErrNameNotUnique) {
						t.Errorf("a LUN of the name of what is made: %v", err)
					}
				}
				w.mem.OnEffect = func(e blocktest.Effect) error {
					if l := w.oracle().newest[w.record("web1").ID]; e.Kind == "resume" && e.Object == "plex-web1" && l.Departure == nil {
						t.Errorf("%s: the plex has left before the swap", name)
					}
					return nil
				}
				w.assemble()
				w.mem.OnEffect = nil
				w.oracle().inOrder()
				after, err := w.p.Drive(w.path(1))
				w.must(err)
				if free := after.Free > drive.Free; free != (name == "remove") {
					t.Errorf("%s: %s are free, were %s", name, after.Free, drive.Free)
				}
			})
		}
	}
}

// A plex is leaving, and the power fails while the kernel still runs the table from before. Then a drive is missing. The LUN starts
// by force only, with what is there. Once the drive is back, nothing contradicts that.
func TestALeavingPlexAndAMissingDrive(t *testing.T) {
	for gone, plexes := range []int{2, 1} { // without the plex that stays, the one that was leaving stays, too
		at := leaves(removePlex(1)).inFrontOf(t, "suspend", "plex-web1", 0)
		synctest.Test(t, func(t *testing.T) {
			w := at.crash(t, crash{}, nil)
			w.cut(blocktest.Kept)
			w.mem.Vanish(w.path(gone))
			w.restart()
			if err := assemble(w); !errors.Is(err, vds.ErrObjectStatusFailed) || !strings.Contains(err.Error(), "may be newer") {
				t.Errorf("without drive %d: %v", gone, err)
			}
			if _, err := w.find("web1").Recover(t.Context()); !errors.Is(err, vds.ErrObjectStatusFailed) {
				t.Errorf("recover without drive %d: %v", gone, err)
			}
			w.must(byForce(w))
			w.verify()
			w.write(13)
			w.mem.Return(w.path(gone))
			w.restart()
			if problems := w.p.Problems(); len(problems) > 0 {
				t.Errorf("without drive %d: problems %v", gone, problems)
			}
			w.assemble()
			if l := w.record("web1"); len(l.Plexes) != plexes || l.Departure != nil {
				t.Errorf("without drive %d: %+v", gone, l)
			}
			w.settle()
			w.oracle().inOrder()
			w.oracle().stands()
		})
	}
}

// The kernel runs the new table of a mirror, and drops a leg of it, when the power fails. The drive of the plex that was leaving is
// missing. It is not needed, because the new metadata shows that the kernel has used it.
func TestTheKernelHasLetGo(t *testing.T) {
	s := leaves(removePlex(2))
	s.drives, s.prepare = 3, func(w *world) { tripled(w, -1) }
	at := s.inFrontOf(t, "resume", "plex-web1", 1)
	synctest.Test(t, func(t *testing.T) {
		w := at.crash(t, crash{}, nil)
		w.loses(rand.New(rand.NewPCG(3, 3)), 0)
		w.cut(blocktest.Lost)
		w.mem.Heal(w.path(0))
		w.mem.Vanish(w.path(2))
		w.restart()
		w.assemble()
		w.verify()
		if l := w.record("web1"); len(l.Plexes) != 2 || l.Departure != nil {
			t.Errorf("%+v", l)
		}
		w.mem.Return(w.path(2))
		w.restart()
		w.assemble()
		w.settle()
		w.oracle().inOrder()
		w.oracle().stands()
	})
}

// The kernel still runs the table from before, and drops the plex that stays. Whatever looks at the LUN next takes the change back.
func TestOnlyALeavingPlexIsLeft(t *testing.T) {
	for name, next := range map[string]func(w *world) error{
		"assemble": assemble, "deactivate": deactivate, "reenumerate": reenumerate,
		"a change": func(w *world) error { return w.find("web1").Rename(w.t.Context(), "web1") },
	} {
		at := leaves(split(1)).inFrontOf(t, "suspend", "plex-web1", 0)
		synctest.Test(t, func(t *testing.T) {
			w := at.crash(t, crash{}, nil)
			w.loses(rand.New(rand.NewPCG(2, 2)), 0)
			if err := next(w); err != nil && name != "a change" {
				t.Errorf("%s: %v", name, err)
			}
			if l := w.record("web1"); len(l.Plexes) != 2 || l.Departure != nil {
				t.Errorf("%s: %+v", name, l)
			}
			w.mem.Heal(w.path(0))
			w.assemble()
			w.verify()
			w.settle()
			w.oracle().inOrder()
			w.oracle().stands()
		})
	}
}

// The second commit fails. Nothing is taken back, because the kernel runs without the plex. Only a split is an error then: there may be
// no new LUN. The next assemble commits again.
func TestTheSecondCommitFails(t *testing.T) {
	for name, act := range map[string]func(w *world) error{"remove": removePlex(1), "split": split(1)} {
		for drive := range 2 {
			m := leaves(act).machine(t)
			synctest.Test(t, func(t *testing.T) {
				w := leaves(act).world(t, m)
				w.mem.OnEffect = func(e blocktest.Effect) error {
					if e.Kind == "resume" && e.Object == "plex-web1" {
						w.mem.Fail(w.path(drive), blocktest.Fault{Kind: "write"})
					}
					return nil
				}
				err := act(w)
				w.mem.OnEffect = nil
				if errors.Is(err, vds.ErrDiskConfigurationNotSaved) != (name == "split") {
					t.Errorf("%s, drive %d: %v", name, drive, err)
				}
				w.mem.Heal(w.path(drive))
				w.verify()
				w.restart()
				w.assemble()
				if l := w.record("web1"); len(l.Plexes) != 1 || l.Departure != nil {
					t.Errorf("%s, drive %d: %+v", name, drive, l)
				}
				w.oracle().inOrder()
				w.oracle().stands()
				if _, err := w.p.LUN("part"); (err == nil) != (name == "split") {
					t.Errorf("%s, drive %d: the LUN that is made: %v", name, drive, err)
				}
			})
		}
	}
}

// Deactivate lets plexes go that are leaving, and makes no device for what is made of them.
func TestDeactivateLetsPlexesGo(t *testing.T) {
	for behind, kind := range []string{"suspend", "resume"} {
		at := leaves(split(1)).inFrontOf(t, kind, "plex-web1", behind)
		synctest.Test(t, func(t *testing.T) {
			w := at.crash(t, crash{}, nil)
			w.must(deactivate(w))
			if devices := w.devices(); len(devices) > 0 {
				t.Errorf("%s: devices %v", kind, devices)
			}
			if l := w.record("web1"); len(l.Plexes) != 1 || l.Departure != nil {
				t.Errorf("%s: %+v", kind, l)
			}
			w.assemble()
			w.oracle().inOrder()
			w.verifyPart("part")
		})
	}
}

// A copy ends after cancel has looked at it, and the source fails. What is written then is on the new plex alone. It does not leave.
func TestACopyEndsWhileItIsCancelled(t *testing.T) {
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, release, 2)
			w.create("web1", lunSize, 0)
			w.create("spare3", lunSize, 1)
			attached(w, 2)
			w.mem.OnEffect = func(e blocktest.Effect) error {
				if (e.Kind == "suspend" || e.Kind == "resume") && e.Object == "plex-web1" {
					w.mem.OnEffect = nil
					w.must(w.kernel.RunToEnd())
					w.mem.Fail(w.path(0), blocktest.Fault{Kind: "write"})
					w.write(70)
				}
				return nil
			}
			if err := cancel(w); err == nil {
				t.Error("the copy is cancelled")
			}
			w.mem.OnEffect = nil
			w.verify()
			w.mem.Heal(w.path(0))
			w.cut(blocktest.Kept)
			w.assemble()
			w.verify()
		})
	}
}
