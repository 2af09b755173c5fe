package raidmeta

import (
	"errors"
	"fmt"
)

// ErrBitmap means that the superblock of a slot is good and its bitmap is not.
var ErrBitmap = errors.New("unusable bitmap")

// Slot is the whole metadata of one leg. The zero Slot stands for a leg whose metadata does not exist or cannot be read,
// because its drive is missing.
type Slot struct {
	Super  Super
	Bitmap Bitmap
}

// Encode is s as it stands on the drive, from the start of a metadata device on. It has at most SlotSize bytes, a multiple
// of 4096. Write all of it: the bytes after the bits must be zero too.
func (s Slot) Encode() []byte { return append(s.Super.Encode(), s.Bitmap.Encode()...) }

// DecodeSlot reads a slot. b starts at the superblock and may be longer than the slot. Errors are those of DecodeSuper and
// DecodeBitmap. If only the bitmap is bad, the error also wraps ErrBitmap, and the slot is returned with its superblock and
// a stale bitmap without bits. From such a slot Returned copies everything.
func DecodeSlot(b []byte) (Slot, error) {
	super, err := DecodeSuper(b)
	if err != nil {
		return Slot{}, err
	}
	bitmap, err := DecodeBitmap(b[min(bitmapOffset, len(b)):])
	if err != nil {
		return Slot{Super: super, Bitmap: Bitmap{Stale: true}}, fmt.Errorf("%w: %w", ErrBitmap, err)
	}
	return Slot{Super: super, Bitmap: bitmap}, nil
}

// Tracks reports whether the bitmap of s has a bit for every region that may differ between the legs.
func (s Slot) Tracks() bool {
	b := s.Bitmap
	return !s.missing() && !b.Stale && b.Events >= s.Super.Events && uint64(len(b.Bits)) == (Regions(b.ArraySize, b.RegionSize)+7)/8
}

// Clean reports whether s is as Stopped wrote it: the legs were equal then, and the kernel has not used s since.
func (s Slot) Clean() bool {
	return s.Tracks() && s.Super.Events > clearedNever && s.Bitmap.EventsCleared == s.Bitmap.Events
}

// missing reports whether s is the zero Slot.
func (s Slot) missing() bool { return s.Super == Super{} }
