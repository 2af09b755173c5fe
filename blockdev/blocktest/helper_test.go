package blocktest

import (
	"bytes"
	"context"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

const testDisk = "/dev/sda"

// oneDisk is a Mem with a drive of 1 MiB.
func oneDisk() (*Mem, devno.No) {
	m := New()
	return m, m.AddDisk(blockdev.Info{Path: testDisk, Size: size.MiB})
}

func mustOpen(t testing.TB, m *Mem, path string, mode blockdev.Mode) blockdev.Disk {
	t.Helper()
	d, err := m.Open(context.Background(), path, mode)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustClose(t testing.TB, d blockdev.Disk) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// testHolder is a device that is stacked on drives.
var testHolder = devno.No{Major: 253, Minor: 0}

func mustClaim(t testing.TB, m *Mem, dev devno.No) {
	t.Helper()
	if err := m.Claim(dev, testHolder, "x"); err != nil {
		t.Fatal(err)
	}
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
func content(t testing.TB, m *Mem, path string) []byte {
	t.Helper()
	d := mustOpen(t, m, path, blockdev.Read)
	defer mustClose(t, d)
	b := make([]byte, d.Info().Size)
	if _, err := d.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}
