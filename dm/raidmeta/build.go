package raidmeta

import (
	"bytes"
	"math"
	"slices"

	"github.com/plexctl/plexctl/size"
)

// clearedNever is the events_cleared of every set written here. If it were equal to the events, the kernel would skip all
// bits of a returning leg (drivers/md/md-bitmap.c, md_bitmap_load).
const clearedNever = 1

// AttachPlan describes a set of legs: some hold the data, the others are to be filled from them.
type AttachPlan struct {
	ArraySize  size.Sectors
	RegionSize size.Sectors // a power of two; see RegionSize
	InSync     []bool       // one for each leg, in table order, at least one true. False: to be filled, or missing
	Bits       Bits         // regions to copy; nil means all. Must include what a missing leg lacks
	Events     uint64       // count of the newest superblock of the LUN, 0 if there is none; the set gets a higher one
}

// Attach is the metadata for filling legs, one slot for each leg. With it the kernel copies exactly the regions of p.Bits
// from the first leg in sync to every leg that is not in sync. The slot of a missing leg ("- -" in the table) need not be
// written. While there is no leg to copy to, the kernel keeps the bits and adds to them. It fails with ErrInvalid for a
// plan whose metadata Check would refuse. The slots share no memory with the plan.
func Attach(p AttachPlan) ([]Slot, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return recovery(p, p.bits())
}

// check refuses plans for which there is no set at all.
func (p AttachPlan) check() error {
	if err := geometry(p.ArraySize, p.RegionSize); err != nil {
		return err
	}
	switch {
	case len(p.InSync) == 0 || len(p.InSync) > maxLegs:
		return invalid("%d legs", len(p.InSync))
	case !slices.Contains(p.InSync, true):
		return invalid("no leg is in sync")
	}
	return nil
}

// bits is the regions to copy.
func (p AttachPlan) bits() Bits {
	if p.Bits == nil {
		return NewBits(Regions(p.ArraySize, p.RegionSize), true)
	}
	return p.Bits
}

// geometry checks that an array can have regions of that size.
func geometry(array, region size.Sectors) error {
	if array == 0 || array > maxSectors || !powerOfTwo(region) {
		return invalid("array of %d sectors in regions of %d", array, region)
	}
	if n := Regions(array, region); n > MaxRegions {
		return invalid("%d regions, at most %d are possible", n, MaxRegions)
	}
	return nil
}

// recovery is the metadata of a partial recovery: every leg that is in sync records every other leg as failed.
func recovery(p AttachPlan, bits Bits) ([]Slot, error) {
	if p.Events > math.MaxUint64-2 {
		return nil, invalid("event count %d cannot rise", p.Events)
	}
	events := max(p.Events+1, clearedNever+1)
	slots := make([]Slot, len(p.InSync))
	for i := range slots {
		slots[i] = Slot{
			// A leg to be filled says that it holds nothing. So the kernel refuses to start from this leg alone
			// (drivers/md/dm-raid.c, super_validate).
			Super: Super{
				NumDevices:    uint32(len(p.InSync)),
				ArrayPosition: uint32(i),
				Events:        events - 1,
				ResyncOffset:  InSync,
				ArraySize:     p.ArraySize,
				LegSize:       p.ArraySize,
			},
			Bitmap: Bitmap{
				Events:        events,
				EventsCleared: clearedNever,
				ArraySize:     p.ArraySize,
				RegionSize:    p.RegionSize,
				Bits:          bytes.Clone(bits),
			},
		}
		if p.InSync[i] {
			slots[i].Super.Events = events
			slots[i].Super.FailedDevices = failed(p.InSync)
			slots[i].Super.RecoveryOffset = InSync
		}
	}
	return checked(slots)
}

// failed has the bit of every leg that is not in sync.
func failed(inSync []bool) uint64 {
	var mask uint64
	for i, ok := range inSync {
		if !ok {
			mask |= 1 << i
		}
	}
	return mask
}

// checked is slots when the kernel will do with them what they say.
func checked(slots []Slot) ([]Slot, error) {
	if err := Check(slots); err != nil {
		return nil, err
	}
	return slots, nil
}
