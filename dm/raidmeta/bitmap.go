package raidmeta

import (
	"fmt"

	"github.com/plexctl/plexctl/size"
)

// bitmapMagic is "bitm" on the disk.
const bitmapMagic = 0x6D746962

// bitmapVersion is the classic bitmap with little-endian bits. 3 is host-endian, 5 clustered, 6 lockless with a byte a
// region (drivers/md/md-bitmap.h).
const bitmapVersion = 4

// bitmapSuperSize is the size of struct bitmap_super_s.
const bitmapSuperSize = bitsOffset - bitmapOffset

// Bits of the state field (drivers/md/md-bitmap.h, enum bitmap_state).
const (
	stateStale      = 1 << 1
	stateWriteError = 1 << 2
)

// daemonSleep is the md default in seconds between two passes of the bitmap's cleaner. Zero makes every load fail.
const daemonSleep = 5

// maxWriteBehind is the kernel's limit; more makes every load fail (drivers/md/md-bitmap.h, COUNTER_MAX).
const maxWriteBehind = 16383

// defaultRegion is the region size of any array of at least its size: 1 MiB, in sectors.
const defaultRegion = size.Sectors(size.MiB / size.Sector)

// wireBitmap is struct bitmap_super_s, field for field.
type wireBitmap struct {
	Magic           uint32   // 0
	Version         uint32   // 4
	UUID            [16]byte // 8: zero, dm-raid sets none
	Events          uint64   // 24
	EventsCleared   uint64   // 32
	SyncSize        uint64   // 40: sectors
	State           uint32   // 48
	ChunkSize       uint32   // 52: bytes
	DaemonSleep     uint32   // 56: seconds
	WriteBehind     uint32   // 60
	SectorsReserved uint32   // 64: the kernel's note to itself; 0 makes it count anew
	Nodes           uint32   // 68
	ClusterName     [64]byte // 72
	Run             Run      // 136: padding to the kernel, which keeps it
	Pad             [96]byte
}

// Regions is the number of regions of an array, the last of which may be smaller. region must not be 0.
func Regions(array, region size.Sectors) uint64 {
	n := uint64(array / region)
	if array%region != 0 {
		n++
	}
	return n
}

// RegionSize is the region size that plexctl uses for an array: 1 MiB, doubled until there are no more than MaxRegions. For
// an array below 1 MiB it is the largest power of two that fits. The array must have at least one sector.
func RegionSize(array size.Sectors) size.Sectors {
	region := defaultRegion
	for region > array && region > 1 {
		region /= 2
	}
	for Regions(array, region) > MaxRegions {
		region *= 2
	}
	return region
}

// Encode is b as it stands on the drive, from BitmapOffset of a metadata device on. It has the bitmap superblock and the bits,
// padded with zeroes to a multiple of 4096 bytes. b.Bits must have a bit for every region.
func (b Bitmap) Encode() []byte {
	w := wireBitmap{
		Magic:         bitmapMagic,
		Version:       bitmapVersion,
		Events:        b.Events,
		EventsCleared: b.EventsCleared,
		SyncSize:      uint64(b.ArraySize),
		ChunkSize:     uint32(b.RegionSize.Bytes()),
		DaemonSleep:   daemonSleep,
		Run:           b.Run,
	}
	if b.Stale {
		w.State = stateStale
	}
	room := size.Bytes(bitmapSuperSize + len(b.Bits)).RoundUp(superSize)
	out := encode(w, int(room))
	copy(out[bitmapSuperSize:], b.Bits)
	return out
}

// DecodeBitmap reads the bitmap whose superblock is at the start of b, which may be longer. It fails with ErrNoMagic if
// there is no bitmap. It fails with ErrInvalid if b ends before the bit of the last region, or if the kernel would refuse
// or misunderstand the bitmap. A bitmap that the kernel could not write is Stale. Bits beyond the last region are dropped.
// The result shares no memory with b.
func DecodeBitmap(b []byte) (Bitmap, error) {
	var w wireBitmap
	if err := decode(b, &w, bitmapMagic); err != nil {
		return Bitmap{}, fmt.Errorf("bitmap: %w", err)
	}
	array, region := size.Sectors(w.SyncSize), size.Bytes(w.ChunkSize).Sectors()
	bits, err := decodeBits(b[bitmapSuperSize:], Regions(array, region))
	if err != nil {
		return Bitmap{}, err
	}
	return Bitmap{
		Events:        w.Events,
		EventsCleared: w.EventsCleared,
		ArraySize:     array,
		RegionSize:    region,
		Stale:         w.State != 0,
		Bits:          bits,
		Run:           w.Run,
	}, nil
}

// decodeBits copies the bits of that many regions out of b.
func decodeBits(b []byte, regions uint64) (Bits, error) {
	if regions > MaxRegions {
		return nil, fmt.Errorf("bitmap: %w: %d regions, at most %d are possible", ErrInvalid, regions, MaxRegions)
	}
	length := (regions + 7) / 8
	if uint64(len(b)) < length {
		return nil, fmt.Errorf("bitmap: %w: %d bytes of bits, %d regions need %d", ErrInvalid, len(b), regions, length)
	}
	bits := append(Bits(nil), b[:length]...)
	bits.trim(regions)
	return bits, nil
}

// fault is why w is not a bitmap that plexctl's tables can have written, empty when it is one.
func (w wireBitmap) fault() string {
	switch {
	case w.Version != bitmapVersion:
		return fmt.Sprintf("version %d, want %d", w.Version, bitmapVersion)
	case w.UUID != [16]byte{}:
		return "the array has a uuid"
	case w.Nodes != 0:
		return fmt.Sprintf("%d cluster nodes", w.Nodes)
	case w.State&^(stateStale|stateWriteError) != 0:
		return fmt.Sprintf("state %#x", w.State)
	case w.ChunkSize < uint32(size.Sector) || w.ChunkSize&(w.ChunkSize-1) != 0:
		return fmt.Sprintf("region of %d bytes", w.ChunkSize)
	case w.SyncSize == 0 || w.SyncSize > uint64(maxSectors):
		return fmt.Sprintf("array of %d sectors", w.SyncSize)
	case w.DaemonSleep == 0:
		return "cleaning period of zero seconds"
	case w.WriteBehind > maxWriteBehind:
		return fmt.Sprintf("%d writes behind", w.WriteBehind)
	}
	return ""
}
