package lab

import (
	"bytes"
	"hash"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/size"
)

// WrittenTo is how much has been written to a block device since it is there.
func WrittenTo(t testing.TB, device string) size.Bytes { return BlockStat(t, device, 6) }

// BlockStat is a field of a block device's statistics that counts sectors.
func BlockStat(t testing.TB, device string, field int) size.Bytes {
	t.Helper()
	device, err := filepath.EvalSymlinks(device)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/sys/class/block/" + filepath.Base(device) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	sectors, err := strconv.ParseUint(strings.Fields(string(text))[field], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return size.Sectors(sectors).Bytes()
}

// NewChecksum is a checksum that means something in this process only, and is fast in an emulated machine too.
func NewChecksum() hash.Hash64 {
	var sum maphash.Hash
	sum.SetSeed(checksumSeed)
	return &sum
}

var checksumSeed = maphash.MakeSeed()

// CopyRange reads part of a device past the page cache.
func CopyRange(t testing.TB, into io.Writer, path string, start, length size.Bytes) {
	t.Helper()
	f, err := OpenDirect(path, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := AlignedBuffer(size.MiB)
	defer unix.Munmap(chunk)
	for at := start; at < start+length; at += size.MiB {
		n := min(size.MiB, start+length-at)
		if _, err := f.ReadAt(chunk[:n], int64(at)); err != nil {
			t.Fatal(err)
		}
		_, _ = into.Write(chunk[:n])
	}
}

// FillWith overwrites a device with a text, over and over.
func FillWith(t testing.TB, device, text string, length size.Bytes) {
	t.Helper()
	f, err := OpenDirect(device, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := AlignedBuffer(size.MiB)
	defer unix.Munmap(chunk)
	copy(chunk, bytes.Repeat([]byte(text), len(chunk)/len(text)+1))
	for at := size.Bytes(0); at < length; at += size.MiB {
		if _, err := f.WriteAt(chunk[:min(size.MiB, length-at)], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}

// Contains reports whether a text is found on the first length bytes of a device.
func Contains(t testing.TB, device, text string, length size.Bytes) bool {
	t.Helper()
	f := finder{text: []byte(text)}
	CopyRange(t, &f, device, 0, length)
	return f.found
}

// finder looks for a text in what is written to it.
type finder struct {
	text, end []byte // end: of what was written before, one byte less than text
	found     bool
}

func (f *finder) Write(p []byte) (int, error) {
	most := len(f.text) - 1
	f.found = f.found || bytes.Contains(append(f.end, p[:min(most, len(p))]...), f.text) || bytes.Contains(p, f.text)
	f.end = append([]byte(nil), p[max(0, len(p)-most):]...)
	return len(p), nil
}

// MountNew makes an ext4 file system on a device and mounts it; it is unmounted when the test ends unless the test does.
func MountNew(t testing.TB, device string) string {
	t.Helper()
	RunTool(t, "mkfs.ext4", "-q", "-F", device)
	return Mount(t, device)
}

// Mount mounts the ext4 file system on a device; it is unmounted when the test ends unless the test does.
func Mount(t testing.TB, device string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(device, dir, "ext4", 0, ""); err != nil {
		t.Fatalf("mount %s: %v", device, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	return dir
}

// Unmount unmounts what mount mounted.
func Unmount(t testing.TB, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatalf("unmount: %v", err)
	}
}

// NewFile makes a file of the given length with all its blocks allocated.
func NewFile(t testing.TB, dir string, length size.Bytes) string {
	t.Helper()
	path := filepath.Join(dir, "data")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(length)); err != nil {
		t.Fatal(err)
	}
	return path
}

// DeviceSum is a checksum of a whole device.
func DeviceSum(t testing.TB, device string) uint64 {
	t.Helper()
	info, err := (blockdev.Host{}).Stat(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	sum := NewChecksum()
	CopyRange(t, sum, device, 0, info.Size)
	return sum.Sum64()
}

// WriteDOSTable writes a partition table with one partition that starts at 1 MiB.
func WriteDOSTable(t testing.TB, device string) {
	t.Helper()
	block := AlignedBuffer(BlockSize)
	defer unix.Munmap(block)
	copy(block[446:], []byte{0, 0, 2, 0, 0x83, 0xff, 0xff, 0xff, 0, 8, 0, 0, 0, 8, 0, 0})
	block[510], block[511] = 0x55, 0xaa
	f, err := OpenDirect(device, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(block, 0); err != nil {
		t.Fatal(err)
	}
}

// ShowPartitions makes the kernel look for partitions on a loop device, and waits for the first one.
func ShowPartitions(t testing.TB, device string) {
	t.Helper()
	err := OnDevice(device, func(fd int) error {
		if err := unix.IoctlLoopSetStatus64(fd, &unix.LoopInfo64{Flags: unix.LO_FLAGS_PARTSCAN}); err != nil {
			return err
		}
		return unix.IoctlSetInt(fd, unix.BLKRRPART, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	WaitFor(t, "the partition", 5*time.Second, func() bool {
		_, err := os.Stat("/sys/class/block/" + filepath.Base(device) + "p1")
		return err == nil
	})
}
