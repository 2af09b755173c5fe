package blocktest

import (
	"context"
	"fmt"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/size"
)

// SetAllocation says whether the drive at path tells its allocation. A new drive does not. One that does knows it exactly:
// every whole block that reads as zeros is blank.
func (m *Mem) SetAllocation(path string, known bool) {
	m.edit(path, func(d *device) { d.thin = known })
}

// Allocation is the allocation map of the drive at path. It fails with allocation.ErrUnknown if the drive does not tell, and
// for a stacked device. A Fault of the kind "allocation" makes the map fail later.
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
	return allocation.New(allocation.Device{Path: info.Path, Size: info.Size}, pages{&handle{mem: m, disk: d, mode: blockdev.Read, life: m.life, info: info}}), nil
}

// pages is the allocation of a drive: the pages that it has.
type pages struct{ *handle }

// Check fails when the process cannot use the drive.
func (e pages) Check() error {
	e.mem.mu.Lock()
	defer e.mem.mu.Unlock()
	return e.usable("allocation")
}

// Extent looks at the pages.
func (e pages) Extent(at, end size.Bytes) (blank bool, until size.Bytes, err error) {
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
