//go:build linux

package allocation_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
)

const testDisk = "/dev/sda"

// blocks is n blocks of 4 KiB full of b.
func blocks(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n*blockdev.Align) }

func mustOpen(t testing.TB, m *blocktest.Mem, path string, mode blockdev.Mode) blockdev.Disk {
	t.Helper()
	d, err := m.Open(context.Background(), path, mode)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func write(t testing.TB, d blockdev.Disk, b []byte, off int64) {
	t.Helper()
	if n, err := d.WriteAt(b, off); n != len(b) || err != nil {
		t.Fatalf("write = %d, %v", n, err)
	}
}
