package blocktest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

func TestMemFork(t *testing.T) {
	m, dev := oneDisk()
	m.Link("/dev/disk/a", testDisk)
	m.Stack(blockdev.Info{Path: "/dev/dm-0", Dev: devno.No{Major: 253, Minor: 0}}, func(blockdev.Mode) (blockdev.Disk, error) { return nil, unix.EIO })
	d := mustOpen(t, m, testDisk, blockdev.Exclusive)
	write(t, d, blocks(2, 1), 0)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	write(t, d, blocks(1, 2), 0)
	m.Fail(testDisk, Fault{Kind: "write", Nth: 2})
	m.OnEffect = func(Effect) error { return errors.New("killed") }
	after := m.Fork()
	m.OnEffect = nil

	mine := content(t, after, "/dev/disk/a")
	if !bytes.Equal(mine[:2*blockdev.Align], append(blocks(1, 2), blocks(1, 1)...)) {
		t.Error("the fork has another content")
	}
	if got := content(t, after.Cut(Lost), testDisk); !bytes.Equal(got[:2*blockdev.Align], blocks(2, 1)) {
		t.Error("the fork does not know what was flushed")
	}
	if infos, err := after.Scan(context.Background()); err != nil || len(infos) != 1 {
		t.Errorf("scan = %v, %v, want the drive alone", infos, err)
	}
	other := mustOpen(t, after, testDisk, blockdev.Exclusive)
	write(t, other, blocks(1, 3), 0)
	if _, err := other.WriteAt(blocks(1, 4), 0); !errors.Is(err, unix.EIO) {
		t.Errorf("second write: %v, want the fault that was there before", err)
	}
	write(t, d, blocks(1, 5), blockdev.Align)
	if got := content(t, m, testDisk); got[0] != 2 || got[blockdev.Align] != 5 {
		t.Errorf("content %d, %d; the fork has changed it", got[0], got[blockdev.Align])
	}
	if got := content(t, after.Cut(Kept), testDisk); got[0] != 3 || got[blockdev.Align] != 1 {
		t.Errorf("content of the fork %d, %d; the machine has changed it", got[0], got[blockdev.Align])
	}
	if next := after.AddDisk(blockdev.Info{Path: "/dev/next", Size: blockdev.Align}); next == dev {
		t.Errorf("a new drive has the number %v of the old one", next)
	}
}

func TestMediumInAFork(t *testing.T) {
	m, dev := oneDisk()
	x, err := m.Medium(dev)
	if err != nil {
		t.Fatal(err)
	}
	m.Vanish(testDisk)
	after := m.Fork()
	y := x.In(after)
	if _, err := y.WriteAt(blocks(1, 1), 0); !errors.Is(err, unix.EIO) {
		t.Errorf("write to a drive that is gone: %v, want %v", err, unix.EIO)
	}
	after.Return(testDisk)
	if _, err := y.WriteAt(blocks(1, 1), 0); err != nil {
		t.Error(err)
	}
	m.Return(testDisk)
	if got := content(t, m, testDisk); got[0] != 0 {
		t.Error("a write to the fork's drive reached the machine's")
	}
}

func TestMediumSame(t *testing.T) {
	m, dev := oneDisk()
	other := m.AddDisk(blockdev.Info{Path: "/dev/other", Size: size.MiB})
	x, err := m.Medium(dev)
	y, err2 := m.Medium(other)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, write := range []func() (int, error){
		func() (int, error) { return x.WriteAt(blocks(1, 1), 2*blockdev.Align) },
		func() (int, error) { return y.WriteAt(blocks(1, 1), 5*blockdev.Align) },
	} {
		if _, err := write(); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		off, at, length int64
		want            bool
	}{
		"zeroes":                  {0, 0, 2, true},
		"what was written":        {2, 5, 1, true},
		"with what is around":     {0, 3, 8, true},
		"at another place":        {0, 0, 3, false},
		"written against zeroes":  {2, 2, 1, false},
		"zeroes against written":  {5, 5, 1, false},
		"the last block differs":  {4, 4, 2, false},
		"the first block differs": {2, 2, 2, false},
	} {
		if got := x.Same(tt.off*blockdev.Align, y, tt.at*blockdev.Align, tt.length*blockdev.Align); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestMediumBlank(t *testing.T) {
	m, dev := oneDisk()
	x, err := m.Medium(dev)
	if err != nil {
		t.Fatal(err)
	}
	half := blocks(1, 0)
	half[len(half)-1] = 1
	for at, b := range map[int64][]byte{2: blocks(1, 1), 5: half} {
		if _, err := x.WriteAt(b, at*blockdev.Align); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.WriteAt(make([]byte, 512), 6*blockdev.Align-512); err != nil { // all of block 5 is zero again
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		off, length int64
		want        bool
	}{
		"in front of it":     {0, 2, true},
		"behind it":          {3, 2, true},
		"written with zeros": {5, 1, true},
		"the first block":    {2, 2, false},
		"the last block":     {0, 3, false},
		"one in the middle":  {0, 8, false},
	} {
		if got := x.Blank(tt.off*blockdev.Align, tt.length*blockdev.Align); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
