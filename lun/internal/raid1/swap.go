package raid1

import (
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// plexctl never exchanges a live table for one that uses the same metadata slots. Up to Linux 6.12 the old table writes its
// bitmap once more when it ends. And the new table reads the metadata when it is loaded, so it may be out of date when it
// starts. Therefore every change of a mirror switches to the other slots, which are prepared beforehand:
//
//	write the other slots │ load │ COMMIT │ suspend │ legs that count still there? │ copy the bits │ resume
//
// While the LUN is suspended, no I/O is in flight, all legs in sync are equal, and the old table has written its metadata. Only
// then can plexctl know which legs hold the data, and what the others lack.

// SwitchSlots is l with every plex switched to the metadata slot that the live mirror does not use.
//
// A plex that is no leg of the live mirror switches too. Its current slot must stay intact in case the old table is restored.
//
// A plex that takes no part keeps its slot. Its other slot cannot be written, and its old content might be trusted when the
// drive is back.
//
// A plex that does not hold the data and is not filled is marked stale. If the new slots are invalidated, no other metadata
// shows that it missed writes. The exception is a plex that the kernel fills, since a crash, from an earlier plex. It stays in:
// when no metadata can be trusted, the first plex is the source.
func SwitchSlots(l catalog.LUN, roles record.Roles, was LegState) catalog.LUN {
	l.Plexes = slices.Clone(l.Plexes)
	source := false // a plex before this one holds the data
	for i, p := range l.Plexes {
		if !was.Mirror {
			l.Plexes[i].Slot = p.Slot.Other()
			continue
		}
		target, taking := roles[i].IsTarget(), !roles[i].Excluded()
		complete := was.Complete(p.ID)
		source = source || complete && !target && taking
		if taking {
			l.Plexes[i].Slot = was.unused(p)
		}
		if returning := source && !was.Unread && was.Health[p.ID] == dm.LegSyncing; !target && !complete && !returning {
			l.Plexes[i].Stale = true
		}
	}
	return l
}

// KeepPrior is l in which the metadata that the live mirror uses counts as evidence, where it is not the current one.
func KeepPrior(l catalog.LUN, was LegState) catalog.LUN {
	l.Plexes = slices.Clone(l.Plexes)
	for i, p := range l.Plexes {
		if used, leg := was.Slots[p.ID]; leg {
			l.Plexes[i].Prior = used != p.Slot
		}
	}
	return l
}

// unused is the metadata slot of a plex that the live mirror does not use.
func (st LegState) unused(p catalog.Plex) catalog.Slot {
	if used, leg := st.Slots[p.ID]; leg {
		return used.Other()
	}
	return p.Slot.Other()
}

// Conversion is what a swap to the table of a record needs beyond that table.
type Conversion struct {
	LUN       catalog.LUN // after
	Was       LegState
	InSync    []bool         // by plex of LUN: it holds the data, and the new table relies on it
	AllInSync bool           // every plex holds the data
	FullCopy  bool           // it is unknown what a target lacks: everything is copied
	New       []catalog.Plex // those targets, when none of them is a leg of the live table
	ZeroFill  bool           // the drives of New zero them before the swap, so that only what was written has to be copied
	Forget    bool           // the new table starts with no bit set
}

// Convert says what a swap to the next record of a LUN takes, given what the kernel has. The live table does not use the
// current slots of next.
func Convert(next catalog.LUN, roles record.Roles, was LegState) (Conversion, error) {
	c := Conversion{LUN: next, Was: was, InSync: make([]bool, len(next.Plexes))}
	for i, p := range next.Plexes {
		if roles[i].Excluded() {
			continue
		}
		c.InSync[i] = roles[i] == record.Source && was.Complete(p.ID)
		if !was.Mirror && roles[i] == record.Source && !c.InSync[i] {
			return c, ForeignTable(next)
		}
	}
	c.findTargets(roles)
	c.AllInSync = !slices.Contains(c.InSync, false)
	if first := slices.Index(c.InSync, true); was.Resyncing() && !c.AllInSync && first >= 0 {
		clear(c.InSync[first+1:]) // one source; see Start
	}
	if !slices.Contains(c.InSync, true) {
		return c, record.LUNFault(vds.ErrObjectStatusFailed, "change", next.Name,
			"no plex that stays holds all of the data in the kernel's table",
			"see `plexctl status`; when its drives work again, `plexctl deactivate "+next.Name+"` and `plexctl assemble "+next.Name+"` start it from them")
	}
	return c, nil
}

// findTargets sets FullCopy and New.
func (c *Conversion) findTargets(roles record.Roles) {
	var unknown []catalog.Plex
	var legs bool
	for i, p := range c.LUN.Plexes {
		if !roles[i].Excluded() && !c.InSync[i] && c.unknown(p) {
			_, leg := c.Was.Health[p.ID]
			unknown, legs = append(unknown, p), legs || leg
		}
	}
	c.FullCopy = len(unknown) > 0
	if !legs { // the kernel may read from a leg
		c.New = unknown
	}
}

// unknown reports whether no bitmap tells what a target lacks.
func (c *Conversion) unknown(p catalog.Plex) bool {
	op := c.LUN.Operation
	if op != nil && op.Type == vds.AsyncRecoverLUN && !op.Whole {
		return false
	}
	health, leg := c.Was.Health[p.ID]
	return !leg || c.Was.Stale[p.ID] || health == dm.LegFailed && op != nil && op.Whole
}

// Purpose is what the kernel does with the metadata.
func (c Conversion) Purpose() string {
	switch {
	case c.Forget:
		return "note what is written from now on"
	case c.grows():
		return "make the new part equal"
	case c.AllInSync:
		return "make the plexes equal if it comes to a restart, else copy nothing"
	case c.ZeroFill:
		return "copy everything to the plexes that are filled, unless their drives have zeroed them"
	case c.FullCopy || !c.Was.Mirror:
		return "copy everything to the plexes that are filled"
	default:
		return "copy what the plexes lack"
	}
}

// First is the metadata to write before the table is loaded. All bits are set, which is correct at any time, unless the new
// table starts with none. A restart before the window needs all bits, because only the old table records the writes until then.
func (c Conversion) First() ([]raidmeta.Slot, error) {
	if c.Forget {
		return c.Slots(NoRegions(c.LUN))
	}
	return c.Slots(nil)
}

// Slots is the metadata with these bits to copy; nil: all bits.
func (c Conversion) Slots(bits raidmeta.Bits) ([]raidmeta.Slot, error) {
	plan := raidmeta.AttachPlan{
		ArraySize: c.LUN.Size, RegionSize: c.LUN.RegionSize, InSync: c.InSync, Bits: bits, Events: c.events(),
	}
	if c.AllInSync {
		return raidmeta.AllInSync(plan)
	}
	return raidmeta.Attach(plan)
}

// lastEvents is more than a table adds to its event count between the look at it and its end.
const lastEvents = 1 << 10

// events is higher than any event count that a live leg reaches before its table ends. A plex that is not in the new table
// keeps its metadata, and must look older than the others.
func (c Conversion) events() uint64 {
	var most uint64
	for _, slot := range c.Was.Meta {
		most = max(most, slot.Super.Events)
	}
	return most + lastEvents
}

// before is the size of the live mirror.
func (c Conversion) before() size.Sectors {
	for _, slot := range c.Was.Meta {
		if slot.Super.ArraySize > 0 {
			return slot.Super.ArraySize
		}
	}
	return c.LUN.Size
}

func (c Conversion) grows() bool {
	return c.Was.Mirror && c.AllInSync && c.before() < c.LUN.Size
}

// Carries reports whether the plexes need only what the live table has recorded. Then its bits are copied to the new metadata.
func (c Conversion) Carries() bool {
	return c.Was.Mirror && !c.FullCopy && len(c.LUN.Plexes) > 1 || c.ZeroFill
}

// NeedsWindow reports whether a separate call must suspend the LUN for the swap. With freeze a file system on the LUN is made
// clean meanwhile. A single call is enough from a linear table, and when the only leg with the data stays, which the kernel
// never drops. A leg that is being filled may have the data, too, before the call comes. Then the first one may fail.
func (c Conversion) NeedsWindow(freeze bool) bool {
	return c.ZeroFill || c.Was.Mirror && (c.Was.completeCount() > 1 || c.Was.filling() || c.Carries() || freeze)
}

// Counted is the data devices of the legs that must be in order in the window.
func (c Conversion) Counted() []devno.No {
	var counted []devno.No
	for i, p := range c.LUN.Plexes {
		if c.InSync[i] && c.Was.Mirror {
			counted = append(counted, c.Was.Devices[p.ID])
		}
	}
	return counted
}

// PlexOn is the plex whose data device of the old table this is.
func (c Conversion) PlexOn(data devno.No) uuid.UUID {
	for _, p := range c.LUN.Plexes {
		if c.Was.Devices[p.ID] == data {
			return p.ID
		}
	}
	return uuid.Nil
}

// Left is what is left to copy by the metadata of the old table. These are the regions with a bit, without those that every
// plex has got already. nil means all, when no bitmap tells. old is the metadata of the old table by plex; health is the health
// of its legs by data device.
func (c Conversion) Left(old map[uuid.UUID]raidmeta.Slot, health map[devno.No]dm.LegHealth) raidmeta.Bits {
	if c.grows() {
		bits := AllRegions(c.LUN)
		bits.ClearBelow(uint64(c.before()), c.LUN.RegionSize)
		return bits
	}
	var merged raidmeta.Bits
	for i, p := range c.LUN.Plexes {
		if bits := c.noted(old[p.ID]); c.InSync[i] && merged == nil {
			merged = bits
		} else if c.InSync[i] {
			merged.Or(bits)
		}
	}
	if merged == nil {
		return nil
	}
	merged.ClearBelow(c.reached(old, health), c.LUN.RegionSize)
	return merged
}

// noted is the bits of an old slot for the regions of the new table; nil when the slot tells nothing. If a tracked LUN has
// grown, the new part has no bits, because it was zeroed.
func (c Conversion) noted(slot raidmeta.Slot) raidmeta.Bits {
	b := slot.Bitmap
	same := b.RegionSize == c.LUN.RegionSize && b.ArraySize == c.LUN.Size
	if !slot.Tracks() || !same && (!c.LUN.Tracked() || b.ArraySize > c.LUN.Size) {
		return nil
	}
	return b.Bits.Regrid(b.RegionSize, c.LUN.RegionSize, raidmeta.Regions(c.LUN.Size, c.LUN.RegionSize))
}

// reached is how many sectors from the start are equal on every plex. It is 0 when a plex has failed, is missing, or is vacant,
// whatever its own superblock says.
func (c Conversion) reached(old map[uuid.UUID]raidmeta.Slot, health map[devno.No]dm.LegHealth) uint64 {
	least := uint64(c.LUN.Size)
	for _, p := range c.LUN.Plexes {
		letter := health[c.Was.Devices[p.ID]]
		slot, known := old[p.ID]
		if !known || letter != dm.LegInSync && letter != dm.LegSyncing {
			return 0
		}
		least = min(least, slot.Super.RecoveryOffset, slot.Super.ResyncOffset)
	}
	return least
}

// Unwritten is the regions that were never written, by the metadata of the old table; none when the LUN is not tracked.
func (c Conversion) Unwritten(old map[uuid.UUID]raidmeta.Slot) raidmeta.Bits {
	written := c.Left(old, nil)
	if written == nil || !c.LUN.Tracked() {
		return NoRegions(c.LUN)
	}
	unwritten := AllRegions(c.LUN)
	unwritten.Without(written)
	return unwritten
}
