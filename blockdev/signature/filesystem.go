package signature

import (
	"encoding/binary"
	"hash/crc32"
)

var little = binary.LittleEndian

// Offsets in the superblock of ext2, ext3 and ext4 (fs/ext4/ext4.h, struct ext4_super_block).
const (
	extStart      = 1024
	extLength     = 1024
	extInodes     = 0
	extBlocks     = 4
	extLogBlock   = 24
	extMagic      = 56
	extRevision   = 76
	extCompat     = 92
	extIncompat   = 96
	extROCompat   = 100
	extUUID       = 104
	extName       = 120
	extNameLength = 16
	extBlocksHigh = 336
	extChecksum   = 1020
)

// Features of ext.
const (
	extHasJournal   = 0x4        // compatible
	extJournalDev   = 0x8        // incompatible: a journal on a device of its own
	extMetadataCsum = 0x400      // the superblock has a checksum
	ext3Incompat    = 0x2 | 0x10 // what ext2 knows; ext3 knows extRecover too
	extRecover      = 0x4        // of ext3
	ext3ROCompat    = 0x1 | 0x2 | 0x4
)

// ext looks for ext2, ext3 and ext4, and for a journal of theirs on a device of its own ("jbd"). The magic has only two
// bytes, so counts, block size and revision must be possible too. A superblock with a wrong checksum is "ext".
func (p *probe) ext() {
	b := p.bytes(extStart, extLength)
	if b == nil || little.Uint16(b[extMagic:]) != 0xef53 {
		return
	}
	field := func(at int) uint32 { return little.Uint32(b[at:]) }
	journal := field(extIncompat)&extJournalDev != 0
	sum := ^crc32.Checksum(b[:extChecksum], crc32.MakeTable(crc32.Castagnoli))
	switch {
	case !extPossible(field, journal):
	case journal:
		p.add(Signature{Type: "jbd"})
	case field(extROCompat)&extMetadataCsum != 0 && field(extChecksum) != sum:
		p.add(Signature{Type: "ext"})
	default:
		kind := extKind(field(extCompat), field(extIncompat), field(extROCompat))
		p.add(Signature{Type: kind, Label: p.label(extStart+extName, extNameLength), UUID: p.uuid(extStart + extUUID)})
	}
}

// extPossible reports whether the superblock can be that of a file system, or of a journal, which has no inodes.
func extPossible(field func(at int) uint32, journal bool) bool {
	blocks, inodes := field(extBlocks) > 0 || field(extBlocksHigh) > 0, field(extInodes) > 0
	return blocks && (inodes || journal) && field(extLogBlock) <= 6 && field(extRevision) <= 1
}

// extKind is the oldest version that knows all of the features. The journal came with ext3.
func extKind(compat, incompat, roCompat uint32) string {
	switch {
	case incompat&^(ext3Incompat|extRecover) != 0 || roCompat&^uint32(ext3ROCompat) != 0:
		return "ext4"
	case compat&extHasJournal != 0:
		return "ext3"
	case incompat&extRecover != 0:
		return "ext4" // ext3 would have a journal, and ext2 does not know the feature
	}
	return "ext2"
}

// fatMagics is the names that the boot sector of a FAT file system may have, by their place. No driver requires them.
var fatMagics = map[int64][]string{0x36: {"FAT12   ", "FAT16   ", "FAT     ", "MSDOS"}, 0x52: {"FAT32   ", "MSWIN"}}

// fat is the layout of a FAT file system, from its boot sector (Microsoft, "FAT: General Overview of On-Disk Format").
type fat struct {
	sector, cluster, reserved, tables, tableLength, rootCluster int64
}

// vfat looks for a FAT file system: it has one of the names, and a layout that is possible.
func (p *probe) vfat() {
	named := false
	for at, names := range fatMagics {
		for _, name := range names {
			named = named || p.has(at, name)
		}
	}
	b := p.bytes(0, 512)
	if !named || b == nil {
		return
	}
	f := fat{
		sector: int64(little.Uint16(b[11:])), cluster: int64(b[13]), reserved: int64(little.Uint16(b[14:])), tables: int64(b[16]),
		tableLength: int64(little.Uint16(b[22:])),
	}
	if f.tableLength == 0 {
		f.tableLength, f.rootCluster = int64(little.Uint32(b[36:])), int64(little.Uint32(b[44:]))
	}
	media := b[21]
	if f.possible() && (media == 0xf0 || media >= 0xf8) {
		p.add(Signature{Type: "vfat", Label: p.fatLabel(f)})
	}
}

func (f fat) possible() bool {
	power := func(n int64) bool { return n > 0 && n&(n-1) == 0 }
	return f.tables > 0 && f.reserved > 0 && power(f.cluster) && power(f.sector) && f.sector >= 512 && f.sector <= 4096
}

// fatLabel is the name of the volume. The root directory has an entry for it, usually the first. fatLabel looks at the first
// few only.
func (p *probe) fatLabel(f fat) string {
	const entry, most = 32, 64
	const attribute, longName, volume, folder = 11, 0x0f, 0x08, 0x10
	start := f.reserved + f.tables*f.tableLength
	if f.rootCluster >= 2 {
		start += (f.rootCluster - 2) * f.cluster
	}
	for i := range int64(most) {
		b := p.bytes(start*f.sector+i*entry, entry)
		if b == nil || b[0] == 0 {
			return ""
		}
		isFile := little.Uint16(b[20:]) != 0 || little.Uint16(b[26:]) != 0
		if b[0] == 0xe5 || isFile || b[attribute]&longName == longName || b[attribute]&(volume|folder) != volume {
			continue
		}
		return printable(b[:11])
	}
	return ""
}
