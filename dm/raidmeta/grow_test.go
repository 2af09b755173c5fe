package raidmeta

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/size"
)

func TestGrow(t *testing.T) {
	three := func(bits ...byte) []Slot {
		slots := make([]Slot, 3)
		for i := range slots {
			slots[i] = Slot{super(i, 3, 42, 0), bitmap(42, bits...)}
			slots[i].Super.ResyncOffset = 0
		}
		return slots
	}
	tests := []struct {
		name string
		from size.Sectors
		want []Slot
	}{
		{"from nothing", 0, three(0xff, 0x03)},
		{"from the middle of a region", 2*testRegion - 1, three(0xfe, 0x03)},
		{"from the end of a region", 2 * testRegion, three(0xfc, 0x03)},
		{"by part of a region", testArray - 8, three(0, 0x02)},
		{"by nothing", 10 * testRegion, three(0, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Grow(AttachPlan{
				ArraySize: testArray, RegionSize: testRegion, InSync: []bool{true, true, true}, Bits: Bits{1}, Events: 41,
			}, tt.from)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("slots: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestGrowRefuses(t *testing.T) {
	two := []bool{true, true}
	tests := []struct {
		name string
		plan AttachPlan
		text string
	}{
		{"no size", AttachPlan{RegionSize: 8, InSync: two}, "array of 0 sectors"},
		{"no region", AttachPlan{ArraySize: 64, InSync: two}, "regions of 0"},
		{"too many regions", AttachPlan{ArraySize: MaxRegions + 1, RegionSize: 1, InSync: two}, "2097153 regions"},
		{"no legs", AttachPlan{ArraySize: 64, RegionSize: 8}, "0 legs"},
		{"one leg", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: []bool{true}}, "without two legs"},
		{"65 legs", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: slices.Repeat([]bool{true}, 65)}, "65 legs"},
		{"leg to be filled", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: []bool{true, false}}, "leg 1 is not in sync"},
		{"no leg in sync", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: []bool{false, false}}, "no leg is in sync"},
		{"events at their end", AttachPlan{ArraySize: 64, RegionSize: 8, InSync: two, Events: math.MaxUint64 - 1}, "cannot rise"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refused(t, tt.text)(Grow(tt.plan, 8)) })
	}
}

func TestGrowGivesEachLegItsOwnBits(t *testing.T) {
	slots, err := Grow(AttachPlan{ArraySize: testArray, RegionSize: testRegion, InSync: []bool{true, true}}, 8*testRegion)
	if err != nil {
		t.Fatal(err)
	}
	slots[0].Bitmap.Bits.Set(4)
	if diff := cmp.Diff(Bits{0, 0x03}, slots[1].Bitmap.Bits); diff != "" {
		t.Errorf("bits of leg 1 (-want +got):\n%s", diff)
	}
}

func TestBitmapOffset(t *testing.T) {
	s := attached(t, 6, true, false)[0]
	if diff := cmp.Diff(s.Bitmap.Encode(), s.Encode()[BitmapOffset:]); diff != "" {
		t.Errorf("bitmap of an encoded slot (-want +got):\n%s", diff)
	}
}

func TestTracks(t *testing.T) {
	tests := []struct {
		name string
		slip func(s *Slot)
		want bool
	}{
		{"as built", func(*Slot) {}, true},
		{"bitmap ahead of the superblock", func(s *Slot) { s.Bitmap.Events++ }, true},
		{"bitmap behind the superblock", func(s *Slot) { s.Bitmap.Events-- }, false},
		{"stale", func(s *Slot) { s.Bitmap.Stale = true }, false},
		{"bits missing", func(s *Slot) { s.Bitmap.Bits = s.Bitmap.Bits[:1] }, false},
		{"no bitmap", func(s *Slot) { s.Bitmap = Bitmap{Stale: true} }, false},
		{"missing leg", func(s *Slot) { *s = Slot{} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := attached(t, 6, true, false)[0]
			tt.slip(&s)
			if got := s.Tracks(); got != tt.want {
				t.Errorf("tracks = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCallsFailed(t *testing.T) {
	by := super(0, 3, 7, 4)
	for position, want := range map[uint32]bool{0: false, 1: false, 2: true, 63: false, 64: true, Detached: true} {
		if got := by.CallsFailed(Super{ArrayPosition: position}); got != want {
			t.Errorf("calls the leg at position %d failed: %v, want %v", position, got, want)
		}
	}
}
