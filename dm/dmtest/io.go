package dmtest

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
)

// ReadAt reads from a device as another process does, not the one under test. It waits while the device is suspended. off is
// in bytes.
func (k *Kernel) ReadAt(ctx context.Context, name string, b []byte, off int64) error {
	return k.use(ctx, "read from", name, func(t *table) error { return t.transfer(b, off, target.read) })
}

// WriteAt writes to a device as another process does. It waits while the device is suspended. off is in bytes.
func (k *Kernel) WriteAt(ctx context.Context, name string, b []byte, off int64) error {
	return k.use(ctx, "write to", name, func(t *table) error { return t.transfer(b, off, target.write) })
}

// Flush makes durable what was written to a device. It waits while the device is suspended.
func (k *Kernel) Flush(ctx context.Context, name string) error {
	return k.use(ctx, "flush", name, func(t *table) error { return t.each(target.flush) })
}

// Hold opens a device as another process does. It stays open until the test calls release.
func (k *Kernel) Hold(name string) (release func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.find(name)
	if d == nil {
		return nil, wrap("open", name, unix.ENXIO)
	}
	d.openers++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		d.openers--
	}, nil
}

// use calls do with the live table of a device when it is not suspended.
func (k *Kernel) use(ctx context.Context, op, name string, do func(*table) error) error {
	for {
		var waiting chan struct{}
		err := k.locked(name, func(d *device) error {
			if d.suspended {
				waiting = d.resumed
				return nil
			}
			if d.live == nil {
				return unix.EIO
			}
			return do(d.live)
		})
		if waiting == nil {
			return wrap(op, name, err)
		}
		select {
		case <-waiting:
		case <-ctx.Done():
			return wrap(op, name, ctx.Err())
		}
	}
}

// handle is a device that the process has open.
type handle struct {
	kernel *Kernel
	device *device
	info   blockdev.Info
	mode   blockdev.Mode
	life   int
	closed bool
}

// open is how the process opens a device through the Mem.
func (k *Kernel) open(d *device, mode blockdev.Mode) (blockdev.Disk, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if mode == blockdev.Exclusive && (d.exclusive() || len(d.stacked) > 0) {
		return nil, blockdev.ErrBusy
	}
	h := &handle{kernel: k, device: d, info: d.info(), mode: mode, life: k.mem.Life()}
	d.handles = append(d.handles, h)
	return h, nil
}

// exclusive reports whether the process has d open exclusively.
func (d *device) exclusive() bool {
	return slices.ContainsFunc(d.handles, func(h *handle) bool { return h.open() && h.mode == blockdev.Exclusive })
}

// openers is how many have d open.
func (k *Kernel) openers(d *device) int {
	n := d.openers + len(d.stacked)
	for _, h := range d.handles {
		if h.open() {
			n++
		}
	}
	return n
}

// open reports whether the process that opened h lives and has not closed it.
func (h *handle) open() bool { return !h.closed && h.life == h.kernel.mem.Life() }

// Info is the device as it was when it was opened.
func (h *handle) Info() blockdev.Info { return h.info }

// ReadAt reads through the live table, as far as that goes. While the device is suspended it waits.
func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	n := max(0, min(int64(len(b)), h.size()-off))
	err := h.transfer("read", b[:n], off, target.read)
	if err == nil && n < int64(len(b)) {
		err = io.EOF
	}
	return int(n), err
}

// size is the device's size now, in bytes.
func (h *handle) size() int64 {
	h.kernel.mu.Lock()
	defer h.kernel.mu.Unlock()
	return h.device.live.length()
}

// WriteAt writes through the live table. While the device is suspended it waits.
func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	if h.mode == blockdev.Read {
		return 0, fmt.Errorf("write %s: %w", h.info.Path, unix.EBADF)
	}
	if err := h.transfer("write", b, off, target.write); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (h *handle) transfer(kind string, b []byte, off int64, do func(target, []byte, int64) error) error {
	if off%blockdev.Align != 0 || len(b)%blockdev.Align != 0 {
		return fmt.Errorf("%s %s: %w", kind, h.info.Path, blockdev.ErrAlign)
	}
	return h.do(kind, func(t *table) error { return t.transfer(b, off, do) })
}

// Sync flushes what is below the live table. While the device is suspended it waits.
func (h *handle) Sync() error {
	return h.do("flush", func(t *table) error { return t.each(target.flush) })
}

// do does I/O of the process, which may die before it.
func (h *handle) do(kind string, do func(*table) error) error {
	err := h.kernel.mem.Alive()
	if err == nil && kind != "read" {
		err = h.kernel.mem.Effect(blocktest.Effect{Kind: kind, Object: h.info.Path})
	}
	if err == nil {
		h.kernel.mu.Lock()
		err = h.usable()
		name := h.device.name
		h.kernel.mu.Unlock()
		if err == nil {
			return h.kernel.use(context.Background(), kind, name, do)
		}
	}
	return fmt.Errorf("%s %s: %w", kind, h.info.Path, err)
}

// usable is why h cannot be used.
func (h *handle) usable() error {
	switch {
	case h.closed:
		return os.ErrClosed
	case !h.open():
		return blocktest.ErrDead
	}
	return nil
}

// Close gives the device back.
func (h *handle) Close() error {
	h.kernel.mu.Lock()
	defer h.kernel.mu.Unlock()
	if h.closed {
		return fmt.Errorf("close %s: %w", h.info.Path, os.ErrClosed)
	}
	h.closed = true
	h.device.handles = slices.DeleteFunc(h.device.handles, func(other *handle) bool { return other == h })
	return nil
}
