package raidmeta

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/plexctl/plexctl/size"
)

// Check reports why a set of slots, one for each leg in table order, must not be given to the kernel, or nil. A missing
// leg is the zero Slot.
//
// The kernel takes almost any set. If something does not fit, it copies nothing and reports legs that differ as in sync
// (drivers/md/md-bitmap.c, md_bitmap_load; drivers/md/raid1.c, raid1_sync_request). So a set passes only if
//
//   - the freshest leg (most events, first in table order) is in sync, and so is each leg it does not call failed;
//   - every failed leg has fewer events and does not call itself in sync, and every missing leg is failed;
//   - the bitmaps of the legs in sync are usable, equal, and not "cleared" at the current events;
//   - bits to copy go with legs to copy to: either failed legs, or a resync from sector 0 with no leg failed.
//
// Every error wraps ErrInvalid.
func Check(slots []Slot) error {
	if len(slots) == 0 || len(slots) > maxLegs {
		return invalid("%d legs", len(slots))
	}
	source := freshest(slots)
	if slots[source].missing() {
		return invalid("every leg is missing")
	}
	c := checker{slots: slots, source: slots[source]}
	for i := range slots {
		if err := c.leg(i); err != nil {
			return err
		}
	}
	return c.work()
}

// freshest is the index of the authoritative leg: most events, first in table order.
func freshest(slots []Slot) int {
	best := 0
	for i, s := range slots {
		if s.Super.Events > slots[best].Super.Events {
			best = i
		}
	}
	return best
}

// checker holds a set and its authoritative leg.
type checker struct {
	slots  []Slot
	source Slot
}

// failed reports whether the authoritative leg calls leg i failed.
func (c checker) failed(i int) bool { return c.source.Super.FailedDevices&(1<<i) != 0 }

// leg checks one leg against the authoritative one.
func (c checker) leg(i int) error {
	s := c.slots[i]
	if s.missing() {
		if !c.failed(i) {
			return invalid("leg %d is missing and not marked failed", i)
		}
		return nil
	}
	if err := c.place(i); err != nil {
		return err
	}
	if c.failed(i) {
		return c.toBeFilled(i)
	}
	return cmp.Or(c.inSync(i), c.bitmap(i))
}

// place checks that leg i says where it belongs and has the set's geometry.
func (c checker) place(i int) error {
	s := c.slots[i].Super
	switch {
	case s.NumDevices != uint32(len(c.slots)):
		return invalid("leg %d is of an array of %d legs, not %d", i, s.NumDevices, len(c.slots))
	case s.ArrayPosition != uint32(i):
		return invalid("leg %d claims position %d", i, s.ArrayPosition)
	case s.ArraySize != c.source.Super.ArraySize || s.ArraySize == 0 || s.ArraySize > maxSectors:
		return invalid("leg %d is of an array of %d sectors", i, s.ArraySize)
	case s.LegSize != s.ArraySize:
		return invalid("leg %d has %d sectors in an array of %d", i, s.LegSize, s.ArraySize)
	}
	return nil
}

// toBeFilled checks a leg that the authoritative one calls failed.
func (c checker) toBeFilled(i int) error {
	switch s := c.slots[i].Super; {
	case s.Events >= c.source.Super.Events:
		return invalid("leg %d has failed with %d events, no fewer than the leg it is filled from", i, s.Events)
	case s.RecoveryOffset == InSync:
		return invalid("leg %d has failed and calls itself in sync: it could be started alone", i)
	}
	return nil
}

// inSync checks a leg that the authoritative one does not call failed.
func (c checker) inSync(i int) error {
	s, source := c.slots[i].Super, c.source.Super
	switch {
	case s.RecoveryOffset != InSync:
		return invalid("leg %d is not in sync and not marked failed", i)
	case s.Events != source.Events:
		return invalid("leg %d has %d events, others in sync have %d", i, s.Events, source.Events)
	case s.FailedDevices != source.FailedDevices:
		return invalid("legs in sync disagree about which legs have failed")
	case s.ResyncOffset != source.ResyncOffset:
		return invalid("legs in sync disagree about the resync offset")
	}
	return nil
}

// bitmap checks the bitmap of a leg in sync. The kernel reads that of the first such leg, or another if that leg is missing.
func (c checker) bitmap(i int) error {
	b, events := c.slots[i].Bitmap, c.source.Super.Events
	switch {
	case b.Stale || b.Events < events:
		return invalid("bitmap of leg %d is stale", i)
	case b.EventsCleared >= events:
		return invalid("bitmap of leg %d was cleared at the current events: its bits do not count", i)
	case b.ArraySize != c.source.Super.ArraySize:
		return invalid("bitmap of leg %d is of %d sectors", i, b.ArraySize)
	case !powerOfTwo(b.RegionSize) || b.RegionSize != c.source.Bitmap.RegionSize:
		return invalid("bitmap of leg %d has regions of %d sectors", i, b.RegionSize)
	case !bytes.Equal(b.Bits, c.source.Bitmap.Bits):
		return invalid("bitmap of leg %d differs from that of the authoritative leg", i)
	}
	return c.bits(i)
}

// bits checks that leg i has one bit for every region and no more.
func (c checker) bits(i int) error {
	b := c.slots[i].Bitmap
	regions := Regions(b.ArraySize, b.RegionSize)
	if regions > MaxRegions || uint64(len(b.Bits)) != (regions+7)/8 {
		return invalid("bitmap of leg %d has %d bytes for %d regions", i, len(b.Bits), regions)
	}
	trimmed := slices.Clone(b.Bits)
	trimmed.trim(regions)
	if !bytes.Equal(b.Bits, trimmed) {
		return invalid("bitmap of leg %d has bits beyond the last region", i)
	}
	return nil
}

// work checks that the set's bits have somewhere to go.
func (c checker) work() error {
	s := c.source.Super
	switch {
	case s.FailedDevices>>len(c.slots) != 0:
		return invalid("failed legs %#x in an array of %d", s.FailedDevices, len(c.slots))
	case s.ResyncOffset == 0 && (s.FailedDevices != 0 || len(c.slots) < 2):
		return invalid("a resync is asked for without two legs in sync: the kernel would ignore it")
	case s.ResyncOffset != 0 && s.ResyncOffset != InSync:
		return invalid("resync offset %d would pass over the regions before it", s.ResyncOffset)
	case s.ResyncOffset == InSync && s.FailedDevices == 0 && c.source.Bitmap.Bits.Count() != 0:
		return invalid("%d regions to copy and no leg to copy them to", c.source.Bitmap.Bits.Count())
	}
	return nil
}

// maxRegion is the largest region that the kernel's 32-bit fields hold with room to spare: 1 GiB.
const maxRegion = size.Sectors(size.GiB / size.Sector)

// powerOfTwo reports whether n is a possible region size.
func powerOfTwo(n size.Sectors) bool { return n != 0 && n&(n-1) == 0 && n <= maxRegion }

// invalid is an error that wraps ErrInvalid.
func invalid(format string, args ...any) error {
	return fmt.Errorf("metadata set: %w: "+format, append([]any{ErrInvalid}, args...)...)
}
