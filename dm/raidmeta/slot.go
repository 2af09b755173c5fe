package raidmeta

import (
	"errors"
	"fmt"
)

// ErrBitmap means that a slot's superblock is good and its bitmap is not.
var ErrBitmap = errors.New("unusable bitmap")

// Slot is the whole metadata of one leg. The zero Slot stands for a leg whose metadata does not exist or cannot be
// read: a missing drive.
type Slot struct {
	Super  Super
	Bitmap Bitmap
}

// Encode is s as it stands on the disk, from the start of a metadata device on; at most SlotSize bytes, a multiple of
// 4096. Write all of it: what follows the bits must be zero too.
func (s Slot) Encode() []byte { return append(s.Super.Encode(), s.Bitmap.Encode()...) }

// DecodeSlot reads a slot; b starts at the superblock and may be longer than the slot. When only the bitmap is bad, the
// error wraps ErrBitmap as well as the cause, and the returned slot has the superblock and a stale bitmap without bits:
// good for Returned, which then copies everything.
func DecodeSlot(b []byte) (Slot, error) {
	super, err := DecodeSuper(b)
	if err != nil {
		return Slot{}, err
	}
	var rest []byte
	if len(b) > bitmapOffset {
		rest = b[bitmapOffset:]
	}
	bitmap, err := DecodeBitmap(rest)
	if err != nil {
		return Slot{Super: super, Bitmap: Bitmap{Stale: true}}, fmt.Errorf("%w: %w", ErrBitmap, err)
	}
	return Slot{Super: super, Bitmap: bitmap}, nil
}

// Tracks reports whether the bitmap of s can be trusted to have a bit for every region that may differ.
func (s Slot) Tracks() bool {
	b := s.Bitmap
	return !s.missing() && !b.Stale && b.Events >= s.Super.Events && uint64(len(b.Bits)) == (Regions(b.ArraySize, b.RegionSize)+7)/8
}

// Clean reports whether the legs were stopped equal; see Stopped.
func (s Slot) Clean() bool {
	return s.Tracks() && s.Super.Events > clearedNever && s.Bitmap.EventsCleared == s.Bitmap.Events
}

// missing reports whether s is the zero Slot.
func (s Slot) missing() bool { return s.Super == Super{} }
