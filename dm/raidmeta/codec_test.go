package raidmeta

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/size"
)

// field is some bytes of a golden image, in hexadecimal, at an offset.
type field struct {
	at  int
	hex string
}

// image is room zero bytes with fields put in.
func image(t testing.TB, room int, fields ...field) []byte {
	t.Helper()
	b := make([]byte, room)
	for _, f := range fields {
		v, err := hex.DecodeString(strings.ReplaceAll(f.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		copy(b[f.at:], v)
	}
	return b
}

// goldenSuper is the superblock of leg 1 of 2 legs of 65536 sectors, written by hand from the kernel's layout.
var goldenSuper = []field{
	{0, "44 6d 52 64"},               // magic "DmRd"
	{4, "01 00 00 00"},               // compat features
	{8, "02 00 00 00"},               // legs
	{12, "01 00 00 00"},              // position
	{16, "08 07 06 05 04 03 02 01"},  // events
	{24, "02 00 00 00 00 00 00 00"},  // failed devices
	{32, "00 40 00 00 00 00 00 00"},  // recovery offset
	{40, "ff ff ff ff ff ff ff ff"},  // resync offset
	{48, "01 00 00 00"},              // level
	{64, "ff ff ff ff ff ff ff ff"},  // reshape position
	{72, "01 00 00 00"},              // new level
	{88, "00 00 01 00 00 00 00 00"},  // array sectors
	{112, "00 00 01 00 00 00 00 00"}, // sectors
}

var decodedSuper = Super{
	NumDevices:     2,
	ArrayPosition:  1,
	Events:         0x0102030405060708,
	FailedDevices:  2,
	RecoveryOffset: 0x4000,
	ResyncOffset:   InSync,
	ArraySize:      65536,
	LegSize:        65536,
}

// goldenBitmap is the bitmap of an array of 77824 sectors: ten regions of 4 MiB, the last one half.
var goldenBitmap = []field{
	{0, "62 69 74 6d"},              // magic "bitm"
	{4, "04 00 00 00"},              // version
	{24, "07 00 00 00 00 00 00 00"}, // events
	{32, "01 00 00 00 00 00 00 00"}, // events cleared
	{40, "00 30 01 00 00 00 00 00"}, // sync size
	{52, "00 00 40 00"},             // chunk size in bytes
	{56, "05 00 00 00"},             // daemon sleep
	{256, "81 02"},                  // regions 0, 7 and 9
}

func decodedBitmap() Bitmap {
	return Bitmap{Events: 7, EventsCleared: 1, ArraySize: 77824, RegionSize: 8192, Bits: Bits{0x81, 0x02}}
}

func TestSuperGolden(t *testing.T) {
	want := image(t, 4096, goldenSuper...)
	if diff := cmp.Diff(want, decodedSuper.Encode()); diff != "" {
		t.Errorf("encoded superblock (-want +got):\n%s", diff)
	}
	for name, b := range map[string][]byte{"block": want, "exact": want[:148], "longer": append(bytes.Clone(want), 1, 2, 3)} {
		got, err := DecodeSuper(b)
		if diff := cmp.Diff(decodedSuper, got); err != nil || diff != "" {
			t.Errorf("%s: decoded superblock: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestBitmapGolden(t *testing.T) {
	want := image(t, 4096, goldenBitmap...)
	if diff := cmp.Diff(want, decodedBitmap().Encode()); diff != "" {
		t.Errorf("encoded bitmap (-want +got):\n%s", diff)
	}
	for name, b := range map[string][]byte{"block": want, "exact": want[:258]} {
		got, err := DecodeBitmap(b)
		if diff := cmp.Diff(decodedBitmap(), got); err != nil || diff != "" {
			t.Errorf("%s: decoded bitmap: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestBitmapVariants(t *testing.T) {
	stale := decodedBitmap()
	stale.Stale = true
	tests := []struct {
		name  string
		field field
		want  Bitmap
	}{
		{"stale", field{48, "02"}, stale},
		{"write error", field{48, "04"}, stale},
		{"bits beyond the last region", field{256, "81 fe"}, decodedBitmap()},
		{"write behind", field{60, "ff 3f"}, decodedBitmap()},
		{"sectors reserved", field{64, "08"}, decodedBitmap()},
		{"another cleaning period", field{56, "3c"}, decodedBitmap()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeBitmap(image(t, 4096, slices.Concat(goldenBitmap, []field{tt.field})...))
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("decode: %v (-want +got):\n%s", err, diff)
			}
		})
	}
	if b := stale.Encode(); b[48] != stateStale {
		t.Errorf("state of an encoded stale bitmap = %#x, want %#x", b[48], stateStale)
	}
}

func TestDecodeSuperRefuses(t *testing.T) {
	tests := []struct {
		name  string
		field field
		want  error
		text  string
	}{
		{"no magic", field{0, "00 00 00 00"}, ErrNoMagic, "no magic"},
		{"magic of the other byte order", field{0, "64 52 6d 44"}, ErrNoMagic, "no magic"},
		{"old format", field{4, "00"}, ErrInvalid, "features 0x0"},
		{"unknown feature", field{4, "03"}, ErrInvalid, "features 0x3"},
		{"incompatible feature", field{144, "01"}, ErrInvalid, "incompatible features 0x1"},
		{"raid5", field{48, "05"}, ErrInvalid, "level 5"},
		{"takeover", field{72, "05"}, ErrInvalid, "new level 5"},
		{"reshape flag", field{60, "01"}, ErrInvalid, "reshape"},
		{"reshape position", field{64, "00"}, ErrInvalid, "reshape"},
		{"delta disks", field{84, "01"}, ErrInvalid, "reshape"},
		{"layout", field{52, "01"}, ErrInvalid, "layout"},
		{"stripe", field{56, "01"}, ErrInvalid, "layout"},
		{"new layout", field{76, "01"}, ErrInvalid, "layout"},
		{"new stripe", field{80, "01"}, ErrInvalid, "layout"},
		{"data offset", field{96, "01"}, ErrInvalid, "data offset"},
		{"new data offset", field{104, "01"}, ErrInvalid, "data offset"},
		{"no legs", field{8, "00"}, ErrInvalid, "0 legs"},
		{"65 legs", field{8, "41"}, ErrInvalid, "65 legs"},
		{"position beyond the legs", field{12, "02"}, ErrInvalid, "leg 2 of 2"},
		{"failed leg 64", field{120, "01"}, ErrInvalid, "beyond 63"},
		{"failed leg 255", field{143, "80"}, ErrInvalid, "beyond 63"},
		{"empty array", field{88, "00 00 00"}, ErrInvalid, "array of 0 sectors"},
		{"endless array", field{95, "01"}, ErrInvalid, "array of"},
		{"empty leg", field{112, "00 00 00"}, ErrInvalid, "leg of 0 sectors"},
		{"endless leg", field{119, "01"}, ErrInvalid, "leg of"},
		{"recovery beyond the leg", field{32, "01 00 01"}, ErrInvalid, "recovery offset 65537"},
		{"resync beyond the array", field{40, "01 00 01 00 00 00 00 00"}, ErrInvalid, "resync offset 65537"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeSuper(image(t, 4096, slices.Concat(goldenSuper, []field{tt.field})...))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %v, want %v with %q", err, tt.want, tt.text)
			}
			if got != (Super{}) {
				t.Errorf("superblock beside an error: %+v", got)
			}
		})
	}
	for _, n := range []int{0, 4, 147} {
		if _, err := DecodeSuper(image(t, 4096, goldenSuper...)[:n]); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: error = %v, want %v", n, err, ErrInvalid)
		}
	}
}

func TestDecodeSuperDetached(t *testing.T) {
	b := image(t, 4096, slices.Concat(goldenSuper, []field{{12, "ff ff ff ff"}})...)
	got, err := DecodeSuper(b)
	want := decodedSuper
	want.ArrayPosition = Detached
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("detached leg: %v (-want +got):\n%s", err, diff)
	}
}

func TestDecodeBitmapRefuses(t *testing.T) {
	tests := []struct {
		name  string
		field field
		want  error
		text  string
	}{
		{"no magic", field{0, "00 00 00 00"}, ErrNoMagic, "no magic"},
		{"host-endian", field{4, "03"}, ErrInvalid, "version 3"},
		{"clustered", field{4, "05"}, ErrInvalid, "version 5"},
		{"lockless", field{4, "06"}, ErrInvalid, "version 6"},
		{"uuid", field{23, "01"}, ErrInvalid, "uuid"},
		{"cluster nodes", field{68, "01"}, ErrInvalid, "1 cluster nodes"},
		{"host-endian state", field{49, "80"}, ErrInvalid, "state 0x8000"},
		{"unknown state", field{48, "01"}, ErrInvalid, "state 0x1"},
		{"no region size", field{52, "00 00 00 00"}, ErrInvalid, "region of 0 bytes"},
		{"region below a sector", field{52, "00 01 00 00"}, ErrInvalid, "region of 256 bytes"},
		{"region no power of two", field{52, "00 00 60 00"}, ErrInvalid, "region of 6291456 bytes"},
		{"no size", field{40, "00 00 00"}, ErrInvalid, "array of 0 sectors"},
		{"endless", field{47, "01"}, ErrInvalid, "array of"},
		{"too many regions", field{40, "01 00 00 00 04"}, ErrInvalid, "at most 2097152"},
		{"cleaning period zero", field{56, "00"}, ErrInvalid, "cleaning period"},
		{"write behind", field{60, "00 40"}, ErrInvalid, "16384 writes behind"},
		{"bits not there", field{40, "00 00 00 10"}, ErrInvalid, "32768 regions need 4096"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeBitmap(image(t, 4096, slices.Concat(goldenBitmap, []field{tt.field})...))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %v, want %v with %q", err, tt.want, tt.text)
			}
			if diff := cmp.Diff(Bitmap{}, got); diff != "" {
				t.Errorf("bitmap beside an error (-want +got):\n%s", diff)
			}
		})
	}
	for _, n := range []int{0, 4, 255, 257} {
		if _, err := DecodeBitmap(image(t, 4096, goldenBitmap...)[:n]); !errors.Is(err, ErrInvalid) {
			t.Errorf("%d bytes: error = %v, want %v", n, err, ErrInvalid)
		}
	}
}

func TestSlot(t *testing.T) {
	slot := Slot{Super: decodedSuper, Bitmap: decodedBitmap()}
	b := slot.Encode()
	if diff := cmp.Diff(append(image(t, 4096, goldenSuper...), image(t, 4096, goldenBitmap...)...), b); diff != "" {
		t.Errorf("encoded slot (-want +got):\n%s", diff)
	}
	got, err := DecodeSlot(append(b, make([]byte, 9)...))
	if diff := cmp.Diff(slot, got); err != nil || diff != "" {
		t.Errorf("decoded slot: %v (-want +got):\n%s", err, diff)
	}
}

func TestSlotOfMaxRegionsFits(t *testing.T) {
	b := Slot{Bitmap: Bitmap{ArraySize: MaxRegions, RegionSize: 1, Bits: NewBits(MaxRegions, true)}}.Encode()
	if size.Bytes(len(b)) > SlotSize || len(b)%4096 != 0 {
		t.Errorf("slot of %d regions has %d bytes, want a multiple of 4096 and at most %d", MaxRegions, len(b), SlotSize)
	}
}

func TestDecodeSlotFaults(t *testing.T) {
	super := image(t, 4096, goldenSuper...)
	half := Slot{Super: decodedSuper, Bitmap: Bitmap{Stale: true}}
	tests := []struct {
		name   string
		bytes  []byte
		want   Slot
		causes []error
	}{
		{"wiped", make([]byte, 8192), Slot{}, []error{ErrNoMagic}},
		{"nothing", nil, Slot{}, []error{ErrInvalid}},
		{"superblock alone", super, half, []error{ErrBitmap, ErrInvalid}},
		{"superblock and zeroes", append(bytes.Clone(super), make([]byte, 4096)...), half, []error{ErrBitmap, ErrNoMagic}},
		{"short superblock block", super[:200], half, []error{ErrBitmap, ErrInvalid}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeSlot(tt.bytes)
			for _, cause := range tt.causes {
				if !errors.Is(err, cause) {
					t.Errorf("error = %v, want %v", err, cause)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("slot (-want +got):\n%s", diff)
			}
			if errors.Is(err, ErrBitmap) != tt.want.Bitmap.Stale {
				t.Errorf("error = %v for a slot with stale = %v", err, tt.want.Bitmap.Stale)
			}
		})
	}
}

func FuzzDecodeSuper(f *testing.F) {
	f.Add(image(f, 4096, goldenSuper...)[:160])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSuper(b)
		if err != nil {
			return
		}
		again, err := DecodeSuper(s.Encode())
		if err != nil || again != s {
			t.Errorf("%+v encoded and decoded: %+v, %v", s, again, err)
		}
		if s.ArrayPosition >= maxLegs && !s.CallsFailed(s) {
			t.Errorf("a detached leg is in order: %+v", s)
		}
	})
}

func FuzzDecodeBitmap(f *testing.F) {
	f.Add(image(f, 300, goldenBitmap...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeBitmap(b)
		if err != nil {
			return
		}
		again, err := DecodeBitmap(m.Encode())
		if diff := cmp.Diff(m, again); err != nil || diff != "" {
			t.Errorf("encoded and decoded: %v (-want +got):\n%s", err, diff)
		}
		if !m.Stale {
			regions := Regions(m.ArraySize, m.RegionSize)
			if regions > MaxRegions || uint64(len(m.Bits)) != (regions+7)/8 || m.Bits.Count() > regions {
				t.Errorf("%d bytes of bits with %d set for %d regions", len(m.Bits), m.Bits.Count(), regions)
			}
		}
	})
}

func FuzzDecodeSlot(f *testing.F) {
	f.Add(append(image(f, 4096, goldenSuper...), image(f, 300, goldenBitmap...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSlot(b)
		if err != nil {
			return
		}
		again, err := DecodeSlot(s.Encode())
		if diff := cmp.Diff(s, again); err != nil || diff != "" {
			t.Errorf("encoded and decoded: %v (-want +got):\n%s", err, diff)
		}
	})
}

// FuzzRestart readies what any two legs hold for a start of their mirror. The set is refused, or one that the kernel may get,
// with all bits that are set on a leg that tracks, and it survives the drives.
func FuzzRestart(f *testing.F) {
	whole := append(image(f, 4096, goldenSuper...), image(f, 300, goldenBitmap...)...)
	f.Add(whole, whole, uint8(2))
	equal, err := AllInSync(AttachPlan{ArraySize: 8192, RegionSize: 2048, InSync: []bool{true, true}, Events: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(equal[0].Encode(), equal[1].Encode(), uint8(0))
	f.Add(equal[0].Encode(), equal[1].Encode(), uint8(1))
	f.Add(equal[0].Encode(), equal[1].Encode()[:4096], uint8(2))
	f.Add(whole, image(f, 4096, goldenSuper...), uint8(1))
	f.Fuzz(func(t *testing.T, a, b []byte, stale uint8) {
		var slots []Slot
		for _, raw := range [][]byte{a, b} {
			slot, _ := DecodeSlot(raw)
			slots = append(slots, slot)
		}
		region := max(slots[0].Bitmap.RegionSize, slots[1].Bitmap.RegionSize)
		before := [][]byte{bytes.Clone(slots[0].Bitmap.Bits), bytes.Clone(slots[1].Bitmap.Bits)}
		var set []Slot
		var err error
		if stale %= 3; stale == 0 {
			set, err = Resync(slots, region)
		} else {
			set, err = Returned(slots, region, []int{int(stale - 1)})
		}
		if err != nil {
			if set != nil {
				t.Errorf("a set comes with the error %v", err)
			}
			return
		}
		if err := Check(set); err != nil {
			t.Fatalf("%+v makes %+v: %v", slots, set, err)
		}
		for i, s := range set {
			again, err := DecodeSlot(s.Encode())
			if diff := cmp.Diff(s, again); err != nil || diff != "" {
				t.Errorf("leg %d: %v (-want +got):\n%s", i, err, diff)
			}
			if !bytes.Equal(before[i], slots[i].Bitmap.Bits) {
				t.Errorf("leg %d was changed", i)
			}
		}
	})
}
