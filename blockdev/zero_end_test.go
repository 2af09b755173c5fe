//go:build linux

package blockdev_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/size"
)

func TestZeroEndMem(t *testing.T) {
	for name, tt := range blockdev.EndCases() {
		t.Run(name, func(t *testing.T) {
			m := blocktest.New()
			m.AddDisk(blockdev.Info{Path: testDisk, Size: tt.Device, LogicalBlock: tt.Block})
			fill(t, m, testDisk)
			d := mustOpen(t, m, testDisk, blockdev.Exclusive)
			if err := blockdev.Zero(t.Context(), d, tt.Start, tt.Length); !errors.Is(err, tt.Want) {
				t.Fatalf("error %v, want %v", err, tt.Want)
			}
			got := make([]byte, tt.Device.RoundUp(blockdev.Align))
			n, err := d.ReadAt(got, 0)
			if !errors.Is(err, io.EOF) {
				t.Fatalf("read: %v, want the end", err)
			}
			tt.Check(t, got[:n])
		})
	}
}

// TestZeroEndIsAnEffect expects the end to be written once, after all else, and to be durable only after a flush.
func TestZeroEndIsAnEffect(t *testing.T) {
	m := blocktest.New()
	m.AddDisk(blockdev.Info{Path: testDisk, Size: size.MiB + 512})
	fill(t, m, testDisk)
	var effects int
	m.OnEffect = func(blocktest.Effect) error { effects++; return nil }
	d := mustOpen(t, m, testDisk, blockdev.Write)
	if err := blockdev.Zero(t.Context(), d, 0, size.MiB+512); err != nil {
		t.Fatal(err)
	}
	var pending []blocktest.Unflushed
	m.Cut(func(cache []blocktest.Unflushed) []blocktest.Unflushed { pending = cache; return nil })
	if effects != 2 || len(pending) != 2 || pending[1].Offset != int64(size.MiB) || len(pending[1].Data) != 512 {
		t.Errorf("%d effects, %d writes not flushed", effects, len(pending))
	}
}

func TestZeroEndFails(t *testing.T) {
	m := blocktest.New()
	m.AddDisk(blockdev.Info{Path: testDisk, Size: size.MiB + 512})
	writable, readOnly := mustOpen(t, m, testDisk, blockdev.Write), mustOpen(t, m, testDisk, blockdev.Read)
	m.Fail(testDisk, blocktest.Fault{Kind: "write", Offset: size.MiB, Length: 512})
	if err := blockdev.Zero(t.Context(), writable, size.MiB, 512); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), testDisk) {
		t.Errorf("end that cannot be written: error %v", err)
	}
	if err := blockdev.Zero(t.Context(), readOnly, size.MiB, 512); !errors.Is(err, unix.EBADF) {
		t.Errorf("open for reading: error %v", err)
	}
	m.OnEffect = func(blocktest.Effect) error { return context.Canceled }
	if err := blockdev.Zero(t.Context(), writable, size.MiB, 512); !errors.Is(err, blocktest.ErrDead) {
		t.Errorf("dead process: error %v", err)
	}
	if err := blockdev.Zero(t.Context(), plainDisk{writable}, size.MiB, 512); !errors.Is(err, blockdev.ErrAlign) {
		t.Errorf("disk that writes whole units only: error %v, want %v", err, blockdev.ErrAlign)
	}
}

// plainDisk hides what a Disk can besides.
type plainDisk struct{ blockdev.Disk }
