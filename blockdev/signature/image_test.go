package signature

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// image is the content of a device: texts at offsets.
type image map[int64]string

const imageSize = 4 * size.MiB

const testUUID = "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"

const testUUIDText = "00112233-4455-6677-8899-aabbccddeeff"

// u32 and u64 are integers as texts, little-endian.
func u32(v uint32) string { return string(binary.LittleEndian.AppendUint32(nil, v)) }
func u64(v uint64) string { return string(binary.LittleEndian.AppendUint64(nil, v)) }

// ext is an ext superblock without a checksum.
func ext(compat, incompat, roCompat uint32) image {
	return image{
		1024: u32(100), 1024 + 4: u32(1024), 1024 + 24: u32(2), 1024 + 56: "\x53\xef", 1024 + 76: u32(1),
		1024 + 92: u32(compat), 1024 + 96: u32(incompat), 1024 + 100: u32(roCompat),
		1024 + 104: testUUID, 1024 + 120: "hello\x00",
	}
}

// gptImage is a GPT header for sectors of 512 bytes at an LBA, whose only entry is a partition of some sectors.
func gptImage(lba, alternate, sectors uint64) image {
	last := uint64(imageSize/512) - 34
	entries := make([]byte, 128*128)
	copy(entries, testUUID+testUUID+u64(34)+u64(34+sectors-1))
	header := "EFI PART" + u32(0x10000) + u32(92) + u32(0) + u32(0) + u64(lba) + u64(alternate) + u64(34) + u64(last) +
		"\x33\x22\x11\x00\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
	entriesAt := uint64(2)
	if lba > 1 {
		entriesAt = lba - 32
	}
	header += u64(entriesAt) + u32(128) + u32(128) + u32(crc32.ChecksumIEEE(entries))
	header = header[:16] + u32(crc32.ChecksumIEEE([]byte(header))) + header[20:]
	return image{int64(lba) * 512: header, int64(entriesAt) * 512: string(entries)}
}

// dos is a boot sector with four entries; nil is one that is not in use.
func dos(id uint32, entries ...string) image {
	sector := make([]byte, 512)
	copy(sector[440:], u32(id))
	for i, e := range entries {
		copy(sector[446+16*i:], e)
	}
	copy(sector[510:], "\x55\xaa")
	return image{0: string(sector)}
}

// entry is an entry of a DOS partition table.
func entry(flag, kind byte, start, sectors uint32) string {
	return string([]byte{flag, 0, 0, 0, kind, 0, 0, 0}) + u32(start) + u32(sectors)
}

func with(images ...image) image {
	all := image{}
	for _, i := range images {
		for at, text := range i {
			all[at] = text
		}
	}
	return all
}

// device is an image on a device of some length. What is at a higher offset is written later. It takes what a Disk takes:
// reads of whole blocks.
type device struct {
	t      testing.TB
	image  image
	length size.Bytes
	bad    int64 // where it cannot be read; negative: everywhere it can
	reads  *int  // how many bytes were asked for; nil: nobody counts
}

func (d device) ReadAt(b []byte, off int64) (int, error) {
	if off%unit != 0 || len(b)%unit != 0 {
		d.t.Errorf("read of %d bytes at %d", len(b), off)
	}
	if d.reads != nil {
		*d.reads += len(b)
	}
	if off <= d.bad && d.bad < off+int64(len(b)) {
		return 0, unix.EIO
	}
	n := int(min(int64(len(b)), max(0, int64(d.length)-off)))
	for _, at := range slices.Sorted(maps.Keys(d.image)) {
		text, from := d.image[at], at
		if at < 0 {
			from += int64(d.length)
		}
		if lead := off - from; lead > 0 {
			text, from = text[min(lead, int64(len(text))):], off
		}
		if from < off+int64(n) {
			copy(b[from-off:n], text)
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}
