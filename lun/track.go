package lun

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// A tracked LUN is a mirror with a plex that is never there (catalog.Plex.Vacant), from its birth on zeroed extents: as long as
// a leg is missing, the kernel keeps the bit of every region that is ever written, and sets it before it writes. So on every
// plex that holds the data, what has no bit reads as zeros, and a plex on extents that are zeroed too lacks the rest.
//
//	birth      zeroed extents, no bit
//	new plex   its drive zeroes it after the commit; in the window the bits are carried over, and the kernel copies these
//	restart    of one plex: the bits stay. Of several: one is filled with what has a bit, unless they were stopped clean
//	growth     the new part is zeroed before the commit
//	doubt      all bits are set, and everything is copied: metadata that cannot be read, a table that was not plexctl's
//
// What it costs: a region's first write waits for its bit, and after a crash a mirror copies all that was ever written, not
// just what was being written then.

// vacancy is the place of a plex that is never there.
func vacancy() catalog.Plex {
	return catalog.Plex{ID: uuid.New(), Slot: catalog.SlotA, Stale: true, Vacant: true}
}

// withVacancy is l, which has one plex, as one that is tracked.
func withVacancy(l catalog.LUN) catalog.LUN {
	l.Plexes = append(slices.Clone(l.Plexes), vacancy())
	l.RegionSize = raidmeta.RegionSize(l.Size)
	return l
}

// untracked is l without its vacant plex.
func untracked(l catalog.LUN) catalog.LUN {
	l.Plexes = l.Copies()
	return l
}

// Written is how much of l was ever written, in whole regions, as far as it is noted on the drives: that is what a new plex would
// get. Of a LUN that is not tracked it is everything.
func (l *LUN) Written(ctx context.Context) (size.Bytes, error) {
	m := l.p.machine()
	record, err := l.in(m, "read")
	if err != nil || !record.Tracked() {
		return record.Size.Bytes(), err
	}
	for _, p := range record.Copies() {
		if slot, err := m.readSlot(ctx, p); !m.out(p) && err == nil && slot.Tracks() {
			regions := size.Bytes(slot.Bitmap.Bits.Count())
			return min(regions*slot.Bitmap.RegionSize.Bytes(), record.Size.Bytes()), nil
		}
	}
	return record.Size.Bytes(), nil
}

// checkTracked refuses what cannot be tracked: a plex that spans drives can get no other one.
func checkTracked(l catalog.LUN) error {
	if plexType(l.Plexes[0]) != vds.TypeSpan {
		return nil
	}
	return &vds.Error{
		Code: vds.ErrNotSupported, Op: "create", Object: lunObject(l.Name), Reason: "its plex would span drives, and no other plex can be added to such a one",
		Hint: "name one drive that has room for all of it, or leave --track out",
	}
}

// readyTracked is the step that prepares the extents of a tracked LUN before its birth. It is given up when patience ends.
func readyTracked(patience context.Context, l catalog.LUN) step {
	return funcStep{text: "zero " + l.Name + ", and note that nothing is written to it", do: func(ctx context.Context, m *machine) error {
		for _, p := range l.Copies() {
			if err := m.clear(patience, runsOf(p.Data, l.Size)); err != nil {
				return err
			}
			if err := m.zero(ctx, p.Meta); err != nil {
				return err
			}
		}
		plan := raidmeta.AttachPlan{
			ArraySize: l.Size, RegionSize: l.RegionSize, InSync: []bool{true, false},
			Bits: raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), false),
		}
		slots, err := raidmeta.Attach(plan)
		if err != nil {
			return err
		}
		return m.writeSlots(ctx, l, slots)
	}}
}

// untilCanceled is a context that ends when ctx is canceled, and not at its deadline: that is for those who wait for others.
func untilCanceled(ctx context.Context) (context.Context, func()) {
	patience, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	return patience, func() { stop(); cancel() }
}

// clear makes runs read as zeros, durably: the drive does it by itself where it can.
func (m *machine) clear(ctx context.Context, runs []run) error {
	for _, r := range runs {
		err := m.withDisk(ctx, r.drive, func(disk blockdev.Disk) error {
			err := blockdev.ZeroOffload(ctx, disk, r.start.Bytes(), r.length.Bytes())
			if errors.Is(err, blockdev.ErrNoOffload) {
				return blockdev.Zero(ctx, disk, r.start.Bytes(), r.length.Bytes())
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// clearGrowth is the step that zeroes what l gets when it grows to next; nil where nobody needs it.
func clearGrowth(l, next catalog.LUN) step {
	if !next.Tracked() {
		return nil
	}
	return funcStep{text: "zero the new part of " + l.Name, do: func(ctx context.Context, m *machine) error {
		for _, p := range next.Copies() {
			if err := m.clear(ctx, runsAfter(runsOf(p.Data, next.Size), l.Size)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// runsAfter is runs without their first sectors.
func runsAfter(runs []run, skip size.Sectors) []run {
	var rest []run
	for _, r := range runs {
		n := min(skip, r.length)
		skip -= n
		if n < r.length {
			rest = append(rest, run{drive: r.drive, start: r.start + n, length: r.length - n})
		}
	}
	return rest
}

// blank is a step before a swap: it has drives zero regions of the plexes that are to be filled, which no live table uses, where
// the plex that they are filled from may be zero too. In the window it knows which of these are, and need not be copied.
type blank struct {
	c      conversion
	known  knowledge
	begun  *bool // is set when what the plexes held is lost; may be nil
	zeroed raidmeta.Bits
}

// knowledge tells which regions of the plex that new ones are filled from read as zeros. What it does not know is copied.
type knowledge interface {
	// surveyed is the regions of l, which gets the plexes, that are zero before the change; nil when none is known to be.
	surveyed(ctx context.Context, l catalog.LUN) raidmeta.Bits
	// confirmed is those of them that are still zero; nil when none is known to be any more. Nobody may write to l meanwhile.
	confirmed(ctx context.Context, l catalog.LUN) raidmeta.Bits
	// close ends its use.
	close()
}

// nothing is the knowledge of nothing.
type nothing struct{}

func (nothing) surveyed(context.Context, catalog.LUN) raidmeta.Bits  { return nil }
func (nothing) confirmed(context.Context, catalog.LUN) raidmeta.Bits { return nil }
func (nothing) close()                                               {}

func (b *blank) String() string {
	return "have its drive zero what " + b.c.l.Name + " gets, so that only what was written has to be copied"
}

// run has no error: where something goes wrong everything is copied, and that fails, or does not.
func (b *blank) run(ctx context.Context, m *machine) error {
	regions := b.unwritten(ctx, m)
	for i, k := range b.known.surveyed(ctx, b.c.l) {
		regions[i] |= k
	}
	if b.begun != nil {
		*b.begun = true
	}
	for _, p := range b.c.fills {
		if err := m.zeroRegions(ctx, b.c.l, p, regions); err != nil {
			m.log.WarnContext(ctx, "everything is copied: the drive has not zeroed", "lun", b.c.l.Name, "plex", p.ID, "error", err)
			return nil
		}
	}
	b.zeroed = regions
	return nil
}

// unwritten is the regions that were never written as far as the live table has noted; none when l is not tracked.
func (b *blank) unwritten(ctx context.Context, m *machine) raidmeta.Bits {
	regions := raidmeta.Regions(b.c.l.Size, b.c.l.RegionSize)
	if !b.c.l.Tracked() {
		return raidmeta.NewBits(regions, false)
	}
	unwritten := raidmeta.NewBits(regions, true)
	bits := b.c.left(m.reread(ctx, b.c.l, b.c.was.slots), nil)
	if bits == nil {
		bits = raidmeta.NewBits(regions, true)
	}
	unwritten.Without(bits)
	return unwritten
}

// toCopy is the regions that new plexes lack, nil when that is all. Nobody may write to the LUN meanwhile.
func (b *blank) toCopy(ctx context.Context, m *machine) raidmeta.Bits {
	if b == nil || b.zeroed == nil {
		return nil
	}
	same := b.unwritten(ctx, m)
	for i, k := range b.known.confirmed(ctx, b.c.l) {
		same[i] |= k
	}
	bits := raidmeta.NewBits(raidmeta.Regions(b.c.l.Size, b.c.l.RegionSize), true)
	for i := range same {
		bits[i] &^= same[i] & b.zeroed[i] // zero on both sides
	}
	return bits
}

// zeroRegions has its drive zero regions of a plex of l, durably. A plex that spans drives gets no others, and is none of these.
func (m *machine) zeroRegions(ctx context.Context, l catalog.LUN, p catalog.Plex, regions raidmeta.Bits) error {
	return m.withDisk(ctx, p.Data[0].Drive, func(disk blockdev.Disk) error {
		for start, end := range stretches(regions, l) {
			for _, r := range runsAfter(runsOf(p.Data, end), start) {
				if err := blockdev.ZeroOffload(ctx, disk, r.start.Bytes(), r.length.Bytes()); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// stretches is where regions of l that follow each other begin and end.
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

// worthTracking is next, which gets new plexes, without its vacant plex when their drives cannot zero them: everything is copied
// then, and would count as written for ever.
func (m *machine) worthTracking(ctx context.Context, next catalog.LUN) catalog.LUN {
	if !next.Tracked() {
		return next
	}
	fills := filled(next)
	for i, p := range next.Plexes {
		for _, id := range plexDrives(p) {
			if !fills[i] {
				continue
			}
			if err := m.zeroes(ctx, id); err != nil {
				m.log.WarnContext(ctx, "everything is copied, and what is written is tracked no more", "lun", next.Name, "error", err)
				return untracked(next)
			}
		}
	}
	return next
}

// zeroes is why a drive cannot zero by itself, nil when it says that it can. Nothing is zeroed.
func (m *machine) zeroes(ctx context.Context, id uuid.UUID) error {
	d, here := m.drives[id]
	if !here {
		return nil // that is another matter
	}
	disk, err := m.devices.Open(ctx, d.info.Path, blockdev.Read)
	if err != nil {
		return err
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	return blockdev.ZeroOffload(ctx, disk, 0, 0)
}
