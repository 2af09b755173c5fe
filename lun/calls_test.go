package lun_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// counter is a kernel that counts what it is asked.
type counter struct {
	*dmtest.Kernel
	mu    sync.Mutex
	asked map[string]int
}

func (c *counter) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[what]++
}

func (c *counter) List(ctx context.Context) ([]dm.Device, error) {
	c.count("list")
	return c.Kernel.List(ctx)
}

func (c *counter) Info(ctx context.Context, name string) (dm.Info, error) {
	c.count("info")
	return c.Kernel.Info(ctx, name)
}

func (c *counter) Observe(ctx context.Context, name string) (dm.Info, dm.Table, error) {
	c.count("observe")
	return c.Kernel.Observe(ctx, name)
}

func (c *counter) Name(ctx context.Context, name string, v dm.Visibility) error {
	c.count("name")
	return c.Kernel.Name(ctx, name, v)
}

func (c *counter) Status(ctx context.Context, name string) (dm.Status, error) {
	c.count("status")
	return c.Kernel.Status(ctx, name)
}

// Frequent looks must cost the kernel little: one call for the list and one for each LUN, and one for each look at an
// operation.
func TestLookingIsCheap(t *testing.T) {
	w, target, source := pair(t)
	w.create("third", lunSize, 0)
	if _, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.kernel.Tick(2); err != nil {
		t.Fatal(err)
	}
	kernel := &counter{Kernel: w.kernel, asked: map[string]int{}}
	p, err := lun.Open(t.Context(), lun.Options{Kernel: kernel, Devices: w.mem, LockPath: w.lock})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if diff := cmp.Diff(map[string]int{"list": 1}, kernel.asked); diff != "" {
		t.Errorf("calls of opening (-want +got):\n%s", diff)
	}
	clear(kernel.asked)
	if _, err := p.Survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"list": 1, "observe": 6, "status": 1}, kernel.asked); diff != "" {
		t.Errorf("calls of a survey of a LUN and a mirror with 4 private devices (-want +got):\n%s", diff)
	}
}

// A second process that changes the same LUN waits for the lock, and then finds what the first one did.
func TestTwoProcessesAttachTheSamePair(t *testing.T) {
	for range 20 {
		w, _, _ := pair(t)
		results := make(chan error, 2)
		var attaches []func()
		for range 2 {
			p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			target, source := handle(t, p, "web1"), handle(t, p, "spare3")
			attaches = append(attaches, func() {
				_, err := target.AddPlex(context.WithoutCancel(t.Context()), source.ID(), lun.AttachOptions{})
				results <- err
			})
		}
		for _, attach := range attaches {
			go attach()
		}
		first, second := <-results, <-results
		if (first == nil) == (second == nil) {
			t.Fatalf("two attaches of one pair: %v, %v; want exactly one to win", first, second)
		}
		if err := w.p.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.verify()
	}
}

func handle(t *testing.T, p *lun.Provider, name string) *lun.LUN {
	t.Helper()
	l, err := p.LUN(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A drive that fails at the commit must leave both LUNs as they were, on the drives and in the kernel.
func TestAttachIsTakenBackWhenADriveFails(t *testing.T) {
	for _, drive := range []int{0, 1} {
		for nth := 1; nth <= 8; nth++ {
			w, target, source := pair(t)
			before := w.tables()
			w.mem.Fail(w.path(drive), blocktest.Fault{Kind: "write", Nth: nth})
			_, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
			w.mem.Heal(w.path(drive))
			w.notSuspended()
			w.verify()
			if err == nil { // the kernel met the failure, and dropped the new plex
				w.assemble()
				w.settle()
				w.verify()
				continue
			}
			if diff := cmp.Diff(before, w.tables()); diff != "" {
				t.Errorf("write %d of drive %d fails: tables (-before +after):\n%s", nth, drive, diff)
			}
			w.restart()
			w.assemble()
			if len(w.record("web1").Plexes) != 1 || w.record("spare3").ID != source.ID() {
				t.Errorf("write %d of drive %d fails with %v: the records have changed", nth, drive, err)
			}
			w.verify()
		}
	}
}

// The target drops a source whose drive has failed. The operation has ended by then.
func TestRemoveABrokenSource(t *testing.T) {
	w, target, source := pair(t)
	before := w.tables()["plex-web1"]
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.mem.Fail(w.path(1), blocktest.Fault{Kind: "write"})
	w.write(3)
	if err := op.Wait(t.Context()); !errors.Is(err, vds.ErrObjectStatusFailed) {
		t.Errorf("wait: %v, want VDS_E_OBJECT_STATUS_FAILED", err)
	}
	if err := op.Cancel(t.Context()); !errors.Is(err, vds.ErrCancelTooLate) {
		t.Errorf("cancel: %v, want VDS_E_CANCEL_TOO_LATE", err)
	}
	if last := w.record("web1").Last; last == nil || last.Result != vds.ErrObjectStatusFailed {
		t.Errorf("the end is recorded as %+v", last)
	}
	w.rest()
	broken := w.record("web1").Plexes[1].ID
	removal, err := target.RemovePlex(t.Context(), broken)
	if err != nil {
		t.Fatalf("remove: %v", err)
	}
	if err := removal.Wait(t.Context()); err != nil || removal.Type != vds.AsyncRemoveLUNPlex {
		t.Errorf("wait for the removal: %v, type %v", err, removal.Type)
	}
	if diff := cmp.Diff(map[string]string{"plex-web1": before}, w.tables()); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	w.mem.Heal(w.path(1))
	w.restart()
	w.assemble()
	w.verify()
	if l := w.record("web1"); len(l.Plexes) != 1 || l.Operation != nil {
		t.Errorf("the drive is back, and the record is %+v", l)
	}
	again := w.create("spare4", lunSize, 1)
	if _, err := w.find("web1").AddPlex(t.Context(), again.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.verify()
}
