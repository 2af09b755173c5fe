package lun

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// out reports whether a plex takes no part in its LUN's table: its drive is missing, or it is out of date and nothing fills
// it.
func (m *machine) out(p catalog.Plex) bool { return p.Stale || missing(p, m.absent) }

// filled reports, for each plex of l, whether the running operation fills it.
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

// restart is the step that readies the metadata of a mirror that no table uses for being started: after a boot, a crash,
// a clean stop alike. dm-raid itself forgets after a crash which regions were being written (reference: dm-raid.c never
// records "dirty"), so that the legs may differ there; this makes the kernel copy every region whose bit is set.
//
//   - All plexes hold the data: the regions that are set are copied from the first one to the others.
//   - Else the first plex that holds the data is the source of all others, which get every region that is set. The kernel
//     does not make several legs equal and fill another at one time in an order that is right on every version.
//
// After a clean stop no bit is set, and nothing is copied: the bitmap is the mark of use. A tracked LUN, whose bits stay, has
// another mark; see raidmeta.Stopped.
func restart(l catalog.LUN) step {
	return funcStep{text: "ready metadata: copy what may differ in " + l.Name, do: func(ctx context.Context, m *machine) error {
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
	if err := m.checkReadable(ctx, l, slots); err != nil {
		return nil, err
	}
	holding, behind := m.roles(l, slots)
	if len(holding) == 0 && m.spoiled(l, slots) {
		return m.afresh(l)
	}
	switch len(holding) {
	case 0:
		return nil, &vds.Error{
			Code: vds.ErrObjectStatusFailed, Op: "start", Object: lunObject(l.Name),
			Reason: "no plex that is here holds all of the data", Hint: "see `plexctl lun show " + l.Name + "`",
		}
	case len(l.Plexes):
		return raidmeta.Resync(slots, l.RegionSize)
	case len(l.Copies()):
		if len(holding) == 1 || allClean(slots[:len(holding)]) {
			return raidmeta.Restarted(slots, l.RegionSize)
		}
	}
	source := slots[holding[0]].Bitmap
	for _, i := range holding[1:] {
		if b := slots[i].Bitmap; slots[i].Tracks() && b.RegionSize == source.RegionSize && b.ArraySize == source.ArraySize {
			source.Bits.Or(b.Bits)
		}
	}
	return raidmeta.Returned(slots, l.RegionSize, append(behind, holding[1:]...))
}

// allClean reports whether legs of a tracked LUN were stopped equal.
func allClean(slots []raidmeta.Slot) bool {
	return !slices.ContainsFunc(slots, func(s raidmeta.Slot) bool { return !s.Clean() })
}

// roles tells the plexes of l that hold all of the data from those that lag, by record and by what their metadata says of
// each other. Plexes that are out are neither. A plex that is being filled holds the data when the kernel has filled it to the
// end and has dropped all others since, before anybody could record the end.
func (m *machine) roles(l catalog.LUN, slots []raidmeta.Slot) (holding, behind []int) {
	fills := filled(l)
	freshest := freshestOf(slots)
	for i, p := range l.Plexes {
		super := slots[i].Super
		switch {
		case m.out(p):
		case fills[i], super == (raidmeta.Super{}), super.RecoveryOffset != raidmeta.InSync, freshest.CallsFailed(super):
			behind = append(behind, i)
		default:
			holding = append(holding, i)
		}
	}
	if len(holding) == 0 {
		holding = survivors(l, slots)
		behind = slices.DeleteFunc(behind, func(i int) bool { return slices.Contains(holding, i) })
	}
	return holding, behind
}

// survivors is the plexes of l that the kernel has filled to the end and that have seen all others fail.
func survivors(l catalog.LUN, slots []raidmeta.Slot) []int {
	var filledUp []int
	freshest, lost := freshestOf(slots), false
	for i, fills := range filled(l) {
		super := slots[i].Super
		switch {
		case !fills && !l.Plexes[i].Stale && freshest.FailedDevices&(1<<i) == 0:
			return nil
		case fills && !l.Plexes[i].Stale && super.Events > 0 && super.Events == freshest.Events &&
			super.RecoveryOffset == raidmeta.InSync && super.ResyncOffset == raidmeta.InSync && !freshest.CallsFailed(super):
			filledUp = append(filledUp, i)
		case !fills:
			lost = true
		}
	}
	if !lost {
		return nil
	}
	return filledUp
}

// freshestOf is the superblock that has seen the most.
func freshestOf(slots []raidmeta.Slot) raidmeta.Super {
	var freshest raidmeta.Super
	for _, s := range slots {
		if s.Super.Events > freshest.Events {
			freshest = s.Super
		}
	}
	return freshest
}

// checkReadable refuses to start a mirror while the metadata of a plex cannot be read that nobody says has failed: the plex may
// be newer than the others.
func (m *machine) checkReadable(ctx context.Context, l catalog.LUN, slots []raidmeta.Slot) error {
	fills, freshest := filled(l), freshestOf(slots)
	for i, p := range l.Plexes {
		if m.out(p) || fills[i] || slots[i].Super != (raidmeta.Super{}) || freshest.FailedDevices&(1<<i) != 0 {
			continue
		}
		_, err := m.readSlot(ctx, p)
		if err == nil || errors.Is(err, raidmeta.ErrNoMagic) || errors.Is(err, raidmeta.ErrInvalid) || errors.Is(err, raidmeta.ErrBitmap) {
			continue
		}
		return &vds.Error{
			Code: vds.ErrObjectStatusFailed, Op: "start", Object: lunObject(l.Name), Err: err,
			Reason: fmt.Sprintf("the metadata of plex %s cannot be read, and it may be newer than the others", p.ID),
			Hint:   "see to its drive; to start without what only it has, detach the drive and run `plexctl assemble --force " + l.Name + "`",
		}
	}
	return nil
}

// spoiled reports whether no plex that holds the data has metadata: see settled.
func (m *machine) spoiled(l catalog.LUN, slots []raidmeta.Slot) bool {
	fills := filled(l)
	for i, p := range l.Plexes {
		if !m.out(p) && !fills[i] && slots[i].Super != (raidmeta.Super{}) {
			return false
		}
	}
	return true
}

// rewrite is the step that writes metadata for l by its record alone, whatever there is.
func rewrite(l catalog.LUN) step {
	return funcStep{text: "write metadata of " + l.Name + ": copy everything from its first plex that is here", do: func(ctx context.Context, m *machine) error {
		slots, err := m.afresh(l)
		if err != nil {
			return err
		}
		return m.writeSlots(ctx, l, slots)
	}}
}

// anew is rewrite for a LUN that has metadata; nil for a linear one.
func anew(l catalog.LUN) step {
	if len(l.Plexes) == 1 {
		return nil
	}
	return rewrite(l)
}

// afresh is metadata for l by its record alone: everything is copied, from the first plex that holds the data.
func (m *machine) afresh(l catalog.LUN) ([]raidmeta.Slot, error) {
	plan := raidmeta.AttachPlan{ArraySize: l.Size, RegionSize: l.RegionSize, InSync: make([]bool, len(l.Plexes))}
	fills := filled(l)
	all := true
	for i, p := range l.Plexes {
		plan.InSync[i] = !m.out(p) && !fills[i]
		all = all && plan.InSync[i]
	}
	if all {
		return raidmeta.Grow(plan, 0)
	}
	if first := slices.Index(plan.InSync, true); first >= 0 {
		clear(plan.InSync[first+1:])
	}
	return raidmeta.Attach(plan)
}

// readSlots reads the metadata in force of every plex of l. The slot of a plex that is out or whose metadata cannot be used is the zero Slot, or has a stale bitmap.
func (m *machine) readSlots(ctx context.Context, l catalog.LUN) ([]raidmeta.Slot, error) {
	slots := make([]raidmeta.Slot, len(l.Plexes))
	for i, p := range l.Plexes {
		if m.out(p) {
			continue
		}
		slot, err := m.readSlot(ctx, p)
		if err != nil {
			m.log.Warn("read metadata", "lun", l.Name, "plex", p.ID, "error", err)
		}
		slots[i] = slot
	}
	return slots, ctx.Err()
}

// readSlot reads the metadata in force of one plex. With an error it is what could be made of it; see raidmeta.DecodeSlot.
func (m *machine) readSlot(ctx context.Context, p catalog.Plex) (raidmeta.Slot, error) {
	at := slotExtent(p, p.Slot)
	image := make([]byte, firstRead)
	if err := m.readExtent(ctx, at, image); err != nil {
		return raidmeta.Slot{}, err
	}
	slot, err := raidmeta.DecodeSlot(image)
	if err == nil || !errors.Is(err, raidmeta.ErrBitmap) {
		return slot, err
	}
	image = make([]byte, raidmeta.SlotSize) // the bitmap may be longer
	if err := m.readExtent(ctx, at, image); err != nil {
		return raidmeta.Slot{}, err
	}
	return raidmeta.DecodeSlot(image)
}

// firstRead is as much of a slot as nearly always holds all of it: the bitmap of a LUN of 60 GiB.
const firstRead = 12 << 10

// reread is what the given slots of l's plexes hold, by plex. One that cannot be read is not in it.
func (m *machine) reread(ctx context.Context, l catalog.LUN, slots map[uuid.UUID]catalog.Slot) map[uuid.UUID]raidmeta.Slot {
	found := map[uuid.UUID]raidmeta.Slot{}
	for _, p := range l.Plexes {
		var used bool
		if p.Slot, used = slots[p.ID]; !used {
			continue
		}
		if slot, err := m.readSlot(ctx, p); err == nil {
			found[p.ID] = slot
		}
	}
	return found
}

// writeSlots writes the metadata in force of every plex of l that is not out, and makes it durable.
func (m *machine) writeSlots(ctx context.Context, l catalog.LUN, slots []raidmeta.Slot) error {
	if len(slots) != len(l.Plexes) {
		return fmt.Errorf("metadata of %q: %d slots for %d plexes", l.Name, len(slots), len(l.Plexes))
	}
	for i, p := range l.Plexes {
		if m.out(p) {
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

// spoil makes the metadata in force of l unusable, so that everything is copied by whoever starts l next.
func spoil(l catalog.LUN) step {
	return funcStep{text: "give up the metadata of " + l.Name + " that no table has used", do: func(ctx context.Context, m *machine) error {
		for _, p := range l.Plexes {
			if m.out(p) {
				continue
			}
			at := slotExtent(p, p.Slot)
			at.Length = size.Bytes(blockdev.Align).Sectors()
			if err := m.zero(ctx, at); err != nil {
				return err
			}
		}
		return nil
	}}
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

// proven reports whether the superblocks of all plexes that are neither out nor lost, a bit for each, say that nothing is
// left to copy between them. The status line alone does not prove it.
func (m *machine) proven(ctx context.Context, l catalog.LUN, lost uint64) (bool, error) {
	out := lost
	fills := filled(l)
	for i, p := range l.Plexes {
		if m.out(p) && fills[i] {
			return false, nil // its superblock cannot be asked
		}
		if m.out(p) {
			out |= 1 << i
		}
	}
	for i, p := range l.Plexes {
		if out&(1<<i) != 0 {
			continue
		}
		block := make([]byte, blockdev.Align)
		if err := m.readExtent(ctx, slotExtent(p, p.Slot), block); err != nil {
			return false, err
		}
		super, err := raidmeta.DecodeSuper(block)
		if errors.Is(err, raidmeta.ErrNoMagic) {
			return false, nil // given up when a change was cut off, and used by no table: see settled
		}
		if err != nil {
			return false, fmt.Errorf("superblock of plex %s: %w", p.ID, err)
		}
		if super.FailedDevices&^out != 0 || super.RecoveryOffset != raidmeta.InSync || super.ResyncOffset != raidmeta.InSync {
			return false, nil
		}
	}
	return true, nil
}

// markClean empties the bitmaps of a mirror that was stopped with all legs equal, so that the next start copies nothing; or
// says that they are equal, where bits have another meaning.
// Data first: what the drives still have in their caches must not be lost on one leg while the bitmap calls it equal.
func (m *machine) markClean(ctx context.Context, l catalog.LUN) error {
	if ok, err := m.proven(ctx, l, 0); err != nil || !ok {
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
	if l.Tracked() {
		if slots, err = raidmeta.Stopped(slots, l.RegionSize); err != nil {
			return nil //nolint:nilerr // not whole: the next start copies what may differ
		}
		return m.writeSlots(ctx, l, slots)
	}
	regions := raidmeta.Regions(l.Size, l.RegionSize)
	for i, p := range l.Plexes {
		if m.out(p) {
			continue
		}
		if slots[i].Super == (raidmeta.Super{}) || slots[i].Bitmap.Stale {
			return nil // not whole: the next start copies what may differ
		}
		slots[i].Bitmap.Bits = raidmeta.NewBits(regions, false)
	}
	return m.writeSlots(ctx, l, slots)
}
