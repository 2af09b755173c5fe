package lun

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// A live table is never exchanged for one that uses the same metadata slots: up to Linux 6.12 the old table writes its
// bitmap once more when it goes, and what the new one found when it was loaded may be out of date when it starts. So
// every change of a mirror flips to the other slots, which are prepared beforehand:
//
//	write the other slots │ load │ COMMIT │ suspend │ legs that count still there? │ copy the bits │ resume
//
// While the LUN is suspended nothing is in flight, all legs in sync are equal, and the old table has written down what it
// knows. Only then does anyone know which legs hold the data, and what the others lack.

// flipped is l with the other metadata slot of every plex in force. It is pure.
func flipped(l catalog.LUN) catalog.LUN {
	l.Plexes = slices.Clone(l.Plexes)
	for i := range l.Plexes {
		l.Plexes[i].Slot = l.Plexes[i].Slot.Other()
	}
	return l
}

// flip is l with metadata slots in force that the live mirror does not use; of plexes that are no legs of it, the other ones,
// because the table that they were legs of may have to come back. The slot of a plex that is out stays: its other one cannot be
// written, and may hold what somebody would believe when its drive is back. A plex that neither holds the data nor is being
// filled is out of date from now on: should the new slots have to be given up (see settled), nobody else would know. But one
// that the kernel is filling since a crash, from a plex before it, goes on: where nobody knows anything, the first plex is the
// source.
func (m *machine) flip(l catalog.LUN, was standing) catalog.LUN {
	if !was.mirror {
		return flipped(l)
	}
	fills, source := filled(l), false
	l.Plexes = slices.Clone(l.Plexes)
	for i, p := range l.Plexes {
		holds := was.holds(p.ID)
		source = source || holds && !fills[i] && !m.out(p)
		if used, leg := was.slots[p.ID]; leg && !m.out(p) {
			l.Plexes[i].Slot = used.Other()
		} else if !m.out(p) {
			l.Plexes[i].Slot = p.Slot.Other()
		}
		if returning := source && !was.unread && was.health[p.ID] == dm.LegSyncing; !fills[i] && !holds && !returning {
			l.Plexes[i].Stale = true
		}
	}
	return l
}

// conversion is what a swap to the table of a record needs beyond that table.
type conversion struct {
	l      catalog.LUN
	was    standing
	inSync []bool         // by plex of l: it holds the data, and the new table counts on it
	level  bool           // every plex holds the data
	fresh  bool           // a plex is to be filled of which nobody knows what it lacks: everything is copied
	fills  []catalog.Plex // those plexes, when none of them is a leg
	blank  *blank         // what makes it known after all; nil where nothing does
	forget bool           // the new table begins without a bit
}

// convert compares what the kernel has of a LUN with the record l, whose slots the live table does not use, and says what a
// swap to it takes. It is pure.
func convert(l catalog.LUN, was standing, out func(catalog.Plex) bool) (conversion, error) {
	c := conversion{l: l, was: was, inSync: make([]bool, len(l.Plexes))}
	tracked := l.Operation != nil && l.Operation.Type == vds.AsyncRecoverLUN && !l.Operation.Whole
	fills := filled(l)
	var fresh []catalog.Plex
	var legs bool
	for i, p := range l.Plexes {
		if out(p) {
			continue
		}
		c.inSync[i] = !fills[i] && was.holds(p.ID)
		if _, leg := was.health[p.ID]; !c.inSync[i] && (!leg || was.stale[p.ID]) && !tracked {
			c.fresh = true
			fresh, legs = append(fresh, p), legs || leg
		}
		if !was.mirror && !fills[i] && !c.inSync[i] {
			return c, foreignTable(l)
		}
	}
	if !legs { // a leg may be read from
		c.fills = fresh
	}
	c.level = !slices.Contains(c.inSync, false)
	if first := slices.Index(c.inSync, true); was.leveling() && !c.level && first >= 0 {
		clear(c.inSync[first+1:]) // see restart
	}
	if !slices.Contains(c.inSync, true) {
		return c, &vds.Error{
			Code: vds.ErrObjectStatusFailed, Op: "change", Object: lunObject(l.Name),
			Reason: "no plex that stays holds all of the data in the kernel's table", Hint: "see `plexctl status`",
		}
	}
	return c, nil
}

// learn makes it known what new plexes lack, where something tells: the bits of a tracked LUN, or what has nothing allocated to it.
func (c *conversion) learn(how move) {
	known := how.known
	if known == nil && c.l.Tracked() && c.was.mirror {
		known = nothing{} // beyond its bits
	}
	if len(c.fills) > 0 && known != nil {
		c.blank = &blank{c: *c, known: known, begun: how.zeroing}
	}
}

// foreignTable is the error about a LUN whose live table is not one of plexctl's.
func foreignTable(l catalog.LUN) error {
	return &vds.Error{
		Code: vds.ErrProviderCacheCorrupt, Op: "change", Object: lunObject(l.Name),
		Reason: "the kernel has another table than the catalog", Hint: cacheHint,
	}
}

// cacheHint is the cure for vds.ErrProviderCacheCorrupt.
const cacheHint = "run `plexctl reenumerate`, then `plexctl refresh`"

// prepare is the step that writes the new slots; nil for a LUN with one plex, which has no metadata in force.
func (c conversion) prepare() step {
	if len(c.l.Plexes) == 1 {
		return nil
	}
	return funcStep{text: "write metadata of " + c.l.Name + ": " + c.purpose(), do: func(ctx context.Context, m *machine) error {
		var bits raidmeta.Bits
		if c.forget {
			bits = raidmeta.NewBits(raidmeta.Regions(c.l.Size, c.l.RegionSize), false)
		}
		slots, err := c.slots(bits)
		if err != nil {
			return err
		}
		return m.writeSlots(ctx, c.l, slots)
	}}
}

// ready is the step before the swap; nil when there is none.
func (c conversion) ready() step {
	if c.blank == nil {
		return nil
	}
	return c.blank
}

// purpose is what the kernel does with the metadata.
func (c conversion) purpose() string {
	switch {
	case c.forget:
		return "note what is written from now on"
	case c.grows():
		return "make the new part equal"
	case c.level:
		return "make the plexes equal if it comes to a restart, else copy nothing"
	case c.blank != nil:
		return "copy everything to the plexes that are filled, unless their drives have zeroed them"
	case c.fresh || !c.was.mirror:
		return "copy everything to the plexes that are filled"
	default:
		return "copy what the plexes lack"
	}
}

// slots is the metadata with these bits to copy; nil: every bit. That is right at any time, and what a restart must find
// before the window: what is being written now is noted by the old table alone.
func (c conversion) slots(bits raidmeta.Bits) ([]raidmeta.Slot, error) {
	plan := raidmeta.AttachPlan{
		ArraySize: c.l.Size, RegionSize: c.l.RegionSize, InSync: c.inSync, Bits: bits, Events: c.events(),
	}
	if c.level {
		return raidmeta.AllInSync(plan)
	}
	return raidmeta.Attach(plan)
}

// events is higher than the event count that any live leg has or gets before its table goes: a plex that the new table is
// without keeps its metadata, and must not seem to be as fresh as the others.
func (c conversion) events() uint64 {
	var most uint64
	for _, slot := range c.was.meta {
		most = max(most, slot.Super.Events)
	}
	return most + lastEvents
}

// lastEvents is more than a table counts between being looked at and its end.
const lastEvents = 1 << 10

// before is the size of the live mirror.
func (c conversion) before() size.Sectors {
	for _, slot := range c.was.meta {
		if slot.Super.ArraySize > 0 {
			return slot.Super.ArraySize
		}
	}
	return c.l.Size
}

func (c conversion) grows() bool {
	return c.was.mirror && c.level && c.before() < c.l.Size
}

// carries reports whether the plexes need only what the live table has noted.
func (c conversion) carries() bool {
	return c.was.mirror && !c.fresh && len(c.l.Plexes) > 1 || c.blank != nil
}

// window is how to swap; nil when a single call does: from a linear table, and where the only leg with the data stays,
// which the kernel never gives up.
func (c conversion) window(freeze bool) *windowStep {
	if c.blank == nil && (!c.was.mirror || c.was.holders() < 2 && !c.carries() && !freeze) {
		return nil
	}
	w := &windowStep{l: c.l, freeze: freeze, linear: !c.was.mirror}
	for i, p := range c.l.Plexes {
		if c.inSync[i] && !w.linear {
			w.counted = append(w.counted, c.was.parts[p.ID])
		}
	}
	if c.carries() {
		w.inside = c.carry
	}
	return w
}

// carry copies, while the LUN is suspended, the bits that the old table has left to the slots that are now in force.
func (c conversion) carry(ctx context.Context, m *machine, seen map[devno.No]dm.LegHealth) error {
	bits := c.blank.toCopy(ctx, m)
	if c.blank == nil {
		bits = c.left(m.reread(ctx, c.l, c.was.slots), seen)
	}
	if bits == nil {
		return nil // all are set there
	}
	slots, err := c.slots(bits)
	if err != nil {
		return err
	}
	for i, p := range c.l.Plexes {
		if !c.inSync[i] {
			continue
		}
		at := slotExtent(p, p.Slot)
		image := slots[i].Encode()[raidmeta.BitmapOffset:]
		err := m.withDisk(ctx, at.Drive, func(disk blockdev.Disk) error {
			_, err := disk.WriteAt(image, int64(at.Start.Bytes()+raidmeta.BitmapOffset))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// left is what is left to copy by the metadata of the old table: the regions with a bit, but for those that every plex has
// got. nil, which is all, when no bitmap tells.
func (c conversion) left(old map[uuid.UUID]raidmeta.Slot, seen map[devno.No]dm.LegHealth) raidmeta.Bits {
	if c.grows() {
		bits := raidmeta.NewBits(raidmeta.Regions(c.l.Size, c.l.RegionSize), true)
		bits.ClearBelow(uint64(c.before()), c.l.RegionSize)
		return bits
	}
	var merged raidmeta.Bits
	for i, p := range c.l.Plexes {
		if bits := c.noted(old[p.ID]); c.inSync[i] && merged == nil {
			merged = bits
		} else if c.inSync[i] {
			merged.Or(bits)
		}
	}
	if merged == nil {
		return nil
	}
	merged.ClearBelow(c.reached(old, seen), c.l.RegionSize)
	return merged
}

// noted is the bits of an old slot in the regions of the new table; nil when it tells nothing. Of a tracked LUN that has grown,
// the new part has been zeroed.
func (c conversion) noted(slot raidmeta.Slot) raidmeta.Bits {
	b := slot.Bitmap
	same := b.RegionSize == c.l.RegionSize && b.ArraySize == c.l.Size
	if !slot.Tracks() || !same && (!c.l.Tracked() || b.ArraySize > c.l.Size) {
		return nil
	}
	return b.Bits.Regrid(b.RegionSize, c.l.RegionSize, raidmeta.Regions(c.l.Size, c.l.RegionSize))
}

// reached is how many sectors from the start are equal on every plex: 0 with one that has failed, is away, or is vacant,
// whatever its own superblock says.
func (c conversion) reached(old map[uuid.UUID]raidmeta.Slot, seen map[devno.No]dm.LegHealth) uint64 {
	least := uint64(c.l.Size)
	for _, p := range c.l.Plexes {
		letter := seen[c.was.parts[p.ID]]
		slot, known := old[p.ID]
		if !known || letter != dm.LegInSync && letter != dm.LegSyncing {
			return 0
		}
		least = min(least, slot.Super.RecoveryOffset, slot.Super.ResyncOffset)
	}
	return least
}

// windowStep swaps the tables of a LUN in three calls: suspend, look, resume. When it finds
// that a leg has failed which the new table counts on, it lets the LUN go on with the old one.
type windowStep struct {
	node    node
	l       catalog.LUN
	linear  bool       // the live table is
	freeze  bool       // a file system on the LUN is made clean and frozen meanwhile
	counted []devno.No // data devices of the legs that must be in order
	inside  func(ctx context.Context, m *machine, legs map[devno.No]dm.LegHealth) error
}

func (s windowStep) String() string {
	if s.freeze {
		return "freeze and suspend " + s.node.name + ", see that its legs are in order, and activate the new table"
	}
	return "suspend " + s.node.name + ", see that its legs are in order, and activate the new table"
}

func (s windowStep) run(ctx context.Context, m *machine) error {
	if err := m.kernel.Suspend(ctx, s.node.name, s.freeze); err != nil {
		return errors.Join(err, m.goOn(ctx, s.node))
	}
	legs, err := s.check(ctx, m)
	if err == nil && s.inside != nil {
		err = s.inside(ctx, m, legs)
	}
	if err != nil {
		return errors.Join(err, m.goOn(ctx, s.node))
	}
	return m.kernel.Resume(ctx, s.node.name, s.node.visibility)
}

// goOn lets a LUN go on with the table that it has. The one that waits uses nobody's metadata but its own.
func (m *machine) goOn(ctx context.Context, n node) error {
	return errors.Join(m.kernel.Clear(ctx, n.name), m.kernel.Resume(ctx, n.name, n.visibility))
}

// check looks at the legs of the suspended mirror, and returns their health by data device.
func (s windowStep) check(ctx context.Context, m *machine) (map[devno.No]dm.LegHealth, error) {
	if s.linear {
		return nil, nil
	}
	table, err := m.kernel.Table(ctx, s.node.name)
	if err != nil {
		return nil, err
	}
	status, err := m.kernel.Status(ctx, s.node.name)
	if err != nil {
		return nil, err
	}
	raid, ok := soleTarget[dm.Raid1](table)
	if !ok {
		return nil, foreignTable(s.l)
	}
	seen, err := raidStatusOf(s.l, status)
	if err != nil {
		return nil, err
	}
	legs := map[devno.No]dm.LegHealth{}
	for i, leg := range raid.Legs {
		if i < len(seen.Health) {
			legs[leg.Data] = seen.Health[i]
		}
	}
	for _, dev := range s.counted {
		if letter := legs[dev]; letter != dm.LegInSync && letter != dm.LegSyncing {
			return nil, &vds.Error{
				Code: vds.ErrObjectStatusFailed, Op: "change", Object: lunObject(s.l.Name),
				Reason: fmt.Sprintf("its leg on device %s has just failed", dev), Hint: "nothing has changed; see `plexctl status`",
			}
		}
	}
	return legs, nil
}
