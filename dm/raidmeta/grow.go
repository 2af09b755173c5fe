package raidmeta

import (
	"bytes"
	"slices"

	"github.com/plexctl/plexctl/size"
)

// BitmapOffset is where the bitmap of an encoded Slot begins, in bytes. The kernel reads the superblock before it when a
// table is loaded. It reads the bits again when the table is first resumed.
const BitmapOffset = bitmapOffset

// Grow is the metadata for a mirror that has grown to p.ArraySize; from is its old size. With it the kernel copies the new
// part from the first leg to the others: every region that does not lie wholly below from. All legs must be in sync below it.
// p.Bits is not used. It fails with ErrInvalid when a leg is not in sync, or when Check would refuse the metadata.
func Grow(p AttachPlan, from size.Sectors) ([]Slot, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	p.Bits = NewBits(Regions(p.ArraySize, p.RegionSize), true)
	p.Bits.ClearBelow(uint64(from), p.RegionSize)
	return AllInSync(p)
}

// AllInSync is the metadata for legs that are all in sync, except in the regions of p.Bits; nil means every region. With it the
// kernel copies exactly these regions from the first leg to all others. Until it has reached a region, it reads that region
// from the first leg alone. It fails as Grow does.
func AllInSync(p AttachPlan) ([]Slot, error) {
	if err := p.check(); err != nil {
		return nil, err
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
		slots[i].Bitmap.Bits = bytes.Clone(p.bits())
	}
	return checked(slots)
}
