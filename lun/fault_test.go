package lun_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
)

// refusing is a kernel that refuses one of the calls that change something, or one of those that only ask.
type refusing struct {
	*dmtest.Kernel
	calls   int    // so far, of the kind that is refused
	nth     int    // the call to refuse, from 1; 0: none
	asks    bool   // it is one of the calls that ask
	instead func() // what happens before that call, which is carried out then; nil: it is refused
}

// deaf is the error of the call that asks and is refused.
func (r *refusing) deaf(op, name string) error {
	if !r.asks {
		return nil
	}
	if r.calls++; r.calls != r.nth {
		return nil
	}
	return &dm.Error{Op: op, Device: name, Err: unix.ENOMEM}
}

func (r *refusing) List(ctx context.Context) ([]dm.Device, error) {
	if err := r.deaf("list", ""); err != nil {
		return nil, err
	}
	return r.Kernel.List(ctx)
}

func (r *refusing) Info(ctx context.Context, name string) (dm.Info, error) {
	if err := r.deaf("info", name); err != nil {
		return dm.Info{}, err
	}
	return r.Kernel.Info(ctx, name)
}

func (r *refusing) Observe(ctx context.Context, name string) (dm.Info, dm.Table, error) {
	if err := r.deaf("table", name); err != nil {
		return dm.Info{}, nil, err
	}
	return r.Kernel.Observe(ctx, name)
}

func (r *refusing) Table(ctx context.Context, name string) (dm.Table, error) {
	if err := r.deaf("table", name); err != nil {
		return nil, err
	}
	return r.Kernel.Table(ctx, name)
}

func (r *refusing) Waiting(ctx context.Context, name string) (dm.Table, error) {
	if err := r.deaf("table", name); err != nil {
		return nil, err
	}
	return r.Kernel.Waiting(ctx, name)
}

func (r *refusing) Status(ctx context.Context, name string) (dm.Status, error) {
	if err := r.deaf("status", name); err != nil {
		return dm.Status{}, err
	}
	return r.Kernel.Status(ctx, name)
}

func (r *refusing) Clear(ctx context.Context, name string) error {
	if err := r.refused("clear", name); err != nil {
		return err
	}
	return r.Kernel.Clear(ctx, name)
}

// refused is the error of the call that is refused.
func (r *refusing) refused(op, name string) error {
	if r.asks {
		return nil
	}
	if r.calls++; r.calls != r.nth {
		return nil
	}
	if r.instead != nil {
		r.instead()
		return nil
	}
	return &dm.Error{Op: op, Device: name, Err: unix.ENOMEM}
}

func (r *refusing) Create(ctx context.Context, name, uuid string) (devno.No, error) {
	if err := r.refused("create", name); err != nil {
		return devno.No{}, err
	}
	return r.Kernel.Create(ctx, name, uuid)
}

func (r *refusing) Load(ctx context.Context, name string, t dm.Table) error {
	if err := r.refused("load table of", name); err != nil {
		return err
	}
	return r.Kernel.Load(ctx, name, t)
}

func (r *refusing) Suspend(ctx context.Context, name string, freeze bool) error {
	if err := r.refused("suspend", name); err != nil {
		return err
	}
	return r.Kernel.Suspend(ctx, name, freeze)
}

func (r *refusing) Resume(ctx context.Context, name string, v dm.Visibility) error {
	if err := r.refused("resume", name); err != nil {
		return err
	}
	return r.Kernel.Resume(ctx, name, v)
}

func (r *refusing) Remove(ctx context.Context, name string) error {
	if err := r.refused("remove", name); err != nil {
		return err
	}
	return r.Kernel.Remove(ctx, name)
}

func (r *refusing) Mark(ctx context.Context, m dm.Marker) error {
	if err := r.refused("mark", "kernel"); err != nil {
		return err
	}
	return r.Kernel.Mark(ctx, m)
}

func (r *refusing) Rename(ctx context.Context, name, newName string, v dm.Visibility) error {
	if err := r.refused("rename", name); err != nil {
		return err
	}
	return r.Kernel.Rename(ctx, name, newName, v)
}

// TestFaults makes each call of every operation fail once: each ioctl that changes something or, in a sweep, asks, and each write
// of a drive. Then
// the operation must be done or taken back, as its error says. Nothing may stay suspended, and assemble must succeed.
func TestFaults(t *testing.T) {
	for _, s := range slices.Concat(scenarios(), attachesOnGoodDrives()) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.release = dmtest.Linux6_12
			m := s.machine(t)
			whole := s.complete(t, m)
			for nth := 1; s.ioctlFails(t, m, whole, nth, false); nth++ {
			}
			first, every := 1, 1
			if !sweep.On() && s.name != "split one of two" {
				first, every = 1+len(s.name)%5, 5
			}
			for nth := first; s.ioctlFails(t, m, whole, nth, true); nth += every {
			}
			for drive := range max(2, s.drives) {
				for nth := 1; s.driveDies(t, m, whole, drive, nth); nth++ {
				}
				for nth := 1; nth <= 12; nth++ {
					s.driveFails(t, m, whole, drive, "write", nth)
					s.driveFails(t, m, whole, drive, "flush", nth)
				}
				if s.good != nil {
					s.driveFails(t, m, whole, drive, "zero", 1)
					s.driveFails(t, m, whole, drive, "allocation", 1)
					s.driveFails(t, m, whole, drive, "allocation", 2)
				}
			}
		})
	}
}

// TestCreateThatCannotBeFlushed makes a drive take all writes and refuse a flush. A refused LUN must not exist.
func TestCreateThatCannotBeFlushed(t *testing.T) {
	for _, kind := range []string{"write", "flush"} {
		refused := true
		for nth := 1; refused && !t.Failed(); nth++ {
			w := newWorld(t, dmtest.Linux6_12, 1)
			w.mem.Fail(w.path(0), blocktest.Fault{Kind: kind, Nth: nth})
			_, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "web1", Size: lunSize})
			refused = err != nil
			w.mem.Heal(w.path(0))
			w.restart()
			if _, missing := w.p.LUN("web1"); (missing != nil) != refused {
				t.Errorf("%s %d fails: create: %v, then: %v", kind, nth, err, missing)
			}
		}
	}
}

// ioctlFails refuses the nth call that changes the kernel, or that asks it, and reports whether there was one.
func (s scenario) ioctlFails(t *testing.T, m machine, whole course, nth int, asks bool) bool {
	t.Helper()
	met := false
	synctest.Test(t, func(t *testing.T) {
		w := s.world(t, m)
		kernel := &refusing{Kernel: w.kernel, asks: asks}
		p, err := lun.Open(t.Context(), lun.Options{Kernel: kernel, Devices: w.mem, LockPath: w.lock})
		w.must(err)
		defer p.Close()
		kernel.calls, kernel.nth = 0, nth
		err = w.on(p, s.act)
		met = kernel.calls >= nth
		s.survived(w, whole, err, fmt.Sprintf("%s, call %d refused, of those that ask: %v", s.name, nth, asks))
	})
	return met && !t.Failed()
}

// driveDies makes a drive fail for good before the nth call that changes the kernel, and reports whether there was one. Nothing
// may stay suspended, even if it is the only drive with the data. With the drive back, assemble must succeed.
func (s scenario) driveDies(t *testing.T, m machine, whole course, drive, nth int) bool {
	t.Helper()
	met := false
	synctest.Test(t, func(t *testing.T) {
		w := s.world(t, m)
		p, calls := dying(w, drive, nth)
		err := w.on(p, s.act)
		p.Close()
		met = *calls >= nth
		if w.notSuspended(); err != nil && t.Failed() {
			t.Log(err)
		}
		w.mem.Heal(w.path(drive))
		s.survived(w, whole, err, fmt.Sprintf("%s, drive %d dies before call %d", s.name, drive, nth))
	})
	return met && !t.Failed()
}

// driveFails lets the nth write to a drive fail, or what else it is asked to do.
func (s scenario) driveFails(t *testing.T, m machine, whole course, drive int, kind string, nth int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := s.world(t, m)
		w.mem.Fail(w.path(drive), blocktest.Fault{Kind: kind, Nth: nth})
		err := s.act(w)
		w.mem.Heal(w.path(drive))
		s.survived(w, whole, err, fmt.Sprintf("%s, %s %d of drive %d fails", s.name, kind, nth, drive))
	})
}

// survived checks what is left after an operation that met a fault.
func (s scenario) survived(w *world, whole course, err error, where string) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("%s: %v\nbefore:\n%safter:\n%s", where, err, whole.before, whole.after)
		}
	}()
	w.notSuspended()
	if table, err := w.kernel.Table(w.t.Context(), "plex-web1"); err == nil && table[0].Target.Type() != "error" {
		w.verify()
	}
	w.faulty = true
	w.restart()
	w.assemble()
	w.notSuspended()
	w.verify()
	if s.after != nil {
		s.after(w)
	}
	w.settle()
	w.verify()
	w.nothingToDo(where)
}
