package signature

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/google/uuid"
)

// gpt reads the GUID of the disk, if the checksum of the header is right (UEFI, "GPT Header").
func gpt(p *probe, at int64) (label, id string) {
	const length, lengthAt, sumAt, guidAt = 92, 12, 16, 56
	b := slices.Clone(p.bytes(at, length))
	if b == nil || little.Uint32(b[lengthAt:]) != length {
		return "", ""
	}
	sum := little.Uint32(b[sumAt:])
	if clear(b[sumAt : sumAt+4]); crc32.ChecksumIEEE(b) != sum {
		return "", ""
	}
	var guid uuid.UUID // on the disk the first three fields are little-endian
	copy(guid[:], b[guidAt:])
	binary.BigEndian.PutUint32(guid[0:], little.Uint32(b[guidAt:]))
	binary.BigEndian.PutUint16(guid[4:], little.Uint16(b[guidAt+4:]))
	binary.BigEndian.PutUint16(guid[6:], little.Uint16(b[guidAt+6:]))
	if guid == uuid.Nil {
		return "", ""
	}
	return "", guid.String()
}

// endLikeDOS is the types that come with what looks like a DOS partition table. A table of that kind guards a GPT, and the boot
// sectors of some file systems end like one.
var endLikeDOS = []string{"gpt", "vfat", "ntfs", "exfat", "refs", "bitlocker"}

// dos looks for a DOS partition table, when nothing else has been found that looks like one. It has two bytes at the end of the sector, and four entries whose first byte is 0 or
// 0x80. Many boot sectors end with these two bytes. So an entry must be in use, or the disk have an id.
func (p *probe) dos() {
	const id, entries, entrySize, end = 440, 446, 16, 510
	b := p.bytes(0, 512)
	if b == nil || b[end] != 0x55 || b[end+1] != 0xaa {
		return
	}
	used := little.Uint32(b[id:]) != 0
	for e := b[entries:end]; len(e) > 0; e = e[entrySize:] {
		if e[0]&^0x80 != 0 {
			return
		}
		used = used || e[4] != 0 && little.Uint32(e[12:]) != 0
	}
	explained := slices.ContainsFunc(p.found, func(s Signature) bool { return slices.Contains(endLikeDOS, s.Type) })
	if used && !explained {
		p.add(Signature{Type: "dos"})
	}
}
