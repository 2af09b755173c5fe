package lun_test

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
)

// A swap is called off, and the kernel does not drop the new table either. The new table must not become live: its change is being
// taken back.
func TestARefusedTableIsNotSwappedIn(t *testing.T) {
	for name, lasts := range map[string]int{"once": 1, "for good": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			w, _, _ := pair(t)
			attached(w, -1)
			before := w.record("web1")
			w.over(&keepsTables{Kernel: w.kernel, refuse: lasts})
			if err := removePlex(1)(w); err == nil {
				t.Error("the plex is removed, though the window was called off")
			}
			w.notSuspended()
			table, err := w.kernel.Table(t.Context(), "plex-web1")
			w.must(err)
			if kind := table[0].Target.Type(); kind == "linear" {
				t.Errorf("the table that was refused is live: %s", table)
			}
			w.restart()
			if now := w.record("web1"); len(now.Copies()) != len(before.Copies()) {
				t.Errorf("%d plexes are recorded, want %d", len(now.Copies()), len(before.Copies()))
			}
			w.must(assemble(w))
			w.verify()
			w.settle()
			w.verify()
		})
	}
}

// keepsTables is a kernel that reports a failure after each suspend, and then does not drop waiting tables for a while.
type keepsTables struct {
	*dmtest.Kernel
	suspended bool
	refuse    int
}

func (k *keepsTables) Suspend(ctx context.Context, name string, freeze bool) error {
	k.suspended = true
	return errors.Join(k.Kernel.Suspend(ctx, name, freeze), &dm.Error{Op: "suspend", Device: name, Err: unix.ENOMEM})
}

func (k *keepsTables) Clear(ctx context.Context, name string) error {
	if k.suspended && k.refuse > 0 {
		k.refuse--
		return &dm.Error{Op: "clear inactive table of", Device: name, Err: unix.ENOMEM}
	}
	return k.Kernel.Clear(ctx, name)
}
