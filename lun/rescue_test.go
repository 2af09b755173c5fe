package lun_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// dying is a process during which a drive fails for good, before its nth call that changes the kernel, and how many it has made.
func dying(w *world, drive, nth int) (p *lun.Provider, calls *int) {
	w.t.Helper()
	kernel := &refusing{Kernel: w.kernel, nth: nth, instead: func() {
		for _, kind := range []string{"read", "write", "zero", "flush"} {
			w.mem.Fail(w.path(drive), blocktest.Fault{Kind: kind})
		}
	}}
	p, err := lun.Open(w.t.Context(), lun.Options{Kernel: kernel, Devices: w.mem, LockPath: w.lock})
	w.must(err)
	w.t.Cleanup(p.Close)
	return p, &kernel.calls
}

// resumeOf is the number of the call that swaps web1's table when act is carried out on drives that work.
func resumeOf(w *world, act func(w *world) error) int {
	w.t.Helper()
	calls, swap := 0, 0
	w.mem.OnEffect = func(e blocktest.Effect) error {
		switch e.Kind {
		case "create", "load", "clear", "suspend", "resume", "remove", "rename":
			if calls++; e.Kind == "resume" && e.Object == "plex-web1" {
				swap = calls
			}
		}
		return nil
	}
	w.must(act(w))
	w.mem.OnEffect = nil
	return swap
}

// The only drive with the data fails in the swap. All I/O of the LUN fails, as status says, until the drive is back.
func TestTheOnlyDriveFailsInTheSwap(t *testing.T) {
	prepare := func() *world {
		w := quartet(t)
		attached(w, 1)
		return w
	}
	act := setRate(size.MiB)
	swap := resumeOf(prepare(), act)
	w := prepare()
	p, _ := dying(w, 0, swap)
	if err := w.on(p, act); err == nil {
		t.Fatal("the call says that all is well")
	}
	w.notSuspended()
	w.mem.Heal(w.path(0))
	w.restart()
	props, err := w.find("web1").Properties(t.Context())
	w.must(err)
	if props.Status != vds.StatusFailed || props.Device != "" || !strings.Contains(vds.HintOf(props.Problem), "plexctl assemble web1") {
		t.Errorf("status %v, device %q, problem %v, hint %q", props.Status, props.Device, props.Problem, vds.HintOf(props.Problem))
	}
	if err := addPlex("web1", "third")(w); !errors.Is(err, vds.ErrAnotherCallInProgress) && !errors.Is(err, vds.ErrObjectStatusFailed) {
		t.Errorf("attach: %v", err)
	}
	w.assemble()
	w.verify()
	w.settle()
	w.verify()
	w.nothingToDo("with the drive back")
}

// A plexctl dies between the commit of an attach and the swap. The source fails in the swap that the next one makes. The kernel may
// not run the mirror, whose other plex is empty: the LUN's old table had no metadata from which its new one could be told.
func TestTheSourceFailsInALateSwap(t *testing.T) {
	for name, act := range map[string]func(*world) error{"assemble": assemble, "reenumerate": reenumerate} {
		t.Run(name, func(t *testing.T) {
			swap := resumeOf(lateSwap(t), act)
			w := lateSwap(t)
			w.faulty = true
			p, _ := dying(w, 0, swap)
			if err := w.on(p, act); err == nil {
				t.Error("the call says that all is well")
			}
			w.notSuspended()
			w.writes(rand.New(rand.NewPCG(1, 2)), 6)
			_ = w.kernel.Tick(2)
			w.mem.Heal(w.path(0))
			w.restart()
			w.assemble()
			w.verify()
			w.settle()
			w.verify()
		})
	}
}

// lateSwap is a machine on which a plexctl has died between the commit of an attach to web1 and the swap.
func lateSwap(t *testing.T) *world {
	t.Helper()
	w := quartet(t)
	dead := false
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if dead = dead || e.Kind == "resume" && e.Object == "plex-web1" || e.Kind == "suspend" && e.Object == "plex-web1"; dead {
			return errors.New("dead")
		}
		return nil
	}
	if err := addPlex("web1", "third")(w); err == nil {
		t.Fatal("it has not died")
	}
	w.mem.OnEffect = nil
	w.restart()
	if len(w.record("web1").Plexes) != 2 {
		t.Fatal("it has died before the commit")
	}
	return w
}

// A drive of a mirror fails in the swap. The LUN goes on with the other one.
func TestADriveOfAMirrorFailsInTheSwap(t *testing.T) {
	for drive := range 2 {
		prepare := func() *world {
			w := quartet(t)
			attached(w, -1)
			return w
		}
		swap := resumeOf(prepare(), extend)
		w := prepare()
		p, _ := dying(w, drive, swap)
		if err := w.on(p, extend); err == nil && drive == 0 {
			t.Error("the call says that all is well")
		}
		w.notSuspended()
		w.write(5)
		w.verify()
		w.mem.Heal(w.path(drive))
		w.restart()
		w.assemble()
		w.must(recoverWeb(w))
		w.settle()
		w.verify()
		w.nothingToDo("with the drive back")
	}
}

// Of two plexes one had failed, which nobody noted but the other one's metadata. That cannot be read at the next start.
func TestAnOlderPlexIsNotStartedWhileTheNewerCannotBeRead(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	broken(w, 1)
	w.cut(blocktest.Lost)
	meta := w.plexOn(0).Meta
	w.mem.Fail(w.path(0), blocktest.Fault{Kind: "read", Offset: meta.Start.Bytes(), Length: meta.Length.Bytes()})
	err := assemble(w)
	if !errors.Is(err, vds.ErrObjectStatusFailed) || !strings.Contains(err.Error(), "may be newer") {
		t.Errorf("assemble: %v", err)
	}
	w.mem.Heal(w.path(0))
	w.must(assemble(w))
	w.verify()
}

// flickering is a kernel before whose swap of web1 both drives fail, until all I/O of web1 is made to fail.
type flickering struct {
	*dmtest.Kernel
	w        *world
	resumes  int // of web1 until the swap
	deadened bool
}

func (k *flickering) Resume(ctx context.Context, name string, v dm.Visibility) error {
	if name == "plex-web1" {
		if k.resumes--; k.resumes == 0 {
			for drive := range 2 {
				for _, kind := range []string{"read", "write", "zero", "flush"} {
					k.w.mem.Fail(k.w.path(drive), blocktest.Fault{Kind: kind})
				}
			}
		}
	}
	return k.Kernel.Resume(ctx, name, v)
}

func (k *flickering) Load(ctx context.Context, name string, t dm.Table) error {
	if name == "plex-web1" && t[0].Target.Type() == "error" {
		k.deadened = true
		k.w.mem.Heal(k.w.path(0))
		k.w.mem.Heal(k.w.path(1))
	}
	return k.Kernel.Load(ctx, name, t)
}

// lastWords is a kernel with which the process dies when a swap of web1 has failed, for which both drives fail for a moment.
type lastWords struct {
	*dmtest.Kernel
	w *world
}

func (k *lastWords) Resume(ctx context.Context, name string, v dm.Visibility) error {
	if name != "plex-web1" {
		return k.Kernel.Resume(ctx, name, v)
	}
	for drive := range 2 {
		for _, kind := range []string{"read", "write", "zero", "flush"} {
			k.w.mem.Fail(k.w.path(drive), blocktest.Fault{Kind: kind})
		}
	}
	err := k.Kernel.Resume(ctx, name, v)
	k.w.mem.Heal(k.w.path(0))
	k.w.mem.Heal(k.w.path(1))
	k.w.mem.OnEffect = func(blocktest.Effect) error { return errors.New("the process is dead") }
	return err
}

// failedStart leaves web1, after act, suspended with a table whose first resume has failed, which its record wants.
func failedStart(w *world, act func(w *world) error) {
	t := w.t
	t.Helper()
	p, err := lun.Open(t.Context(), lun.Options{Kernel: &lastWords{Kernel: w.kernel, w: w}, Devices: w.mem, LockPath: w.lock})
	w.must(err)
	if err := w.on(p, act); err == nil {
		t.Error("the call says that all is well")
	}
	p.Close()
	w.restart()
	if !w.devices()["plex-web1"].Suspended {
		t.Fatal("web1 is not suspended")
	}
}

// A LUN whose table could not be started gets a table on the other metadata from the next change. It keeps that table: the
// record's old metadata lacks writes, which the next start would lose.
func TestAFailedStartIsCompletedOnce(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	w.must(addPlex("web1", "third")(w))
	w.copied(-1)
	failedStart(w, removePlex(2))
	if err := w.find("web1").Rename(t.Context(), "fourth"); !errors.Is(err, vds.ErrNameNotUnique) {
		t.Errorf("rename: %v, want VDS_E_NAME_NOT_UNIQUE", err)
	}
	w.notSuspended()
	w.rest()
	broken(w, 0)
	for at := range int64(20) {
		w.write(at * 70)
	}
	w.cut(blocktest.Lost)
	w.assemble()
	w.verify()
	w.settle()
	w.verify()
}

// A LUN whose table was not started to the end cannot be given another one. It is not resumed with the one that it has, which would
// take the plex that is being filled for whole.
func TestAFailedStartThatCannotBeMended(t *testing.T) {
	w := quartet(t)
	attached(w, 1)
	failedStart(w, setRate(size.MiB))
	w.mem.Fail(w.path(1), blocktest.Fault{Kind: "write", Length: 2 * size.MiB}) // its catalog
	if err := assemble(w); err == nil {
		t.Error("assemble says that all is well")
	}
	w.mem.Heal(w.path(1))
	w.notSuspended()
	w.restart()
	w.rest()
	w.assemble()
	w.verify()
	w.settle()
	w.verify()
}

// The record cannot be taken back, and the drives are well again when the table ends that could not be resumed: what is to be
// copied is still known.
func TestBothDrivesFlickerInTheSwap(t *testing.T) {
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		w := newWorld(t, release, 2)
		w.create("web1", lunSize, 0)
		w.create("spare3", lunSize, 1)
		for at := range int64(20) {
			w.write(at * 70)
		}
		attached(w, 1)
		kernel := &flickering{Kernel: w.kernel, w: w, resumes: 1}
		p, err := lun.Open(t.Context(), lun.Options{Kernel: kernel, Devices: w.mem, LockPath: w.lock})
		w.must(err)
		if err := w.on(p, setRate(size.MiB)); err == nil || !kernel.deadened {
			t.Errorf("set rate: %v, all I/O was made to fail: %v", err, kernel.deadened)
		}
		p.Close()
		w.notSuspended()
		w.restart()
		w.assemble()
		w.settle()
		w.verify()
		w.oracle().inOrder()
		w.oracle().stands()
	}
}
