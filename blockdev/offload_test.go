package blockdev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/size"
)

// granular is a drive that leaves alone what it is asked to zero of a granule in part.
type granular struct {
	Disk
	o       offload
	shift   size.Bytes // where its first whole granule starts
	asked   []Range
	refuses int // the number of the request that it refuses, 1 being the first
}

func (g *granular) offload() (offload, error) { return g.o, nil }

func (g *granular) zeroByDrive(start, length size.Bytes) error {
	g.asked = append(g.asked, Range{start, length})
	if len(g.asked) == g.refuses {
		return ErrNoOffload
	}
	unit := max(g.o.granule, Align)
	from := (start + unit - g.shift).RoundUp(unit) + g.shift - unit
	for end := start + length; from+unit <= end; from += unit {
		if _, err := g.WriteAt(make([]byte, unit), int64(from)); err != nil {
			return err
		}
	}
	return nil
}

// fullDisk is a drive of n blocks without a zero byte.
func fullDisk(t testing.TB, n int) (*Mem, Disk) {
	t.Helper()
	m := NewMem()
	m.AddDisk(Info{Path: testDisk, Size: size.Bytes(n) * Align})
	d := mustOpen(t, m, testDisk, Write)
	write(t, d, blocks(n, 0xa5), 0)
	return m, d
}

// checkZeroes expects zeros in a range alone.
func checkZeroes(t testing.TB, m *Mem, r Range) {
	t.Helper()
	want := bytes.Repeat([]byte{0xa5}, int(m.disks[0].info.Size))
	clear(want[r.Start : r.Start+r.Length])
	if got := content(t, m, testDisk); !bytes.Equal(got, want) {
		t.Errorf("%d bytes from %d on are not the only ones that are zero", r.Length, r.Start)
	}
}

// TestZeroOffloadGranules has drives that zero whole granules only, wherever these start.
func TestZeroOffloadGranules(t *testing.T) {
	const disk = 256
	rapid.Check(t, func(t *rapid.T) {
		granule := rapid.SampledFrom([]size.Bytes{0, 1, 2, 3, 8, 16}).Draw(t, "granule") * Align
		chunk := rapid.Uint64Range(max(1, 2*uint64(granule/Align)), 64).Draw(t, "chunk")
		start := rapid.IntRange(0, disk).Draw(t, "start")
		n := rapid.IntRange(0, disk-start).Draw(t, "length")
		m := NewMem()
		m.AddDisk(Info{Path: testDisk, Size: disk * Align})
		d, err := m.Open(context.Background(), testDisk, Write)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.WriteAt(blocks(disk, 0xa5), 0); err != nil {
			t.Fatal(err)
		}
		g := &granular{Disk: d, o: offload{granule: granule, most: size.Bytes(chunk)*Align + 512}}
		if granule > 0 {
			g.shift = size.Bytes(rapid.Uint64Range(0, uint64(granule/Align)-1).Draw(t, "shift")) * Align
		}
		r := Range{size.Bytes(start) * Align, size.Bytes(n) * Align}
		if err := ZeroOffload(context.Background(), g, r.Start, r.Length); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, disk*Align)
		if _, err := d.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		want := blocks(disk, 0xa5)
		clear(want[r.Start : r.Start+r.Length])
		if !bytes.Equal(got, want) {
			t.Fatal("what should be zero is not, or something else is")
		}
		for _, a := range g.asked {
			if a.Length > g.o.most || a.Start < r.Start || a.Start+a.Length > r.Start+r.Length {
				t.Fatalf("asked for %v within %v, at most %d", a, r, g.o.most)
			}
		}
	})
}

// TestZeroOffloadAsks holds the requests against what they should be.
func TestZeroOffloadAsks(t *testing.T) {
	const big = 5 * size.GiB / 2
	tests := map[string]struct {
		o             offload
		start, length size.Bytes
		want          []Range
		err           error
	}{
		"nothing":              {o: offload{most: size.GiB}},
		"at once":              {o: offload{most: size.GiB}, start: Align, length: size.MiB, want: []Range{{Align, size.MiB}}},
		"at most 1 GiB":        {o: offload{most: 1 << 41}, length: big, want: []Range{{0, size.GiB}, {size.GiB, size.GiB}, {2 * size.GiB, size.GiB / 2}}},
		"at most what it says": {o: offload{most: 3*Align - 512}, length: 3 * Align, want: []Range{{0, 2 * Align}, {2 * Align, Align}}},
		"overlapping": {
			o:      offload{most: 32 * size.MiB, granule: 3 * size.MiB},
			length: 64 * size.MiB,
			want:   []Range{{0, 32 * size.MiB}, {29 * size.MiB, 32 * size.MiB}, {58 * size.MiB, 6 * size.MiB}},
		},
		"granule of one block":  {o: offload{most: size.MiB, granule: 512}, length: size.MiB, want: []Range{{0, size.MiB}}},
		"less than a granule":   {o: offload{most: size.MiB, granule: 64 << 10}, length: Align, want: []Range{{0, Align}}},
		"too little at once":    {o: offload{most: 512}, length: size.MiB, err: ErrNoOffload},
		"one granule at once":   {o: offload{most: size.MiB, granule: size.MiB}, length: size.MiB, err: ErrNoOffload},
		"two granules at once":  {o: offload{most: 2 * size.MiB, granule: size.MiB}, length: size.MiB, want: []Range{{0, size.MiB}}},
		"granule too large":     {o: offload{most: size.GiB, granule: 64*size.MiB + 512}, length: size.MiB, err: ErrNoOffload},
		"start not aligned":     {o: offload{most: size.GiB}, start: 512, length: size.MiB, err: ErrAlign},
		"length not aligned":    {o: offload{most: size.GiB}, length: 512, err: ErrAlign},
		"beyond the end":        {o: offload{most: size.GiB}, start: 4*size.GiB - Align, length: 2 * Align, err: unix.ENOSPC},
		"starts beyond the end": {o: offload{most: size.GiB}, start: 4*size.GiB + Align, err: unix.ENOSPC},
		"more than can be":      {o: offload{most: size.GiB}, start: Align, length: 1<<64 - Align, err: unix.ENOSPC},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := NewMem()
			m.AddDisk(Info{Path: testDisk, Size: 4 * size.GiB})
			d := &asked{Disk: mustOpen(t, m, testDisk, Write), o: tt.o}
			if err := ZeroOffload(t.Context(), d, tt.start, tt.length); !errors.Is(err, tt.err) {
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
	Disk
	o      offload
	ranges []Range
}

func (a *asked) offload() (offload, error) { return a.o, nil }

func (a *asked) zeroByDrive(start, length size.Bytes) error {
	a.ranges = append(a.ranges, Range{start, length})
	return nil
}

// TestZeroOffloadRefused has a drive that says it can zero and then does not want to.
func TestZeroOffloadRefused(t *testing.T) {
	m, d := fullDisk(t, 64)
	g := &granular{Disk: d, o: offload{granule: 2 * Align, most: 8 * Align}, refuses: 1}
	if err := ZeroOffload(t.Context(), g, Align, 32*Align); !errors.Is(err, ErrNoOffload) || !strings.Contains(err.Error(), testDisk) {
		t.Errorf("error %v, want %v and the device", err, ErrNoOffload)
	}
	checkZeroes(t, m, Range{})
	g = &granular{Disk: d, o: offload{most: 8 * Align}, refuses: 3}
	if err := ZeroOffload(t.Context(), g, Align, 32*Align); !errors.Is(err, ErrNoOffload) || !strings.Contains(err.Error(), "after 65536 bytes") {
		t.Errorf("error %v, want %v and how far it came", err, ErrNoOffload)
	}
	checkZeroes(t, m, Range{Align, 16 * Align})
	if err := ZeroOffload(t.Context(), plainDisk{d}, 0, Align); !errors.Is(err, ErrNoOffload) {
		t.Errorf("disk that cannot: %v, want %v", err, ErrNoOffload)
	}
}

func TestZeroOffloadEnds(t *testing.T) {
	m, d := fullDisk(t, 64)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	g := &granular{Disk: d, o: offload{most: 8 * Align}}
	if err := ZeroOffload(ctx, g, 0, 32*Align); !errors.Is(err, context.Canceled) || len(g.asked) > 0 {
		t.Errorf("error %v after %d requests, want %v", err, len(g.asked), context.Canceled)
	}
	checkZeroes(t, m, Range{})
}

// TestZeroOffloadFailsAtTheEnds has a drive that zeroes and then does not take the writes at the ends.
func TestZeroOffloadFailsAtTheEnds(t *testing.T) {
	for _, nth := range []int{1, 2} {
		m, d := fullDisk(t, 64)
		g := &asked{Disk: d, o: offload{granule: 2 * Align, most: size.MiB}}
		m.Fail(testDisk, Fault{Kind: "write", Nth: nth})
		if err := ZeroOffload(t.Context(), g, Align, 32*Align); !errors.Is(err, unix.EIO) {
			t.Errorf("write %d: error %v, want %v", nth, err, unix.EIO)
		}
	}
}

func TestMemZeroOffload(t *testing.T) {
	m, d := fullDisk(t, 64)
	r := Range{3 * Align, 20 * Align}
	zero := func() error { return ZeroOffload(t.Context(), d, r.Start, r.Length) }
	if err := zero(); !errors.Is(err, ErrNoOffload) {
		t.Errorf("new drive: %v, want %v", err, ErrNoOffload)
	}
	checkZeroes(t, m, Range{})
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
	checkZeroes(t, m.Cut(Lost), Range{})
	checkZeroes(t, m.Cut(Kept), r)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	checkZeroes(t, m.Cut(Lost), r)
	for name, after := range map[string]*Mem{"cut": m.Cut(Lost), "fork": m.Fork()} {
		if err := ZeroOffload(t.Context(), mustOpen(t, after, testDisk, Write), 0, Align); err != nil {
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
	if err := ZeroOffload(t.Context(), d, 0, 32*Align); err != nil {
		t.Fatal(err)
	}
	found := map[byte]int{}
	b := content(t, m.Cut(Torn(rand.New(rand.NewPCG(1, 2)))), testDisk)
	for sector := range slices.Chunk(b[:32*Align], 512) {
		found[sector[0]]++
		if !bytes.Equal(sector, bytes.Repeat(sector[:1], 512)) {
			t.Fatal("a sector is torn")
		}
	}
	if len(found) != 2 || found[0] == 0 || found[0xa5] == 0 || !bytes.Equal(b[32*Align:], blocks(32, 0xa5)) {
		t.Errorf("sectors %v, want some of both, and nothing changed behind", found)
	}
}

func TestMemZeroOffloadFails(t *testing.T) {
	m, d := fullDisk(t, 64)
	m.SetOffload(testDisk, true)
	m.Fail(testDisk, Fault{Kind: "zero", Offset: 8 * Align, Length: 512})
	if err := ZeroOffload(t.Context(), d, 0, 32*Align); !errors.Is(err, unix.EIO) {
		t.Errorf("fault in the range: %v, want %v", err, unix.EIO)
	}
	checkZeroes(t, m, Range{})
	if err := ZeroOffload(t.Context(), d, 9*Align, 8*Align); err != nil {
		t.Errorf("fault elsewhere: %v", err)
	}
	if err := ZeroOffload(t.Context(), mustOpen(t, m, testDisk, Read), 0, Align); !errors.Is(err, unix.EBADF) {
		t.Errorf("open for reading: %v, want %v", err, unix.EBADF)
	}
	m.OnEffect = func(Effect) error { return errors.New("killed") }
	if err := ZeroOffload(t.Context(), d, 0, Align); !errors.Is(err, ErrDead) {
		t.Errorf("dead process: %v, want %v", err, ErrDead)
	}
	checkZeroes(t, m.Fork(), Range{9 * Align, 8 * Align})
}

// newOffloadDisk is a file as a disk whose queue says what the attributes say.
func newOffloadDisk(t *testing.T, attributes map[string]string) *hostDisk {
	t.Helper()
	d, path := newFileDisk(t, 64*Align)
	if err := os.WriteFile(path, blocks(64, 0xa5), 0o600); err != nil {
		t.Fatal(err)
	}
	h := Host{Sys: t.TempDir()}
	d.node, d.info = h.node("sda"), withBlock(d, 512)
	for name, text := range attributes {
		put(t, d.node.dir+"/"+name, []byte(text+"\n"))
	}
	return d
}

// TestHostOffload has devices of many kinds, as sysfs shows them.
func TestHostOffload(t *testing.T) {
	const most, granule = "queue/write_zeroes_max_bytes", "queue/discard_granularity"
	const mode = "device/scsi_disk/0:0:0:0/zeroing_mode"
	tests := map[string]struct {
		attributes map[string]string
		want       offload
		err        error
	}{
		"loop on a file":       {map[string]string{most: "4294966784", granule: "4096", "loop/backing_file": "/srv/image"}, offload{4096, 4294966784}, nil},
		"virtio":               {map[string]string{most: "2147483136", granule: "512"}, offload{0, 2147483136}, nil},
		"NVMe without discard": {map[string]string{most: "131072", granule: "0"}, offload{0, 131072}, nil},
		"SCSI, thin":           {map[string]string{most: "33553920", granule: "32768", mode: "writesame_16_unmap"}, offload{32768, 33553920}, nil},
		"SCSI, thick":          {map[string]string{most: "33553920", granule: "0", mode: "writesame"}, offload{0, 33553920}, nil},
		"multipath":            {map[string]string{most: "33553920", granule: "32768", "slaves/sdb": "", "dm/uuid": "mpath-3600"}, offload{32768, 33553920}, nil},
		"cannot":               {map[string]string{most: "0", granule: "4096"}, offload{}, ErrNoOffload},
		"nothing known":        {nil, offload{}, ErrNoOffload},
		"discards disabled":    {map[string]string{most: "33553920", granule: "0", mode: "writesame_16_unmap"}, offload{}, ErrNoOffload},
		"disabled, multipath":  {map[string]string{most: "33553920", granule: "0", "slaves/sdb": "", "dm/uuid": "mpath-3600"}, offload{}, ErrNoOffload},
		"stacked":              {map[string]string{most: "33553920", granule: "512", "slaves/sdb": "", "dm/uuid": "LVM-abc"}, offload{}, ErrNoOffload},
		"loop on a device":     {map[string]string{most: "33553920", granule: "512", "loop/backing_file": "/dev/sdb"}, offload{}, ErrNoOffload},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := newOffloadDisk(t, tt.attributes).offload()
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%+v, %v, want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestHostZeroOffload punches holes into a file, as the kernel's device for a file does.
func TestHostZeroOffload(t *testing.T) {
	d := newOffloadDisk(t, map[string]string{"queue/write_zeroes_max_bytes": fmt.Sprint(8 * Align), "queue/discard_granularity": "4096"})
	if err := ZeroOffload(t.Context(), d, 3*Align, 40*Align); err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(d.path)
	want := blocks(64, 0xa5)
	clear(want[3*Align : 43*Align])
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v, or what should be zero is not, or something else is", err)
	}
	file, err := os.Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	readOnly := &hostDisk{file: file, node: d.node, path: d.path, info: d.info}
	defer readOnly.Close()
	if err := ZeroOffload(t.Context(), readOnly, 0, Align); !errors.Is(err, unix.EBADF) || errors.Is(err, ErrNoOffload) {
		t.Errorf("open for reading: %v, want %v", err, unix.EBADF)
	}
}
