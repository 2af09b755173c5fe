package blocktest

import (
	"context"
	"fmt"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/size"
)

// SetAllocation says whether the drive at path tells what is allocated, which a new one does not. One that does knows it
// exactly: whatever reads as zeros in a whole block is blank.
func (m *Mem) SetAllocation(path string, known bool) {
	m.edit(path, func(d *memDisk) { d.thin = known })
}

// Allocation is what the drive at path tells, allocation.ErrUnknown where it does not, and for a stacked device. A Fault of the
// kind "allocation" makes it fail later.
func (m *Mem) Allocation(ctx context.Context, path string) (allocation.Map, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(ctx, path)
	if err == nil && (d.open != nil || !d.thin) {
		err = allocation.ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("learn the allocation of %s: %w", path, err)
	}
	info := m.describe(d)
	return allocation.New(allocation.Device{Path: info.Path, Size: info.Size}, memExtents{&handle{mem: m, disk: d, mode: blockdev.Read, life: m.life, info: info}}), nil
}

// memExtents knows a drive by its pages.
type memExtents struct{ *handle }

// Check fails when the process cannot use the drive.
func (e memExtents) Check() error {
	e.mem.mu.Lock()
	defer e.mem.mu.Unlock()
	return e.usable("allocation")
}

// Extent looks at the pages.
func (e memExtents) Extent(at, end size.Bytes) (blank bool, until size.Bytes, err error) {
	e.mem.mu.Lock()
	defer e.mem.mu.Unlock()
	if err := e.usable("allocation"); err != nil {
		return false, 0, err
	}
	if err := e.disk.fault("allocation", int64(at), int(end-at)); err != nil {
		return false, 0, err
	}
	blank, until = e.disk.now.run(at, end)
	return blank, until, nil
}
