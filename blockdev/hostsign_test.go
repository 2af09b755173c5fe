package blockdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// gpt is a GPT header for sectors of 512 bytes at an LBA, whose only entry is a partition of some sectors.
func gpt(lba, alternate, sectors uint64) image {
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

// bytes is the content of a device of some length. What is at a higher offset is written later.
func (i image) bytes(length size.Bytes) []byte {
	content := make([]byte, length)
	for _, at := range slices.Sorted(maps.Keys(i)) {
		from := at
		if at < 0 {
			from += int64(length)
		}
		copy(content[from:], i[at])
	}
	return content
}

// write makes a file of the image.
func (i image) write(t testing.TB, length size.Bytes) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, i.bytes(length), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// look is what is recognised in an image.
func look(t testing.TB, path string, length size.Bytes) ([]Signature, error) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	return signatures(path, file, length)
}

func TestSignatures(t *testing.T) {
	const lastLBA = uint64(imageSize/512) - 1
	protective := dos(0, entry(0, 0xee, 1, 0xffffffff))
	only := func(kinds ...string) []Signature {
		var found []Signature
		for _, k := range kinds {
			found = append(found, Signature{Type: k})
		}
		return found
	}
	xfs := image{0: "XFSB\x00\x00\x10\x00"}
	tests := map[string]struct {
		image image
		size  size.Bytes
		want  []Signature
	}{
		"zeros":                        {},
		"ones":                         {image: image{0: string(bytes.Repeat([]byte{0xff}, 1<<20))}},
		"text":                         {image: image{0: "hello, world", 4096: "PLEXLABL"}},
		"ext4":                         {image: ext(4, 0x40, 0), want: []Signature{{"ext4", "hello", testUUIDText}}},
		"ext3":                         {image: ext(4, 2, 1), want: []Signature{{"ext3", "hello", testUUIDText}}},
		"ext2":                         {image: ext(0, 2, 1), want: []Signature{{"ext2", "hello", testUUIDText}}},
		"ext with a wrong checksum":    {image: ext(4, 0x40, 0x400), want: only("ext")},
		"ext journal":                  {image: ext(0, 8, 0), want: only("jbd")},
		"xfs with a broken header":     {image: xfs, want: only("xfs")},
		"btrfs":                        {image: image{65536 + 64: "_BHRfS_M", 65536 + 32: testUUID}, want: []Signature{{"btrfs", "", testUUIDText}}},
		"swap":                         {image: image{4086: "SWAPSPACE2", 1024: u32(1) + u32(100), 1036: testUUID, 1052: "sw\x00"}, want: []Signature{{"swap", "sw", testUUIDText}}},
		"old swap":                     {image: image{4086: "SWAP-SPACE"}, want: only("swap")},
		"swap, hibernated":             {image: image{4086: "S1SUSPEND\x00"}, want: only("swap")},
		"luks1":                        {image: image{0: "LUKS\xba\xbe\x00\x01"}, want: only("luks")},
		"luks2":                        {image: image{0: "LUKS\xba\xbe\x00\x02", 24: "secret\x00", 168: testUUIDText + "\x00"}, want: []Signature{{"luks", "secret", testUUIDText}}},
		"luks2, only its second":       {image: image{16384: "SKUL\xba\xbe\x00\x02"}, want: only("luks")},
		"lvm2":                         {image: image{512: "LABELONE", 512 + 24: "LVM2 001" + "abcdefghijklmnopqrstuvwxyz012345"}, want: []Signature{{"lvm2", "abcdef-ghij-klmn-opqr-stuv-wxyz-012345", ""}}},
		"lvm2 in the first sector":     {image: image{0: "LABELONE"}, want: only("lvm2")},
		"lvm2 in the fourth sector":    {image: image{1536: "LABELONE"}, want: only("lvm2")},
		"gpt":                          {image: with(gpt(1, lastLBA, 2048), gpt(lastLBA, 1, 2048), protective), want: []Signature{{"gpt", "", testUUIDText}}},
		"gpt with a tiny partition":    {image: with(gpt(1, lastLBA, 8), protective), want: only("gpt")},
		"gpt, only its second":         {image: gpt(lastLBA, 1, 2048), want: only("gpt")},
		"gpt with a wrong checksum":    {image: with(image{512: "EFI PART"}, protective), want: only("gpt")},
		"gpt, sectors of 4096":         {image: with(image{4096: "EFI PART"}, protective), want: only("gpt")},
		"gpt, sectors of 4096, second": {image: image{-4096: "EFI PART"}, want: only("gpt")},
		"gpt is gone, its guard left":  {image: protective, want: only("dos")},
		"dos":                          {image: dos(0, entry(0x80, 0x83, 2048, 2048)), want: only("dos")},
		"dos, fourth entry":            {image: dos(0, "", "", "", entry(0, 7, 1, 1)), want: only("dos")},
		"dos, empty but with an id":    {image: dos(0x12345678), want: only("dos")},
		"boot code that is no table":   {image: dos(0, "\xeb\x3c\x90")},
		"boot code, second entry":      {image: dos(1, entry(0, 0x83, 1, 1), "\x01")},
		"only the two bytes":           {image: dos(0)},
		"entry of no sectors":          {image: dos(0, entry(0, 0x83, 2048, 0))},
		"entry without the two bytes":  {image: image{446: entry(0x80, 0x83, 2048, 2048)}},
		"ntfs":                         {image: with(dos(0, entry(0, 7, 1, 1)), image{3: "NTFS    "}), want: only("ntfs")},
		"exfat":                        {image: image{3: "EXFAT   "}, want: only("exfat")},
		"f2fs":                         {image: image{1024: "\x10\x20\xf5\xf2"}, want: only("f2fs")},
		"bcache":                       {image: image{4096 + 24: "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"}, want: only("bcache")},
		"md 1.2":                       {image: image{4096: u32(0xa92b4efc) + u32(1), 4096 + 16: testUUID, 4096 + 144: u64(8)}, want: []Signature{{"linux_raid_member", "", testUUIDText}}},
		"md 0.90":                      {image: image{-65536: u32(0xa92b4efc)}, want: only("linux_raid_member")},
		"md 0.90, big-endian":          {image: image{-65536: "\xa9\x2b\x4e\xfc"}, want: only("linux_raid_member")},
		"md 0.90, size not in units":   {image: image{int64(imageSize) - 65536: u32(0xa92b4efc)}, size: imageSize + 512, want: only("linux_raid_member")},
		"drbd":                         {image: image{-4096 + 60: "\x83\x74\x02\x6d"}, want: only("drbd")},
		"vmfs":                         {image: image{1 << 20: "\x0d\xd0\x01\xc0"}, want: only("vmfs")},
		"two at once":                  {image: with(image{0: "LUKS\xba\xbe\x00\x01"}, image{-65536: u32(0xa92b4efc)}), want: only("luks", "linux_raid_member")},
		"stale lvm below ext4":         {image: with(ext(4, 0x40, 0), image{512: "LABELONE"}), want: []Signature{{"ext4", "hello", testUUIDText}, {Type: "lvm2"}}},
		"one sector":                   {image: dos(1), size: 512, want: only("dos")},
		"nothing at all":               {size: 0},
		"odd sectors, gpt at the end":  {image: image{-512: "EFI PART"}, size: imageSize + 512, want: only("gpt")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.size == 0 && name != "nothing at all" {
				tt.size = imageSize
			}
			got, err := look(t, tt.image.write(t, tt.size), tt.size)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("signatures (-want +got):\n%s", diff)
			}
		})
	}
}

// badReader fails to read one block.
type badReader struct {
	*os.File
	bad int64
}

func (r badReader) ReadAt(p []byte, off int64) (int, error) {
	if off <= r.bad && r.bad < off+int64(len(p)) {
		return 0, unix.EIO
	}
	return r.File.ReadAt(p, off)
}

func TestSignaturesUnreadable(t *testing.T) {
	tests := map[string]struct {
		image image
		bad   int64
		want  []Signature
		err   error
	}{
		"start":                    {bad: 0, err: unix.EIO},
		"end":                      {bad: int64(imageSize) - 1, err: unix.EIO},
		"where nothing is":         {bad: int64(imageSize) / 2},
		"start, but a second end":  {image: image{-512: "EFI PART"}, bad: 0, want: []Signature{{Type: "gpt"}}},
		"end, but a file system":   {image: image{3: "NTFS    "}, bad: int64(imageSize) - 1, want: []Signature{{Type: "ntfs"}}},
		"end, but not of md's 64K": {image: image{-65536: u32(0xa92b4efc)}, bad: int64(imageSize) - 1, want: []Signature{{Type: "linux_raid_member"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := tt.image.write(t, imageSize)
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			got, err := signatures(path, badReader{file, tt.bad}, imageSize)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("signatures (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzSignatures has any content at the start, in the middle and at the end of a device.
func FuzzSignatures(f *testing.F) {
	f.Add([]byte("EFI PART"), uint16(512), []byte("\x55\xaa"), uint16(510))
	f.Add([]byte("\xfc\x4e\x2b\xa9"), uint16(0xf000), []byte("LABELONE"), uint16(512))
	f.Add([]byte("\x53\xef"), uint16(1080), []byte("XFSB"), uint16(0))
	f.Add([]byte("SWAPSPACE2"), uint16(4086), []byte("_BHRfS_M"), uint16(0xffff))
	path := image{}.write(f, imageSize)
	f.Fuzz(func(t *testing.T, a []byte, atA uint16, b []byte, atB uint16) {
		end := a[:min(len(a), 1<<16)]
		i := image{int64(imageSize) - int64(len(end)): string(end), int64(atA): string(a)}
		i[int64(atB)] = string(b)
		if err := os.WriteFile(path, i.bytes(imageSize), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := look(t, path, imageSize); err != nil {
			t.Error(err)
		}
	})
}
