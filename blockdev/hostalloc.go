package blockdev

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/size"
)

// Allocation is what is known about the device at path, which may be a link: a loop device on a file, a thin SCSI disk, or
// a partition of either. ErrNoAllocation means that there is no way to know. Among others that is so for
//
//	device-mapper thin   the kernel tells how much is mapped, not what: that is in the pool's metadata alone, which only
//	                     its own tools read (Documentation/admin-guide/device-mapper/thin-provisioning.rst, Status)
//	NVMe, virtio         the kernel passes no question about allocation on
func (h Host) Allocation(ctx context.Context, path string) (Allocation, error) {
	d, err := h.open(ctx, path, Read)
	if err != nil {
		return nil, err
	}
	a, err := h.allocation(ctx, d)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("learn the allocation of %s: %w", path, err), d.Close())
	}
	return a, nil
}

// allocation is what is known about d, which it keeps.
func (h Host) allocation(ctx context.Context, d *hostDisk) (Allocation, error) {
	if !d.node.partition() {
		e, err := extentsOf(d)
		if err != nil {
			return nil, err
		}
		return NewAllocation(d.info(), 0, e), nil
	}
	start, err := strconv.ParseUint(d.node.text("start"), 10, 54)
	if err != nil {
		return nil, fmt.Errorf("%w: where the partition starts: %w", ErrNoAllocation, err)
	}
	disk, err := h.open(ctx, d.node.disk().path(), Read)
	if err != nil {
		return nil, err
	}
	e, err := extentsOf(disk)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	return NewAllocation(d.info(), size.Sectors(start).Bytes(), withPart{e, d}), nil
}

// withPart keeps a partition open beside its disk, so that it stays where it is.
type withPart struct {
	Extents
	part *hostDisk
}

// Close closes both.
func (w withPart) Close() error { return errors.Join(w.Extents.Close(), w.part.Close()) }

// extentsOf is the way of knowing about a whole disk. It keeps d, unless it fails.
func extentsOf(d *hostDisk) (Extents, error) {
	switch {
	case strings.HasPrefix(d.node.name, "loop"):
		return openLoopFile(d)
	case len(entries(d.node.dir+"/device/scsi_disk")) > 0:
		return openThinDisk(d)
	}
	return nil, ErrNoAllocation
}
