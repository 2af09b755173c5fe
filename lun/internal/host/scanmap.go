package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// A scan map records which regions of a LUN a scan has not found to be zero. It lies in the other metadata slot of the LUN's
// plex, the one that is not current. It has blocks of 4096 bytes, each of which ends with its CRC-32C. The first block is the
// head, with the scan and the LUN's shape. The others hold bits.
//
// Bits only change from 1 to 0, so blocks of different versions make a correct map together. A damaged block counts as all 1.
// All numbers are little-endian.
//
//	head  0 magic (16)  16 GUID of the scan (16)  32 sectors of the LUN (8)  40 sectors of a region (8)  4092 CRC-32C
//	bits  0 bits, region 0 is bit 0 of byte 0 (4092)  4092 CRC-32C of the GUID, the block's number from 1 (4) and the bits
const (
	mapBlock = blockdev.Align
	mapBits  = mapBlock - 4 // bytes
	mapMagic = "plexctl scan 1\x00\x00"
)

// encodeMap is the map of l's scan with these bits.
func encodeMap(l catalog.LUN, bits raidmeta.Bits) []byte {
	image := make([]byte, mapLength(l))
	copy(image, mapHead(l))
	for i, rest := 1, []byte(bits); len(rest) > 0; i++ {
		block := image[i*mapBlock:][:mapBlock]
		n := copy(block[:mapBits], rest)
		rest = rest[n:]
		binary.LittleEndian.PutUint32(block[mapBits:], mapSum(l.Scan, i, block[:mapBits]))
	}
	return image
}

// decodeMap is the bits of the map of l's scan in b; false when b is no such map.
func decodeMap(l catalog.LUN, b []byte) (raidmeta.Bits, bool) {
	if len(b) < mapLength(l) || !bytes.Equal(b[:mapBlock], mapHead(l)) {
		return nil, false
	}
	bits := raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), true)
	for i, rest := 1, []byte(bits); len(rest) > 0; i++ {
		block := b[i*mapBlock:][:mapBlock]
		n := min(len(rest), mapBits)
		if binary.LittleEndian.Uint32(block[mapBits:]) == mapSum(l.Scan, i, block[:mapBits]) {
			for j := range n {
				rest[j] &= block[j]
			}
		}
		rest = rest[n:]
	}
	return bits, true
}

// mapLength is the length in bytes of the map of l's scan. A map of that length fits in a metadata slot.
func mapLength(l catalog.LUN) int {
	length := int((raidmeta.Regions(l.Size, l.RegionSize) + 7) / 8)
	return mapBlock * (1 + (length+mapBits-1)/mapBits)
}

func mapHead(l catalog.LUN) []byte {
	head := make([]byte, mapBlock)
	copy(head, mapMagic)
	copy(head[16:], l.Scan[:])
	binary.LittleEndian.PutUint64(head[32:], uint64(l.Size))
	binary.LittleEndian.PutUint64(head[40:], uint64(l.RegionSize))
	binary.LittleEndian.PutUint32(head[mapBits:], crc32.Checksum(head[:mapBits], crc32.MakeTable(crc32.Castagnoli)))
	return head
}

func mapSum(scan uuid.UUID, block int, bits []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, scan[:])
	sum = crc32.Update(sum, table, binary.LittleEndian.AppendUint32(nil, uint32(block)))
	return crc32.Update(sum, table, bits)
}

// mapExtent is where the map of l's scan lies.
func mapExtent(l catalog.LUN) catalog.Extent {
	return record.SlotExtent(l.Plexes[0], l.Plexes[0].Slot.Other())
}

// ReadMap is the bits of the map of l's scan; false when there is none.
func (h *Host) ReadMap(ctx context.Context, l catalog.LUN) (raidmeta.Bits, bool) {
	image := make([]byte, mapLength(l))
	if err := h.readExtent(ctx, mapExtent(l), image); err != nil {
		h.Log.WarnContext(ctx, "read the map of a scan", "lun", l.Name, "error", err)
		return nil, false
	}
	return decodeMap(l, image)
}

// WriteMap writes the map of l's scan, durably.
func (h *Host) WriteMap(ctx context.Context, l catalog.LUN, bits raidmeta.Bits) error {
	return h.writeExtent(ctx, mapExtent(l), 0, encodeMap(l, bits))
}

// ScanLeft is the regions that l's scan has still to read, or has found to be data. It is false when the scan cannot continue.
// If the LUN may have run without its bitmap, the map is not used any more.
func (h *Host) ScanLeft(ctx context.Context, l catalog.LUN, was raid1.LegState) (raidmeta.Bits, bool) {
	if l.Scan == uuid.Nil {
		return nil, false
	}
	left, ok := h.ReadMap(ctx, l)
	written := h.writtenSince(ctx, l, was)
	if !ok || written == nil || written.Count() == raidmeta.Regions(l.Size, l.RegionSize) {
		return nil, false
	}
	return left, true
}

// writtenSince is the regions of l that were written since its scan began, by the live table's metadata; nil when the metadata
// does not tell.
func (h *Host) writtenSince(ctx context.Context, l catalog.LUN, was raid1.LegState) raidmeta.Bits {
	p := l.Plexes[0]
	if !was.Mirror || was.Slots[p.ID] != p.Slot {
		return nil
	}
	slot := h.ReadAgain(ctx, l, was)[p.ID]
	if b := slot.Bitmap; !slot.Tracks() || b.RegionSize != l.RegionSize || b.ArraySize != l.Size {
		return nil
	}
	return slot.Bitmap.Bits
}

// scanned is the ZeroMap of a scan.
type scanned struct {
	h    *Host
	l    catalog.LUN
	was  raid1.LegState
	zero raidmeta.Bits // the regions that were zero when they were read
}

// Scanned is what l's scan has found; nil when the map cannot be trusted.
func (h *Host) Scanned(ctx context.Context, l catalog.LUN, was raid1.LegState) ZeroMap {
	left, known := h.ScanLeft(ctx, l, was)
	if !known {
		h.Log.WarnContext(ctx, "everything is copied: what the scan has found is not known any more", "lun", l.Name)
		return nil
	}
	zero := raid1.AllRegions(l)
	zero.Without(left)
	return &scanned{h: h, l: l, was: was, zero: zero}
}

// Candidates is Verified, because it is just as cheap.
func (s *scanned) Candidates(ctx context.Context, l catalog.LUN) raidmeta.Bits {
	return s.Verified(ctx, l)
}

// Verified is the regions that were zero and have not been written since. It does not read the map again: its slot now belongs
// to the next table.
func (s *scanned) Verified(ctx context.Context, l catalog.LUN) raidmeta.Bits {
	written := s.h.writtenSince(ctx, s.l, s.was)
	if written == nil || l.Size != s.l.Size || l.RegionSize != s.l.RegionSize {
		return nil
	}
	zero := slices.Clone(s.zero)
	zero.Without(written)
	return zero
}

// Close does nothing.
func (*scanned) Close() {}
