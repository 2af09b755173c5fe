package raidmeta

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// running is a set of two legs in sync as the kernel leaves it: bits of regions written last, cleared at the current
// events.
func running() []Slot {
	b := bitmap(9, 0x10, 0)
	b.EventsCleared = 9
	c := bitmap(9, 0x10, 0)
	c.EventsCleared = 9
	return []Slot{{super(0, 2, 9, 0), b}, {super(1, 2, 9, 0), c}}
}

// resynced is what Resync makes of two legs.
func resynced(events uint64, bits ...byte) []Slot {
	slots := []Slot{
		{super(0, 2, events, 0), bitmap(events, bits...)},
		{super(1, 2, events, 0), bitmap(events, bits...)},
	}
	slots[0].Super.ResyncOffset, slots[1].Super.ResyncOffset = 0, 0
	return slots
}

func TestResync(t *testing.T) {
	tests := []struct {
		name   string
		before func(s []Slot)
		want   []Slot
	}{
		{"after a power cut", func([]Slot) {}, resynced(10, 0x10, 0)},
		{"nothing was being written", func(s []Slot) { s[0].Bitmap.Bits[0], s[1].Bitmap.Bits[0] = 0, 0 }, resynced(10, 0, 0)},
		{"legs of different events", func(s []Slot) { s[1].Super.Events, s[1].Bitmap.Events = 8, 8 }, resynced(10, 0x10, 0)},
		{"second leg fresher", func(s []Slot) { s[1].Super.Events, s[1].Bitmap.Events = 12, 12 }, resynced(13, 0x10, 0)},
		{"bitmaps differ", func(s []Slot) { s[1].Bitmap.Bits[1] = 0x02 }, resynced(10, 0x10, 0x02)},
		{"first bitmap stale", func(s []Slot) { s[0].Bitmap.Stale, s[1].Bitmap.Bits[0] = true, 0x20 }, resynced(10, 0x20, 0)},
		{"first bitmap behind", func(s []Slot) { s[0].Bitmap.Events, s[1].Bitmap.Bits[0] = 8, 0x20 }, resynced(10, 0x20, 0)},
		{"no bitmap usable", func(s []Slot) {
			s[0].Bitmap, s[1].Bitmap = Bitmap{Stale: true}, Bitmap{}
		}, resynced(10, 0xff, 0x03)},
		{"bitmaps of other regions", func(s []Slot) {
			s[0].Bitmap.RegionSize, s[1].Bitmap.RegionSize = 4096, 4096
		}, resynced(10, 0xff, 0x03)},
		{"bitmaps of another array", func(s []Slot) {
			s[0].Bitmap.ArraySize, s[1].Bitmap.ArraySize = 64, 64
		}, resynced(10, 0xff, 0x03)},
		{"resync was interrupted", func(s []Slot) {
			s[0].Super.ResyncOffset, s[1].Super.ResyncOffset = 4096, 4096
		}, resynced(10, 0x10, 0)},
		{"still called a set of three", func(s []Slot) {
			s[0].Super.NumDevices, s[1].Super.NumDevices, s[1].Super.ArrayPosition = 3, 3, 2
		}, resynced(10, 0x10, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slots := running()
			tt.before(slots)
			got, err := Resync(slots, testRegion)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("slots: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestResyncRefuses(t *testing.T) {
	tests := []struct {
		name   string
		before func(s []Slot) []Slot
		text   string
	}{
		{"leg missing", func(s []Slot) []Slot { s[1] = Slot{}; return s }, "leg 1 is missing"},
		{"all missing", func([]Slot) []Slot { return make([]Slot, 2) }, "no leg is left"},
		{"leg being filled", func(s []Slot) []Slot { s[1].Super.RecoveryOffset = 64; return s }, "leg 1 is not in sync"},
		{"leg failed", func(s []Slot) []Slot { s[0].Super.Events, s[0].Super.FailedDevices = 10, 2; return s }, "leg 1 is not in sync"},
		{"leg detached", func(s []Slot) []Slot { s[1].Super.ArrayPosition = Detached; return s }, "leg 1 is not in sync"},
		{"one leg", func(s []Slot) []Slot { return s[:1] }, "without two legs"},
		{"arrays of different sizes", func(s []Slot) []Slot { s[1].Super.ArraySize = 64; return s }, "leg 1 is of an array"},
		{"events at their end", func(s []Slot) []Slot { s[1].Super.Events = math.MaxUint64; return s }, "cannot rise"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refused(t, tt.text)(Resync(tt.before(running()), testRegion)) })
	}
	refused(t, "regions of 0")(Resync(running(), 0))
	refused(t, "regions of 3")(Resync(running(), 3))
}

// degraded is a set of three legs of which the last failed at 7 events, as the kernel leaves it at 12.
func degraded() []Slot {
	slots := []Slot{
		{super(0, 3, 12, 4), bitmap(12, 0x81, 0x02)},
		{super(1, 3, 12, 4), bitmap(12, 0x81, 0x02)},
		{super(2, 3, 7, 0), bitmap(7, 0x01, 0)},
	}
	for i := range slots {
		slots[i].Bitmap.EventsCleared = 7
	}
	return slots
}

// brought is what Returned makes of three legs of which the last is stale.
func brought(events uint64, bits ...byte) []Slot {
	return []Slot{
		{super(0, 3, events, 4), bitmap(events, bits...)},
		{super(1, 3, events, 4), bitmap(events, bits...)},
		{empty(2, 3, events-1), bitmap(events, bits...)},
	}
}

func TestReturned(t *testing.T) {
	all := []byte{0xff, 0x03}
	tests := []struct {
		name   string
		before func(s []Slot)
		stale  []int
		want   []Slot
	}{
		{"failed leg is back", func([]Slot) {}, []int{2}, brought(13, 0x81, 0x02)},
		{"leg was being filled", func(s []Slot) {
			s[2].Super.Events, s[2].Super.RecoveryOffset = 12, 4096
			s[0].Super.FailedDevices, s[1].Super.FailedDevices = 0, 0
		}, []int{2}, brought(13, 0x81, 0x02)},
		{"detached leg is back", func(s []Slot) { s[2].Super.ArrayPosition = Detached }, []int{2}, brought(13, 0x81, 0x02)},
		{"leg is still missing", func(s []Slot) { s[2] = Slot{} }, nil, brought(13, 0x81, 0x02)},
		{"leg is back without metadata", func(s []Slot) { s[2] = Slot{} }, []int{2}, brought(13, all...)},
		{"leg left before bits were cleared", func(s []Slot) { s[2].Super.Events = 6 }, []int{2}, brought(13, all...)},
		{"no usable bitmap", func(s []Slot) { s[0].Bitmap.Stale, s[1].Bitmap.Events = true, 11 }, []int{2}, brought(13, all...)},
		{"one usable bitmap", func(s []Slot) { s[0].Bitmap.Stale = true }, []int{2}, brought(13, 0x81, 0x02)},
		{"other regions", func(s []Slot) { s[0].Bitmap.RegionSize, s[1].Bitmap.RegionSize = 8, 8 }, []int{2}, brought(13, all...)},
		{"truncated bits", func(s []Slot) {
			s[0].Bitmap.Bits, s[1].Bitmap.Bits = Bits{1}, nil
		}, []int{2}, brought(13, all...)},
		{"stale leg newer and blaming nobody", func(s []Slot) { s[2].Super.Events = 14 }, []int{2}, brought(15, 0x81, 0x02)},
		{"all but the first", func([]Slot) {}, []int{1, 2}, []Slot{
			{super(0, 3, 13, 6), bitmap(13, 0x81, 0x02)},
			{empty(1, 3, 12), bitmap(13, 0x81, 0x02)},
			{empty(2, 3, 12), bitmap(13, 0x81, 0x02)},
		}},
		{"all but the second", func([]Slot) {}, []int{0, 2}, []Slot{
			{empty(0, 3, 12), bitmap(13, 0x81, 0x02)},
			{super(1, 3, 13, 5), bitmap(13, 0x81, 0x02)},
			{empty(2, 3, 12), bitmap(13, 0x81, 0x02)},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slots := degraded()
			tt.before(slots)
			got, err := Returned(slots, testRegion, tt.stale)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("slots: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestReturnedAgain(t *testing.T) {
	first, err := Returned(degraded(), testRegion, []int{2})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Returned(first, testRegion, []int{2})
	if diff := cmp.Diff(brought(14, 0x81, 0x02), again); err != nil || diff != "" {
		t.Errorf("slots: %v (-want +got):\n%s", err, diff)
	}
}

func TestReturnedRefuses(t *testing.T) {
	tests := []struct {
		name   string
		before func(s []Slot)
		stale  []int
		text   string
	}{
		{"every leg stale", func([]Slot) {}, []int{0, 1, 2}, "no leg is left"},
		{"others missing", func(s []Slot) { s[0], s[1] = Slot{}, Slot{} }, []int{2}, "no leg is left"},
		{"from the failed leg", func([]Slot) {}, []int{0, 1}, "leg 0 is newer than leg 2 and says that it has failed"},
		{"failed leg not called stale", func([]Slot) {}, []int{1}, "leg 2 is not in sync"},
		{"leg in the middle not called stale", func(s []Slot) { s[1].Super.RecoveryOffset = 64 }, []int{2}, "leg 1 is not in sync"},
		{"leg beyond the set", func([]Slot) {}, []int{3}, "no leg 3"},
		{"negative leg", func([]Slot) {}, []int{-1}, "no leg -1"},
		{"nothing to do but bits", func(s []Slot) { s[0].Super.FailedDevices, s[1].Super.FailedDevices = 0, 0 }, nil, "no leg to copy"},
		{"others in a resync", func(s []Slot) { s[0].Super.ResyncOffset = 64 }, []int{2}, "in the middle of a resync"},
		{"events at their end", func(s []Slot) { s[2].Super.Events = math.MaxUint64 }, []int{2}, "cannot rise"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slots := degraded()
			tt.before(slots)
			refused(t, tt.text)(Returned(slots, testRegion, tt.stale))
		})
	}
}
