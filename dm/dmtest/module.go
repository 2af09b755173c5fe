package dmtest

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
)

// Unload makes the kernel one without a module, "dm-raid" or "raid1", until it gets another one: "" for none.
func (k *Kernel) Unload(module string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lacks = module
}

// CanMirror fails when the kernel lacks a module that a mirror needs.
func (k *Kernel) CanMirror(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch k.lacks {
	case "dm-raid":
		return &dm.Error{Op: "find target", Device: "raid", Err: dm.ErrNotSupported}
	case "raid1":
		return &dm.Error{Op: "find personality", Device: "raid1", Err: dm.ErrNotSupported}
	}
	return ctx.Err()
}

// lacking is why the kernel cannot build a mirror; nil when it can.
func (t *table) lacking() error {
	switch t.kernel.lacks {
	case "dm-raid":
		return refuse("%v: raid: unknown target type", t.holder.dev)
	case "raid1":
		return &refusal{errno: unix.EINVAL, log: "md: personality for level 1 is not loaded!"}
	}
	return nil
}
