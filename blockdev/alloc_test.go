package blockdev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/size"
)

// thinMem is a Mem with a drive of n blocks that tells what is allocated.
func thinMem(n int) *Mem {
	m := NewMem()
	m.AddDisk(Info{Path: testDisk, Size: size.Bytes(n) * Align})
	m.SetAllocation(testDisk, true)
	m.SetOffload(testDisk, true)
	return m
}

func allocationOf(t testing.TB, m *Mem) Allocation {
	t.Helper()
	a, err := m.Allocation(context.Background(), testDisk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() }) // a test may have closed it
	return a
}

// inBlocks is ranges in blocks of Align.
func inBlocks(pairs ...size.Bytes) []Range {
	var ranges []Range
	for i := 0; i < len(pairs); i += 2 {
		ranges = append(ranges, Range{pairs[i] * Align, pairs[i+1] * Align})
	}
	return ranges
}

func TestSurvey(t *testing.T) {
	tests := map[string]struct {
		written []int64
		r       Range
		limit   int
		want    []Range
	}{
		"nothing written":       {nil, Range{0, 64 * Align}, 9, inBlocks(0, 64)},
		"holes":                 {[]int64{0, 10, 11, 30}, Range{0, 64 * Align}, 9, inBlocks(1, 9, 12, 18, 31, 33)},
		"the largest":           {[]int64{0, 10, 11, 30}, Range{0, 64 * Align}, 2, inBlocks(12, 18, 31, 33)},
		"the largest one":       {[]int64{20}, Range{0, 30 * Align}, 1, inBlocks(0, 20)},
		"first of equals":       {[]int64{10, 21, 32}, Range{0, 33 * Align}, 2, inBlocks(0, 10, 11, 10)},
		"a part":                {[]int64{10}, Range{5 * Align, 10 * Align}, 9, inBlocks(5, 5, 11, 4)},
		"whole blocks of it":    {[]int64{10}, Range{5*Align + 1, 2*Align - 2}, 9, nil},
		"one block of it":       {[]int64{10}, Range{5*Align - 1, 2 * Align}, 9, inBlocks(5, 1)},
		"all written":           {[]int64{3, 4, 5}, Range{3 * Align, 3 * Align}, 9, nil},
		"none wanted":           {nil, Range{0, 64 * Align}, 0, nil},
		"less than none wanted": {nil, Range{0, 64 * Align}, -1, nil},
		"beyond the end":        {nil, Range{60 * Align, 1 << 62}, 9, inBlocks(60, 4)},
		"behind the end":        {nil, Range{65 * Align, 1 << 62}, 9, nil},
		"a range of nothing":    {nil, Range{5 * Align, 0}, 9, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := thinMem(64)
			d := mustOpen(t, m, testDisk, Write)
			for _, block := range tt.written {
				write(t, d, blocks(1, 1), block*Align)
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
	d := mustOpen(t, m, testDisk, Write)
	for _, block := range []int64{10, 20, 35, 40, 63} {
		write(t, d, blocks(1, 1), block*Align)
	}
	got, err := a.Confirm(t.Context(), candidates)
	if diff := cmp.Diff(inBlocks(0, 10, 30, 5, 60, 3), got); err != nil || diff != "" {
		t.Errorf("%v, confirmed (-want +got):\n%s", err, diff)
	}
	got, err = a.Confirm(t.Context(), []Range{{64 * Align, Align}, {Align + 1, Align}, {2*Align + 1, 2*Align - 1}})
	if diff := cmp.Diff(inBlocks(3, 1), got); err != nil || diff != "" {
		t.Errorf("%v, confirmed (-want +got):\n%s", err, diff)
	}
}

// TestAllocationIsTrue writes and zeroes at random, and holds what is called blank against the content.
func TestAllocationIsTrue(t *testing.T) {
	const disk = 48
	rapid.Check(t, func(t *rapid.T) {
		m := thinMem(disk)
		d, errOpen := m.Open(context.Background(), testDisk, Write)
		a, errAllocation := m.Allocation(context.Background(), testDisk)
		if err := errors.Join(errOpen, errAllocation); err != nil {
			t.Fatal(err)
		}
		change := func(label string) {
			for _, at := range rapid.SliceOfN(rapid.IntRange(0, disk-1), 0, 20).Draw(t, label) {
				if _, err := d.WriteAt(blocks(1, 1), int64(at)*Align); err != nil {
					t.Fatal(err)
				}
				if err := ZeroOffload(context.Background(), d, size.Bytes((at*7)%disk)*Align, Align); err != nil {
					t.Fatal(err)
				}
			}
		}
		// blank is the blocks that are: all of them, or an error that says which range has others.
		blank := func(ranges []Range) (n int) {
			for _, r := range ranges {
				b := make([]byte, r.Length)
				if _, err := d.ReadAt(b, int64(r.Start)); err != nil || string(b) != string(make([]byte, r.Length)) {
					t.Fatalf("%+v is called blank and is not (%v)", r, err)
				}
				n += int(r.Length / Align)
			}
			return n
		}
		change("before")
		candidates, err := a.Survey(context.Background(), Range{0, disk * Align}, disk)
		if err != nil {
			t.Fatal(err)
		}
		if n := blank(candidates) + len(m.disks[0].now.pages); n != disk {
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
	m := thinMem(64)
	write(t, mustOpen(t, m, testDisk, Write), blocks(1, 1), 20*Align)
	whole, ok := allocationOf(t, m).(*allocation)
	if !ok {
		t.Fatal("a drive in memory has another kind of allocation")
	}
	for name, tt := range map[string]struct {
		start, length size.Bytes
		want          []Range
	}{
		"aligned":     {10 * Align, 20 * Align, inBlocks(0, 10, 11, 9)},
		"not aligned": {10*Align + 512, 20 * Align, inBlocks(0, 9, 11, 9)},
	} {
		t.Run(name, func(t *testing.T) {
			part := &allocation{extents: whole.extents, info: Info{Path: "/dev/sda1", Size: tt.length}, start: tt.start}
			got, err := part.Survey(t.Context(), Range{Length: 1 << 62}, 9)
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

func TestMemAllocationUnknown(t *testing.T) {
	m, _ := oneDisk()
	m.Stack(Info{Path: "/dev/dm-0", Dev: testHolder}, func(Mode) (Disk, error) { return nil, unix.EIO })
	for path, want := range map[string]error{testDisk: ErrNoAllocation, "/dev/dm-0": ErrNoAllocation, "/dev/sdz": ErrNotExist} {
		if a, err := m.Allocation(t.Context(), path); a != nil || !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	thin := thinMem(8)
	for name, after := range map[string]*Mem{"cut": thin.Cut(Lost), "fork": thin.Fork()} {
		if _, err := after.Allocation(t.Context(), testDisk); err != nil {
			t.Errorf("after a %s: %v", name, err)
		}
	}
}

func TestMemAllocationFails(t *testing.T) {
	ended, stop := context.WithCancel(context.Background())
	stop()
	tests := map[string]struct {
		ctx     context.Context //nolint:containedctx // the test's argument
		trouble func(m *Mem, a Allocation)
		want    error
	}{
		"fault":   {t.Context(), func(m *Mem, _ Allocation) { m.Fail(testDisk, Fault{Kind: "allocation"}) }, unix.EIO},
		"gone":    {t.Context(), func(m *Mem, _ Allocation) { m.Vanish(testDisk) }, unix.EIO},
		"restart": {t.Context(), func(m *Mem, _ Allocation) { m.Restart() }, ErrDead},
		"closed":  {t.Context(), func(_ *Mem, a Allocation) { _ = a.Close() }, os.ErrClosed},
		"ended":   {ended, func(*Mem, Allocation) {}, context.Canceled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := thinMem(64)
			a := allocationOf(t, m)
			tt.trouble(m, a)
			if got, err := a.Survey(tt.ctx, Range{0, 64 * Align}, 9); got != nil || !errors.Is(err, tt.want) {
				t.Errorf("survey: %v, %v, want %v", got, err, tt.want)
			}
			if got, err := a.Confirm(tt.ctx, inBlocks(0, 64)); got != nil || !errors.Is(err, tt.want) {
				t.Errorf("confirm: %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// TestConfirmIsBounded counts what Confirm asks.
func TestConfirmIsBounded(t *testing.T) {
	counted := &countedExtents{}
	a := &allocation{extents: counted, info: Info{Size: size.GiB}}
	var candidates []Range
	for i := range 100 {
		candidates = append(candidates, Range{size.Bytes(i) * size.MiB, size.MiB})
	}
	if _, err := a.Confirm(t.Context(), candidates); err != nil || counted.checks != 1 || counted.extentsAsked != 100 {
		t.Errorf("%v; %d checks and %d extents for 100 candidates", err, counted.checks, counted.extentsAsked)
	}
}

// countedExtents has a small hole everywhere.
type countedExtents struct{ checks, extentsAsked int }

func (c *countedExtents) check() error { c.checks++; return nil }
func (c *countedExtents) Close() error { return nil }
func (c *countedExtents) extent(at, _ size.Bytes) (blank bool, until size.Bytes, err error) {
	c.extentsAsked++
	return true, at + Align, nil
}

// memoryFile is a file on tmpfs.
func memoryFile(t testing.TB, length size.Bytes) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("plexctl-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	t.Cleanup(func() { _ = file.Close() }) // a test may have closed it
	if err := file.Truncate(int64(length)); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFileHoles(t *testing.T) {
	file := memoryFile(t, 64*Align)
	for _, block := range []int64{4, 10, 11, 40} {
		if _, err := file.WriteAt(blocks(1, 1), block*Align); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		offset, at, end, cut size.Bytes // in blocks
		blank                bool
		until                size.Bytes
	}{
		"hole before data":        {at: 0, end: 64, blank: true, until: 4},
		"within a hole":           {at: 6, end: 64, blank: true, until: 10},
		"a hole and more":         {at: 6, end: 8, blank: true, until: 8},
		"data":                    {at: 10, end: 64, until: 12},
		"the end is a hole":       {at: 41, end: 64, blank: true, until: 64},
		"behind an offset":        {offset: 4, at: 0, end: 60, until: 1},
		"hole behind an offset":   {offset: 4, at: 1, end: 60, blank: true, until: 6},
		"more than the file has":  {at: 41, end: 100, blank: true, until: 64},
		"behind the file":         {at: 64, end: 100, until: 100},
		"cut off within the hole": {at: 41, end: 64, cut: 50, blank: true, until: 50},
		"cut off before":          {at: 52, end: 64, cut: 50, until: 64},
		"cut off, data behind":    {at: 12, end: 64, cut: 30, blank: true, until: 30},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := fileHoles{file: file, offset: tt.offset * Align}
			if err := f.look(); err != nil {
				t.Fatal(err)
			}
			if tt.cut > 0 {
				f.length = tt.cut * Align
			}
			blank, until, err := f.extent(tt.at*Align, tt.end*Align)
			if blank != tt.blank || until != tt.until*Align || err != nil {
				t.Errorf("blank %t up to %d, %v, want %t up to %d", blank, until/Align, err, tt.blank, tt.until)
			}
		})
	}
}

func TestFileHolesFails(t *testing.T) {
	file := memoryFile(t, 64*Align)
	f := fileHoles{file: file, length: 64 * Align}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.look(); err == nil {
		t.Error("closed file: its length is known")
	}
	if _, _, err := f.extent(0, Align); err == nil {
		t.Error("closed file: its holes are known")
	}
}

// TestLoopFile has the file of a loop device, and others under its name.
func TestLoopFile(t *testing.T) {
	file, other := memoryFile(t, Align), memoryFile(t, Align)
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	status := unix.LoopInfo64{Device: uint64(st.Dev), Inode: st.Ino} //nolint:unconvert // 32 bits on some machines
	elsewhere := status
	elsewhere.Device++
	proc, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if err := unix.Fstat(int(proc.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file   *os.File
		status unix.LoopInfo64
		right  bool
	}{
		"the file":             {file, status, true},
		"another file":         {other, status, false},
		"another file system":  {file, elsewhere, false},
		"holes not to trust":   {proc, unix.LoopInfo64{Device: uint64(st.Dev), Inode: st.Ino}, false}, //nolint:unconvert // as above
		"no longer to be read": {os.NewFile(^uintptr(0)>>1, "none"), status, false},
	} {
		l := &loopFile{file: tt.file, status: tt.status}
		if err := l.checkFile(); (err == nil) != tt.right {
			t.Errorf("%s: %v, want it to be right: %t", name, err, tt.right)
		}
	}
}

// TestHostAllocationUnknown has files in place of devices: none answers as a device does.
func TestHostAllocationUnknown(t *testing.T) {
	h := Host{Sys: t.TempDir()}
	for name, attribute := range map[string]string{
		"vda":   "queue/discard_granularity",
		"loop0": "loop/backing_file",
		"sda":   "device/scsi_disk/0:0:0:0/thin_provisioning",
		"sda1":  "partition",
	} {
		d, _ := newFileDisk(t, Align)
		d.node = h.node(name)
		put(t, d.node.dir+"/"+attribute, []byte("1\n"))
		if a, err := h.allocation(t.Context(), d); a != nil || !errors.Is(err, ErrNoAllocation) {
			t.Errorf("%s: %v, want %v", name, err, ErrNoAllocation)
		}
	}
	if _, err := h.Allocation(t.Context(), t.TempDir()); !errors.Is(err, ErrNotBlock) {
		t.Errorf("folder: %v, want %v", err, ErrNotBlock)
	}
	if _, err := h.Allocation(t.Context(), t.TempDir()+"/none"); !errors.Is(err, ErrNotExist) {
		t.Errorf("nothing: %v, want %v", err, ErrNotExist)
	}
}

func TestOpenRegular(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/file", []byte("x"))
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for path, right := range map[string]bool{dir + "/file": true, dir + "/fifo": false, dir: false, "/dev/null": false, dir + "/none": false, "": false} {
		file, err := openRegular(path)
		if (err == nil) != right {
			t.Errorf("%q: %v, want it to be opened: %t", path, err, right)
		}
		if err == nil {
			_ = file.Close() // read only
		}
	}
}
