package blocktest

import (
	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/size"
)

// SetOffload says whether the drive at path can zero by itself (blockdev.ZeroOffload). A new drive cannot.
func (m *Mem) SetOffload(path string, can bool) {
	m.edit(path, func(d *device) { d.zeroes = can })
}

// Offload is what the drive can do now.
func (h *handle) Offload() (blockdev.Offload, error) {
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if !h.disk.zeroes {
		return blockdev.Offload{}, blockdev.ErrNoOffload
	}
	return blockdev.Offload{Most: size.GiB}, nil
}

// ZeroByDrive zeroes in the volatile cache.
func (h *handle) ZeroByDrive(start, length size.Bytes) error {
	if err := h.effect("zero"); err != nil {
		return err
	}
	h.mem.mu.Lock()
	defer h.mem.mu.Unlock()
	if err := h.usable("zero"); err != nil {
		return err
	}
	return h.disk.zero(int64(start), int64(length))
}

// zero makes whole pages zero. After a power cut each page is zero, as it was, or torn, like a write.
func (d *device) zero(off, length int64) error {
	if err := d.fault("zero", off, int(length)); err != nil {
		return err
	}
	for _, number := range d.now.written(off, length) {
		w := Unflushed{Path: d.info.Path, Offset: number * pageSize, Data: zeroPage[:]}
		d.now.writeAt(w.Data, w.Offset)
		d.pending = append(d.pending, w)
	}
	return nil
}
