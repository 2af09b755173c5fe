package lun_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// underLock counts what a process writes while it has the host's lock.
type underLock struct {
	*blocktest.Mem
	lock            string
	bytes, commands atomic.Int64 // written, and of drives that zero by themselves
	zeroed          atomic.Int64 // bytes zeroed by drives, with or without the lock
}

func (u *underLock) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	disk, err := u.Mem.Open(ctx, path, mode)
	if err != nil {
		return nil, err
	}
	drive, ok := disk.(blockdev.Offloader)
	if !ok {
		return nil, errors.New("a drive in memory is no Offloader")
	}
	return countedDisk{disk, drive, u}, nil
}

type countedDisk struct {
	blockdev.Disk
	drive blockdev.Offloader
	u     *underLock
}

func (d countedDisk) WriteAt(p []byte, off int64) (int, error) {
	if !isFree(d.u.lock) {
		d.u.bytes.Add(int64(len(p)))
	}
	return d.Disk.WriteAt(p, off)
}

func (d countedDisk) Offload() (blockdev.Offload, error) { return d.drive.Offload() }

func (d countedDisk) ZeroByDrive(start, length size.Bytes) error {
	d.u.zeroed.Add(int64(length))
	if !isFree(d.u.lock) {
		d.u.commands.Add(1)
	}
	return d.drive.ZeroByDrive(start, length)
}

// What a change writes under the host's lock does not grow with its LUN, but for the commands with which a drive zeroes a new plex.
func TestLittleIsWrittenUnderTheLock(t *testing.T) {
	const huge, most = 16 * size.TiB, 4 * size.MiB
	w := newWorld(t, dmtest.Linux6_12, 0)
	u := &underLock{Mem: w.mem, lock: w.lock}
	for i := range 3 {
		w.mem.AddDisk(blockdev.Info{Path: w.path(i), Size: 2*huge + size.GiB})
		w.mem.SetOffload(w.path(i), true)
	}
	w.p = w.provider(lun.Options{Devices: u})
	var web1, plain *lun.LUN
	for _, step := range []struct {
		name     string
		act      func() error
		commands int64 // of drives that zero, under the lock
	}{
		{"drive init", func() error {
			var err error
			for i := range 3 {
				_, initErr := w.p.InitDrive(t.Context(), w.path(i), lun.InitOptions{})
				err = errors.Join(err, initErr)
			}
			return err
		}, 0},
		{"create", func() (err error) {
			plain, err = w.p.CreateLUN(t.Context(), lun.Spec{Name: "plain", Size: huge, Drives: []string{w.path(0)}})
			return err
		}, 0},
		{"create tracked", func() (err error) {
			web1, err = w.p.CreateLUN(t.Context(), lun.Spec{Name: "web1", Size: huge, Drives: []string{w.path(0)}, Track: true})
			return err
		}, 0},
		{"add a plex to a tracked LUN", func() error {
			_, err := web1.AddNewPlex(t.Context(), []string{w.path(1)}, lun.AttachOptions{})
			return err
		}, int64(huge / size.GiB)},
		{"add a plex", func() error {
			_, err := plain.AddNewPlex(t.Context(), []string{w.path(2)}, lun.AttachOptions{})
			return err
		}, 0},
		{"deactivate", func() error { _, err := w.p.Deactivate(t.Context()); return err }, 0},
		{"assemble", func() error { _, err := w.p.Assemble(t.Context(), lun.AssembleOptions{}); return err }, 0},
		{"rename", func() error { return plain.Rename(t.Context(), "db") }, 0},
	} {
		u.bytes.Store(0)
		u.commands.Store(0)
		w.must(step.act())
		t.Logf("%s: %s written, %d commands to zero", step.name, size.Bytes(u.bytes.Load()), u.commands.Load())
		limit := most
		if step.name == "drive init" {
			limit = 3 * 10 * size.MiB
		}
		if got := size.Bytes(u.bytes.Load()); got > limit {
			t.Errorf("%s: %s written under the lock", step.name, got)
		}
		if got := u.commands.Load(); got > step.commands {
			t.Errorf("%s: %d commands to zero under the lock, want at most %d", step.name, got, step.commands)
		}
	}
	if got := size.Bytes(u.zeroed.Load()); got < huge {
		t.Errorf("%s zeroed: nothing was long work", got)
	}
}
