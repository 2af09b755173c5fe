package raidmeta

import (
	"math/bits"

	"github.com/plexctl/plexctl/size"
)

// NewBits is a set of the regions 0 to regions-1: all of them when full is true, none when it is false.
func NewBits(regions uint64, full bool) Bits {
	b := make(Bits, (regions+7)/8)
	if full {
		for i := range b {
			b[i] = 0xff
		}
		b.trim(regions)
	}
	return b
}

// Get reports whether region i is in the set. Like Set and Clear it panics when i is beyond the set's last byte.
func (b Bits) Get(i uint64) bool { return b[i/8]&(1<<(i%8)) != 0 }

// Set puts region i into the set.
func (b Bits) Set(i uint64) { b[i/8] |= 1 << (i % 8) }

// Clear takes region i out of the set.
func (b Bits) Clear(i uint64) { b[i/8] &^= 1 << (i % 8) }

// ClearBelow takes out the regions that lie wholly before sector end of the array. region is the size of a region and must
// not be 0. An end of InSync empties the set.
func (b Bits) ClearBelow(end uint64, region size.Sectors) {
	for i := range min(end/uint64(region), 8*uint64(len(b))) {
		b.Clear(i)
	}
}

// Count is how many regions are in the set.
func (b Bits) Count() uint64 {
	var n int
	for _, v := range b {
		n += bits.OnesCount8(v)
	}
	return uint64(n)
}

// Or adds the regions of other, which must have the same length.
func (b Bits) Or(other Bits) {
	for i, v := range other {
		b[i] |= v
	}
}

// Without takes out the regions of other, which must have the same length.
func (b Bits) Without(other Bits) {
	for i, v := range other {
		b[i] &^= v
	}
}

// Regrid is b for another region size: a new set of the regions that overlap a region of b. from and to are the old and the
// new region size, neither of which may be 0. regions is the new number of regions, at least 1. If the array has grown, its
// new part is not in the set.
func (b Bits) Regrid(from, to size.Sectors, regions uint64) Bits {
	grid := NewBits(regions, false)
	for i := range 8 * uint64(len(b)) {
		if !b.Get(i) {
			continue
		}
		first, last := i*uint64(from)/uint64(to), ((i+1)*uint64(from)-1)/uint64(to)
		for j := first; j <= min(last, regions-1); j++ {
			grid.Set(j)
		}
	}
	return grid
}

// trim clears the bits of the last byte that stand for no region.
func (b Bits) trim(regions uint64) {
	if rest := regions % 8; rest != 0 {
		b[len(b)-1] &= 1<<rest - 1
	}
}
