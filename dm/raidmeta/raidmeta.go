// Package raidmeta encodes and decodes what dm-raid keeps on the metadata device of a leg: the dm-raid superblock and the
// md write-intent bitmap. It also builds the metadata that makes the kernel copy exactly what has to be copied. It works on
// bytes and opens nothing.
//
//	Slot                           the metadata of one leg: Super and Bitmap
//	Attach, Grow, AllInSync        metadata for a set of legs, from a plan
//	Resync, Returned, Restarted    metadata for a set of legs, from what was read from their drives
//	Check                          why the kernel must not get a set
//
// A leg is one copy of the data, and an array is all of them. A region is the part of the array that one bit of the bitmap
// stands for. A vacant leg is one that no drive ever provides: it keeps the kernel from clearing bits. Sizes of arrays, legs
// and regions are in sectors of 512 bytes. A metadata device has, at byte:
//
//	0      superblock, 148 bytes (struct dm_raid_superblock, drivers/md/dm-raid.c), rest of the block zero
//	4096   bitmap superblock, 256 bytes (struct bitmap_super_s, drivers/md/md-bitmap.h)
//	4352   bitmap, one bit a region, least significant bit first; 1: the region may differ between the legs
//
// All integers are little-endian on every machine. Neither structure has a checksum, and neither says which LUN it belongs
// to: the catalog does.
package raidmeta

import (
	"errors"

	"github.com/plexctl/plexctl/size"
)

// SlotSize is the room that plexctl gives one copy of a leg's metadata. It holds a superblock and a bitmap of MaxRegions.
const SlotSize = 512 * size.KiB

// MaxRegions is the largest number of regions dm-raid accepts (drivers/md/dm-raid.c, validate_region_size).
const MaxRegions = 1 << 21

// Offsets inside a metadata device.
const (
	superOffset  = 0
	bitmapOffset = 4096
	bitsOffset   = 4352
)

// InSync is the value of an offset that says "nothing left to do" (MaxSector in the kernel).
const InSync = ^uint64(0)

// Errors that callers tell apart.
var (
	// ErrNoMagic means that the structure is not there: the space was never used, or was wiped.
	ErrNoMagic = errors.New("no magic")
	// ErrInvalid means that the structure is there and cannot come from a table of plexctl. Of a set of slots it means that
	// the kernel must not get them.
	ErrInvalid = errors.New("invalid")
)

// Super is a dm-raid superblock of a raid1 leg.
type Super struct {
	NumDevices     uint32       // legs of the array
	ArrayPosition  uint32       // this leg's index
	Events         uint64       // the leg with the highest count is authoritative; ties: first in table order
	FailedDevices  uint64       // bit i: the leg at array position i has failed
	RecoveryOffset uint64       // sectors of this leg already rebuilt, or InSync
	ResyncOffset   uint64       // sectors already resynced array-wide, or InSync
	ArraySize      size.Sectors // length of the array
	LegSize        size.Sectors // length of the leg; the kernel takes a smaller value for a growing array
}

// Bitmap is a write-intent bitmap with its superblock.
type Bitmap struct {
	Events        uint64       // at least the superblock's, or the kernel takes the bitmap for stale
	EventsCleared uint64       // below Events, or the kernel skips every set bit of a returning leg
	ArraySize     size.Sectors // length of the array
	RegionSize    size.Sectors // a power of two
	Stale         bool         // the kernel marked the bitmap unusable, or could not write it
	Bits          Bits
	Run           Run
}

// Run is what plexctl notes in a bitmap superblock, in bytes that the kernel reads and writes as padding (struct
// bitmap_super_s in drivers/md/md-bitmap.h). The kernel writes the superblock of the first leg in sync to all working legs, so
// all of these have the same Run.
type Run struct {
	Number uint32 // rises with every set of metadata that plexctl writes for the LUN
	LUN    uint32 // tells LUNs apart
	Nonce  uint64 // random
	Events uint64 // of the newest superblock that plexctl wrote with it: a higher one is the kernel's
}

// Bits is a set of regions, one bit each, in the on-disk order.
type Bits []byte
