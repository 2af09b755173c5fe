package dmtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
)

// rig is a simulated machine with one array of two legs, as legs has them, for tests that the real kernel cannot take.
type rig struct {
	*legs
	mem    *blocktest.Mem
	kernel *Kernel
}

// path is the data drive of leg i.
func (r *rig) path(i int) string {
	medium, err := r.mem.Medium(r.data[i].Dev())
	r.must(err)
	return medium.Info().Path
}

func newRig(t *testing.T, release Release) *rig {
	t.Helper()
	mem := blocktest.New()
	lab := &memLab{mem: mem, kernel: New(mem, release), release: release, t: t}
	b := &bench{TB: t, lab: lab, k: lab.kernel, ctx: context.Background()}
	return &rig{legs: b.mirror(2), mem: mem, kernel: lab.kernel}
}

func TestStatusOnTheWay(t *testing.T) {
	tests := []struct {
		release Release
		inSync  []bool
		change  func([]raidmeta.Slot)
		want    []string // loaded, resumed, then after each Tick(32)
	}{
		{Linux6_1, []bool{true, false}, nil, []string{
			"Aa 0/16384 frozen", "Aa 16384/16384 idle", "Aa 0/16384 recover", "Aa 8192/16384 recover",
			"AA 16384/16384 idle", "AA 16384/16384 idle",
		}},
		{Linux6_12, []bool{true, false}, nil, []string{
			"Aa 0/16384 frozen", "aa 0/16384 idle", "Aa 0/16384 recover", "Aa 8192/16384 recover",
			"AA 16384/16384 idle", "AA 16384/16384 idle",
		}},
		{Linux6_1, []bool{true, true}, func(s []raidmeta.Slot) { s[0].Super.ResyncOffset = 0 }, []string{
			"AA 0/16384 frozen", "aa 0/16384 idle", "aa 0/16384 resync", "aa 8192/16384 resync",
			"AA 16384/16384 idle", "AA 16384/16384 idle",
		}},
		{Linux6_12, []bool{true, true}, func(s []raidmeta.Slot) { s[0].Super.ResyncOffset = 4096 }, []string{
			"AA 0/16384 frozen", "aa 0/16384 idle", "AA 4096/16384 repair", "AA 12288/16384 repair",
			"AA 16384/16384 idle", "AA 16384/16384 idle",
		}},
	}
	for _, tt := range tests {
		r := newRig(t, tt.release)
		bits := bitsOf()
		if !tt.inSync[1] {
			bits = nil
		}
		change := tt.change
		if change == nil {
			change = func([]raidmeta.Slot) {}
		}
		r.prepare(tt.inSync, bits, change)
		r.must(r.k.Load(r.ctx, r.name, r.raid()))
		got := []string{short(r.kernel.find(r.name).inactive.segments[0].target.status())}
		r.must(r.k.Resume(r.ctx, r.name, dm.Private))
		for range len(tt.want) - 1 {
			got = append(got, short(r.line(r.name)))
			r.must(r.kernel.Tick(32))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: status (-want +got):\n%s", tt.release, diff)
		}
	}
}

// short is the part of a status line that changes: health, ratio and action.
func short(line string) string { return strings.Join(strings.Fields(line)[2:5], " ") }

// TestAllEqualIsALie shows the moment between the end of a recovery and the superblocks that say so.
func TestAllEqualIsALie(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.prepare([]bool{true, false}, nil)
	r.swap(r.name, r.raid())
	for r.line(r.name) != rested("AA") {
		r.must(r.kernel.Tick(64))
	}
	if s := r.slots()[1].Super; s.RecoveryOffset == raidmeta.InSync {
		t.Errorf("superblock of leg 1 = %+v before the kernel has noticed the end", s)
	}
	before := r.info(r.name).Event
	r.must(r.kernel.RunToEnd())
	if s := r.slots()[1].Super; s.RecoveryOffset != raidmeta.InSync || r.info(r.name).Event != before+1 {
		t.Errorf("superblock of leg 1 = %+v, events %d → %d", s, before, r.info(r.name).Event)
	}
}

func TestRunToEndOfAThrottledArray(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.prepare([]bool{true, false}, nil)
	r.swap(r.name, r.slow())
	if err := r.kernel.RunToEnd(); err == nil {
		t.Error("a throttled array came to its end")
	}
}

func TestAgeClearsTheBitsOfWrites(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.prepare([]bool{true, true}, bitsOf())
	r.swap(r.name, r.raid())
	r.must(r.kernel.RunToEnd())
	r.paint('W', 5)
	if diff := cmp.Diff(bitsOf(5), r.slots()[1].Bitmap.Bits); diff != "" {
		t.Errorf("bits after a write (-want +got):\n%s", diff)
	}
	r.must(r.kernel.Age())
	if diff := cmp.Diff(bitsOf(), r.slots()[1].Bitmap.Bits); diff != "" {
		t.Errorf("bits after some time (-want +got):\n%s", diff)
	}
}

func TestStaleReadFromALegWithAWrongBitmap(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.prepare([]bool{true, false}, bitsOf(0))
	r.swap(r.name, r.raid())
	r.must(r.kernel.RunToEnd())
	b := make([]byte, 4096)
	r.must(r.kernel.ReadAt(r.ctx, r.name, b, regionBytes))
	if b[0] != 'B' {
		t.Errorf("read %q, want the worst the kernel may give", b[0])
	}
}

func TestSecondResumeRevives(t *testing.T) {
	r := newRig(t, Linux6_1)
	r.prepare([]bool{true, true}, bitsOf())
	r.swap(r.name, r.raid())
	r.must(r.kernel.RunToEnd())
	path := r.path(1)
	r.mem.Fail(path, blocktest.Fault{Kind: "write", Nth: 1})
	r.paint('W', 9)
	if got := r.line(r.name); got != rested("AD") {
		t.Fatalf("status = %q", got)
	}
	r.must(r.k.Suspend(r.ctx, r.name, false))
	r.must(r.k.Resume(r.ctx, r.name, dm.Private))
	r.must(r.kernel.RunToEnd())
	r.same("status", rested("AA"), r.line(r.name))
	r.same("leg 1", painted('B', 'W', 9), r.content(1))
}

func TestErrorOfTheLastLegIsTheCallers(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.prepare([]bool{true, false}, nil)
	r.swap(r.name, r.without(1))
	r.must(r.kernel.RunToEnd())
	r.mem.Fail(r.path(0), blocktest.Fault{Kind: "write"})
	err := r.kernel.WriteAt(r.ctx, r.name, make([]byte, 4096), 0)
	if !errors.Is(err, unix.EIO) {
		t.Errorf("write: %v, want %v", err, unix.EIO)
	}
	r.mem.Fail(r.path(0), blocktest.Fault{Kind: "read"})
	if err := r.kernel.ReadAt(r.ctx, r.name, make([]byte, 4096), 0); !errors.Is(err, unix.EIO) {
		t.Errorf("read: %v, want %v", err, unix.EIO)
	}
	r.same("status", rested("A-"), r.line(r.name))
}

func TestReadErrorIsRepaired(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.prepare([]bool{true, false}, nil)
	r.swap(r.name, r.raid())
	r.must(r.kernel.RunToEnd())
	r.mem.Fail(r.path(1), blocktest.Fault{Kind: "read", Nth: 1})
	b := make([]byte, 4096)
	r.must(r.kernel.ReadAt(r.ctx, r.name, b, 0))
	r.same("content", byte('A'), b[0])
	r.same("status", rested("AA"), r.line(r.name))
}

func TestHang(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.prepare([]bool{true, false}, nil)
	r.swap(r.name, r.raid())
	r.must(r.k.Suspend(r.ctx, r.dataName[1], false))
	if err := r.kernel.Tick(8); err != nil {
		t.Fatal(err) // starts, and writes metadata only
	}
	if err := r.kernel.Tick(8); !errors.Is(err, ErrHang) {
		t.Errorf("recovery onto a suspended leg: %v, want %v", err, ErrHang)
	}
	if err := r.kernel.WriteAt(r.ctx, r.name, make([]byte, 4096), 0); !errors.Is(err, ErrHang) {
		t.Errorf("write to a suspended leg: %v, want %v", err, ErrHang)
	}
	r.must(r.k.Resume(r.ctx, r.dataName[1], dm.Private))
	r.must(r.kernel.RunToEnd())
	r.same("leg 1", r.content(0), r.content(1))
}

func TestUsersWait(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.swap(r.name, linearOn(r.table[0].Data, 0, arraySects))
	r.must(r.k.Suspend(r.ctx, r.name, false))
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Millisecond)
	defer cancel()
	for what, err := range map[string]error{
		"read":  r.kernel.ReadAt(ctx, r.name, make([]byte, 512), 0),
		"write": r.kernel.WriteAt(ctx, r.name, make([]byte, 512), 0),
		"flush": r.kernel.Flush(ctx, r.name),
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want %v", what, err, context.DeadlineExceeded)
		}
	}
	if err := r.kernel.ReadAt(r.ctx, "nobody", make([]byte, 512), 0); !errors.Is(err, dm.ErrNotExist) {
		t.Errorf("read from no device: %v, want %v", err, dm.ErrNotExist)
	}
	r.must(r.k.Resume(r.ctx, r.name, dm.Private))
	if err := r.kernel.WriteAt(r.ctx, r.name, make([]byte, 512), int64(arraySects.Bytes())); !errors.Is(err, unix.EIO) {
		t.Errorf("write beyond the end: %v, want %v", err, unix.EIO)
	}
}

func TestHold(t *testing.T) {
	r := newRig(t, Linux6_12)
	release, err := r.kernel.Hold(r.name)
	r.must(err)
	r.wants("remove of a held device", r.k.Remove(r.ctx, r.name), dm.ErrBusy)
	release()
	r.must(r.k.Remove(r.ctx, r.name))
	if _, err := r.kernel.Hold(r.name); !errors.Is(err, dm.ErrNotExist) {
		t.Errorf("hold of no device: %v, want %v", err, dm.ErrNotExist)
	}
}

func TestSeenInMem(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.swap(r.name, linearOn(r.table[0].Data, 0, arraySects))
	info, err := r.mem.Stat(r.ctx, "/dev/mapper/"+r.name)
	r.must(err)
	want := blockdev.Info{
		Path: "/dev/dm-4", Dev: r.info(r.name).Dev, Size: arraySects.Bytes(), LogicalBlock: 512, PhysicalBlock: 512,
		DMUUID: "CONTRACT-" + r.name, Slaves: []devno.No{r.table[0].Data},
	}
	r.same("device", want, info)
	below, err := r.mem.Stat(r.ctx, "/dev/dm-0")
	r.must(err)
	r.same("holders of the device below", []devno.No{want.Dev}, below.Holders)
	if _, err := r.mem.Open(r.ctx, "/dev/dm-0", blockdev.Exclusive); !errors.Is(err, blockdev.ErrBusy) {
		t.Errorf("exclusive open of a device in use: %v, want %v", err, blockdev.ErrBusy)
	}
	disk, err := r.mem.Open(r.ctx, info.Path, blockdev.Exclusive)
	r.must(err)
	r.wants("load onto a device that is open exclusively",
		r.k.Load(r.ctx, r.create(), linearOn(want.Dev, 0, 8)), dm.ErrBusy)
	_, err = disk.WriteAt(bytes.Repeat([]byte{'W'}, 4096), 4096)
	r.must(err)
	r.must(disk.Sync())
	_, err = disk.ReadAt(make([]byte, 8192), int64(arraySects.Bytes())-4096)
	if err == nil {
		t.Error("read across the end")
	}
	_, err = disk.WriteAt(make([]byte, 512), 0)
	r.wants("write of an odd length", err, blockdev.ErrAlign)
	r.wants("remove", r.k.Remove(r.ctx, r.name), dm.ErrBusy)
	r.must(disk.Close())
	r.must(r.k.Remove(r.ctx, r.name))
	if _, err := r.mem.Stat(r.ctx, info.Path); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("stat of a removed device: %v, want %v", err, blockdev.ErrNotExist)
	}
}

func TestDeadProcess(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.prepare([]bool{true, false}, nil)
	r.must(r.k.Load(r.ctx, r.name, r.raid()))
	disk, err := r.mem.Open(r.ctx, "/dev/mapper/"+r.name, blockdev.Write)
	r.must(err)
	var seen []blocktest.Effect
	r.mem.OnEffect = func(e blocktest.Effect) error {
		seen = append(seen, e)
		return errors.New("killed")
	}
	r.wants("resume", r.k.Resume(r.ctx, r.name, dm.Private), blocktest.ErrDead)
	_, list := r.k.List(r.ctx)
	_, info := r.k.Info(r.ctx, r.name)
	_, written := disk.WriteAt(make([]byte, 4096), 0)
	for what, err := range map[string]error{
		"list": list, "info": info, "write": written, "load": r.k.Load(r.ctx, r.name, r.raid()), "wait": r.k.WaitEvent(r.ctx),
	} {
		r.wants(what+" after death", err, blocktest.ErrDead)
	}
	r.same("effects", []blocktest.Effect{{Kind: "resume", Object: r.name}}, seen)
	r.mem.OnEffect = nil
	r.mem.Restart()
	state := r.info(r.name)
	r.same("state after the restart", dm.Info{Device: state.Device, Inactive: true}, state)
	r.must(r.k.Resume(r.ctx, r.name, dm.Private))
	r.must(r.kernel.RunToEnd())
	r.same("leg 1", painted('A', 0), r.content(1))
}
