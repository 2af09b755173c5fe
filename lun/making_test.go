package lun_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// isFree reports whether nobody has a lock.
func isFree(path string) bool {
	expired, cancel := context.WithCancel(context.Background())
	cancel()
	lock, err := hostlock.Acquire(expired, path, "test")
	if err == nil {
		lock.Unlock()
	}
	return err == nil
}

// createTracked makes LUN web1 on the first drive, and calls f once in the middle of the zeroing.
func (w *world) createTracked(f func()) error {
	called := 0
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Object != w.path(0) || e.Kind != "write" || !isFree(w.lock) {
			return nil
		}
		if called++; called == 3 {
			f()
		}
		return nil
	}
	_, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "web1", Size: lunSize, Drives: []string{w.path(0)}, Track: true})
	w.mem.OnEffect = nil
	if called < 6 {
		w.t.Errorf("%d writes of a MiB without the host's lock, want %d", called, lunSize/size.MiB)
	}
	return err
}

// While a LUN is zeroed, other LUNs can be changed, and who names this one learns what is going on.
func TestOthersGoOnWhileALUNIsZeroed(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 3)
	other := w.provider(lun.Options{Devices: w.mem, LockTimeout: -1})
	w.must(w.createTracked(func() {
		effects := w.mem.OnEffect
		w.mem.OnEffect = nil // what the other process does is not the subject
		defer func() { w.mem.OnEffect = effects }()
		w.must(other.Refresh(t.Context()))
		all, err := other.Survey(t.Context())
		w.must(err)
		if len(all) != 1 || !all[0].Making || all[0].Tracked || all[0].Status != vds.StatusOffline || all[0].Problem == nil ||
			!strings.Contains(all[0].Problem.Reason, "being zeroed") {
			t.Errorf("status: %+v", all)
		}
		made, err := other.CreateLUN(t.Context(), lun.Spec{Name: "spare3", Size: lunSize, Drives: []string{w.path(1)}})
		w.must(err)
		_, err = made.AddNewPlex(t.Context(), []string{w.path(2)}, lun.AttachOptions{})
		w.must(err)
		if results, err := other.Assemble(t.Context(), lun.AssembleOptions{}); err != nil || len(results) != 1 || results[0].Err != nil {
			t.Errorf("assemble: %v, %v", results, err)
		}

		web1, err := other.LUN("web1")
		w.must(err)
		busy := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, vds.ErrAnotherCallInProgress) || !strings.Contains(err.Error(), "is making it, and zeroes its room") {
				t.Errorf("%s: %v", what, err)
			}
		}
		busy("delete", web1.Delete(t.Context()))
		busy("rename", web1.Rename(t.Context(), "db"))
		results, err := other.Assemble(t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}})
		w.must(err)
		busy("assemble", results[0].Err)
		if _, err := made.AddPlex(t.Context(), web1.ID(), lun.AttachOptions{}); !errors.Is(err, vds.ErrAnotherCallInProgress) {
			t.Errorf("add plex: %v", err)
		}
		if _, err := other.CreateLUN(t.Context(), lun.Spec{Name: "web1", Size: lunSize}); !errors.Is(err, vds.ErrNameNotUnique) {
			t.Errorf("create: %v", err)
		}
	}))
	w.restart()
	l, err := w.p.LUN("web1")
	w.must(err)
	props, err := l.Properties(t.Context())
	w.must(err)
	if props.Making || !props.Tracked || props.Status != vds.StatusOnline || props.Problem != nil {
		t.Errorf("status: %+v", props)
	}
	if left, err := filepath.Glob(w.lock + ".*"); err != nil || len(left) > 0 {
		t.Errorf("files %v are left: %v", left, err)
	}
}

// A process that has no part in the host's locks may free the room of a LUN that is being made, and use it. Then nothing is made there.
func TestALUNWhoseRoomIsLostIsNotMade(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	other, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock + "-of-another", Workers: 1})
	w.must(err)
	defer other.Close()
	err = w.createTracked(func() {
		effects := w.mem.OnEffect
		w.mem.OnEffect = nil
		defer func() { w.mem.OnEffect = effects }()
		w.must(other.Refresh(t.Context()))
		web1, err := other.LUN("web1")
		w.must(err)
		w.must(web1.Delete(t.Context()))
		_, err = other.CreateLUN(t.Context(), lun.Spec{Name: "spare3", Size: lunSize})
		w.must(err)
	})
	if !errors.Is(err, vds.ErrObjectDeleted) {
		t.Errorf("create: %v", err)
	}
	w.restart()
	if luns := w.p.LUNs(); len(luns) != 1 || luns[0].Name() != "spare3" {
		t.Errorf("LUNs: %v", luns)
	}
}

// The room that a process has reserved which has died is free again when anybody looks for room, or assembles.
func TestARoomWhoseMakerHasDiedIsFreed(t *testing.T) {
	free := func(w *world) size.Sectors {
		d, err := w.p.Drive(w.path(0))
		w.must(err)
		return d.Free
	}
	for name, act := range map[string]func(w *world) error{
		"assemble": func(w *world) error { w.assemble(); return nil },
		"delete": func(w *world) error {
			l, err := w.p.LUN("web1")
			w.must(err)
			return l.Delete(t.Context())
		},
		"create": func(w *world) error {
			l, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "web1", Size: driveSize - 9*size.MiB})
			w.must(err)
			return l.Delete(t.Context())
		},
		"rename": func(w *world) error {
			l, err := w.p.LUN("web1")
			w.must(err)
			if err := l.Rename(t.Context(), "db"); !errors.Is(err, vds.ErrObjectDeleted) {
				return errors.Join(errors.New("renamed"), err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, dmtest.Linux6_12, 1)
			before := free(w)
			var dead machine
			w.must(w.createTracked(func() { dead = w.freeze() }))
			w = dead.crash(t, crash{}, nil)
			if len(w.p.LUNs()) != 1 || free(w) == before || len(w.devices()) != 0 {
				t.Fatalf("%d LUNs, %d sectors free, devices %v", len(w.p.LUNs()), free(w), w.devices())
			}
			w.must(act(w))
			if diff := cmp.Diff(before, free(w)); diff != "" || len(w.p.LUNs()) != 0 {
				t.Errorf("%d LUNs are left; free (-before +after):\n%s", len(w.p.LUNs()), diff)
			}
		})
	}
}
