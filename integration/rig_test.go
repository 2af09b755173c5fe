package integration

import (
	"bytes"
	"context"
	"hash"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// rig is drives on which a test makes LUNs, through the library and through the command.
type rig struct {
	t       testing.TB
	drives  []string // paths of devices with a label
	control *dm.Control
	p       *lun.Provider
	track   bool // LUNs that are made are tracked
}

// newRig makes n loop devices of the given length drives.
func newRig(t testing.TB, n int, length size.Bytes) *rig {
	t.Helper()
	newLab(t)
	var devices []string
	for range n {
		devices = append(devices, newLoop(t, length, 512))
	}
	return rigOn(t, devices...)
}

// rigOn makes the devices drives. When the test ends their LUNs are taken down.
func rigOn(t testing.TB, devices ...string) *rig {
	t.Helper()
	r := openRig(t, devices...)
	for _, d := range devices {
		if _, err := r.p.InitDrive(t.Context(), d, lun.InitOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// openRig is a rig on devices as they are.
func openRig(t testing.TB, devices ...string) *rig {
	t.Helper()
	control, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Close(); err != nil {
			t.Error(err)
		}
	})
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := lun.Open(t.Context(), lun.Options{Kernel: control, Devices: blockdev.Host{}, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r := &rig{t: t, drives: devices, control: control, p: p}
	t.Cleanup(r.takeDown)
	return r
}

// takeDown deactivates everything, so that only what plexctl itself leaves behind is left.
func (r *rig) takeDown() {
	results, err := r.p.Deactivate(context.Background())
	if err != nil {
		r.t.Errorf("deactivate: %v", err)
	}
	for _, result := range results {
		if result.Err != nil {
			r.t.Errorf("deactivate: %v", result.Err)
		}
	}
}

// run runs plexctl, which must succeed, and returns what it printed.
func (r *rig) run(args ...string) string {
	r.t.Helper()
	return runTool(r.t, "plexctl", args...)
}

// refuse runs plexctl, which must end with the exit status and say every one of the texts.
func (r *rig) refuse(status int, args []string, says ...string) {
	r.t.Helper()
	out, err := tryTool(r.t, "plexctl", args...)
	if got := exitStatus(err); got != status {
		r.t.Errorf("plexctl %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, status, out)
	}
	for _, text := range says {
		if !strings.Contains(out, text) {
			r.t.Errorf("plexctl %s does not say %q:\n%s", strings.Join(args, " "), text, out)
		}
	}
}

func (r *rig) refresh() {
	r.t.Helper()
	if err := r.p.Refresh(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// create makes a LUN on one of the drives.
func (r *rig) create(name string, length size.Bytes, drive int) *lun.LUN {
	r.t.Helper()
	l, err := r.p.CreateLUN(r.t.Context(), lun.Spec{Name: name, Size: length, Drives: []string{r.drives[drive]}, Track: r.track})
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// record is a LUN's record as the drives have it now.
func (r *rig) record(name string) catalog.LUN {
	r.t.Helper()
	r.refresh()
	l, err := r.p.LUN(name)
	if err != nil {
		r.t.Fatal(err)
	}
	record, err := l.Record()
	if err != nil {
		r.t.Fatal(err)
	}
	return record
}

// legs is a checksum of each plex of a LUN over the LUN's length, read from the drives past every cache.
func (r *rig) legs(l catalog.LUN) []uint32 {
	r.t.Helper()
	paths := map[string]string{}
	for _, d := range r.p.Drives() {
		paths[d.ID.String()] = d.Info.Path
	}
	var sums []uint32
	for _, p := range l.Copies() {
		sum, left := newChecksum(), l.Size
		for _, e := range p.Data {
			n := min(e.Length, left)
			copyRange(r.t, sum, paths[e.Drive.String()], e.Start.Bytes(), n.Bytes())
			left -= n
		}
		sums = append(sums, sum.Sum32())
	}
	return sums
}

// equalLegs fails the test unless all plexes of the LUN are byte for byte the same.
func (r *rig) equalLegs(l catalog.LUN) {
	r.t.Helper()
	if len(l.Copies()) < 2 {
		r.t.Fatalf("%s has %d plexes", l.Name, len(l.Copies()))
	}
	sums := r.legs(l)
	for i, sum := range sums {
		if sum != sums[0] {
			r.t.Errorf("plex %d of %s differs from plex 0", i, l.Name)
		}
	}
}

// newChecksum is CRC32C, which is fast in an emulated machine too.
func newChecksum() hash.Hash32 { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

// copyRange reads part of a device past the page cache.
func copyRange(t testing.TB, into io.Writer, path string, start, length size.Bytes) {
	t.Helper()
	f, err := openDirect(path, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := alignedBuffer(size.MiB)
	defer unix.Munmap(chunk)
	for at := start; at < start+length; at += size.MiB {
		n := min(size.MiB, start+length-at)
		if _, err := f.ReadAt(chunk[:n], int64(at)); err != nil {
			t.Fatal(err)
		}
		_, _ = into.Write(chunk[:n])
	}
}

// fillWith overwrites a device with a text, over and over.
func fillWith(t testing.TB, device, text string, length size.Bytes) {
	t.Helper()
	f, err := openDirect(device, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := alignedBuffer(size.MiB)
	defer unix.Munmap(chunk)
	copy(chunk, bytes.Repeat([]byte(text), len(chunk)/len(text)+1))
	for at := size.Bytes(0); at < length; at += size.MiB {
		if _, err := f.WriteAt(chunk[:min(size.MiB, length-at)], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}

// contains reports whether a text is found on the first length bytes of a device.
func contains(t testing.TB, device, text string, length size.Bytes) bool {
	t.Helper()
	var all bytes.Buffer
	copyRange(t, &all, device, 0, length)
	return bytes.Contains(all.Bytes(), []byte(text))
}

// mountNew makes an ext4 file system on a device and mounts it; it is unmounted when the test ends unless the test does.
func mountNew(t testing.TB, device string) string {
	t.Helper()
	runTool(t, "mkfs.ext4", "-q", "-F", device)
	return mount(t, device)
}

func mount(t testing.TB, device string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(device, dir, "ext4", 0, ""); err != nil {
		t.Fatalf("mount %s: %v", device, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	return dir
}

func unmount(t testing.TB, dir string) {
	t.Helper()
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatalf("unmount: %v", err)
	}
}

// newFile makes a file of the given length with all its blocks allocated.
func newFile(t testing.TB, dir string, length size.Bytes) string {
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

// deviceSum is a checksum of a whole device.
func deviceSum(t testing.TB, device string) uint32 {
	t.Helper()
	info, err := (blockdev.Host{}).Stat(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	sum := newChecksum()
	copyRange(t, sum, device, 0, info.Size)
	return sum.Sum32()
}

// writeDOSTable writes a partition table with one partition that starts at 1 MiB.
func writeDOSTable(t testing.TB, device string) {
	t.Helper()
	block := alignedBuffer(blockSize)
	defer unix.Munmap(block)
	copy(block[446:], []byte{0, 0, 2, 0, 0x83, 0xff, 0xff, 0xff, 0, 8, 0, 0, 0, 8, 0, 0})
	block[510], block[511] = 0x55, 0xaa
	f, err := openDirect(device, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(block, 0); err != nil {
		t.Fatal(err)
	}
}

// showPartitions makes the kernel look for partitions on a loop device, and waits for the first one.
func showPartitions(t testing.TB, device string) {
	t.Helper()
	err := onDevice(device, func(fd int) error {
		if err := unix.IoctlLoopSetStatus64(fd, &unix.LoopInfo64{Flags: unix.LO_FLAGS_PARTSCAN}); err != nil {
			return err
		}
		return unix.IoctlSetInt(fd, unix.BLKRRPART, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the partition", 5*time.Second, func() bool {
		_, err := os.Stat("/sys/class/block/" + filepath.Base(device) + "p1")
		return err == nil
	})
}
