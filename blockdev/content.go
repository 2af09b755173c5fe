//go:build linux

package blockdev

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/size"
)

// Signatures is everything that signature.Find recognises on the device at path.
func (h Host) Signatures(ctx context.Context, path string) ([]signature.Signature, error) {
	disk, err := h.Open(ctx, path, Read)
	if err != nil {
		return nil, err
	}
	defer disk.Close() //nolint:errcheck // read only
	found, err := signature.Find(disk, disk.Info().Size)
	if err != nil {
		return nil, fmt.Errorf("look for signatures on %s: %w", path, err)
	}
	return found, nil
}

// Allocation is the allocation map of the device at path, which may be a link. There is one for a loop device on a file, for
// a thin SCSI disk, and for a partition of either. allocation.ErrUnknown means that there is no way to know, as for
//
//	device-mapper thin   the kernel tells how much is mapped, and not what: that is in the pool's metadata alone, which only
//	                     its own tools read (Documentation/admin-guide/device-mapper/thin-provisioning.rst, Status)
//	NVMe, virtio         the kernel passes no question about allocation on
func (h Host) Allocation(ctx context.Context, path string) (allocation.Map, error) {
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

// allocation is the allocation map of d. It keeps d, unless it fails.
func (h Host) allocation(ctx context.Context, d *hostDisk) (allocation.Map, error) {
	if !d.node.partition() {
		e, err := extentsOf(d)
		if err != nil {
			return nil, err
		}
		return allocation.New(allocation.Device{Path: d.path, Size: d.info().Size}, e), nil
	}
	start, err := strconv.ParseUint(d.node.text("start"), 10, 54)
	if err != nil {
		return nil, fmt.Errorf("%w: where the partition starts: %w", allocation.ErrUnknown, err)
	}
	disk, err := h.open(ctx, d.node.disk().path(), Read)
	if err != nil {
		return nil, err
	}
	e, err := extentsOf(disk)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	part := allocation.Device{Path: d.path, Start: size.Sectors(start).Bytes(), Size: d.info().Size}
	return allocation.New(part, withPart{e, d}), nil
}

// withPart keeps a partition open beside its disk. A partition that is open cannot be moved.
type withPart struct {
	allocation.Extents
	part *hostDisk
}

// Close closes both.
func (w withPart) Close() error { return errors.Join(w.Extents.Close(), w.part.Close()) }

// extentsOf is the extents of a whole disk. It keeps d, unless it fails.
func extentsOf(d *hostDisk) (allocation.Extents, error) {
	switch {
	case strings.HasPrefix(d.node.name, "loop"):
		return allocation.Loop(d.file, d.node.text("loop/backing_file"))
	case len(entries(d.node.dir+"/device/scsi_disk")) > 0:
		return allocation.SCSI(d.file, d.info().Size, d.info().LogicalBlock)
	}
	return nil, allocation.ErrUnknown
}
