package dmtest

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// twin is a device-mapper and its drives.
type twin struct {
	kernel *Kernel
	mem    *blocktest.Mem
}

// seen is all that a twin shows of its devices, and what its drives hold, now and after a power cut.
func (w twin) seen(t *testing.T) any {
	t.Helper()
	ctx := context.Background()
	list, err := w.kernel.List(ctx)
	states := []any{list, err}
	for _, d := range list {
		status, err1 := w.kernel.Status(ctx, d.Name)
		table, err2 := w.kernel.Table(ctx, d.Name)
		waiting, err3 := w.kernel.Waiting(ctx, d.Name)
		deps, err4 := w.kernel.Deps(ctx, d.Name)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		states = append(states, status, table, waiting, deps)
	}
	for _, mem := range []*blocktest.Mem{w.mem, w.mem.Cut(blocktest.Lost), w.mem.Cut(blocktest.Kept)} {
		infos, err := mem.Scan(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			if info.DMUUID == "" {
				states = append(states, info, sum(t, mem, info))
			}
		}
	}
	return states
}

// sum stands for a drive's content.
func sum(t *testing.T, mem *blocktest.Mem, info blockdev.Info) uint32 {
	t.Helper()
	medium, err := mem.Medium(info.Dev)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, info.Size)
	if _, err := medium.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// step does one thing that random chooses, which may be refused.
func (w twin) step(random *rand.Rand, name string, table dm.Table) error {
	ctx := context.Background()
	switch random.IntN(9) {
	case 0:
		return w.kernel.Tick(random.IntN(40))
	case 1:
		return w.kernel.Age()
	case 2:
		return w.kernel.Load(ctx, name, table)
	case 3:
		return w.kernel.Clear(ctx, name)
	case 4:
		return w.kernel.Suspend(ctx, name, false)
	case 5, 6:
		return w.kernel.Resume(ctx, name, dm.Private)
	case 7:
		w.mem.Fail("/dev/leg1", blocktest.Fault{Kind: "write", Nth: 1 + random.IntN(5)})
		return nil
	}
	at, letter := random.Int64N(regionCount), byte('a'+random.IntN(26))
	return w.use(name, func(ctx context.Context) error {
		return w.kernel.WriteAt(ctx, name, bytes.Repeat([]byte{letter}, 4096), at*regionBytes)
	})
}

// use does I/O where nobody has to wait for it.
func (w twin) use(name string, do func(context.Context) error) error {
	ctx := context.Background()
	if info, err := w.kernel.Info(ctx, name); err != nil || info.Suspended || !info.Live {
		return err
	}
	return do(ctx)
}

// TestForkGoesOnAsTheMachineWould forks a machine in the middle of its life. What is done to the fork does not change the
// machine, and both answer alike from then on.
func TestForkGoesOnAsTheMachineWould(t *testing.T) {
	for seed := range uint64(16) {
		random := rand.New(rand.NewPCG(seed, 0))
		r := boot(t, newDrives(together), []Release{Linux6_1, Linux6_12}[seed%2], together)
		r.fill(r.data[0], 'A', 0, int64(arraySects.Bytes()))
		r.prepare([]bool{true, false}, nil)
		r.swap(r.name, r.raid())
		first := twin{r.kernel, r.mem}
		for range random.IntN(20) {
			_ = first.step(random, r.name, r.raid()) // some steps are refused in some states
		}
		before := first.seen(t)
		var second twin
		second.kernel, second.mem = r.kernel.Fork()
		if diff := cmp.Diff(before, second.seen(t)); diff != "" {
			t.Fatalf("seed %d: fork (-machine +fork):\n%s", seed, diff)
		}
		way := random.Uint64()
		for n := range uint64(20) {
			_ = second.step(rand.New(rand.NewPCG(way, n)), r.name, r.raid())
		}
		if diff := cmp.Diff(before, first.seen(t)); diff != "" {
			t.Fatalf("seed %d: the fork has changed the machine (-want +got):\n%s", seed, diff)
		}
		for n := range uint64(20) {
			_ = first.step(rand.New(rand.NewPCG(way, n)), r.name, r.raid())
		}
		if diff := cmp.Diff(first.seen(t), second.seen(t)); diff != "" {
			t.Fatalf("seed %d: after the same steps (-machine +fork):\n%s", seed, diff)
		}
		r.goOn()
	}
}

// goOn lets the array go on, so that it can be taken down.
func (r *rig) goOn() {
	r.mem.Heal("/dev/leg1")
	if info := r.info(r.name); !info.Live || info.Suspended {
		r.must(r.k.Clear(r.ctx, r.name))
		r.must(r.k.Resume(r.ctx, r.name, dm.Private))
	}
}

func TestForkHasItsOwnDevices(t *testing.T) {
	r := newRig(t, Linux6_12)
	r.swap(r.name, linearOn(r.table[0].Data, 0, arraySects))
	legs := []devno.No{r.table[0].Data}
	r.must(r.kernel.Mark(r.ctx, dm.Marker{Operation: "a", Begins: true, Legs: legs}))
	r.kernel.LogUnreadable(legs[0], 7)
	disk, err := r.mem.Open(r.ctx, "/dev/mapper/"+r.name, blockdev.Exclusive)
	r.must(err)
	t.Cleanup(func() { r.must(disk.Close()) })
	kernel, mem := r.kernel.Fork()
	r.same("log", dm.Passed{Known: true, Found: true, Leg: legs[0], Sector: 7}, kernel.Passed(r.ctx, "a", legs))
	kernel.OverwriteLog()
	r.same("log of the machine", true, r.kernel.Passed(r.ctx, "a", legs).Known)
	info, err := kernel.Info(r.ctx, r.name)
	r.must(err)
	r.same("openers of the fork's device", 0, info.OpenCount)
	shown, err := mem.Stat(r.ctx, "/dev/mapper/"+r.name)
	r.must(err)
	r.same("number of the fork's device", r.info(r.name).Dev, shown.Dev)
	if _, err := mem.Open(r.ctx, "/dev/dm-0", blockdev.Exclusive); !errors.Is(err, blockdev.ErrBusy) {
		t.Errorf("exclusive open of a device in use: %v, want %v", err, blockdev.ErrBusy)
	}
	r.wants("remove of a device in use", kernel.Remove(r.ctx, r.kernel.numbered(r.table[0].Data).name), dm.ErrBusy)
	r.must(kernel.Remove(r.ctx, r.name))
	dev, err := kernel.Create(r.ctx, "other", "")
	r.must(err)
	if dev == r.info(r.name).Dev {
		t.Errorf("a new device of the fork has the number %v of the machine's", dev)
	}
	r.wants("load onto a drive that the machine's process holds", kernel.Load(r.ctx, "other", linearOn(r.table[0].Data, 0, 8)), nil)
	r.must(r.kernel.WriteAt(r.ctx, r.name, make([]byte, 512), 0))
	if err := kernel.WriteAt(r.ctx, r.name, make([]byte, 512), 0); !errors.Is(err, dm.ErrNotExist) {
		t.Errorf("write to a device that the fork has removed: %v, want %v", err, dm.ErrNotExist)
	}
}

func TestForkOfASuspendedDevice(t *testing.T) {
	r := newRig(t, Linux6_1)
	r.swap(r.name, linearOn(r.table[0].Data, 0, arraySects))
	r.must(r.k.Suspend(r.ctx, r.name, false))
	kernel, _ := r.kernel.Fork()
	r.must(kernel.Resume(r.ctx, r.name, dm.Private))
	r.must(kernel.WriteAt(r.ctx, r.name, make([]byte, 512), 0))
	if !r.info(r.name).Suspended {
		t.Error("a resume of the fork's device resumed the machine's")
	}
	r.must(r.k.Resume(r.ctx, r.name, dm.Private))
	if err := kernel.WriteAt(r.ctx, r.name, make([]byte, 512), int64(arraySects.Bytes())-int64(size.Sector)+512); !errors.Is(err, unix.EIO) {
		t.Errorf("write beyond the end: %v, want %v", err, unix.EIO)
	}
}
