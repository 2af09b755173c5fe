package blockdev

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// endCase is a Zero that may reach the end of a device of a size that is no multiple of Align.
type endCase struct {
	device, block size.Bytes // size and logical block of the device
	start, length size.Bytes
	left          size.Bytes // at the end, which no logical block covers
	want          error
}

func endCases() map[string]endCase {
	const mib = size.MiB
	return map[string]endCase{
		"a sector more":               {device: mib + 512, block: 512, start: mib - Align, length: Align + 512},
		"a sector short of":           {device: mib - 512, block: 512, start: 0, length: mib - 512},
		"the end alone":               {device: mib + 2048, block: 512, start: mib, length: 2048},
		"blocks of 1 KiB":             {device: mib + 3072, block: 1024, start: mib, length: 3072},
		"more than a chunk":           {device: 3*mib + 1536, block: 512, start: Align, length: 3*mib + 1536 - Align},
		"block size not known":        {device: mib + 512, start: mib, length: 512},
		"no block at the end":         {device: mib + 512, block: 4096, start: mib - Align, length: Align + 512, left: 512},
		"half a block at the end":     {device: mib + 1536, block: 1024, start: mib, length: 1536, left: 512},
		"a sector short of the end":   {device: mib + 1024, block: 512, start: mib, length: 512, want: ErrAlign},
		"a sector beyond the end":     {device: mib + 512, block: 512, start: mib, length: 1024, want: ErrAlign},
		"start is not aligned":        {device: mib + 512, block: 512, start: mib - 512, length: 1024, want: ErrAlign},
		"not the end, not aligned":    {device: mib + 512, block: 512, start: 0, length: 512, want: ErrAlign},
		"nothing at an end like that": {device: mib + 512, block: 512, start: mib, length: 0},
	}
}

// check expects what tt.start says to be zero, and all else to be 0xa5.
func (tt endCase) check(t *testing.T, got []byte) {
	t.Helper()
	want := bytes.Repeat([]byte{0xa5}, int(tt.device))
	if tt.want == nil {
		clear(want[tt.start : tt.start+tt.length-tt.left])
	}
	if len(got) != len(want) {
		t.Fatalf("the device has %d bytes, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("byte %d of %d is %#x, want %#x", i, len(want), got[i], want[i])
		}
	}
}

func TestZeroEnd(t *testing.T) {
	for name, tt := range endCases() {
		t.Run(name, func(t *testing.T) {
			d, path := newFileDisk(t, int64(tt.device))
			d.info = withBlock(d, tt.block)
			if _, err := d.file.WriteAt(bytes.Repeat([]byte{0xa5}, int(tt.device)), 0); err != nil {
				t.Fatal(err)
			}
			if err := Zero(t.Context(), d, tt.start, tt.length); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.check(t, got)
		})
	}
}

// TestZeroEndDirect has the kernel's own rules for O_DIRECT, where the file system of the tests has them.
func TestZeroEndDirect(t *testing.T) {
	for name, tt := range endCases() {
		if tt.block == 4096 || tt.block == 0 {
			continue // a file has no blocks of this size
		}
		t.Run(name, func(t *testing.T) {
			d, path := newFileDisk(t, int64(tt.device))
			if err := os.WriteFile(path, bytes.Repeat([]byte{0xa5}, int(tt.device)), 0o600); err != nil {
				t.Fatal(err)
			}
			direct, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
			if errors.Is(err, unix.EINVAL) {
				direct, err = os.OpenFile(path, os.O_RDWR, 0) // tmpfs of an older kernel
			}
			if err != nil {
				t.Fatal(err)
			}
			on := &hostDisk{file: direct, path: path, info: withBlock(d, tt.block)}
			defer on.Close()
			if err := Zero(t.Context(), on, tt.start, tt.length); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err := on.Sync(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.check(t, got)
		})
	}
}

func TestZeroEndMem(t *testing.T) {
	for name, tt := range endCases() {
		t.Run(name, func(t *testing.T) {
			m := NewMem()
			m.AddDisk(Info{Path: testDisk, Size: tt.device, LogicalBlock: tt.block})
			m.disks[0].now.writeAt(bytes.Repeat([]byte{0xa5}, int(tt.device)), 0)
			d := mustOpen(t, m, testDisk, Exclusive)
			if err := Zero(t.Context(), d, tt.start, tt.length); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			got := make([]byte, tt.device.RoundUp(Align))
			n, err := d.ReadAt(got, 0)
			if !errors.Is(err, io.EOF) {
				t.Fatalf("read: %v, want the end", err)
			}
			tt.check(t, got[:n])
		})
	}
}

// TestZeroEndIsAnEffect expects the end to be written once, after all else, and to be durable only after a flush.
func TestZeroEndIsAnEffect(t *testing.T) {
	m := NewMem()
	m.AddDisk(Info{Path: testDisk, Size: size.MiB + 512})
	m.disks[0].now.writeAt(bytes.Repeat([]byte{0xa5}, int(size.MiB+512)), 0)
	var effects int
	m.OnEffect = func(Effect) error { effects++; return nil }
	d := mustOpen(t, m, testDisk, Write)
	if err := Zero(t.Context(), d, 0, size.MiB+512); err != nil {
		t.Fatal(err)
	}
	pending := m.disks[0].pending
	if effects != 2 || len(pending) != 2 || pending[1].Offset != int64(size.MiB) || len(pending[1].Data) != 512 {
		t.Errorf("%d effects, %d writes not flushed", effects, len(pending))
	}
}

func TestZeroEndFails(t *testing.T) {
	m := NewMem()
	m.AddDisk(Info{Path: testDisk, Size: size.MiB + 512})
	writable, readOnly := mustOpen(t, m, testDisk, Write), mustOpen(t, m, testDisk, Read)
	m.Fail(testDisk, Fault{Kind: "write", Offset: size.MiB, Length: 512})
	if err := Zero(t.Context(), writable, size.MiB, 512); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), testDisk) {
		t.Errorf("end that cannot be written: error %v", err)
	}
	if err := Zero(t.Context(), readOnly, size.MiB, 512); !errors.Is(err, unix.EBADF) {
		t.Errorf("open for reading: error %v", err)
	}
	m.OnEffect = func(Effect) error { return context.Canceled }
	if err := Zero(t.Context(), writable, size.MiB, 512); !errors.Is(err, ErrDead) {
		t.Errorf("dead process: error %v", err)
	}
	if err := Zero(t.Context(), plainDisk{writable}, size.MiB, 512); !errors.Is(err, ErrAlign) {
		t.Errorf("disk that writes whole units only: error %v, want %v", err, ErrAlign)
	}
	d, path := newFileDisk(t, int64(size.MiB)+512)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Zero(t.Context(), d, size.MiB, 512); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), path) {
		t.Errorf("closed: error %v", err)
	}
}

// plainDisk hides what a Disk can besides.
type plainDisk struct{ Disk }
