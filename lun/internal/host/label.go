package host

import (
	"context"
	"slices"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/size"
)

// Label opens a device exclusively, wipes the signatures at its ends, and makes it a drive.
func (h *Host) Label(ctx context.Context, info blockdev.Info, label catalog.Label) error {
	disk, err := h.Devices.Open(ctx, info.Path, blockdev.Exclusive)
	if err != nil {
		return err
	}
	defer disk.Close() //nolint:errcheck // Init has synced
	tail := info.Size.RoundDown(blockdev.Align) - size.MiB
	if err := blockdev.Zero(ctx, disk, 0, size.MiB); err != nil {
		return err
	}
	if err := blockdev.Zero(ctx, disk, tail, info.Size-tail); err != nil {
		return err
	}
	h.Outdated = true
	if err := catalog.Init(disk, label); err != nil {
		return err
	}
	if d, ok := disk.(interface{ RereadPartitions() error }); ok {
		// The kernel may still have partitions that would lead into the drive.
		return d.RereadPartitions()
	}
	return nil
}

// Grow makes a drive as large as its device.
func (h *Host) Grow(ctx context.Context, d *Drive) error {
	h.Outdated = true
	return h.withDisk(ctx, d.ID(), func(disk blockdev.Disk) error { return d.Store.Grow(disk) })
}

// Repair writes the lost label of a device anew. With wipe, what others have written at both ends goes. See catalog.Drive.Repair.
func (h *Host) Repair(ctx context.Context, d *Drive, wipe bool) error {
	h.Outdated = true
	return h.write(ctx, d, func(disk blockdev.Disk) error {
		if err := d.Store.Repair(disk, wipe); err != nil || !wipe {
			return err
		}
		end := catalog.TailStart(d.Info.Size) + catalog.FirstExtent // behind the last whole MiB
		return blockdev.Zero(ctx, disk, end, d.Info.Size-end)
	})
}

// Remains says what others have left in the places of the label and the catalog of a device whose label is lost.
type Remains struct {
	Signatures []signature.Signature // recognised there, but for plexctl's own
	Other      bool                  // somebody else may have written there, recognised or not
}

// Remains looks at a device whose label is lost.
func (h *Host) Remains(ctx context.Context, d *Drive) (Remains, error) {
	found, err := h.Devices.Signatures(ctx, d.Info.Path)
	found = slices.DeleteFunc(found, func(s signature.Signature) bool { return s.Type == signature.Own })
	return Remains{found, len(found) > 0 || !d.Store.Blank()}, fault.Of("look at", d.Info.Path, err)
}

// Unlabel removes the label from a drive.
func (h *Host) Unlabel(ctx context.Context, d *Drive) error {
	disk, err := h.Devices.Open(ctx, d.Info.Path, blockdev.Exclusive)
	if err != nil {
		return err
	}
	defer disk.Close() //nolint:errcheck // Wipe has synced
	h.Outdated = true
	return catalog.Wipe(disk, min(d.Store.Label.Size, d.Info.Size))
}
