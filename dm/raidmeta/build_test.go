package raidmeta

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/size"
)

// The sets of these tests have ten regions of 1 MiB, the last one half.
const (
	testArray  = 19 * 1024
	testRegion = 2048
)

// super is a superblock of leg i of legs.
func super(i, legs int, events, failed uint64) Super {
	return Super{
		NumDevices:     uint32(legs),
		ArrayPosition:  uint32(i),
		Events:         events,
		FailedDevices:  failed,
		RecoveryOffset: InSync,
		ResyncOffset:   InSync,
		ArraySize:      testArray,
		LegSize:        testArray,
	}
}

// empty is the superblock of leg i of legs when it is to be filled.
func empty(i, legs int, events uint64) Super {
	s := super(i, legs, events, 0)
	s.RecoveryOffset = 0
	return s
}

// bitmap is a bitmap with these bits.
func bitmap(events uint64, bits ...byte) Bitmap {
	return Bitmap{Events: events, EventsCleared: 1, ArraySize: testArray, RegionSize: testRegion, Bits: bits}
}

func TestAttach(t *testing.T) {
	some := Bits{0x81, 0x02}
	tests := []struct {
		name string
		plan AttachPlan
		want []Slot
	}{
		{"one to one, everything", AttachPlan{InSync: []bool{true, false}}, []Slot{
			{super(0, 2, 2, 2), bitmap(2, 0xff, 0x03)},
			{empty(1, 2, 1), bitmap(2, 0xff, 0x03)},
		}},
		{"one to one, some regions", AttachPlan{InSync: []bool{true, false}, Bits: some}, []Slot{
			{super(0, 2, 2, 2), bitmap(2, 0x81, 0x02)},
			{empty(1, 2, 1), bitmap(2, 0x81, 0x02)},
		}},
		{"tracking: no region yet", AttachPlan{InSync: []bool{true, false}, Bits: Bits{0, 0}}, []Slot{
			{super(0, 2, 2, 2), bitmap(2, 0, 0)},
			{empty(1, 2, 1), bitmap(2, 0, 0)},
		}},
		{"two to one", AttachPlan{InSync: []bool{true, true, false}, Bits: some}, []Slot{
			{super(0, 3, 2, 4), bitmap(2, 0x81, 0x02)},
			{super(1, 3, 2, 4), bitmap(2, 0x81, 0x02)},
			{empty(2, 3, 1), bitmap(2, 0x81, 0x02)},
		}},
		{"one to two, new legs between", AttachPlan{InSync: []bool{true, false, true, false}, Bits: some}, []Slot{
			{super(0, 4, 2, 10), bitmap(2, 0x81, 0x02)},
			{empty(1, 4, 1), bitmap(2, 0x81, 0x02)},
			{super(2, 4, 2, 10), bitmap(2, 0x81, 0x02)},
			{empty(3, 4, 1), bitmap(2, 0x81, 0x02)},
		}},
		{"the first leg to be filled", AttachPlan{InSync: []bool{false, true, false}, Bits: some}, []Slot{
			{empty(0, 3, 1), bitmap(2, 0x81, 0x02)},
			{super(1, 3, 2, 5), bitmap(2, 0x81, 0x02)},
			{empty(2, 3, 1), bitmap(2, 0x81, 0x02)},
		}},
		{"all in sync, nothing to copy", AttachPlan{InSync: []bool{true, true}, Bits: Bits{0, 0}}, []Slot{
			{super(0, 2, 2, 0), bitmap(2, 0, 0)},
			{super(1, 2, 2, 0), bitmap(2, 0, 0)},
		}},
		{"events rise", AttachPlan{InSync: []bool{true, false}, Events: 41}, []Slot{
			{super(0, 2, 42, 2), bitmap(42, 0xff, 0x03)},
			{empty(1, 2, 41), bitmap(42, 0xff, 0x03)},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.plan.ArraySize, tt.plan.RegionSize = testArray, testRegion
			got, err := Attach(tt.plan)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("slots: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestAttachOwnsItsBits(t *testing.T) {
	bits := Bits{0x01, 0}
	slots, err := Attach(AttachPlan{ArraySize: testArray, RegionSize: testRegion, InSync: []bool{true, false}, Bits: bits})
	if err != nil {
		t.Fatal(err)
	}
	bits.Set(3)
	slots[0].Bitmap.Bits.Set(4)
	if diff := cmp.Diff(Bits{0x01, 0}, slots[1].Bitmap.Bits); diff != "" {
		t.Errorf("bits of leg 1 (-want +got):\n%s", diff)
	}
}

func TestAttachRefuses(t *testing.T) {
	two := []bool{true, false}
	tests := []struct {
		name string
		plan AttachPlan
		text string
	}{
		{"no size", AttachPlan{RegionSize: 8, InSync: two}, "array of 0 sectors"},
		{"endless", AttachPlan{ArraySize: 1 << 60, RegionSize: 8, InSync: two}, "array of"},
		{"no region", AttachPlan{ArraySize: 64, InSync: two}, "regions of 0"},
		{"region no power of two", AttachPlan{ArraySize: 64, RegionSize: 12, InSync: two}, "regions of 12"},
		{"region above 1 GiB", AttachPlan{ArraySize: 1 << 30, RegionSize: 1 << 22, InSync: two}, "regions of 4194304"},
		{"region whose bytes overflow", AttachPlan{ArraySize: 64, RegionSize: 1 << 55, InSync: two}, "regions of"},
		{"too many regions", AttachPlan{ArraySize: MaxRegions + 1, RegionSize: 1, InSync: two}, "2097153 regions"},
		{"no legs", AttachPlan{ArraySize: 64, RegionSize: 8}, "0 legs"},
		{"65 legs", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: slices.Repeat([]bool{true}, 65)}, "65 legs"},
		{"all legs to be filled", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: []bool{false, false}}, "no leg is in sync"},
		{"nowhere to copy to", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: []bool{true, true}}, "no leg to copy them to"},
		{"too few bits", AttachPlan{ArraySize: 128, RegionSize: 8, InSync: two, Bits: Bits{1}}, "1 bytes for 16 regions"},
		{"too many bits", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: two, Bits: Bits{1, 0}}, "2 bytes for 8 regions"},
		{"bit beyond the end", AttachPlan{ArraySize: 24, RegionSize: 8, InSync: two, Bits: Bits{8}}, "beyond the last region"},
		{"events at their end", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: two, Events: math.MaxUint64 - 1}, "cannot rise"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refused(t, tt.text)(Attach(tt.plan)) })
	}
}

// refused checks that a builder gave ErrInvalid with a text, and no slots.
func refused(t *testing.T, text string) func([]Slot, error) {
	return func(slots []Slot, err error) {
		t.Helper()
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), text) || slots != nil {
			t.Errorf("slots = %v, error = %v, want %v with %q", slots, err, ErrInvalid, text)
		}
	}
}

func TestCheckRefusesEachWrongVariant(t *testing.T) {
	tests := []struct {
		name string
		slip func(s []Slot)
		text string
	}{
		{"cleared at the current events", func(s []Slot) { s[0].Bitmap.EventsCleared = 7 }, "cleared at the current"},
		{"cleared later than the events", func(s []Slot) { s[0].Bitmap.EventsCleared = 8 }, "cleared at the current"},
		{"bitmap behind the superblock", func(s []Slot) { s[0].Bitmap.Events = 6 }, "bitmap of leg 0 is stale"},
		{"stale bitmap", func(s []Slot) { s[0].Bitmap.Stale = true }, "bitmap of leg 0 is stale"},
		{"failed bit missing", func(s []Slot) { s[0].Super.FailedDevices, s[1].Super.FailedDevices = 0, 0 }, "leg 2 is not in sync"},
		{"failed bit of a missing leg missing", func(s []Slot) {
			s[2] = Slot{}
			s[0].Super.FailedDevices, s[1].Super.FailedDevices = 0, 0
		}, "leg 2 is missing and not marked failed"},
		{"failed bit in the first leg alone", func(s []Slot) { s[1].Super.FailedDevices = 0 }, "disagree about which legs"},
		{"failed leg as fresh", func(s []Slot) { s[2].Super.Events = 7 }, "no fewer than"},
		{"failed leg fresher", func(s []Slot) { s[2].Super.Events = 8 }, "leg 0 has 7 events"},
		{"failed leg in sync by its own account", func(s []Slot) { s[2].Super.RecoveryOffset = InSync }, "could be started alone"},
		{"source failed by its own account", func(s []Slot) { s[0].Super.FailedDevices = 5 }, "no fewer than"},
		{"failed leg beyond the set", func(s []Slot) {
			s[0].Super.FailedDevices, s[1].Super.FailedDevices = 12, 12
		}, "failed legs 0xc"},
		{"source not in sync", func(s []Slot) { s[0].Super.RecoveryOffset = 0 }, "leg 0 is not in sync"},
		{"half rebuilt leg not marked failed", func(s []Slot) {
			s[0].Super.FailedDevices, s[1].Super.FailedDevices = 0, 0
			s[2].Super.Events, s[2].Super.RecoveryOffset = 7, 4096
		}, "leg 2 is not in sync"},
		{"legs in sync of different events", func(s []Slot) { s[1].Super.Events = 6 }, "leg 1 has 6 events"},
		{"grown leg", func(s []Slot) { s[1].Super.LegSize-- }, "leg 1 has 19455 sectors"},
		{"other array size", func(s []Slot) { s[2].Super.ArraySize, s[2].Super.LegSize = 64, 64 }, "leg 2 is of an array"},
		{"other number of legs", func(s []Slot) { s[2].Super.NumDevices = 2 }, "array of 2 legs"},
		{"legs swapped", func(s []Slot) { s[1].Super.ArrayPosition = 2 }, "claims position 2"},
		{"detached leg", func(s []Slot) { s[2].Super.ArrayPosition = Detached }, "claims position"},
		{"bitmap of another size", func(s []Slot) { s[1].Bitmap.ArraySize = 64 }, "bitmap of leg 1 is of 64 sectors"},
		{"bitmap of other regions", func(s []Slot) { s[1].Bitmap.RegionSize = 4096 }, "regions of 4096"},
		{"region no power of two", func(s []Slot) { s[0].Bitmap.RegionSize = 2047 }, "regions of 2047"},
		{"bits differ between legs in sync", func(s []Slot) { s[1].Bitmap.Bits[0] = 0 }, "differs from that"},
		{"resync of a set with a failed leg", func(s []Slot) {
			s[0].Super.ResyncOffset, s[1].Super.ResyncOffset = 0, 0
		}, "kernel would ignore"},
		{"resync in one leg alone", func(s []Slot) { s[1].Super.ResyncOffset = 0 }, "disagree about the resync"},
		{"resync from the middle", func(s []Slot) {
			s[0].Super.ResyncOffset, s[1].Super.ResyncOffset = 4096, 4096
		}, "pass over the regions"},
		{"all legs missing", func(s []Slot) { s[0], s[1], s[2] = Slot{}, Slot{}, Slot{} }, "every leg is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			slots := attached(t, 6, true, true, false)
			if err := Check(slots); err != nil {
				t.Fatalf("the set before the slip: %v", err)
			}
			tt.slip(slots)
			refused(t, tt.text)(nil, Check(slots))
		})
	}
	refused(t, "0 legs")(nil, Check(nil))
}

// attached is a set that asks for a copy of regions 0, 7 and 9 to the legs that are not in sync.
func attached(t *testing.T, events uint64, inSync ...bool) []Slot {
	t.Helper()
	bits := Bits{0x81, 0x02}
	slots, err := Attach(AttachPlan{ArraySize: testArray, RegionSize: testRegion, InSync: inSync, Bits: bits, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	return slots
}

func TestCheckTakesMissingLegs(t *testing.T) {
	slots := attached(t, 0, true, false, false)
	slots[1], slots[2] = Slot{}, Slot{}
	if err := Check(slots); err != nil {
		t.Error(err)
	}
}

func TestCheckBoundsWhatItAllocates(t *testing.T) {
	huge := Slot{Super: super(0, 1, 2, 0), Bitmap: Bitmap{Events: 2, EventsCleared: 1, ArraySize: maxSectors, RegionSize: 1}}
	huge.Super.ArraySize, huge.Super.LegSize = maxSectors, maxSectors
	refused(t, "regions")(nil, Check([]Slot{huge}))
	refused(t, "regions, at most")(Returned([]Slot{huge, {}}, 1, nil))
	refused(t, "regions, at most")(Resync([]Slot{huge}, 1))
	refused(t, "65 legs")(Resync(make([]Slot, 65), size.Sectors(8)))
}
