//go:build linux

package blockdev_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/size"
)

// span is a part of a drive.
type span struct{ Start, Length size.Bytes }

// granular is a drive that leaves alone what it is asked to zero of a granule in part.
type granular struct {
	blockdev.Disk
	o       blockdev.Offload
	shift   size.Bytes // where its first whole granule starts
	asked   []span
	refuses int // the number of the request that it refuses, 1 being the first
}

func (g *granular) Offload() (blockdev.Offload, error) { return g.o, nil }

func (g *granular) ZeroByDrive(start, length size.Bytes) error {
	g.asked = append(g.asked, span{Start: start, Length: length})
	if len(g.asked) == g.refuses {
		return blockdev.ErrNoOffload
	}
	unit := max(g.o.Granule, blockdev.Align)
	from := (start + unit - g.shift).RoundUp(unit) + g.shift - unit
	for end := start + length; from+unit <= end; from += unit {
		if _, err := g.WriteAt(make([]byte, unit), int64(from)); err != nil {
			return err
		}
	}
	return nil
}

// fullDisk is a drive of n blocks without a zero byte.
func fullDisk(t testing.TB, n int) (*blocktest.Mem, blockdev.Disk) {
	t.Helper()
	m := blocktest.New()
	m.AddDisk(blockdev.Info{Path: testDisk, Size: size.Bytes(n) * blockdev.Align})
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(n, 0xa5), 0)
	return m, d
}

// checkZeroes expects zeros in a range alone.
func checkZeroes(t testing.TB, m *blocktest.Mem, r span) {
	t.Helper()
	got := content(t, m, testDisk)
	want := bytes.Repeat([]byte{0xa5}, len(got))
	clear(want[r.Start : r.Start+r.Length])
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes from %d on are not the only ones that are zero", r.Length, r.Start)
	}
}

// TestZeroOffloadGranules has drives that zero whole granules only, wherever these start.
func TestZeroOffloadGranules(t *testing.T) {
	const disk = 256
	rapid.Check(t, func(t *rapid.T) {
		granule := rapid.SampledFrom([]size.Bytes{0, 1, 2, 3, 8, 16}).Draw(t, "granule") * blockdev.Align
		chunk := rapid.Uint64Range(max(1, 2*uint64(granule/blockdev.Align)), 64).Draw(t, "chunk")
		start := rapid.IntRange(0, disk).Draw(t, "start")
		n := rapid.IntRange(0, disk-start).Draw(t, "length")
		m := blocktest.New()
		m.AddDisk(blockdev.Info{Path: testDisk, Size: disk * blockdev.Align})
		d, err := m.Open(context.Background(), testDisk, blockdev.Write)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.WriteAt(blocks(disk, 0xa5), 0); err != nil {
			t.Fatal(err)
		}
		g := &granular{Disk: d, o: blockdev.Offload{Granule: granule, Most: size.Bytes(chunk)*blockdev.Align + 512}}
		if granule > 0 {
			g.shift = size.Bytes(rapid.Uint64Range(0, uint64(granule/blockdev.Align)-1).Draw(t, "shift")) * blockdev.Align
		}
		r := span{Start: size.Bytes(start) * blockdev.Align, Length: size.Bytes(n) * blockdev.Align}
		if err := blockdev.ZeroOffload(context.Background(), g, r.Start, r.Length); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, disk*blockdev.Align)
		if _, err := d.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		want := blocks(disk, 0xa5)
		clear(want[r.Start : r.Start+r.Length])
		if !bytes.Equal(got, want) {
			t.Fatal("what should be zero is not, or something else is")
		}
		for _, a := range g.asked {
			if a.Length > g.o.Most || a.Start < r.Start || a.Start+a.Length > r.Start+r.Length {
				t.Fatalf("asked for %v within %v, at most %d", a, r, g.o.Most)
			}
		}
	})
}

// TestZeroOffloadAsks holds the requests against what they should be.
func TestZeroOffloadAsks(t *testing.T) {
	const big = 5 * size.GiB / 2
	tests := map[string]struct {
		o             blockdev.Offload
		start, length size.Bytes
		want          []span
		err           error
	}{
		"nothing":              {o: blockdev.Offload{Most: size.GiB}},
		"at once":              {o: blockdev.Offload{Most: size.GiB}, start: blockdev.Align, length: size.MiB, want: []span{{blockdev.Align, size.MiB}}},
		"at most 1 GiB":        {o: blockdev.Offload{Most: 1 << 41}, length: big, want: []span{{0, size.GiB}, {size.GiB, size.GiB}, {2 * size.GiB, size.GiB / 2}}},
		"at most what it says": {o: blockdev.Offload{Most: 3*blockdev.Align - 512}, length: 3 * blockdev.Align, want: []span{{0, 2 * blockdev.Align}, {2 * blockdev.Align, blockdev.Align}}},
		"overlapping": {
			o:      blockdev.Offload{Most: 32 * size.MiB, Granule: 3 * size.MiB},
			length: 64 * size.MiB,
			want:   []span{{0, 32 * size.MiB}, {29 * size.MiB, 32 * size.MiB}, {58 * size.MiB, 6 * size.MiB}},
		},
		"granule of one block":  {o: blockdev.Offload{Most: size.MiB, Granule: 512}, length: size.MiB, want: []span{{0, size.MiB}}},
		"less than a granule":   {o: blockdev.Offload{Most: size.MiB, Granule: 64 << 10}, length: blockdev.Align, want: []span{{0, blockdev.Align}}},
		"too little at once":    {o: blockdev.Offload{Most: 512}, length: size.MiB, err: blockdev.ErrNoOffload},
		"one granule at once":   {o: blockdev.Offload{Most: size.MiB, Granule: size.MiB}, length: size.MiB, err: blockdev.ErrNoOffload},
		"two granules at once":  {o: blockdev.Offload{Most: 2 * size.MiB, Granule: size.MiB}, length: size.MiB, want: []span{{0, size.MiB}}},
		"granule too large":     {o: blockdev.Offload{Most: size.GiB, Granule: 64*size.MiB + 512}, length: size.MiB, err: blockdev.ErrNoOffload},
		"start not aligned":     {o: blockdev.Offload{Most: size.GiB}, start: 512, length: size.MiB, err: blockdev.ErrAlign},
		"length not aligned":    {o: blockdev.Offload{Most: size.GiB}, length: 512, err: blockdev.ErrAlign},
		"beyond the end":        {o: blockdev.Offload{Most: size.GiB}, start: 4*size.GiB - blockdev.Align, length: 2 * blockdev.Align, err: unix.ENOSPC},
		"starts beyond the end": {o: blockdev.Offload{Most: size.GiB}, start: 4*size.GiB + blockdev.Align, err: unix.ENOSPC},
		"more than can be":      {o: blockdev.Offload{Most: size.GiB}, start: blockdev.Align, length: 1<<64 - blockdev.Align, err: unix.ENOSPC},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := blocktest.New()
			m.AddDisk(blockdev.Info{Path: testDisk, Size: 4 * size.GiB})
			d := &asked{Disk: mustOpen(t, m, testDisk, blockdev.Write), o: tt.o}
			if err := blockdev.ZeroOffload(t.Context(), d, tt.start, tt.length); !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, d.ranges); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// asked remembers what it was asked for.
type asked struct {
	blockdev.Disk
	o      blockdev.Offload
	ranges []span
}

func (a *asked) Offload() (blockdev.Offload, error) { return a.o, nil }

func (a *asked) ZeroByDrive(start, length size.Bytes) error {
	a.ranges = append(a.ranges, span{Start: start, Length: length})
	return nil
}

// TestZeroOffloadRefused has a drive that says it can zero and then does not want to.
func TestZeroOffloadRefused(t *testing.T) {
	m, d := fullDisk(t, 64)
	g := &granular{Disk: d, o: blockdev.Offload{Granule: 2 * blockdev.Align, Most: 8 * blockdev.Align}, refuses: 1}
	if err := blockdev.ZeroOffload(t.Context(), g, blockdev.Align, 32*blockdev.Align); !errors.Is(err, blockdev.ErrNoOffload) || !strings.Contains(err.Error(), testDisk) {
		t.Errorf("error %v, want %v and the device", err, blockdev.ErrNoOffload)
	}
	checkZeroes(t, m, span{})
	g = &granular{Disk: d, o: blockdev.Offload{Most: 8 * blockdev.Align}, refuses: 3}
	if err := blockdev.ZeroOffload(t.Context(), g, blockdev.Align, 32*blockdev.Align); !errors.Is(err, blockdev.ErrNoOffload) || !strings.Contains(err.Error(), "after 65536 bytes") {
		t.Errorf("error %v, want %v and how far it came", err, blockdev.ErrNoOffload)
	}
	checkZeroes(t, m, span{Start: blockdev.Align, Length: 16 * blockdev.Align})
	if err := blockdev.ZeroOffload(t.Context(), plainDisk{d}, 0, blockdev.Align); !errors.Is(err, blockdev.ErrNoOffload) {
		t.Errorf("disk that cannot: %v, want %v", err, blockdev.ErrNoOffload)
	}
}

func TestZeroOffloadEnds(t *testing.T) {
	m, d := fullDisk(t, 64)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	g := &granular{Disk: d, o: blockdev.Offload{Most: 8 * blockdev.Align}}
	if err := blockdev.ZeroOffload(ctx, g, 0, 32*blockdev.Align); !errors.Is(err, context.Canceled) || len(g.asked) > 0 {
		t.Errorf("error %v after %d requests, want %v", err, len(g.asked), context.Canceled)
	}
	checkZeroes(t, m, span{})
}

// TestZeroOffloadFailsAtTheEnds has a drive that zeroes and then does not take the writes at the ends.
func TestZeroOffloadFailsAtTheEnds(t *testing.T) {
	for _, nth := range []int{1, 2} {
		m, d := fullDisk(t, 64)
		g := &asked{Disk: d, o: blockdev.Offload{Granule: 2 * blockdev.Align, Most: size.MiB}}
		m.Fail(testDisk, blocktest.Fault{Kind: "write", Nth: nth})
		if err := blockdev.ZeroOffload(t.Context(), g, blockdev.Align, 32*blockdev.Align); !errors.Is(err, unix.EIO) {
			t.Errorf("write %d: error %v, want %v", nth, err, unix.EIO)
		}
	}
}
