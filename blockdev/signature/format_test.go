package signature

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/size"
)

// fatImage is a FAT file system with sectors of 512 bytes, clusters of 4 sectors, and two tables, whose root directory
// starts with some entries.
func fatImage(name string, root ...string) image {
	sector := make([]byte, 512)
	copy(sector, "\xeb\x3c\x90mkfs.fat")
	copy(sector[11:], "\x00\x02\x04\x20\x00\x02")
	sector[21] = 0xf8
	start := 32 + 2*16
	if name == "FAT32   " {
		copy(sector[36:], u32(16))
		copy(sector[44:], u32(3))
		copy(sector[0x52:], name)
		start += 4 // the root directory is in the second cluster
	} else {
		copy(sector[17:], "\x00\x02")
		copy(sector[22:], "\x10\x00")
		copy(sector[0x36:], name)
	}
	copy(sector[510:], "\x55\xaa")
	return image{0: string(sector), int64(start) * 512: strings.Join(root, "")}
}

// fatEntry is an entry of a directory: a name of 11 characters, its attributes, its first cluster.
func fatEntry(name string, attributes byte, cluster uint16) string {
	e := make([]byte, 32)
	copy(e, name)
	e[11] = attributes
	binary.LittleEndian.PutUint16(e[26:], cluster)
	return string(e)
}

// md1 is a superblock of md version 1 at an offset.
func md1(at, saysAt int64) image {
	return image{at: u32(0xa92b4efc) + u32(1), at + 16: testUUID + "host:data\x00", at + 144: u64(uint64(saysAt) / 512)}
}

// zfsImage is uberblocks of an old and a new pool in the second label, in the byte order that put has.
func zfsImage(n int, put func([]byte, uint64) []byte) image {
	i := image{256<<10 + 16<<10 + 4: "\x00\x00\x00\x04name\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x04tankxxxx"}
	for k := range n {
		i[256<<10+128<<10+int64(k)*4096] = string(put(nil, 0x00bab10c))
	}
	return i
}

func TestFormats(t *testing.T) {
	const first, behindTail = 4 << 20, imageSize + size.MiB/2 // a tail is 4 MiB before the end in whole MiB
	volume := fatEntry("MY DISK    ", 0x08, 0)
	tests := map[string]struct {
		image image
		size  size.Bytes
		want  Signature
	}{
		"ext4 of 2^32 blocks":        {image: with(ext(4, 0xc0, 0), image{1024 + 4: u32(0), 1024 + 336: u32(1)}), want: Signature{"ext4", "hello", testUUIDText}},
		"ext4 without a journal":     {image: ext(0, 0x40, 0), want: Signature{"ext4", "hello", testUUIDText}},
		"ext3 to be recovered":       {image: ext(4, 6, 1), want: Signature{"ext3", "hello", testUUIDText}},
		"xfs":                        {image: image{0: "XFSB", 32: testUUID, 108: "twelve chars and more"}, want: Signature{"xfs", "twelve chars", testUUIDText}},
		"btrfs with a label":         {image: image{65536 + 64: "_BHRfS_M", 65536 + 299: "butter"}, want: Signature{"btrfs", "butter", ""}},
		"f2fs with a label":          {image: image{1024: "\x10\x20\xf5\xf2", 1024 + 108: testUUID, 1024 + 124: "f\x00l\x00\xe9\x00\x00\x00x\x00"}, want: Signature{"f2fs", "flé", testUUIDText}},
		"bcache with a label":        {image: image{4096 + 24: "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81" + testUUID, 4096 + 72: "fast"}, want: Signature{"bcache", "fast", testUUIDText}},
		"bcachefs":                   {image: image{4096 + 24: "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"}, want: Signature{Type: "bcachefs"}},
		"iso9660":                    {image: image{32768: "\x01CD001\x01", 32768 + 40: "DEBIAN 12                       X"}, want: Signature{Type: "iso9660", Label: "DEBIAN 12"}},
		"udf":                        {image: image{32768: "\x00BEA01"}, want: Signature{Type: "udf"}},
		"squashfs":                   {image: image{0: "hsqs"}, want: Signature{Type: "squashfs"}},
		"squashfs, big-endian":       {image: image{0: "sqsh"}, want: Signature{Type: "squashfs"}},
		"erofs":                      {image: image{1024: "\xe2\xe1\xf5\xe0"}, want: Signature{Type: "erofs"}},
		"jfs":                        {image: image{32768: "JFS1"}, want: Signature{Type: "jfs"}},
		"reiserfs":                   {image: image{65536 + 52: "ReIsEr2Fs"}, want: Signature{Type: "reiserfs"}},
		"hfsplus":                    {image: image{1024: "H+\x00\x04"}, want: Signature{Type: "hfsplus"}},
		"apfs":                       {image: image{32: "NXSB"}, want: Signature{Type: "apfs"}},
		"gfs2":                       {image: image{65536: "\x01\x16\x19\x70"}, want: Signature{Type: "gfs2"}},
		"refs":                       {image: image{3: "ReFS\x00\x00\x00\x00"}, want: Signature{Type: "refs"}},
		"bitlocker":                  {image: with(dos(0, entry(0, 7, 1, 1)), image{3: "-FVE-FS-"}), want: Signature{Type: "bitlocker"}},
		"bluestore":                  {image: image{0: "bluestore block device\n"}, want: Signature{Type: "bluestore"}},
		"stratis":                    {image: image{516: "!Stra0tis\x86\xff\x02^\x41rh"}, want: Signature{Type: "stratis"}},
		"vdo":                        {image: image{0: "dmvdo001"}, want: Signature{Type: "vdo"}},
		"talosmeta":                  {image: image{0: "\x5a\x4b\x3c\x2d"}, want: Signature{Type: "talosmeta"}},
		"intel raid":                 {image: image{-1024: "Intel Raid ISM Cfg Sig. 1.3.00"}, want: Signature{Type: "isw_raid_member"}},
		"ddf raid":                   {image: image{-512: "\xde\x11\xde\x11"}, want: Signature{Type: "ddf_raid_member"}},
		"fat12":                      {image: fatImage("FAT12   ", volume), want: Signature{Type: "vfat", Label: "MY DISK"}},
		"fat16, third entry":         {image: fatImage("FAT16   ", fatEntry("LONG", 0x0f, 0), fatEntry("\xe5LD", 0x08, 0), fatEntry("FOLDER", 0x10, 9), volume), want: Signature{Type: "vfat", Label: "MY DISK"}},
		"fat32":                      {image: fatImage("FAT32   ", volume), want: Signature{Type: "vfat", Label: "MY DISK"}},
		"fat32 without a name":       {image: fatImage("FAT32   ", fatEntry("README  TXT", 0x20, 5)), want: Signature{Type: "vfat"}},
		"fat, name behind the end":   {image: with(fatImage("FAT16   "), image{32 * 1024: fatEntry("A", 0x20, 1) + strings.Repeat("\x00", 32) + volume}), want: Signature{Type: "vfat"}},
		"fat32, root nowhere":        {image: with(fatImage("FAT32   ", volume), image{44: u32(0xffffffff)}), want: Signature{Type: "vfat"}},
		"swap of pages of 64 KiB":    {image: image{65526: "SWAPSPACE2", 1024: u32(1), 1036: testUUID, 1052: "sixteen letters."}, want: Signature{"swap", "sixteen letters.", testUUIDText}},
		"luks1 with its UUID":        {image: image{0: "LUKS\xba\xbe\x00\x01", 24: "aes", 168: testUUIDText + "\x00"}, want: Signature{Type: "luks", UUID: testUUIDText}},
		"luks with a made-up UUID":   {image: image{0: "LUKS\xba\xbe\x00\x02", 168: "rm -rf /"}, want: Signature{Type: "luks"}},
		"lvm2 with a made-up name":   {image: image{512: "LABELONE", 512 + 24: "LVM2 001" + "short\x00"}, want: Signature{Type: "lvm2"}},
		"md 1.0":                     {image: md1(int64(imageSize)-8192, int64(imageSize)-8192), want: Signature{"linux_raid_member", "host:data", testUUIDText}},
		"md 1.0, size not in blocks": {image: md1(int64(imageSize)-8192, int64(imageSize)-8192), size: imageSize + 1024, want: Signature{"linux_raid_member", "host:data", testUUIDText}},
		"md 1.1":                     {image: md1(0, 0), want: Signature{"linux_raid_member", "host:data", testUUIDText}},
		"md of another device":       {image: md1(4096, 8192)},
		"zfs":                        {image: zfsImage(4, binary.LittleEndian.AppendUint64), size: 65 * size.MiB, want: Signature{Type: "zfs", Label: "tank"}},
		"zfs, big-endian":            {image: zfsImage(9, binary.BigEndian.AppendUint64), size: 65 * size.MiB, want: Signature{Type: "zfs", Label: "tank"}},
		"rests of zfs":               {image: zfsImage(3, binary.LittleEndian.AppendUint64), size: 65 * size.MiB},
		"zfs at the end":             {image: image{-128<<10 - 100: "\x0c\xb1\xba\x00", -128 << 10: "\x0c\xb1\xba\x00\x00\x00\x00\x00", -127 << 10: "\x0c\xb1\xba\x00\x00\x00\x00\x00", -126 << 10: "\x0c\xb1\xba\x00\x00\x00\x00\x00", -125 << 10: "\x0c\xb1\xba\x00\x00\x00\x00\x00"}, size: 65 * size.MiB, want: Signature{Type: "zfs"}},
		"plexctl":                    {image: image{4096: "PLEXLABL"}, want: Signature{Type: "plexctl"}},
		"plexctl, slot A":            {image: image{64 << 10: "PLEXSLOT"}, want: Signature{Type: "plexctl"}},
		"plexctl, slot B":            {image: image{2080 << 10: "PLEXSLOT"}, want: Signature{Type: "plexctl"}},
		"plexctl, copy":              {image: image{first + 4096: "PLEXLABL"}, size: first + behindTail, want: Signature{Type: "plexctl"}},
		"plexctl, copy of slot A":    {image: image{first + 64<<10: "PLEXSLOT"}, size: first + behindTail, want: Signature{Type: "plexctl"}},
		"plexctl, copy of slot B":    {image: image{first + 2080<<10: "PLEXSLOT"}, size: first + behindTail, want: Signature{Type: "plexctl"}},
		"label that is no text":      {image: image{65536 + 64: "_BHRfS_M", 65536 + 299: " \x1b]0;owned\x07\xff\u202e \x00hidden"}, want: Signature{Type: "btrfs", Label: "?]0;owned???"}},
		"label without an end":       {image: image{65536 + 64: "_BHRfS_M", 65536 + 299: strings.Repeat("é", 300)}, want: Signature{Type: "btrfs", Label: strings.Repeat("é", 64)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.size == 0 {
				tt.size = imageSize
			}
			var want []Signature
			if tt.want != (Signature{}) {
				want = []Signature{tt.want}
			}
			got, err := Find(device{t: t, image: tt.image, length: tt.size, bad: -1}, tt.size)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v, signatures (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestNoFormats has content that is nearly something.
func TestNoFormats(t *testing.T) {
	for name, image := range map[string]image{
		"ext without blocks":      with(ext(4, 0x40, 0), image{1024 + 4: u32(0)}),
		"ext without inodes":      with(ext(4, 0x40, 0), image{1024: u32(0)}),
		"ext of huge blocks":      with(ext(4, 0x40, 0), image{1024 + 24: u32(7)}),
		"fat without tables":      with(fatImage("FAT16   "), image{16: "\x00"}),
		"fat, cluster of 3":       with(fatImage("FAT16   "), image{13: "\x03"}),
		"fat, sectors of 8 KiB":   with(fatImage("FAT16   "), image{11: "\x00\x20"}),
		"fat on no known medium":  with(fatImage("FAT16   "), image{21: "\x01"}),
		"fat that does not say":   fatImage("        "),
		"pages of 128 KiB":        {131072 - 10: "SWAPSPACE2"},
		"slot elsewhere":          {65 << 10: "PLEXSLOT"},
		"start of a partition":    {1<<20 + 512: "LABELONE"},
		"magic one byte too late": {1: "XFSB"},
	} {
		got, err := Find(device{t: t, image: image, length: imageSize, bad: -1}, imageSize)
		if err != nil || len(got) > 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestFindReadsLittle counts what is read of a large device: an hour would be too long for a stick that anybody plugs in.
func TestFindReadsLittle(t *testing.T) {
	reads := 0
	found, err := Find(device{t: t, length: 1 << 50, bad: -1, reads: &reads}, 1<<50)
	if err != nil || len(found) > 0 || reads > 2<<20 {
		t.Errorf("%v, %v, %d bytes read", found, err, reads)
	}
}

// FuzzFind has any content at the start, in the middle and at the end of a device. Whatever is found is of different types
// and can be printed.
func FuzzFind(f *testing.F) {
	f.Add([]byte("EFI PART"), uint16(512), []byte("\x55\xaa"), uint16(510))
	f.Add([]byte("\xfc\x4e\x2b\xa9"), uint16(0xf000), []byte("LABELONE"), uint16(512))
	f.Add([]byte("\x53\xef"), uint16(1080), []byte("XFSB"), uint16(0))
	f.Add([]byte("SWAPSPACE2"), uint16(4086), []byte("_BHRfS_M"), uint16(0xffff))
	f.Add([]byte(fatImage("FAT32   ")[0]), uint16(0), []byte(fatEntry("\x1b[2J", 8, 0)), uint16(34816))
	f.Fuzz(func(t *testing.T, a []byte, atA uint16, b []byte, atB uint16) {
		end := a[:min(len(a), 1<<16)]
		i := image{int64(imageSize) - int64(len(end)): string(end), int64(atA): string(a)}
		i[int64(atB)] = string(b)
		found, err := Find(device{t: t, image: i, length: imageSize, bad: -1}, imageSize)
		if err != nil {
			t.Error(err)
		}
		seen := map[string]bool{}
		for _, s := range found {
			if seen[s.Type] {
				t.Errorf("%s is found twice", s.Type)
			}
			seen[s.Type] = true
			if text := s.Type + s.Label + s.UUID; strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) || len(text) > 400 {
				t.Errorf("%q cannot be printed", text)
			}
		}
	})
}
