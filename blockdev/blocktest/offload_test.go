package blocktest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/size"
)

// fullDisk is a drive of n blocks without a zero byte.
func fullDisk(t testing.TB, n int) (*Mem, blockdev.Disk) {
	t.Helper()
	m := New()
	m.AddDisk(blockdev.Info{Path: testDisk, Size: size.Bytes(n) * blockdev.Align})
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(n, 0xa5), 0)
	return m, d
}

// checkZeroes expects zeros in a range alone.
func checkZeroes(t testing.TB, m *Mem, r allocation.Range) {
	t.Helper()
	got := content(t, m, testDisk)
	want := bytes.Repeat([]byte{0xa5}, len(got))
	clear(want[r.Start : r.Start+r.Length])
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes from %d on are not the only ones that are zero", r.Length, r.Start)
	}
}

func TestMemZeroOffload(t *testing.T) {
	m, d := fullDisk(t, 64)
	r := allocation.Range{Start: 3 * blockdev.Align, Length: 20 * blockdev.Align}
	zero := func() error { return blockdev.ZeroOffload(t.Context(), d, r.Start, r.Length) }
	if err := zero(); !errors.Is(err, blockdev.ErrNoOffload) {
		t.Errorf("new drive: %v, want %v", err, blockdev.ErrNoOffload)
	}
	checkZeroes(t, m, allocation.Range{})
	m.SetOffload(testDisk, true)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	var effects []Effect
	m.OnEffect = func(e Effect) error { effects = append(effects, e); return nil }
	if err := zero(); err != nil {
		t.Fatal(err)
	}
	checkZeroes(t, m, r)
	if diff := cmp.Diff([]Effect{{"zero", testDisk}}, effects); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
	checkZeroes(t, m.Cut(Lost), allocation.Range{})
	checkZeroes(t, m.Cut(Kept), r)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	checkZeroes(t, m.Cut(Lost), r)
	for name, after := range map[string]*Mem{"cut": m.Cut(Lost), "fork": m.Fork()} {
		if err := blockdev.ZeroOffload(t.Context(), mustOpen(t, after, testDisk, blockdev.Write), 0, blockdev.Align); err != nil {
			t.Errorf("after a %s: %v", name, err)
		}
	}
}

// TestMemZeroOffloadTorn expects a power cut to leave of each sector what it was, or zeros.
func TestMemZeroOffloadTorn(t *testing.T) {
	m, d := fullDisk(t, 64)
	m.SetOffload(testDisk, true)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := blockdev.ZeroOffload(t.Context(), d, 0, 32*blockdev.Align); err != nil {
		t.Fatal(err)
	}
	found := map[byte]int{}
	b := content(t, m.Cut(Torn(rand.New(rand.NewPCG(1, 2)))), testDisk)
	for sector := range slices.Chunk(b[:32*blockdev.Align], 512) {
		found[sector[0]]++
		if !bytes.Equal(sector, bytes.Repeat(sector[:1], 512)) {
			t.Fatal("a sector is torn")
		}
	}
	if len(found) != 2 || found[0] == 0 || found[0xa5] == 0 || !bytes.Equal(b[32*blockdev.Align:], blocks(32, 0xa5)) {
		t.Errorf("sectors %v, want some of both, and nothing changed behind", found)
	}
}

func TestMemZeroOffloadFails(t *testing.T) {
	m, d := fullDisk(t, 64)
	m.SetOffload(testDisk, true)
	m.Fail(testDisk, Fault{Kind: "zero", Offset: 8 * blockdev.Align, Length: 512})
	if err := blockdev.ZeroOffload(t.Context(), d, 0, 32*blockdev.Align); !errors.Is(err, unix.EIO) {
		t.Errorf("fault in the range: %v, want %v", err, unix.EIO)
	}
	checkZeroes(t, m, allocation.Range{})
	if err := blockdev.ZeroOffload(t.Context(), d, 9*blockdev.Align, 8*blockdev.Align); err != nil {
		t.Errorf("fault elsewhere: %v", err)
	}
	if err := blockdev.ZeroOffload(t.Context(), mustOpen(t, m, testDisk, blockdev.Read), 0, blockdev.Align); !errors.Is(err, unix.EBADF) {
		t.Errorf("open for reading: %v, want %v", err, unix.EBADF)
	}
	m.OnEffect = func(Effect) error { return errors.New("killed") }
	if err := blockdev.ZeroOffload(t.Context(), d, 0, blockdev.Align); !errors.Is(err, ErrDead) {
		t.Errorf("dead process: %v, want %v", err, ErrDead)
	}
	checkZeroes(t, m.Fork(), allocation.Range{Start: 9 * blockdev.Align, Length: 8 * blockdev.Align})
}
