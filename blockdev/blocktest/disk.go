package blocktest

import (
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// device is a drive of a Mem, or a device stacked on drives: then open is set and there is no content.
type device struct {
	info       blockdev.Info
	signatures []signature.Signature
	open       func(blockdev.Mode) (blockdev.Disk, error)

	now     store       // what a read gives
	durable store       // what the medium has
	pending []Unflushed // the volatile cache: what now has and durable lacks, oldest first

	zeroes    bool // by itself, when it is asked to
	thin      bool // tells what is allocated
	gone      bool
	exclusive *handle
	faults    []Fault
}

// Unflushed is a write, or a part of one, that completed and was not flushed.
type Unflushed struct {
	Path   string // of the drive
	Offset int64
	Data   []byte // not to be changed
}

// claim is a claim of the kernel on a device: another device is stacked on it.
type claim struct {
	dev, holder devno.No
	name        string
}

// Claim claims the device of that number for a device stacked on it, as device-mapper does for each table that names it. It
// fails with ErrNotExist when there is none, and with ErrBusy when a mount, swap or an exclusive open has it. Each Claim
// needs a Release.
func (m *Mem) Claim(dev, holder devno.No, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.disk(dev)
	if d == nil || d.gone {
		return fmt.Errorf("claim %v: %w", dev, blockdev.ErrNotExist)
	}
	if d.exclusive != nil || m.mounted(dev) {
		return fmt.Errorf("claim %s: %w", d.info.Path, blockdev.ErrBusy)
	}
	m.claims = append(m.claims, claim{dev, holder, name})
	return nil
}

// Release takes one Claim back.
func (m *Mem) Release(dev, holder devno.No) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, c := range m.claims {
		if c.dev == dev && c.holder == holder {
			m.claims = slices.Delete(m.claims, i, i+1)
			return
		}
	}
}

// disk is the device of that number, nil when there is none. m.mu is held.
func (m *Mem) disk(dev devno.No) *device {
	for _, d := range m.disks {
		if d.info.Dev == dev {
			return d
		}
	}
	return nil
}

// mounted reports whether a user of dev is one that claims it. m.mu is held.
func (m *Mem) mounted(dev devno.No) bool {
	return slices.ContainsFunc(m.users[dev], func(u blockdev.User) bool { return u.Kind == "mount" || u.Kind == "swap" })
}

// openDisk opens a drive. m.mu is held.
func (m *Mem) openDisk(d *device, mode blockdev.Mode) (blockdev.Disk, error) {
	if d.info.ReadOnly && mode != blockdev.Read && mode != blockdev.Look {
		return nil, blockdev.ErrReadOnly
	}
	if err := d.fault("open", 0, 0); err != nil {
		return nil, err
	}
	h := &handle{mem: m, disk: d, mode: mode, life: m.life, info: m.describe(d)}
	if mode == blockdev.Exclusive {
		claimed := slices.ContainsFunc(m.claims, func(c claim) bool { return c.dev == d.info.Dev })
		if claimed || d.exclusive != nil || m.mounted(d.info.Dev) {
			return nil, blockdev.ErrBusy
		}
		d.exclusive = h
	}
	return h, nil
}

// handle is an open drive.
type handle struct {
	mem    *Mem
	disk   *device
	mode   blockdev.Mode
	life   int
	info   blockdev.Info
	closed bool
}

// Info is the drive as it was when it was opened.
func (h *handle) Info() blockdev.Info { return h.info }

// ReadAt reads what was written last, flushed or not.
func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	return h.transfer("read", b, off, h.disk.readAt)
}

// WriteAt writes into the volatile cache.
func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	if err := h.effect("write"); err != nil {
		return 0, err
	}
	return h.transfer("write", b, off, h.disk.writeAt)
}

// transfer does one read or write of the process.
func (h *handle) transfer(kind string, b []byte, off int64, do func([]byte, int64) (int, error)) (int, error) {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	err := h.usable(kind)
	if err == nil && (off%blockdev.Align != 0 || len(b)%blockdev.Align != 0) {
		err = blockdev.ErrAlign
	}
	var n int
	if err == nil {
		n, err = do(b, off)
	}
	if err == nil || err == io.EOF { //nolint:errorlint // readAt gives it bare, and ReadAt has to
		return n, err
	}
	return n, fmt.Errorf("%s %s at %d: %w", kind, h.info.Path, off, err)
}

// WriteEnd writes into the volatile cache.
func (h *handle) WriteEnd(p []byte, off int64) error {
	if err := h.effect("write"); err != nil {
		return err
	}
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.usable("write"); err != nil {
		return err
	}
	_, err := h.disk.writeAt(p, off)
	return err
}

// Sync makes all writes to the drive durable, those of others too.
func (h *handle) Sync() error {
	if err := h.effect("flush"); err != nil {
		return err
	}
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	err := h.usable("flush")
	if err == nil {
		err = h.disk.flush()
	}
	if err != nil {
		return fmt.Errorf("flush %s: %w", h.info.Path, err)
	}
	return nil
}

// Close closes the drive. Writes that were not flushed stay in its cache.
func (h *handle) Close() error {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if h.closed {
		return fmt.Errorf("close %s: %w", h.info.Path, os.ErrClosed)
	}
	h.closed = true
	if h.disk.exclusive == h {
		h.disk.exclusive = nil
	}
	return nil
}

// effect announces a change that the process is about to make.
func (h *handle) effect(kind string) error {
	if err := h.mem.Effect(Effect{Kind: kind, Object: h.info.Path}); err != nil {
		return fmt.Errorf("%s %s: %w", kind, h.info.Path, err)
	}
	return nil
}

// usable is why the process cannot do I/O through h. The Mem's mutex is held.
func (h *handle) usable(kind string) error {
	switch {
	case h.mem.dead || h.life != h.mem.life:
		return ErrDead
	case h.closed:
		return os.ErrClosed
	case (kind == "write" || kind == "zero") && (h.mode == blockdev.Read || h.mode == blockdev.Look):
		return unix.EBADF
	}
	return nil
}

// readAt, writeAt and flush are the I/O of the drive itself, for any caller. The Mem's mutex is held.
func (d *device) readAt(b []byte, off int64) (int, error) {
	if err := d.fault("read", off, len(b)); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, unix.EINVAL
	}
	n := min(int64(len(b)), max(0, int64(d.info.Size)-off))
	d.now.readAt(b[:n], off)
	if n < int64(len(b)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (d *device) writeAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	if size.Bytes(off)+size.Bytes(len(b)) > d.info.Size {
		return 0, unix.ENOSPC
	}
	if err := d.fault("write", off, len(b)); err != nil {
		return 0, err
	}
	d.now.differences(b, off, func(b []byte, off int64) { // what changes nothing need not be flushed either
		w := Unflushed{Path: d.info.Path, Offset: off, Data: slices.Clone(b)}
		d.now.writeAt(w.Data, off)
		d.pending = append(d.pending, w)
	})
	return len(b), nil
}

func (d *device) flush() error {
	if err := d.fault("flush", 0, 0); err != nil {
		return err
	}
	for _, w := range d.pending {
		d.durable.writeAt(w.Data, w.Offset)
	}
	d.pending = nil
	return nil
}
