package raidmeta

import (
	"bytes"
	"slices"

	"github.com/plexctl/plexctl/size"
)

// BitmapOffset is where the bitmap of an encoded Slot begins. What lies before it, the superblock, the kernel reads when a
// table is loaded; the bits it reads again when the table is first resumed.
const BitmapOffset = bitmapOffset

// Grow is the metadata with which the kernel makes the new part of a mirror that has grown equal on all legs: it copies
// every region of p.ArraySize that does not lie wholly below from, from the first leg to the others. All legs must be in
// sync below it. p.Bits is not used. Plans with a leg that is not in sync, and others that Check would refuse, wrap
// ErrInvalid.
func Grow(p AttachPlan, from size.Sectors) ([]Slot, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	p.Bits = NewBits(Regions(p.ArraySize, p.RegionSize), true)
	p.Bits.ClearBelow(uint64(from), p.RegionSize)
	return Level(p)
}

// Level is the metadata with which the kernel copies exactly the regions of p.Bits from the first leg to all others, which
// are in sync but for them; nil: every region. Until it has looked at a region, it reads that from the first leg.
func Level(p AttachPlan) ([]Slot, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.Bits == nil {
		p.Bits = NewBits(Regions(p.ArraySize, p.RegionSize), true)
	}
	if i := slices.Index(p.InSync, false); i >= 0 {
		return nil, invalid("leg %d is not in sync: a resync needs all of them", i)
	}
	slots, err := recovery(p, NewBits(Regions(p.ArraySize, p.RegionSize), false))
	if err != nil {
		return nil, err
	}
	for i := range slots {
		slots[i].Super.ResyncOffset = 0
		slots[i].Bitmap.Bits = bytes.Clone(p.Bits)
	}
	return checked(slots)
}
