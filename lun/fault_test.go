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
	"github.com/plexctl/plexctl/lun"
)

// refusing is a kernel that refuses one of the calls that change something.
type refusing struct {
	*dmtest.Kernel
	calls   int    // so far
	nth     int    // the call to refuse, from 1; 0: none
	instead func() // what happens before that call, which is carried out then; nil: it is refused
}

// refused is the error of the call that is refused.
func (r *refusing) refused(op, name string) error {
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

// TestFaults makes each call of every operation that changes something fail once: each ioctl, and each write of a drive. Then
// the operation must be done or taken back, as its error says. Nothing may stay suspended, and assemble must succeed.
func TestFaults(t *testing.T) {
	for _, s := range slices.Concat(scenarios(), attachesOnGoodDrives()) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.release = dmtest.Linux6_12
			m := s.machine(t)
			whole := s.complete(t, m)
			for nth := 1; s.ioctlFails(t, m, whole, nth); nth++ {
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

// ioctlFails refuses the nth call that changes the kernel, and reports whether there was one.
func (s scenario) ioctlFails(t *testing.T, m machine, whole course, nth int) bool {
	t.Helper()
	met := false
	synctest.Test(t, func(t *testing.T) {
		w := s.world(t, m)
		kernel := &refusing{Kernel: w.kernel, nth: nth}
		p, err := lun.Open(t.Context(), lun.Options{Kernel: kernel, Devices: w.mem, LockPath: w.lock})
		w.must(err)
		defer p.Close()
		err = w.on(p, s.act)
		met = kernel.calls >= nth
		s.survived(w, whole, err, fmt.Sprintf("%s, call %d refused", s.name, nth))
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
