package signature

import (
	"bytes"
	"encoding/binary"
)

// mdMagic is MD_SB_MAGIC (include/uapi/linux/raid/md_p.h).
const mdMagic = 0xa92b4efc

// md looks for a member of an md array ("linux_raid_member").
func (p *probe) md() {
	const sector, label, labelLength, id, superOffset = 512, 32, 32, 16, 144
	places := []int64{0, 4096} // 1.1 and 1.2; 1.0 is 8 KiB before the end, rounded down to 4 KiB
	if tail := (p.size/sector - 16) / 8 * 8 * sector; tail > 0 {
		places = append(places, tail)
	}
	for _, at := range places {
		b := p.bytes(at, 256)
		if b == nil || little.Uint32(b) != mdMagic || little.Uint32(b[4:]) != 1 || little.Uint64(b[superOffset:]) != uint64(at/sector) {
			continue // a superblock names its own place: this one belongs to a device that starts elsewhere
		}
		p.add(Signature{Type: "linux_raid_member", Label: p.label(at+label, labelLength), UUID: p.uuid(at + id)})
	}
	// Version 0.90 is 64 KiB before the last multiple of 64 KiB, in the byte order of the machine that wrote it.
	const reserved = 64 << 10
	if b := p.bytes(p.size/reserved*reserved-reserved, 4); b != nil && (little.Uint32(b) == mdMagic || binary.BigEndian.Uint32(b) == mdMagic) {
		p.add(Signature{Type: "linux_raid_member"})
	}
}

// drbd looks for the metadata of DRBD 8.3 to 9 in the last 4 KiB (drbd_int.h, struct md_on_disk).
func (p *probe) drbd() {
	b := p.bytes(p.size/4096*4096-4096+60, 4)
	if b == nil {
		return
	}
	if magic := binary.BigEndian.Uint32(b); magic >= 0x8374026b && magic <= 0x8374026d {
		p.add(Signature{Type: "drbd"})
	}
}

// zfs looks for a member of a ZFS pool. It has four labels of 256 KiB, two at each end, and each ends with 128 KiB of
// uberblocks. The rests of an old pool may have a few of these. Like blkid, zfs wants four.
func (p *probe) zfs() {
	const label, pairs, uberblocks, step, magic, least, smallest = 256 << 10, 16 << 10, 128 << 10, 1 << 10, 0x00bab10c, 4, 64 << 20
	if p.size < smallest {
		return
	}
	end := p.size / label * label
	found := 0
	for _, start := range []int64{0, label, end - 2*label, end - label} {
		for b := p.bytes(start+uberblocks, label-uberblocks); len(b) > 0; b = b[step:] {
			if little.Uint64(b) == magic || binary.BigEndian.Uint64(b) == magic {
				found++
			}
		}
		if found >= least {
			p.add(Signature{Type: "zfs", Label: poolName(p.bytes(start+pairs, uberblocks-pairs))})
			return
		}
	}
}

// poolName is the name of the pool in the pairs of a ZFS label. A pair is in XDR. It has length and text of the key,
// the type (9 is a string), the number of values, and length and text of the value.
func poolName(pairs []byte) string {
	_, value, found := bytes.Cut(pairs, []byte("\x00\x00\x00\x04name\x00\x00\x00\x09\x00\x00\x00\x01"))
	if !found || len(value) < 4 {
		return ""
	}
	length := binary.BigEndian.Uint32(value)
	return printable(value[4:min(uint64(len(value)), 4+uint64(length))])
}
