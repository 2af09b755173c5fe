package raidmeta

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/size"
)

func TestNewBits(t *testing.T) {
	tests := []struct {
		name    string
		regions uint64
		full    bool
		want    Bits
		count   uint64
	}{
		{"none of nothing", 0, false, Bits{}, 0},
		{"all of nothing", 0, true, Bits{}, 0},
		{"all of one", 1, true, Bits{0x01}, 1},
		{"all of eight", 8, true, Bits{0xff}, 8},
		{"all of nine", 9, true, Bits{0xff, 0x01}, 9},
		{"none of nine", 9, false, Bits{0, 0}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := NewBits(tt.regions, tt.full)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("bits (-want +got):\n%s", diff)
			}
			if got.Count() != tt.count {
				t.Errorf("count = %d, want %d", got.Count(), tt.count)
			}
		})
	}
}

func TestBitsOrder(t *testing.T) {
	b := NewBits(17, false)
	for _, i := range []uint64{0, 9, 16} {
		b.Set(i)
		b.Set(i)
	}
	if diff := cmp.Diff(Bits{0x01, 0x02, 0x01}, b); diff != "" {
		t.Errorf("after Set (-want +got):\n%s", diff)
	}
	b.Clear(9)
	b.Clear(10)
	if b.Get(9) || b.Get(10) || !b.Get(0) || !b.Get(16) || b.Get(15) {
		t.Errorf("after Clear: %x", []byte(b))
	}
	b.Or(Bits{0x80, 0x00, 0x01})
	if diff := cmp.Diff(Bits{0x81, 0x00, 0x01}, b); diff != "" {
		t.Errorf("after Or (-want +got):\n%s", diff)
	}
}

func TestBitsClearBelow(t *testing.T) {
	tests := []struct {
		name string
		end  uint64
		want Bits
	}{
		{"nothing", 0, Bits{0xff, 0x03}},
		{"part of the first region", 2047, Bits{0xff, 0x03}},
		{"the first region", 2048, Bits{0xfe, 0x03}},
		{"the first region and part of the next", 4095, Bits{0xfe, 0x03}},
		{"a byte and more", 9 * 2048, Bits{0, 0x02}},
		{"all", 10 * 2048, Bits{0, 0}},
		{"beyond the last byte", 17 * 2048, Bits{0, 0}},
		{"in sync", InSync, Bits{0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := NewBits(10, true)
			b.ClearBelow(tt.end, 2048)
			if diff := cmp.Diff(tt.want, b); diff != "" {
				t.Errorf("bits (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBitsBeyondTheEndPanic(t *testing.T) {
	for name, f := range map[string]func(Bits){
		"get":   func(b Bits) { b.Get(8) },
		"set":   func(b Bits) { b.Set(8) },
		"clear": func(b Bits) { b.Clear(8) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(NewBits(8, false))
		})
	}
}

func TestRegionSize(t *testing.T) {
	const mib = size.Sectors(2048)
	tests := []struct {
		name    string
		array   size.Sectors
		want    size.Sectors
		regions uint64
	}{
		{"one sector", 1, 1, 1},
		{"three sectors", 3, 2, 2},
		{"512 KiB", 1024, 1024, 1},
		{"just below 1 MiB", mib - 1, 1024, 2},
		{"1 MiB", mib, mib, 1},
		{"1 MiB and a sector", mib + 1, mib, 2},
		{"2 TiB", 2 << 20 * mib, mib, MaxRegions},
		{"2 TiB and a sector", 2<<20*mib + 1, 2 * mib, MaxRegions/2 + 1},
		{"1 PiB", 1 << 30 * mib, 512 * mib, MaxRegions},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := RegionSize(tt.array)
			if got != tt.want || Regions(tt.array, got) != tt.regions {
				t.Errorf("region = %d, %d regions, want %d, %d", got, Regions(tt.array, got), tt.want, tt.regions)
			}
		})
	}
}
