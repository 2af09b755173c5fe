package host

import (
	"context"
	"errors"
	"iter"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/size"
)

// mib is the unit of extents.
const mib = size.Sectors(size.MiB / size.Sector)

// Zero overwrites an extent with zeros, durably.
func (h *Host) Zero(ctx context.Context, e catalog.Extent) error {
	return h.withDisk(ctx, e.Drive, func(disk blockdev.Disk) error {
		return blockdev.Zero(ctx, disk, e.Start.Bytes(), e.Length.Bytes())
	})
}

// Wipe zeroes the first and the last MiB of every plex of l, durably. Then no old file system or partition table is found
// there.
func (h *Host) Wipe(ctx context.Context, l catalog.LUN) error {
	for _, p := range l.Copies() {
		runs := layout.RunsOf(p.Data, l.Size)
		first, last := runs[0], runs[len(runs)-1]
		head := catalog.Extent{Drive: first.Drive, Start: first.Start, Length: min(mib, first.Length)}
		tail := catalog.Extent{Drive: last.Drive, Start: last.Start + last.Length - min(mib, last.Length), Length: min(mib, last.Length)}
		if err := errors.Join(h.Zero(ctx, head), h.Zero(ctx, tail)); err != nil {
			return err
		}
	}
	return nil
}

// ZeroRuns makes runs read as zeros, durably. The drive does it by itself if it can.
func (h *Host) ZeroRuns(ctx context.Context, runs []layout.Run) error {
	for _, r := range runs {
		err := h.withDisk(ctx, r.Drive, func(disk blockdev.Disk) error {
			err := blockdev.ZeroOffload(ctx, disk, r.Start.Bytes(), r.Length.Bytes())
			if errors.Is(err, blockdev.ErrNoOffload) {
				return blockdev.Zero(ctx, disk, r.Start.Bytes(), r.Length.Bytes())
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ZeroRegions makes the drive zero regions of a plex of l, durably. The plex must lie on one drive. blockdev.ErrNoOffload when
// the drive cannot zero by itself.
func (h *Host) ZeroRegions(ctx context.Context, l catalog.LUN, p catalog.Plex, regions raidmeta.Bits) error {
	return h.withDisk(ctx, p.Data[0].Drive, func(disk blockdev.Disk) error {
		for start, end := range stretches(regions, l) {
			for _, r := range layout.RunsAfter(layout.RunsOf(p.Data, end), start) {
				if err := blockdev.ZeroOffload(ctx, disk, r.Start.Bytes(), r.Length.Bytes()); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// stretches is the start and end of each run of adjacent regions of l.
func stretches(regions raidmeta.Bits, l catalog.LUN) iter.Seq2[size.Sectors, size.Sectors] {
	return func(yield func(start, end size.Sectors) bool) {
		n := raidmeta.Regions(l.Size, l.RegionSize)
		for i := uint64(0); i < n; i++ {
			first := i
			for i < n && regions.Get(i) {
				i++
			}
			start, end := size.Sectors(first)*l.RegionSize, min(size.Sectors(i)*l.RegionSize, l.Size)
			if i > first && !yield(start, end) {
				return
			}
		}
	}
}

// CanZero is the reason why a drive cannot zero by itself; nil when it says that it can. It zeroes nothing.
func (h *Host) CanZero(ctx context.Context, id uuid.UUID) error {
	d, here := h.Drives[id]
	if !here {
		return nil // not for this function to report
	}
	disk, err := h.Devices.Open(ctx, d.Info.Path, blockdev.Read)
	if err != nil {
		return err
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	return blockdev.ZeroOffload(ctx, disk, 0, 0)
}
