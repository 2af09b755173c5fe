package signature

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

func TestFind(t *testing.T) {
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
		"text":                         {image: image{0: "hello, world", 4097: "PLEXLABL"}},
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
		"gpt":                          {image: with(gptImage(1, lastLBA, 2048), gptImage(lastLBA, 1, 2048), protective), want: []Signature{{"gpt", "", testUUIDText}}},
		"gpt with a tiny partition":    {image: with(gptImage(1, lastLBA, 8), protective), want: []Signature{{"gpt", "", testUUIDText}}},
		"gpt, only its second":         {image: gptImage(lastLBA, 1, 2048), want: []Signature{{"gpt", "", testUUIDText}}},
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
			got, err := Find(device{t: t, image: tt.image, length: tt.size, bad: -1}, tt.size)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("signatures (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindUnreadable(t *testing.T) {
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
			got, err := Find(device{t: t, image: tt.image, length: imageSize, bad: tt.bad}, imageSize)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("signatures (-want +got):\n%s", diff)
			}
		})
	}
}
