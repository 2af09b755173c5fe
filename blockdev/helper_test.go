//go:build linux

package blockdev_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
)

const testDisk = "/dev/sda"

func mustOpen(t testing.TB, m *blocktest.Mem, path string, mode blockdev.Mode) blockdev.Disk {
	t.Helper()
	d, err := m.Open(context.Background(), path, mode)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// blocks is n blocks of 4 KiB full of b.
func blocks(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n*blockdev.Align) }

func write(t testing.TB, d blockdev.Disk, b []byte, off int64) {
	t.Helper()
	if n, err := d.WriteAt(b, off); n != len(b) || err != nil {
		t.Fatalf("write = %d, %v", n, err)
	}
}

// content is the whole drive at path as a reader sees it.
func content(t testing.TB, m *blocktest.Mem, path string) []byte {
	t.Helper()
	d := mustOpen(t, m, path, blockdev.Read)
	b := make([]byte, d.Info().Size)
	if _, err := d.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// fill writes 0xa5 over all of the drive at path, past the volatile cache.
func fill(t testing.TB, m *blocktest.Mem, path string) {
	t.Helper()
	info, err := m.Stat(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	medium, err := m.Medium(info.Dev)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := medium.WriteAt(bytes.Repeat([]byte{0xa5}, int(info.Size)), 0); err != nil {
		t.Fatal(err)
	}
	if err := medium.Sync(); err != nil {
		t.Fatal(err)
	}
}
