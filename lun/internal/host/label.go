package host

import (
	"context"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
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
