package lun_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// watchman is the guard of a test process. While on is not nil he knows of a window.
type watchman struct {
	on      *lun.Window
	called  int
	refuses error

	dismissed func() // called when he is sent away; may be nil
}

func (g *watchman) guard(_ context.Context, w lun.Window) (lun.Post, error) {
	g.called++
	return lun.Post{
		Ready: func() error {
			if g.refuses == nil {
				g.on = &w
			}
			return g.refuses
		},
		Dismiss: func() {
			g.on = nil
			if g.dismissed != nil {
				g.dismissed()
			}
		},
	}, nil
}

// guarded starts a process with a guard on the machine of w.
func (w *world) guarded() *watchman { return w.guardedOn(w.kernel) }

// guardedOn is guarded with another kernel between the process and the machine.
func (w *world) guardedOn(kernel lun.Kernel) *watchman {
	w.t.Helper()
	g := &watchman{}
	w.p.Close()
	w.p = w.provider(lun.Options{Kernel: kernel, Devices: w.mem, Guard: g.guard})
	return g
}

// provider opens a Provider on the machine of w.
func (w *world) provider(opts lun.Options) *lun.Provider {
	w.t.Helper()
	if opts.Kernel == nil {
		opts.Kernel = w.kernel
	}
	opts.LockPath, opts.Workers = w.lock, 1
	p, err := lun.Open(w.t.Context(), opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	return p
}

// someDrives is a machine of which only these drives answer.
type someDrives struct {
	*blocktest.Mem
	devs []devno.No
}

func (s someDrives) Scan(ctx context.Context, but ...string) ([]blockdev.Info, error) {
	infos, err := s.Mem.Scan(ctx, but...)
	return slices.DeleteFunc(infos, func(i blockdev.Info) bool { return !slices.Contains(s.devs, i.Dev) }), err
}

// TestGuard stops every operation before each effect for which a guard stands by. The guard resumes the LUN with the LUN's own
// drives only. At all other times no LUN is suspended. It takes every fourth stop, and all of them in a sweep.
func TestGuard(t *testing.T) {
	var stops atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d stops in front of a guard", stops.Load())
		if stops.Load() == 0 {
			t.Error("no guard was ever needed")
		}
	})
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		for _, s := range slices.Concat(scenarios(), attachesOnGoodDrives()) {
			t.Run(s.name+" on "+string(release), func(t *testing.T) {
				t.Parallel()
				s.release = release
				m := s.machine(t)
				whole := s.complete(t, m)
				for _, stop := range s.guardedStops(t, m) {
					if _, all := sweep.Time(t); !all && (stop+len(s.name))%4 > 0 {
						continue
					}
					stops.Add(1)
					synctest.Test(t, func(t *testing.T) { s.guardOnce(t, m, whole, stop) })
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// guardedStops is the effects of the operation in front of which a guard stands by.
func (s scenario) guardedStops(t *testing.T, m machine) []int {
	t.Helper()
	var stops []int
	synctest.Test(t, func(t *testing.T) {
		w := s.world(t, m)
		g := w.guarded()
		n := 0
		w.mem.OnEffect = func(blocktest.Effect) error {
			if g.on != nil {
				stops = append(stops, n)
			} else {
				w.notSuspended()
			}
			n++
			return nil
		}
		w.must(s.act(w))
		w.mem.OnEffect = nil
	})
	return stops
}

// guardOnce stops the operation in front of effect number stop, while a user writes.
func (s scenario) guardOnce(t *testing.T, m machine, whole course, stop int) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(stop), uint64(len(s.name))))
	w := s.world(t, m)
	w.keep()
	g := w.guarded()
	var window lun.Window
	n := 0
	w.mem.OnEffect = func(blocktest.Effect) error {
		if n == stop {
			window = *g.on
		}
		if n++; n > stop {
			return errStop
		}
		w.write(random.Int64N(noise))
		return nil
	}
	_ = s.act(w)
	w.mem.OnEffect = nil
	w.mem.Restart()
	w.p = w.provider(lun.Options{Devices: someDrives{w.mem, window.Drives}})
	if err := w.p.Wake(t.Context(), window.LUN); err != nil {
		t.Errorf("wake: %v", err)
	}
	w.notSuspended()
	w.restart()
	s.recovered(w, whole, fmt.Sprintf("%s, guarded, stopped before effect %d", s.name, stop))
}

// A change does not begin if the guard that it needs cannot be started.
func TestGuardMissing(t *testing.T) {
	w, target, source := pair(t)
	if _, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	before := w.record("web1")
	g := w.guarded()
	g.refuses = errors.New("no memory")
	_, err := w.find("web1").RemovePlex(t.Context(), w.plexOn(1).ID)
	if !errors.Is(err, vds.ErrProviderFailure) || !errors.Is(err, g.refuses) {
		t.Errorf("remove without a guard: %v", err)
	}
	if after := w.record("web1"); after.Generation != before.Generation {
		t.Errorf("record changed from %d to %d", before.Generation, after.Generation)
	}
	g.refuses = nil
	if _, err := w.find("web1").RemovePlex(t.Context(), w.plexOn(1).ID); err != nil || g.called != 2 || g.on != nil {
		t.Errorf("remove with a guard: %v; it was called %d times, and stands by: %v", err, g.called, g.on)
	}
}

// A change that suspends nothing needs no guard.
func TestGuardNotNeeded(t *testing.T) {
	w, _, source := pair(t)
	g := w.guarded()
	if _, err := w.find("web1").AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.p.Wake(t.Context(), w.record("web1").ID); err != nil {
		t.Errorf("wake a LUN that is awake: %v", err)
	}
	if err := w.p.Wake(t.Context(), uuid.New()); err != nil {
		t.Errorf("wake a LUN that there is not: %v", err)
	}
	if g.called > 0 {
		t.Errorf("guard called %d times", g.called)
	}
}

// A process has died in a window without a guard. Assemble first resumes the LUN with the table that it had. Only then does it complete
// the change, which may fail.
func TestAssembleResumesFirst(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	dead := false
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if dead = dead || e.Kind == "resume" && e.Object == "plex-web1"; dead {
			return errors.New("the process is dead")
		}
		return nil
	}
	if err := addPlex("web1", "third")(w); err == nil {
		t.Error("the call says that all is well")
	}
	w.restart()
	if !w.devices()["plex-web1"].Suspended {
		t.Fatal("web1 is not suspended")
	}
	var calls []string
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Object == "plex-web1" && e.Kind != "clear" {
			calls = append(calls, e.Kind)
		}
		return nil
	}
	w.assemble()
	w.mem.OnEffect = nil
	if len(calls) < 2 || calls[0] != "resume" {
		t.Errorf("calls for web1: %q, want it resumed before all else, and the change completed", calls)
	}
	w.notSuspended()
	w.verify()
}
