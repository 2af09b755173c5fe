package lun_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
)

// process is one of several plexctls on a machine. Its Provider reaches kernel and drives through doors. There a test can kill it
// or refuse its calls, without an effect on the others.
type process struct {
	number   int
	provider *lun.Provider
	dead     atomic.Bool
}

// doorKey is the context key of the door of the call that a test disturbs. What a Provider does on its own has none.
type doorKey struct{}

// door is what the calls of one action go through, all of them from one goroutine.
type door interface {
	// pass is called before the process asks for something: an error is the answer to it.
	pass(ask ask) error
}

// ask is something that a process asks kernel or drives for.
type ask struct {
	kind   string // the ioctl, "scan", "open", "read", "write", "flush" …
	object string
	effect bool // it changes something
}

// Error is what a kernel or a drive would say, with this errno.
func (a ask) refuse(errno unix.Errno) error {
	switch a.kind {
	case "scan", "stat", "open", "users", "signatures", "read", "write", "flush":
		return fmt.Errorf("%s %s: %w", a.kind, a.object, errno)
	}
	return &dm.Error{Op: a.kind, Device: a.object, Err: errno}
}

// errShort lets a read give less than was asked for.
var errShort = errors.New("short read")

// ask puts something to the door in ctx. It is the end of a dead process.
func (p *process) ask(ctx context.Context, kind, object string, effect bool) error {
	if d, ok := ctx.Value(doorKey{}).(door); ok && !p.dead.Load() {
		if err := d.pass(ask{kind, object, effect}); err != nil {
			return err
		}
	}
	if p.dead.Load() {
		return fmt.Errorf("%s %s: %w", kind, object, blocktest.ErrDead)
	}
	return nil
}

// doorKernel is the kernel as a process sees it.
type doorKernel struct {
	*dmtest.Kernel
	p *process
}

func (k doorKernel) List(ctx context.Context) ([]dm.Device, error) {
	if err := k.p.ask(ctx, "list", "", false); err != nil {
		return nil, err
	}
	return k.Kernel.List(ctx)
}

func (k doorKernel) Info(ctx context.Context, name string) (dm.Info, error) {
	if err := k.p.ask(ctx, "info", name, false); err != nil {
		return dm.Info{}, err
	}
	return k.Kernel.Info(ctx, name)
}

func (k doorKernel) Create(ctx context.Context, name, uuid string) (devno.No, error) {
	if err := k.p.ask(ctx, "create", name, true); err != nil {
		return devno.No{}, err
	}
	return k.Kernel.Create(ctx, name, uuid)
}

func (k doorKernel) Load(ctx context.Context, name string, t dm.Table) error {
	if err := k.p.ask(ctx, "load", name, true); err != nil {
		return err
	}
	return k.Kernel.Load(ctx, name, t)
}

func (k doorKernel) Clear(ctx context.Context, name string) error {
	if err := k.p.ask(ctx, "clear", name, true); err != nil {
		return err
	}
	return k.Kernel.Clear(ctx, name)
}

func (k doorKernel) Suspend(ctx context.Context, name string, freeze bool) error {
	if err := k.p.ask(ctx, "suspend", name, true); err != nil {
		return err
	}
	return k.Kernel.Suspend(ctx, name, freeze)
}

func (k doorKernel) Resume(ctx context.Context, name string, v dm.Visibility) error {
	if err := k.p.ask(ctx, "resume", name, true); err != nil {
		return err
	}
	return k.Kernel.Resume(ctx, name, v)
}

func (k doorKernel) Remove(ctx context.Context, name string) error {
	if err := k.p.ask(ctx, "remove", name, true); err != nil {
		return err
	}
	return k.Kernel.Remove(ctx, name)
}

func (k doorKernel) Observe(ctx context.Context, name string) (dm.Info, dm.Table, error) {
	if err := k.p.ask(ctx, "observe", name, false); err != nil {
		return dm.Info{}, nil, err
	}
	return k.Kernel.Observe(ctx, name)
}

func (k doorKernel) Table(ctx context.Context, name string) (dm.Table, error) {
	if err := k.p.ask(ctx, "table", name, false); err != nil {
		return nil, err
	}
	return k.Kernel.Table(ctx, name)
}

func (k doorKernel) Waiting(ctx context.Context, name string) (dm.Table, error) {
	if err := k.p.ask(ctx, "waiting", name, false); err != nil {
		return nil, err
	}
	return k.Kernel.Waiting(ctx, name)
}

func (k doorKernel) Rename(ctx context.Context, name, newName string, v dm.Visibility) error {
	if err := k.p.ask(ctx, "rename", name, true); err != nil {
		return err
	}
	return k.Kernel.Rename(ctx, name, newName, v)
}

func (k doorKernel) Mark(ctx context.Context, m dm.Marker) error {
	if err := k.p.ask(ctx, "mark", m.Operation, true); err != nil {
		return err
	}
	return k.Kernel.Mark(ctx, m)
}

func (k doorKernel) Status(ctx context.Context, name string) (dm.Status, error) {
	if err := k.p.ask(ctx, "status", name, false); err != nil {
		return dm.Status{}, err
	}
	return k.Kernel.Status(ctx, name)
}

// doorDevices is the drives as a process sees them.
type doorDevices struct {
	*blocktest.Mem
	p *process
}

func (d doorDevices) Scan(ctx context.Context, but ...string) ([]blockdev.Info, error) {
	if err := d.p.ask(ctx, "scan", "", false); err != nil {
		return nil, err
	}
	return d.Mem.Scan(ctx, but...)
}

func (d doorDevices) Stat(ctx context.Context, path string) (blockdev.Info, error) {
	if err := d.p.ask(ctx, "stat", path, false); err != nil {
		return blockdev.Info{}, err
	}
	return d.Mem.Stat(ctx, path)
}

func (d doorDevices) Users(ctx context.Context, dev devno.No) ([]blockdev.User, error) {
	if err := d.p.ask(ctx, "users", dev.String(), false); err != nil {
		return nil, err
	}
	return d.Mem.Users(ctx, dev)
}

func (d doorDevices) Below(ctx context.Context, path string) ([]devno.No, error) {
	if err := d.p.ask(ctx, "below", path, false); err != nil {
		return nil, err
	}
	return d.Mem.Below(ctx, path)
}

func (d doorDevices) Signatures(ctx context.Context, path string) ([]signature.Signature, error) {
	if err := d.p.ask(ctx, "signatures", path, false); err != nil {
		return nil, err
	}
	return d.Mem.Signatures(ctx, path)
}

func (d doorDevices) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	if err := d.p.ask(ctx, "open", path, false); err != nil {
		return nil, err
	}
	disk, err := d.Mem.Open(ctx, path, mode)
	if err != nil {
		return nil, err
	}
	return doorDisk{disk, d.p, ctx}, nil
}

// doorDisk is an open drive as a process sees it. It belongs to the action that opened it.
type doorDisk struct {
	blockdev.Disk
	p   *process
	ctx context.Context //nolint:containedctx // its methods are those of files, which have none
}

func (d doorDisk) ReadAt(b []byte, off int64) (int, error) {
	err := d.p.ask(d.ctx, "read", d.Info().Path, false)
	if errors.Is(err, errShort) {
		n, err := d.Disk.ReadAt(b[:len(b)/2/blockdev.Align*blockdev.Align], off)
		return n, errors.Join(err, io.EOF)
	}
	if err != nil {
		return 0, err
	}
	return d.Disk.ReadAt(b, off)
}

func (d doorDisk) WriteAt(b []byte, off int64) (int, error) {
	if err := d.p.ask(d.ctx, "write", d.Info().Path, true); err != nil {
		return 0, err
	}
	return d.Disk.WriteAt(b, off)
}

func (d doorDisk) Sync() error {
	if err := d.p.ask(d.ctx, "flush", d.Info().Path, true); err != nil {
		return err
	}
	return d.Disk.Sync()
}
