package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// ReadSlots reads the metadata of every plex of l that takes part: the current slot, and the other one if it is evidence.
func (h *Host) ReadSlots(ctx context.Context, l catalog.LUN) ([]raid1.Read, error) {
	reads := make([]raid1.Read, len(l.Plexes))
	for _, i := range h.Roles(l).Taking() {
		p := l.Plexes[i]
		reads[i].Slot, reads[i].Err = h.ReadSlot(ctx, p, p.Slot)
		reads[i].Changed = h.Changed(p)
		if err := reads[i].Err; err != nil {
			h.Log.Warn("read metadata", "lun", l.Name, "plex", p.ID, "error", err)
		}
		if p.Prior {
			reads[i].Prior, reads[i].PriorErr = h.ReadSlot(ctx, p, p.Slot.Other())
		}
	}
	return reads, ctx.Err()
}

// Changed reports whether a device of a plex is another one than its drive was on.
func (h *Host) Changed(p catalog.Plex) bool {
	return slices.ContainsFunc(record.PlexDrives(p), func(id uuid.UUID) bool {
		d, here := h.Drives[id]
		return here && d.Changed()
	})
}

// firstRead is the part of a slot that is read first. It nearly always holds everything: it covers the bitmap of a LUN of 60
// GiB.
const firstRead = 12 << 10

// ReadSlot reads a metadata slot of a plex. On an error the slot has the fields that could be decoded; see raidmeta.DecodeSlot.
func (h *Host) ReadSlot(ctx context.Context, p catalog.Plex, s catalog.Slot) (raidmeta.Slot, error) {
	var slot raidmeta.Slot
	var err error
	for _, length := range []size.Bytes{firstRead, raidmeta.SlotSize} {
		image := make([]byte, length)
		if err := h.readExtent(ctx, record.SlotExtent(p, s), image); err != nil {
			return raidmeta.Slot{}, err
		}
		if slot, err = raidmeta.DecodeSlot(image); !errors.Is(err, raidmeta.ErrBitmap) {
			break // else the bitmap may be longer
		}
	}
	return slot, err
}

// WriteSlots writes the current metadata of every plex of l that takes part, with the run of l, and makes it durable. Plexes that are in
// sync come first: once an earlier copy has metadata of the new run, their bits must say that it gets everything.
func (h *Host) WriteSlots(ctx context.Context, l catalog.LUN, slots []raidmeta.Slot) error {
	if len(slots) != len(l.Plexes) {
		return fmt.Errorf("metadata of %q: %d slots for %d plexes", l.Name, len(slots), len(l.Plexes))
	}
	raid1.Stamp(l, slots)
	taking := h.Roles(l).Taking()
	inSync := func(i int) bool { return slots[i].Super.RecoveryOffset == raidmeta.InSync }
	behind := slices.DeleteFunc(slices.Clone(taking), inSync)
	for _, i := range append(slices.DeleteFunc(taking, func(i int) bool { return !inSync(i) }), behind...) {
		if err := h.writeExtent(ctx, record.CurrentSlot(l.Plexes[i]), 0, slots[i].Encode()); err != nil {
			return err
		}
	}
	return nil
}

// WriteBitmaps writes the bitmaps of those plexes of l that are in sync, and makes them durable. It leaves their superblocks.
func (h *Host) WriteBitmaps(ctx context.Context, l catalog.LUN, slots []raidmeta.Slot, inSync []bool) error {
	raid1.Stamp(l, slots)
	for i, p := range l.Plexes {
		if !inSync[i] {
			continue
		}
		image := slots[i].Encode()[raidmeta.BitmapOffset:]
		if err := h.writeExtent(ctx, record.CurrentSlot(p), raidmeta.BitmapOffset, image); err != nil {
			return err
		}
	}
	return nil
}

// Invalidate makes the current metadata of these plexes unusable, so that everything is copied at the LUN's next start.
func (h *Host) Invalidate(ctx context.Context, plexes []catalog.Plex) error {
	for _, p := range plexes {
		at := record.CurrentSlot(p)
		at.Length = size.Bytes(blockdev.Align).Sectors()
		if err := h.Zero(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// Withdraw is Invalidate for metadata that a table of another process may come to use meanwhile. Then restore puts back what the
// kernel has not written anew.
func (h *Host) Withdraw(ctx context.Context, plexes []catalog.Plex) (restore func(context.Context) error, err error) {
	before := make([][]byte, len(plexes))
	for i, p := range plexes {
		before[i] = make([]byte, blockdev.Align)
		if err := h.readExtent(ctx, record.CurrentSlot(p), before[i]); err != nil {
			return nil, err
		}
	}
	restore = func(ctx context.Context) error {
		now := make([]byte, blockdev.Align)
		for i, p := range plexes {
			err := h.readExtent(ctx, record.CurrentSlot(p), now)
			if err == nil && bytes.Equal(now, make([]byte, len(now))) {
				err = h.writeExtent(ctx, record.CurrentSlot(p), 0, before[i])
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return restore, h.Invalidate(ctx, plexes)
}

// Writable tests whether a plex's drive can be written: it writes back the first block of the current metadata. No table may
// use that metadata meanwhile.
func (h *Host) Writable(ctx context.Context, p catalog.Plex) error {
	at := record.CurrentSlot(p)
	block := make([]byte, blockdev.Align)
	if err := h.readExtent(ctx, at, block); err != nil {
		return err
	}
	return h.writeExtent(ctx, at, 0, block)
}

// InSync reports whether the superblocks say that nothing is left to copy. It asks all plexes that take part and are not in
// lost, which has a bit for each plex. The status line alone does not prove it.
func (h *Host) InSync(ctx context.Context, l catalog.LUN, lost uint64) (bool, error) {
	asked, others, ok := raid1.Asked(h.Roles(l), lost)
	if !ok {
		return false, nil
	}
	for _, i := range asked {
		p := l.Plexes[i]
		block := make([]byte, blockdev.Align)
		if err := h.readExtent(ctx, record.CurrentSlot(p), block); err != nil {
			return false, err
		}
		super, err := raidmeta.DecodeSuper(block)
		if errors.Is(err, raidmeta.ErrNoMagic) {
			return false, nil // an interrupted change has invalidated it, and no table uses it
		}
		if err != nil {
			return false, fmt.Errorf("superblock of plex %s: %w", p.ID, err)
		}
		if !raid1.Proves(super, others) {
			return false, nil
		}
	}
	return true, nil
}

// EndRun writes the metadata of a stopped mirror for the run that begins with the stop. So an earlier copy of a plex is recognised.
// Only plexes that hold the data and targets take part in that run. EndRun returns the record to commit then. It reports false and
// writes nothing if some of the metadata is not complete.
//
// If all legs are in sync, and clean is possible, EndRun also records that the next start has nothing to copy. It flushes the data
// before that: a leg must not lose cached writes while its bitmap says that it is in sync.
func (h *Host) EndRun(ctx context.Context, l catalog.LUN, clean bool) (catalog.LUN, bool, error) {
	reads, err := h.ReadSlots(ctx, l)
	if err != nil {
		return l, false, err
	}
	roles := h.Roles(l)
	slots := raid1.Weigh(l, roles, reads).Slots
	complete, _ := raid1.Sources(l, roles, slots)
	unfit := func(i int) bool { return slots[i].Super == (raidmeta.Super{}) || slots[i].Bitmap.Stale }
	if len(complete) == 0 || slices.ContainsFunc(complete, unfit) {
		return l, false, nil
	}
	if clean {
		if slots, err = h.cleanSlots(ctx, l, slots); err != nil {
			return l, false, err
		}
	}
	taking := slices.DeleteFunc(roles.Taking(), func(i int) bool { return unfit(i) || !roles[i].IsTarget() && !slices.Contains(complete, i) })
	next := h.Next(record.NewRun(l, taking, rand.Uint64()))
	raid1.Stamp(next, slots)
	for _, i := range taking {
		if err := h.writeExtent(ctx, record.CurrentSlot(next.Plexes[i]), 0, slots[i].Encode()); err != nil {
			return l, false, err
		}
	}
	return next, true, nil
}

// cleanSlots is slots for a mirror that was stopped with all legs in sync, of which all data has been flushed. If some are not, it is
// slots as they are.
func (h *Host) cleanSlots(ctx context.Context, l catalog.LUN, slots []raidmeta.Slot) ([]raidmeta.Slot, error) {
	if ok, err := h.InSync(ctx, l, 0); err != nil || !ok {
		return slots, err
	}
	for _, id := range l.Drives() {
		if err := h.Flush(ctx, id); err != nil {
			return slots, err
		}
	}
	if stopped, ok := raid1.Stopped(l, h.Roles(l), slots); ok {
		return stopped, nil
	}
	return slots, nil
}

// readExtent reads the beginning of an extent into b, past all caches.
func (h *Host) readExtent(ctx context.Context, at catalog.Extent, b []byte) error {
	d, ok := h.Drives[at.Drive]
	if !ok {
		return record.LUNFault(vds.ErrObjectStatusFailed, "read", record.DriveObject(at.Drive), "it is missing", "")
	}
	disk, err := h.Devices.Open(ctx, d.Info.Path, blockdev.Read)
	if err != nil {
		return fault.Of("open", d.Info.Path, err)
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	_, err = disk.ReadAt(b, int64(at.Start.Bytes()))
	return fault.Of("read", d.Info.Path, err)
}

// writeExtent writes b at an offset into an extent, and makes it durable.
func (h *Host) writeExtent(ctx context.Context, at catalog.Extent, offset size.Bytes, b []byte) error {
	return h.withDisk(ctx, at.Drive, func(disk blockdev.Disk) error {
		_, err := disk.WriteAt(b, int64(at.Start.Bytes()+offset))
		return err
	})
}
