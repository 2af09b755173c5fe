//go:build linux

package blockdev

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// EndCase is a Zero that may reach the end of a device of a size that is no multiple of Align.
type EndCase struct {
	Device, Block size.Bytes // size and logical block of the device
	Start, Length size.Bytes
	Left          size.Bytes // at the end, which no logical block covers
	Want          error
}

func EndCases() map[string]EndCase {
	const mib = size.MiB
	return map[string]EndCase{
		"a sector more":               {Device: mib + 512, Block: 512, Start: mib - Align, Length: Align + 512},
		"a sector short of":           {Device: mib - 512, Block: 512, Start: 0, Length: mib - 512},
		"the end alone":               {Device: mib + 2048, Block: 512, Start: mib, Length: 2048},
		"blocks of 1 KiB":             {Device: mib + 3072, Block: 1024, Start: mib, Length: 3072},
		"more than a chunk":           {Device: 3*mib + 1536, Block: 512, Start: Align, Length: 3*mib + 1536 - Align},
		"block size not known":        {Device: mib + 512, Start: mib, Length: 512},
		"no block at the end":         {Device: mib + 512, Block: 4096, Start: mib - Align, Length: Align + 512, Left: 512},
		"half a block at the end":     {Device: mib + 1536, Block: 1024, Start: mib, Length: 1536, Left: 512},
		"a sector short of the end":   {Device: mib + 1024, Block: 512, Start: mib, Length: 512, Want: ErrAlign},
		"a sector beyond the end":     {Device: mib + 512, Block: 512, Start: mib, Length: 1024, Want: ErrAlign},
		"start is not aligned":        {Device: mib + 512, Block: 512, Start: mib - 512, Length: 1024, Want: ErrAlign},
		"not the end, not aligned":    {Device: mib + 512, Block: 512, Start: 0, Length: 512, Want: ErrAlign},
		"nothing at an end like that": {Device: mib + 512, Block: 512, Start: mib, Length: 0},
	}
}

// Check expects what tt.Start says to be zero, and all else to be 0xa5.
func (tt EndCase) Check(t *testing.T, got []byte) {
	t.Helper()
	want := bytes.Repeat([]byte{0xa5}, int(tt.Device))
	if tt.Want == nil {
		clear(want[tt.Start : tt.Start+tt.Length-tt.Left])
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
	for name, tt := range EndCases() {
		t.Run(name, func(t *testing.T) {
			d, path := newFileDisk(t, int64(tt.Device))
			d.info = withBlock(d, tt.Block)
			if _, err := d.file.WriteAt(bytes.Repeat([]byte{0xa5}, int(tt.Device)), 0); err != nil {
				t.Fatal(err)
			}
			if err := Zero(t.Context(), d, tt.Start, tt.Length); !errors.Is(err, tt.Want) {
				t.Fatalf("error %v, want %v", err, tt.Want)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.Check(t, got)
		})
	}
}

// TestZeroEndDirect has the kernel's own rules for O_DIRECT, where the file system of the tests has them.
func TestZeroEndDirect(t *testing.T) {
	for name, tt := range EndCases() {
		if tt.Block == 4096 || tt.Block == 0 {
			continue // a file has no blocks of this size
		}
		t.Run(name, func(t *testing.T) {
			d, path := newFileDisk(t, int64(tt.Device))
			if err := os.WriteFile(path, bytes.Repeat([]byte{0xa5}, int(tt.Device)), 0o600); err != nil {
				t.Fatal(err)
			}
			direct, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
			if errors.Is(err, unix.EINVAL) {
				direct, err = os.OpenFile(path, os.O_RDWR, 0) // tmpfs of an older kernel
			}
			if err != nil {
				t.Fatal(err)
			}
			on := &hostDisk{file: direct, path: path, info: withBlock(d, tt.Block)}
			defer on.Close()
			if err := Zero(t.Context(), on, tt.Start, tt.Length); !errors.Is(err, tt.Want) {
				t.Fatalf("error %v, want %v", err, tt.Want)
			}
			if err := on.Sync(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tt.Check(t, got)
		})
	}
}

func TestZeroEndClosed(t *testing.T) {
	d, path := newFileDisk(t, int64(size.MiB)+512)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Zero(t.Context(), d, size.MiB, 512); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), path) {
		t.Errorf("closed: error %v", err)
	}
}
