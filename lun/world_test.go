package lun_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Sizes of the small machine that tests run on.
const (
	driveSize = 32 * size.MiB
	lunSize   = 6 * size.MiB
	block     = 4096
	noise     = 1400 // blocks from here on are written without a flush, and hold anything
)

// world is a machine in memory with a process on it.
type world struct {
	t       testing.TB
	linux   dmtest.Release
	mem     *blocktest.Mem
	kernel  *dmtest.Kernel
	lock    string
	p       *lun.Provider
	written map[int64]uint64 // stamp of each block of web1 that was written, flushed and acknowledged
	stamp   uint64

	track  bool             // LUNs are tracked
	hosts  []string         // ids of the machine
	guard  lun.Guard        // of processes that are opened from now on
	faulty bool             // an operation may have failed
	away   bool             // a drive is missing
	kept   map[int64]uint64 // written at a moment that a test has chosen
}

// newWorld is a machine with n drives.
func newWorld(t testing.TB, release dmtest.Release, n int) *world {
	t.Helper()
	return newWorldAt(t, release, n, filepath.Join(t.TempDir(), "lock"))
}

// newWorldAt is newWorld with the host's lock at a path.
func newWorldAt(t testing.TB, release dmtest.Release, n int, lock string) *world {
	t.Helper()
	w := &world{t: t, linux: release, mem: blocktest.New(), lock: lock, written: map[int64]uint64{}}
	w.kernel = dmtest.New(w.mem, w.linux)
	w.open()
	for i := range n {
		w.mem.AddDisk(blockdev.Info{Path: w.path(i), Size: driveSize})
		if _, err := w.p.InitDrive(t.Context(), w.path(i), lun.InitOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) path(drive int) string { return fmt.Sprintf("/dev/sd%c", 'a'+drive) }

// open starts a process that reads the drives, and does one thing after the other: what it does at the nth moment is the same
// in every run.
func (w *world) open() {
	w.t.Helper()
	opts := lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock, Hosts: w.hosts, Guard: w.guard, Workers: 1}
	p, err := lun.Open(w.t.Context(), opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	w.p = p
}

// restart ends the process and starts another.
func (w *world) restart() {
	w.t.Helper()
	w.p.Close()
	w.mem.OnEffect = nil
	w.mem.Restart()
	w.open()
}

// cut cuts the power and boots again.
func (w *world) cut(fate blocktest.Fate) {
	w.t.Helper()
	w.p.Close()
	w.mem = w.mem.Cut(fate)
	w.kernel = dmtest.New(w.mem, w.linux)
	w.open()
}

// create makes a LUN on a drive.
func (w *world) create(name string, length size.Bytes, drive int) *lun.LUN {
	w.t.Helper()
	l, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: name, Size: length, Drives: []string{w.path(drive)}, Track: w.track})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) find(name string) *lun.LUN {
	w.t.Helper()
	l, err := w.p.LUN(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) record(name string) catalog.LUN {
	w.t.Helper()
	record, err := w.find(name).Record()
	if err != nil {
		w.t.Fatal(err)
	}
	return record
}

// write writes a block of web1 and flushes it, as a user of the LUN does. When that succeeds the block must be there
// for good. While web1 is not active nothing is written.
func (w *world) write(at int64) {
	w.t.Helper()
	if w.put(at) {
		if err := w.kernel.Flush(w.t.Context(), "plex-web1"); err != nil {
			w.t.Fatalf("flush: %v", err)
		}
		w.written[at] = w.stamp
	}
}

// put writes a block of web1 and does not flush it. While web1 is suspended a user waits.
func (w *world) put(at int64) bool {
	w.t.Helper()
	info, err := w.kernel.Info(w.t.Context(), "plex-web1")
	if errors.Is(err, dm.ErrNotExist) || err == nil && (!info.Live || info.Suspended) {
		return false
	}
	w.stamp++
	if err := w.kernel.WriteAt(w.t.Context(), "plex-web1", stamped(w.stamp), at*block); err != nil {
		w.t.Fatalf("write: %v", err)
	}
	return true
}

func stamped(stamp uint64) []byte {
	b := make([]byte, block)
	for i := 0; i < block; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], stamp)
	}
	return b
}

// stampOf is the stamp that a block is full of; torn when it is not full of one.
func stampOf(b []byte) uint64 {
	stamp := binary.LittleEndian.Uint64(b)
	for i := 8; i < block; i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != stamp {
			return torn
		}
	}
	return stamp
}

// torn is no stamp.
const torn = ^uint64(0)

// verify reads every acknowledged block of web1.
func (w *world) verify() {
	w.t.Helper()
	got := make([]byte, block)
	for at, stamp := range w.written {
		if err := w.kernel.ReadAt(w.t.Context(), "plex-web1", got, at*block); err != nil {
			w.t.Fatalf("read: %v", err)
		}
		if has := stampOf(got); has != stamp {
			w.t.Fatalf("block %d of web1 holds %d, want %d", at, has, stamp)
		}
	}
}

// notSuspended fails the test when any device is suspended that has a live table.
func (w *world) notSuspended() {
	w.t.Helper()
	for name, info := range w.devices() {
		if info.Suspended && info.Live {
			w.t.Errorf("%s is suspended", name)
		}
	}
}

// devices is the state of every device.
func (w *world) devices() map[string]dm.Info {
	w.t.Helper()
	ctx := context.Background()
	list, err := w.kernel.List(ctx)
	if err != nil {
		return nil // the process is dead
	}
	infos := map[string]dm.Info{}
	for _, d := range list {
		info, err := w.kernel.Info(ctx, d.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		infos[d.Name] = info
	}
	return infos
}

// keep remembers what has been written so far.
func (w *world) keep() { w.kept = maps.Clone(w.written) }

// random is a source of randomness that is the same in every run.
func (w *world) random() *rand.Rand { return rand.New(rand.NewPCG(1, w.stamp)) }

// verifyPart checks that a LUN that was split off web1 has every block that had been written when keep was called, in that
// version or a later one. A LUN that is not there is in order.
func (w *world) verifyPart(name string) {
	w.t.Helper()
	if l, err := w.p.LUN(name); err != nil || name == "" || l.Name() != name {
		return
	}
	got := make([]byte, block)
	for at, stamp := range w.kept {
		if err := w.kernel.ReadAt(w.t.Context(), "plex-"+name, got, at*block); err != nil {
			w.t.Fatalf("read: %v", err)
		}
		if has := stampOf(got); has < stamp || has > w.stamp {
			w.t.Fatalf("block %d of %s holds %d, want %d or later", at, name, has, stamp)
		}
	}
}

// replaceTable does what a user may do by hand: it maps a LUN's device onto one plex alone, in one piece or in several.
func (w *world) replaceTable(device string, p catalog.Plex, pieces ...int) {
	w.t.Helper()
	d, err := w.p.Drive(p.Data[0].Drive.String())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx := w.t.Context()
	var table dm.Table
	n := size.Sectors(1)
	for _, more := range pieces {
		n = size.Sectors(more)
	}
	for i := range n {
		part := lunSize.Sectors() / n
		table = append(table, dm.Segment{Start: i * part, Length: part, Target: dm.Linear{Dev: d.Info.Dev, Offset: p.Data[0].Start + i*part}})
	}
	if err := errors.Join(w.kernel.Load(ctx, device, table), w.kernel.Resume(ctx, device, dm.Public)); err != nil {
		w.t.Fatal(err)
	}
}

// settle lets the kernel finish, recovers what has failed, waits for the operations, and checks that all plexes of each LUN
// are equal.
func (w *world) settle() {
	w.t.Helper()
	w.release()
	w.finishAll()
	for _, l := range w.p.LUNs() {
		if props, err := l.Properties(w.t.Context()); err == nil && props.Health == vds.HealthFailedRedundancy {
			if _, err := l.Recover(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.finishAll()
	w.oracle().samePlexes()
}

// finishAll lets the kernel finish and waits for every operation, queued ones included.
func (w *world) finishAll() {
	w.t.Helper()
	w.rest()
	if w.queued() {
		defer w.timePasses()()
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
	defer cancel()
	for _, l := range w.p.LUNs() {
		if w.record(l.Name()).Operation == nil {
			continue
		}
		op, err := l.Operation()
		if err != nil {
			w.t.Fatal(err)
		}
		if err := op.Wait(ctx); err != nil && !w.faulty {
			w.t.Fatalf("operation of %s: %v", l.Name(), err)
		}
	}
}

// queued reports whether an operation waits for another.
func (w *world) queued() bool {
	return slices.ContainsFunc(w.p.LUNs(), func(l *lun.LUN) bool {
		op := w.record(l.Name()).Operation
		return op != nil && op.Queued
	})
}

// timePasses lets the kernel go on until stop is called.
func (w *world) timePasses() (stop func()) {
	done := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
			if err := w.kernel.Tick(64); err != nil {
				w.t.Error(err)
			}
		}
	})
	return func() { close(done); passing.Wait() }
}

// release lets every operation copy at full speed.
func (w *world) release() {
	w.t.Helper()
	for _, l := range w.p.LUNs() {
		if record := w.record(l.Name()); record.Operation != nil && record.MaxRate != 0 {
			if err := l.SetRate(w.t.Context(), lun.Unlimited); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// rest lets the kernel do what it has to do. What is queued stands still.
func (w *world) rest() {
	w.t.Helper()
	if w.queued() {
		for range 20 {
			w.must(w.kernel.Tick(64))
		}
		return
	}
	if err := w.kernel.RunToEnd(); err != nil {
		w.t.Fatal(err)
	}
}

// assemble assembles everything, which must succeed.
func (w *world) assemble() {
	w.t.Helper()
	results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			w.t.Fatalf("assemble: %v", r.Err)
		}
	}
}
