//go:build linux

package allocation_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/size"
)

// thinMem is a Mem with a drive of n blocks that tells what is allocated.
func thinMem(n int) *blocktest.Mem {
	m := blocktest.New()
	m.AddDisk(blockdev.Info{Path: testDisk, Size: size.Bytes(n) * blockdev.Align})
	m.SetAllocation(testDisk, true)
	m.SetOffload(testDisk, true)
	return m
}

func allocationOf(t testing.TB, m *blocktest.Mem) allocation.Map {
	t.Helper()
	a, err := m.Allocation(context.Background(), testDisk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() }) // a test may have closed it
	return a
}

// inBlocks is ranges in blocks of Align.
func inBlocks(pairs ...size.Bytes) []allocation.Range {
	var ranges []allocation.Range
	for i := 0; i < len(pairs); i += 2 {
		ranges = append(ranges, allocation.Range{Start: pairs[i] * blockdev.Align, Length: pairs[i+1] * blockdev.Align})
	}
	return ranges
}

func TestSurvey(t *testing.T) {
	tests := map[string]struct {
		written []int64
		r       allocation.Range
		limit   int
		want    []allocation.Range
	}{
		"nothing written":       {nil, allocation.Range{Start: 0, Length: 64 * blockdev.Align}, 9, inBlocks(0, 64)},
		"holes":                 {[]int64{0, 10, 11, 30}, allocation.Range{Start: 0, Length: 64 * blockdev.Align}, 9, inBlocks(1, 9, 12, 18, 31, 33)},
		"the largest":           {[]int64{0, 10, 11, 30}, allocation.Range{Start: 0, Length: 64 * blockdev.Align}, 2, inBlocks(12, 18, 31, 33)},
		"the largest one":       {[]int64{20}, allocation.Range{Start: 0, Length: 30 * blockdev.Align}, 1, inBlocks(0, 20)},
		"first of equals":       {[]int64{10, 21, 32}, allocation.Range{Start: 0, Length: 33 * blockdev.Align}, 2, inBlocks(0, 10, 11, 10)},
		"a part":                {[]int64{10}, allocation.Range{Start: 5 * blockdev.Align, Length: 10 * blockdev.Align}, 9, inBlocks(5, 5, 11, 4)},
		"whole blocks of it":    {[]int64{10}, allocation.Range{Start: 5*blockdev.Align + 1, Length: 2*blockdev.Align - 2}, 9, nil},
		"one block of it":       {[]int64{10}, allocation.Range{Start: 5*blockdev.Align - 1, Length: 2 * blockdev.Align}, 9, inBlocks(5, 1)},
		"all written":           {[]int64{3, 4, 5}, allocation.Range{Start: 3 * blockdev.Align, Length: 3 * blockdev.Align}, 9, nil},
		"none wanted":           {nil, allocation.Range{Start: 0, Length: 64 * blockdev.Align}, 0, nil},
		"less than none wanted": {nil, allocation.Range{Start: 0, Length: 64 * blockdev.Align}, -1, nil},
		"beyond the end":        {nil, allocation.Range{Start: 60 * blockdev.Align, Length: 1 << 62}, 9, inBlocks(60, 4)},
		"behind the end":        {nil, allocation.Range{Start: 65 * blockdev.Align, Length: 1 << 62}, 9, nil},
		"a range of nothing":    {nil, allocation.Range{Start: 5 * blockdev.Align, Length: 0}, 9, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := thinMem(64)
			d := mustOpen(t, m, testDisk, blockdev.Write)
			for _, block := range tt.written {
				write(t, d, blocks(1, 1), block*blockdev.Align)
			}
			got, err := allocationOf(t, m).Survey(t.Context(), tt.r, tt.limit)
			if diff := cmp.Diff(tt.want, got); err != nil || (len(got)+len(tt.want) > 0 && diff != "") {
				t.Errorf("%v, blank (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestConfirm(t *testing.T) {
	m := thinMem(64)
	a := allocationOf(t, m)
	candidates := inBlocks(0, 10, 10, 10, 20, 1, 30, 20, 60, 4)
	d := mustOpen(t, m, testDisk, blockdev.Write)
	for _, block := range []int64{10, 20, 35, 40, 63} {
		write(t, d, blocks(1, 1), block*blockdev.Align)
	}
	got, err := a.Confirm(t.Context(), candidates)
	if diff := cmp.Diff(inBlocks(0, 10, 30, 5, 60, 3), got); err != nil || diff != "" {
		t.Errorf("%v, confirmed (-want +got):\n%s", err, diff)
	}
	got, err = a.Confirm(t.Context(), []allocation.Range{{64 * blockdev.Align, blockdev.Align}, {blockdev.Align + 1, blockdev.Align}, {2*blockdev.Align + 1, 2*blockdev.Align - 1}})
	if diff := cmp.Diff(inBlocks(3, 1), got); err != nil || diff != "" {
		t.Errorf("%v, confirmed (-want +got):\n%s", err, diff)
	}
}

// TestAllocationIsTrue writes and zeroes at random, and holds what is called blank against the content.
func TestAllocationIsTrue(t *testing.T) {
	const disk = 48
	rapid.Check(t, func(t *rapid.T) {
		m := thinMem(disk)
		d, errOpen := m.Open(context.Background(), testDisk, blockdev.Write)
		a, errAllocation := m.Allocation(context.Background(), testDisk)
		if err := errors.Join(errOpen, errAllocation); err != nil {
			t.Fatal(err)
		}
		change := func(label string) {
			for _, at := range rapid.SliceOfN(rapid.IntRange(0, disk-1), 0, 20).Draw(t, label) {
				if _, err := d.WriteAt(blocks(1, 1), int64(at)*blockdev.Align); err != nil {
					t.Fatal(err)
				}
				if err := blockdev.ZeroOffload(context.Background(), d, size.Bytes((at*7)%disk)*blockdev.Align, blockdev.Align); err != nil {
					t.Fatal(err)
				}
			}
		}
		// blank is the blocks that are: all of them, or an error that says which range has others.
		blank := func(ranges []allocation.Range) (n int) {
			for _, r := range ranges {
				b := make([]byte, r.Length)
				if _, err := d.ReadAt(b, int64(r.Start)); err != nil || string(b) != string(make([]byte, r.Length)) {
					t.Fatalf("%+v is called blank and is not (%v)", r, err)
				}
				n += int(r.Length / blockdev.Align)
			}
			return n
		}
		written := func() (n int) {
			b := make([]byte, disk*blockdev.Align)
			if _, err := d.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			for block := range slices.Chunk(b, blockdev.Align) {
				if slices.Max(block) > 0 {
					n++
				}
			}
			return n
		}
		change("before")
		candidates, err := a.Survey(context.Background(), allocation.Range{Start: 0, Length: disk * blockdev.Align}, disk)
		if err != nil {
			t.Fatal(err)
		}
		if n := blank(candidates) + written(); n != disk {
			t.Fatalf("%d blocks are blank or written, want %d", n, disk)
		}
		change("after")
		confirmed, err := a.Confirm(context.Background(), candidates)
		if err != nil {
			t.Fatal(err)
		}
		blank(confirmed)
	})
}

// TestAllocationOfPart has a disk whose part starts and ends with data of others.
func TestAllocationOfPart(t *testing.T) {
	for name, tt := range map[string]struct {
		start, length size.Bytes
		want          []allocation.Range
	}{
		"aligned":     {10 * blockdev.Align, 20 * blockdev.Align, inBlocks(0, 10, 11, 9)},
		"not aligned": {10*blockdev.Align + 512, 20 * blockdev.Align, inBlocks(0, 9, 11, 9)},
	} {
		t.Run(name, func(t *testing.T) {
			part := allocation.New(allocation.Device{Path: "/dev/sda1", Start: tt.start, Size: tt.length}, oneBlock(20*blockdev.Align))
			got, err := part.Survey(t.Context(), allocation.Range{Length: 1 << 62}, 9)
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v, blank (-want +got):\n%s", err, diff)
			}
			again, err := part.Confirm(t.Context(), got)
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("%v, confirmed (-want +got):\n%s", err, diff)
			}
		})
	}
}

// oneBlock is a disk on which one block is allocated.
type oneBlock size.Bytes

func (o oneBlock) Check() error { return nil }
func (o oneBlock) Close() error { return nil }
func (o oneBlock) Extent(at, end size.Bytes) (blank bool, until size.Bytes, err error) {
	start := size.Bytes(o)
	switch {
	case at < start:
		return true, min(start, end), nil
	case at < start+blockdev.Align:
		return false, start + blockdev.Align, nil
	}
	return true, end, nil
}

// TestConfirmIsBounded counts what Confirm asks.
func TestConfirmIsBounded(t *testing.T) {
	counted := &countedExtents{}
	a := allocation.New(allocation.Device{Size: size.GiB}, counted)
	var candidates []allocation.Range
	for i := range 100 {
		candidates = append(candidates, allocation.Range{Start: size.Bytes(i) * size.MiB, Length: size.MiB})
	}
	if _, err := a.Confirm(t.Context(), candidates); err != nil || counted.checks != 1 || counted.extentsAsked != 100 {
		t.Errorf("%v; %d checks and %d extents for 100 candidates", err, counted.checks, counted.extentsAsked)
	}
}

// countedExtents has a small hole everywhere.
type countedExtents struct{ checks, extentsAsked int }

func (c *countedExtents) Check() error { c.checks++; return nil }
func (c *countedExtents) Close() error { return nil }
func (c *countedExtents) Extent(at, _ size.Bytes) (blank bool, until size.Bytes, err error) {
	c.extentsAsked++
	return true, at + blockdev.Align, nil
}
