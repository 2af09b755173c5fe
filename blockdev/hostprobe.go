package blockdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/plexctl/plexctl/size"
)

// reader is what a probe reads: a Disk, or an image in a test. Offsets and lengths are multiples of Align.
type reader = io.ReaderAt

// magic is bytes at a fixed place that nothing else has there.
type magic struct {
	kind string
	at   int64 // from the end where it is negative
	text string
}

// magics is what package blkid does not know, or recognises only when the rest of the header is sound. A device with one of
// these is not empty, whatever the rest says.
var magics = []magic{
	{"gpt", 512, "EFI PART"},
	{"gpt", 4096, "EFI PART"},
	{"gpt", -512, "EFI PART"},
	{"gpt", -4096, "EFI PART"},
	{"luks", 0, "LUKS\xba\xbe"},
	{"luks", 16384, "SKUL\xba\xbe"},
	{"lvm2", 0, "LABELONE"},
	{"lvm2", 512, "LABELONE"},
	{"lvm2", 1024, "LABELONE"},
	{"lvm2", 1536, "LABELONE"},
	{"ntfs", 3, "NTFS    "},
	{"exfat", 3, "EXFAT   "},
	{"refs", 3, "ReFS\x00\x00\x00\x00"},
	{"f2fs", 1024, "\x10\x20\xf5\xf2"},
	{"bcache", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
	{"bcachefs", 4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
	{"vmfs", 1 << 20, "\x0d\xd0\x01\xc0"},
	{"xfs", 0, "XFSB"},
	{"btrfs", 65536 + 64, "_BHRfS_M"},
	{"swap", swapEnd, "SWAPSPACE2"},
	{"swap", swapEnd, "SWAP-SPACE"},
	{"swap", swapEnd, "S1SUSPEND\x00"}, // swap that holds a hibernated system
	{"swap", swapEnd, "S2SUSPEND\x00"},
	{"swap", swapEnd, "ULSUSPEND\x00"},
	{"swap", swapEnd, "LINHIB0001"},
}

// swapEnd is where the magic at the end of the first page of swap is. The library knows it for larger pages.
const swapEnd = 4096 - 10

// probe looks for signatures by itself.
type probe struct {
	r    reader
	size size.Bytes
	err  error // the first read that failed
}

// search is everything found, each type once.
func (p *probe) search() []Signature {
	var found []Signature
	seen := map[string]bool{}
	add := func(kind string, is bool) {
		if is && !seen[kind] {
			seen[kind] = true
			found = append(found, Signature{Type: kind})
		}
	}
	for _, m := range magics {
		at := m.at
		if at < 0 {
			at += int64(p.size)
		}
		add(m.kind, bytes.Equal(p.bytes(at, len(m.text)), []byte(m.text)))
	}
	add("linux_raid_member", p.md090())
	add("drbd", p.drbd())
	isExt, isJournal := p.ext()
	add("jbd", isJournal)
	add("ext", isExt && !isJournal)
	add("dos", p.dos())
	return found
}

// bytes is n bytes at a place, none where the device does not have them or cannot be read.
func (p *probe) bytes(at int64, n int) []byte {
	if at < 0 || at+int64(n) > int64(p.size) {
		return nil
	}
	start := at / Align * Align
	end := size.Bytes(at + int64(n)).RoundUp(Align)
	b := make([]byte, int64(end)-start)
	got, err := p.r.ReadAt(b, start)
	if err != nil && !errors.Is(err, io.EOF) && p.err == nil {
		p.err = err
	}
	from := int(at - start)
	if from+n > got {
		return nil
	}
	return b[from : from+n]
}

// md090 looks for the superblock of md before version 1, in the byte order of any machine: in the last whole 64 KiB before
// the last, whole or not (include/uapi/linux/raid/md_p.h). The library knows the later versions.
func (p *probe) md090() bool {
	const unit, md = 64 << 10, 0xa92b4efc
	b := p.bytes(int64(p.size)/unit*unit-unit, 4)
	return b != nil && (binary.LittleEndian.Uint32(b) == md || binary.BigEndian.Uint32(b) == md)
}

// drbd looks for the metadata of DRBD 8.3 to 9 in the last 4 KiB (drbd_int.h, struct md_on_disk).
func (p *probe) drbd() bool {
	b := p.bytes(int64(p.size)/4096*4096-4096+60, 4)
	if b == nil {
		return false
	}
	magic := binary.BigEndian.Uint32(b)
	return magic >= 0x8374026b && magic <= 0x8374026d
}

// ext looks for the superblock of an ext file system, and whether it is that of a journal on a device of its own, which
// has INCOMPAT_JOURNAL_DEV set. The magic has two bytes only: counts, block size and revision must be possible too
// (fs/ext4/ext4.h, struct ext4_super_block).
func (p *probe) ext() (found, journal bool) {
	const superblock, inodes, blocks, logBlock, magicAt, revision, incompat, journalDevice = 1024, 0, 4, 24, 56, 76, 96, 0x8
	b := p.bytes(superblock, 128)
	if b == nil || binary.LittleEndian.Uint16(b[magicAt:]) != 0xef53 {
		return false, false
	}
	field := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	journal = field(incompat)&journalDevice != 0
	found = (field(inodes) > 0 || journal) && field(blocks) > 0 && field(logBlock) <= 6 && field(revision) <= 1
	return found, found && journal
}

// dos looks for a DOS partition table: its two bytes at the end of the sector, four entries whose first byte is 0 or
// 0x80, and, since many boot sectors end with these two bytes, an entry in use or the disk's id.
func (p *probe) dos() bool {
	const id, entries, entrySize, end = 440, 446, 16, 510
	b := p.bytes(0, 512)
	if b == nil || b[end] != 0x55 || b[end+1] != 0xaa {
		return false
	}
	used := binary.LittleEndian.Uint32(b[id:]) != 0
	for e := b[entries:end]; len(e) > 0; e = e[entrySize:] {
		if e[0]&^0x80 != 0 {
			return false
		}
		used = used || e[4] != 0 && binary.LittleEndian.Uint32(e[12:]) != 0
	}
	return used
}
