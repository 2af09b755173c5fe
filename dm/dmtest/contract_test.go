package dmtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

func TestContract(t *testing.T) {
	for _, release := range []Release{Linux6_1, Linux6_12} {
		t.Run(string(release), func(t *testing.T) {
			mem := blocktest.New()
			RunContract(t, &memLab{mem: mem, kernel: New(mem, release), release: release, t: t})
		})
	}
}

// memLab is a Lab in memory.
type memLab struct {
	mem     *blocktest.Mem
	kernel  *Kernel
	release Release
	t       *testing.T
	names   atomic.Int64
}

func (l *memLab) Kernel() DeviceMapper { return l.kernel }
func (l *memLab) Release() Release     { return l.release }
func (l *memLab) Name() string         { return fmt.Sprintf("contract-%d", l.names.Add(1)) }

func (l *memLab) Pass() {
	if err := l.kernel.Tick(4); err != nil {
		l.t.Error(err)
	}
}

func (l *memLab) Disk(t testing.TB, length size.Bytes) Disk {
	path := "/dev/" + l.Name()
	l.mem.AddDisk(blockdev.Info{Path: path, Size: length})
	disk := l.diskAt(t, path)
	t.Cleanup(func() { // zeros take no memory, and neither does what has been flushed
		l.mem.Heal(path)
		for off := size.Bytes(0); off < length; off += erased {
			if _, err := disk.Medium.WriteAt(make([]byte, min(erased, length-off)), int64(off)); err != nil {
				t.Error(err)
			}
		}
		if err := disk.Sync(); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// erased is how much of a drive is zeroed at a time.
const erased = 64 * size.KiB

// diskAt is the drive at path, past the process under test.
func (l *memLab) diskAt(t testing.TB, path string) *memDisk {
	info, err := l.mem.Stat(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	medium, err := l.mem.Medium(info.Dev)
	if err != nil {
		t.Fatal(err)
	}
	return &memDisk{Medium: medium, lab: l, path: path, dev: info.Dev}
}

func (l *memLab) Open(t testing.TB, name string) File {
	disk, err := l.mem.Open(context.Background(), "/dev/mapper/"+name, blockdev.Write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.Close() })
	return disk
}

// memDisk is a drive of a memLab. What the test writes to it is durable.
type memDisk struct {
	*blocktest.Medium
	lab  *memLab
	path string
	dev  devno.No
}

func (d *memDisk) Dev() devno.No { return d.dev }

func (d *memDisk) WriteAt(b []byte, off int64) (int, error) {
	n, err := d.Medium.WriteAt(b, off)
	return n, errors.Join(err, d.Sync())
}

func (d *memDisk) Hold(t testing.TB) func() {
	held, err := d.lab.mem.Open(context.Background(), d.path, blockdev.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = held.Close() }
}
