package signature

import (
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"
)

// magic is bytes at a fixed place that nothing else has there. A device with one of these is not empty, even if the rest of
// the header is damaged.
type magic struct {
	kind string
	at   int64 // from the end where it is negative
	text string
	tell func(p *probe, at int64) (label, uuid string) // reads them from the header; nil: they are not looked for
}

// pageEnds is where the magic of swap may end: at the end of a first page, whose size depends on the machine that made it.
var pageEnds = []int64{4096, 8192, 16384, 32768, 65536}

// swapMagics is the magics of swap, and of swap that holds a hibernated system.
var swapMagics = []string{"SWAPSPACE2", "SWAP-SPACE", "S1SUSPEND\x00", "S2SUSPEND\x00", "ULSUSPEND\x00", "LINHIB0001"}

// Places of plexctl's own label and catalogs (docs/on-disk-format.md). They count from the start of a drive, and from 4 MiB
// before its last whole MiB.
const (
	ownLabel = 4096
	ownSlotA = 64 << 10
	ownSlotB = 2080 << 10
	ownTail  = 4 << 20
	ownUnit  = 1 << 20
)

// table is the magics that stand at places of their own.
var table = []magic{
	{"xfs", 0, "XFSB", fields(108, 12, 32)},
	{"btrfs", 65536 + 64, "_BHRfS_M", fields(65536+299, 256, 65536+32)},
	{"f2fs", 1024, "\x10\x20\xf5\xf2", f2fs},
	{"ntfs", 3, "NTFS    ", nil},
	{"exfat", 3, "EXFAT   ", nil},
	{"refs", 3, "ReFS\x00\x00\x00\x00", nil},
	{"bitlocker", 3, "-FVE-FS-", nil},
	{"iso9660", 32768 + 1, "CD001", fields(32768+40, 32, -1)},
	{"udf", 32768 + 1, "BEA01", nil},
	{"squashfs", 0, "hsqs", nil},
	{"squashfs", 0, "sqsh", nil},
	{"erofs", 1024, "\xe2\xe1\xf5\xe0", nil},
	{"jfs", 32768, "JFS1", nil},
	{"reiserfs", 65536 + 52, "ReIsEr", nil},
	{"hfsplus", 1024, "H+\x00\x04", nil},
	{"apfs", 32, "NXSB", nil},
	{"gfs2", 65536, "\x01\x16\x19\x70", nil},
	{"bcachefs", 4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", nil},
	{"bcache", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", fields(4096+72, 32, 4096+40)},
	{"bluestore", 0, "bluestore block device", nil},
	{"talosmeta", 0, "\x5a\x4b\x3c\x2d", nil},
	{"stratis", 512 + 4, "!Stra0tis\x86\xff\x02^\x41rh", nil},
	{"vdo", 0, "dmvdo001", nil},
	{"vmfs", 1 << 20, "\x0d\xd0\x01\xc0", nil},
	{"luks", 0, "LUKS\xba\xbe", luks},
	{"luks", 16384, "SKUL\xba\xbe", nil},
	{"lvm2", 0, "LABELONE", lvm2},
	{"lvm2", 512, "LABELONE", lvm2},
	{"lvm2", 1024, "LABELONE", lvm2},
	{"lvm2", 1536, "LABELONE", lvm2},
	{"isw_raid_member", -1024, "Intel Raid ISM Cfg Sig. ", nil},
	{"ddf_raid_member", -512, "\xde\x11\xde\x11", nil},
	{"gpt", 512, "EFI PART", gpt},
	{"gpt", 4096, "EFI PART", gpt},
	{"gpt", -512, "EFI PART", gpt},
	{"gpt", -4096, "EFI PART", gpt},
}

// magics looks for everything that a magic alone shows.
func (p *probe) magics() {
	for _, m := range table {
		p.magic(m)
	}
	for _, end := range pageEnds {
		for _, text := range swapMagics {
			p.magic(magic{"swap", end - int64(len(text)), text, swap})
		}
	}
	tail := p.size/ownUnit*ownUnit - ownTail
	for _, start := range []int64{0, tail} {
		if start < 0 {
			continue
		}
		p.magic(magic{Own, start + ownLabel, "PLEXLABL", nil})
		p.magic(magic{Own, start + ownSlotA, "PLEXSLOT", nil})
		p.magic(magic{Own, start + ownSlotB, "PLEXSLOT", nil})
	}
}

// magic looks for one.
func (p *probe) magic(m magic) {
	if !p.has(m.at, m.text) {
		return
	}
	s := Signature{Type: m.kind}
	if m.tell != nil {
		s.Label, s.UUID = m.tell(p, p.place(m.at))
	}
	p.add(s)
}

// fields reads a label and a UUID at fixed places. A negative place means that there is no UUID.
func fields(labelAt int64, labelLength int, uuidAt int64) func(*probe, int64) (string, string) {
	return func(p *probe, _ int64) (label, id string) { return p.label(labelAt, labelLength), p.uuid(uuidAt) }
}

// swap reads the header of version 1 (include/linux/swap.h, union swap_header). Older swap has no header.
func swap(p *probe, _ int64) (label, id string) {
	if !p.has(1024, "\x01\x00\x00\x00") {
		return "", ""
	}
	return p.label(1052, 16), p.uuid(1036)
}

// f2fs has its label in UTF-16 (include/linux/f2fs_fs.h, struct f2fs_super_block).
func f2fs(p *probe, at int64) (label, id string) {
	var units []uint16
	for b := p.bytes(at+124, 2*longest); len(b) > 0 && (b[0] != 0 || b[1] != 0); b = b[2:] {
		units = append(units, uint16(b[0])|uint16(b[1])<<8)
	}
	return printable([]byte(string(utf16.Decode(units)))), p.uuid(at + 108)
}

// luks has its UUID as text in both versions, and a label in the second.
func luks(p *probe, at int64) (label, id string) {
	if p.has(at+6, "\x00\x02") {
		label = p.label(at+24, 48)
	}
	parsed, err := uuid.Parse(p.label(at+168, 40))
	if err != nil || parsed == uuid.Nil {
		return label, ""
	}
	return label, parsed.String()
}

// lvm2 names a physical volume by 32 letters and no UUID. They are the label here, grouped as lvm2 groups them.
func lvm2(p *probe, at int64) (label, id string) {
	name := p.label(at+32, 32)
	if len(name) != 32 || !p.has(at+24, "LVM2 001") {
		return "", ""
	}
	return strings.Join([]string{name[:6], name[6:10], name[10:14], name[14:18], name[18:22], name[22:26], name[26:]}, "-"), ""
}
