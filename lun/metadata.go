package lun

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// filled reports, for each plex of l, whether the running operation fills it. The others hold the data.
func filled(l catalog.LUN) []bool {
	flags := make([]bool, len(l.Plexes))
	if l.Operation == nil {
		return flags
	}
	for i, p := range l.Plexes {
		flags[i] = slices.Contains(l.Operation.Plexes, p.ID)
	}
	return flags
}

// fullCopy is the step that writes metadata which make the kernel copy all of l from the plexes that hold it to those
// that the operation fills. The slots in force in l must not be used by any table.
func fullCopy(l catalog.LUN) step {
	return funcStep{"write metadata: copy everything to the new plexes of " + l.Name, func(ctx context.Context, m *machine) error {
		slots, err := fullCopySlots(l)
		if err != nil {
			return err
		}
		return m.writeSlots(ctx, l, slots)
	}}
}

func fullCopySlots(l catalog.LUN) ([]raidmeta.Slot, error) {
	inSync := filled(l)
	for i := range inSync {
		inSync[i] = !inSync[i]
	}
	return raidmeta.Attach(raidmeta.AttachPlan{ArraySize: l.Size, RegionSize: l.RegionSize, InSync: inSync})
}

// restart is the step that readies the metadata of a mirror that no table uses for being started: after a boot, a crash,
// a clean stop alike. dm-raid itself forgets after a crash which regions were being written (reference: dm-raid.c never
// records "dirty"), so that the legs may differ there; this makes the kernel copy every region whose bit is set.
//
//   - An operation runs: its plexes get every region that is set, from the plexes that hold the data.
//   - A leg has failed or lags: the same for it.
//   - All legs hold the data: the regions that are set are copied from the first leg to the others.
//
// After a clean stop no bit is set, and nothing is copied: the bitmap is the mark of use.
func restart(l catalog.LUN) step {
	return funcStep{"ready metadata: copy what may differ in " + l.Name, func(ctx context.Context, m *machine) error {
		slots, err := m.restartSlots(ctx, l)
		if err != nil {
			return err
		}
		return m.writeSlots(ctx, l, slots)
	}}
}

func (m *machine) restartSlots(ctx context.Context, l catalog.LUN) ([]raidmeta.Slot, error) {
	slots, err := m.readSlots(ctx, l)
	if err != nil {
		return nil, err
	}
	here := make([]bool, len(l.Plexes))
	for i, p := range l.Plexes {
		here[i] = !missing(p, m.absent)
	}
	if l.Operation != nil {
		return restartFilling(l, slots, here)
	}
	lagging, err := lagging(slots, here)
	if err != nil {
		return nil, &vds.Error{Code: vds.ErrObjectStatusFailed, Op: "start", Object: lunObject(l.Name), Err: err}
	}
	if len(lagging) > 0 || slices.Contains(here, false) {
		return raidmeta.Returned(slots, l.RegionSize, lagging)
	}
	return raidmeta.Resync(slots, l.RegionSize)
}

// restartFilling readies a mirror under an operation: the record says which plexes hold the data. Where no usable
// metadata of these is left, everything is copied.
func restartFilling(l catalog.LUN, slots []raidmeta.Slot, here []bool) ([]raidmeta.Slot, error) {
	var stale []int
	usable := false
	for i, fills := range filled(l) {
		switch {
		case !here[i]: // stays failed, and its bits stay set
		case fills:
			stale = append(stale, i)
		default:
			usable = usable || slots[i].Super != (raidmeta.Super{})
		}
	}
	if !usable {
		return fullCopySlots(l)
	}
	return raidmeta.Returned(slots, l.RegionSize, stale)
}

// lagging is the legs that are here and do not hold all of the data, as the freshest superblock and their own tell.
func lagging(slots []raidmeta.Slot, here []bool) ([]int, error) {
	freshest := 0
	for i, s := range slots {
		if s.Super.Events > slots[freshest].Super.Events {
			freshest = i
		}
	}
	source := slots[freshest].Super
	if source == (raidmeta.Super{}) {
		return nil, errors.New("no leg has metadata that can be read")
	}
	var legs []int
	holding := false
	for i, s := range slots {
		switch {
		case !here[i]:
		case s.Super == (raidmeta.Super{}), source.FailedDevices&(1<<i) != 0, s.Super.RecoveryOffset != raidmeta.InSync:
			legs = append(legs, i)
		default:
			holding = true
		}
	}
	if !holding {
		return nil, errors.New("no leg that is here holds all of the data")
	}
	return legs, nil
}

// readSlots reads the metadata in force of every plex of l. The slot of a plex whose drive is missing or whose metadata
// cannot be used is the zero Slot, or has a stale bitmap.
func (m *machine) readSlots(ctx context.Context, l catalog.LUN) ([]raidmeta.Slot, error) {
	slots := make([]raidmeta.Slot, len(l.Plexes))
	for i, p := range l.Plexes {
		if missing(p, m.absent) {
			continue
		}
		image := make([]byte, raidmeta.SlotSize)
		if err := m.readExtent(ctx, slotExtent(p, p.Slot), image); err != nil {
			m.log.Warn("read metadata", "lun", l.Name, "plex", p.ID, "error", err)
			continue
		}
		slot, err := raidmeta.DecodeSlot(image)
		if err != nil {
			m.log.Warn("read metadata", "lun", l.Name, "plex", p.ID, "error", err)
		}
		slots[i] = slot
	}
	return slots, ctx.Err()
}

// writeSlots writes the metadata in force of every plex of l whose drive is here, and makes it durable.
func (m *machine) writeSlots(ctx context.Context, l catalog.LUN, slots []raidmeta.Slot) error {
	if len(slots) != len(l.Plexes) {
		return fmt.Errorf("metadata of %q: %d slots for %d plexes", l.Name, len(slots), len(l.Plexes))
	}
	for i, p := range l.Plexes {
		if missing(p, m.absent) {
			continue
		}
		at := slotExtent(p, p.Slot)
		err := m.withDisk(ctx, at.Drive, func(disk blockdev.Disk) error {
			_, err := disk.WriteAt(slots[i].Encode(), int64(at.Start.Bytes()))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readExtent reads the beginning of an extent into b, past every cache.
func (m *machine) readExtent(ctx context.Context, at catalog.Extent, b []byte) error {
	d, ok := m.drives[at.Drive]
	if !ok {
		return &vds.Error{Code: vds.ErrObjectStatusFailed, Op: "read", Object: driveObject(at.Drive), Reason: "it is missing"}
	}
	disk, err := m.devices.Open(ctx, d.info.Path, blockdev.Read)
	if err != nil {
		return fault("open", d.info.Path, err)
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	_, err = disk.ReadAt(b, int64(at.Start.Bytes()))
	return fault("read", d.info.Path, err)
}

// proven reports whether the superblocks of all plexes say that nothing is left to copy. The status line alone does not
// prove it.
func (m *machine) proven(ctx context.Context, l catalog.LUN) (bool, error) {
	for _, p := range l.Plexes {
		block := make([]byte, blockdev.Align)
		if err := m.readExtent(ctx, slotExtent(p, p.Slot), block); err != nil {
			return false, err
		}
		super, err := raidmeta.DecodeSuper(block)
		if err != nil {
			return false, fmt.Errorf("superblock of plex %s: %w", p.ID, err)
		}
		if super.FailedDevices != 0 || super.RecoveryOffset != raidmeta.InSync || super.ResyncOffset != raidmeta.InSync {
			return false, nil
		}
	}
	return true, nil
}

// markClean empties the bitmaps of a mirror that was stopped with all legs equal, so that the next start copies nothing.
// Data first: what the drives still have in their caches must not be lost on one leg while the bitmap calls it equal.
func (m *machine) markClean(ctx context.Context, l catalog.LUN) error {
	if ok, err := m.proven(ctx, l); err != nil || !ok {
		return err
	}
	for _, id := range l.Drives() {
		if err := m.withDisk(ctx, id, func(blockdev.Disk) error { return nil }); err != nil {
			return err
		}
	}
	slots, err := m.readSlots(ctx, l)
	if err != nil {
		return err
	}
	regions := raidmeta.Regions(l.Size, l.RegionSize)
	for i := range slots {
		if slots[i].Super == (raidmeta.Super{}) || slots[i].Bitmap.Stale {
			return nil // not whole: the next start copies what may differ
		}
		slots[i].Bitmap.Bits = raidmeta.NewBits(regions, false)
	}
	return m.writeSlots(ctx, l, slots)
}

// wipe zeroes the first and the last MiB of every plex of l, so that nobody finds a file system or a partition table
// that is not there any more.
func (m *machine) wipe(ctx context.Context, plexes []catalog.Plex) error {
	for _, p := range plexes {
		first, last := p.Data[0], p.Data[len(p.Data)-1]
		head := catalog.Extent{Drive: first.Drive, Start: first.Start, Length: min(mib, first.Length)}
		tail := catalog.Extent{Drive: last.Drive, Start: last.End() - min(mib, last.Length), Length: min(mib, last.Length)}
		for _, e := range []catalog.Extent{head, tail} {
			if err := m.zero(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// zero overwrites an extent with zeros, durably.
func (m *machine) zero(ctx context.Context, e catalog.Extent) error {
	return m.withDisk(ctx, e.Drive, func(disk blockdev.Disk) error {
		return blockdev.Zero(ctx, disk, e.Start.Bytes(), e.Length.Bytes())
	})
}

// mib is the unit of extents.
const mib = size.Sectors(size.MiB / size.Sector)
