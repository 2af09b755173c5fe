package kernel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// These tests hold package blockdev's Host against the kernel.

// openDisk opens a device until the test ends.
func openDisk(t testing.TB, device string, mode blockdev.Mode) blockdev.Disk {
	t.Helper()
	d, err := blockdev.Host{}.Open(t.Context(), device, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // the test may have closed it
	return d
}

//gate:kernels every
func TestBlockdevStat(t *testing.T) {
	lab.NewLab(t)
	for _, block := range []size.Bytes{512, 4096} {
		device := lab.NewLoop(t, 16*size.MiB, block)
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(device, link); err != nil {
			t.Fatal(err)
		}
		got := lab.StatDevice(t, link)
		want := blockdev.Info{
			Path: device, Dev: got.Dev, Size: 16 * size.MiB, LogicalBlock: block, PhysicalBlock: block, Model: got.Model,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("device (-want +got):\n%s", diff)
		}
		if !strings.HasSuffix(got.Model, "/image") || got.Dev.Major != 7 {
			t.Errorf("model %q, device %s, want the file behind a loop device", got.Model, got.Dev)
		}
		all, err := blockdev.Host{}.Scan(t.Context())
		if err != nil || !slices.ContainsFunc(all, func(i blockdev.Info) bool { return cmp.Equal(i, got) }) {
			t.Errorf("%s is not among %d devices (%v)", device, len(all), err)
		}
	}
}

// TestBlockdevDirectIO writes and reads with memory that is not aligned, past the page cache.
//
//gate:kernels every
func TestBlockdevDirectIO(t *testing.T) {
	lab.NewLab(t)
	for _, block := range []size.Bytes{512, 4096} {
		device := lab.NewLoop(t, 16*size.MiB, block)
		stale := make([]byte, 4*size.MiB)
		if err := readBuffered(device, stale); err != nil {
			t.Fatal(err)
		}
		d := openDisk(t, device, blockdev.Write)
		data := make([]byte, 3*size.MiB+blockdev.Align+1)[1:]
		_, _ = rand.NewChaCha8([32]byte{byte(block)}).Read(data)
		if n, err := d.WriteAt(data, blockdev.Align); n != len(data) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		back := make([]byte, len(data)+3)[3:]
		if n, err := openDisk(t, device, blockdev.Read).ReadAt(back, blockdev.Align); n != len(back) || err != nil || !bytes.Equal(back, data) {
			t.Errorf("read: %d, %v, equal %t", n, err, bytes.Equal(back, data))
		}
	}
}

// readBuffered fills the page cache of a device.
func readBuffered(device string, b []byte) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.ReadFull(f, b)
	return err
}

//gate:kernels every
func TestBlockdevEndOfDevice(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, size.MiB+512, 512)
	d := openDisk(t, device, blockdev.Write)
	b := make([]byte, 2*blockdev.Align)
	if n, err := d.ReadAt(b, int64(size.MiB)); n != 512 || !errors.Is(err, io.EOF) {
		t.Errorf("last sector: %d, %v, want 512, EOF", n, err)
	}
	if n, err := d.ReadAt(b, int64(size.MiB+blockdev.Align)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("behind the end: %d, %v, want 0, EOF", n, err)
	}
	if n, err := d.WriteAt(b, int64(size.MiB)); err == nil {
		t.Errorf("write across the end: %d, no error", n)
	}
	if _, err := d.WriteAt(b, int64(64*size.MiB)); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), device) {
		t.Errorf("write behind the end: %v, want %v and the device", err, unix.ENOSPC)
	}
}

//gate:kernels every
func TestBlockdevReadOnly(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, size.MiB, 512)
	d := openDisk(t, device, blockdev.Read)
	if _, err := d.WriteAt(make([]byte, blockdev.Align), 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("write to what is open for reading: %v, want %v", err, unix.EBADF)
	}
	lab.RunTool(t, "blockdev", "--setro", device)
	if !lab.StatDevice(t, device).ReadOnly {
		t.Error("a read-only device is not shown as one")
	}
	w, err := (blockdev.Host{}).Open(t.Context(), device, blockdev.Write)
	if err == nil {
		defer w.Close()
		_, err = w.WriteAt(make([]byte, blockdev.Align), 0)
	}
	if !errors.Is(err, blockdev.ErrReadOnly) {
		t.Errorf("write to a read-only device: %v, want %v", err, blockdev.ErrReadOnly)
	}
	lab.RunTool(t, "blockdev", "--setrw", device)
}

//gate:kernels every
func TestBlockdevExclusive(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, 16*size.MiB, 512)
	d := openDisk(t, device, blockdev.Exclusive)
	if _, err := (blockdev.Host{}).Open(t.Context(), device, blockdev.Exclusive); !errors.Is(err, blockdev.ErrBusy) {
		t.Errorf("second exclusive open: %v, want %v", err, blockdev.ErrBusy)
	}
	for _, mode := range []blockdev.Mode{blockdev.Read, blockdev.Write} {
		if err := openDisk(t, device, mode).Close(); err != nil {
			t.Error(err)
		}
	}
	if udevMayLook(t, device) {
		t.Error("udevd would look at a device that is open exclusively")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !udevMayLook(t, device) {
		t.Error("the lock is left behind")
	}
	if err := openDisk(t, device, blockdev.Exclusive).Close(); err != nil {
		t.Error(err)
	}
}

// udevMayLook reports whether udevd would get its shared lock.
func udevMayLook(t testing.TB, device string) bool {
	t.Helper()
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}

// TestBlockdevWaitsForUdev holds the lock as udevd does, for a moment and for too long.
//
//gate:kernels every
func TestBlockdevWaitsForUdev(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, size.MiB, 512)
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	_, err = blockdev.Host{}.Open(lab.Briefly(t), device, blockdev.Exclusive)
	if !errors.Is(err, blockdev.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked for too long: %v, want %v and the context's error", err, blockdev.ErrBusy)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) })
	if err := openDisk(t, device, blockdev.Exclusive).Close(); err != nil {
		t.Error(err)
	}
}
