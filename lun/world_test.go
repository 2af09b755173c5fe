package lun_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
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
	release dmtest.Release
	mem     *blockdev.Mem
	kernel  *dmtest.Kernel
	lock    string
	p       *lun.Provider
	written map[int64]uint64 // stamp of each block of web1 that was written, flushed and acknowledged
	stamp   uint64

	lastEffect     blockdev.Effect // in front of which the process was stopped
	spareMayBeGone bool            // the operation deletes spare3
}

// newWorld is a machine with n drives.
func newWorld(t testing.TB, release dmtest.Release, n int) *world {
	t.Helper()
	w := &world{
		t: t, release: release, mem: blockdev.NewMem(),
		lock: filepath.Join(t.TempDir(), "lock"), written: map[int64]uint64{},
	}
	w.kernel = dmtest.New(w.mem, w.release)
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

// open starts a process that reads the drives.
func (w *world) open() {
	w.t.Helper()
	p, err := lun.Open(w.t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock})
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
func (w *world) cut(fate blockdev.Fate) {
	w.t.Helper()
	w.p.Close()
	w.mem = w.mem.Cut(fate)
	w.kernel = dmtest.New(w.mem, w.release)
	w.open()
}

// create makes a LUN on a drive.
func (w *world) create(name string, length size.Bytes, drive int) *lun.LUN {
	w.t.Helper()
	l, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: name, Size: length, Drives: []string{w.path(drive)}})
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

// verify reads every acknowledged block of web1.
func (w *world) verify() {
	w.t.Helper()
	got := make([]byte, block)
	for at, stamp := range w.written {
		if err := w.kernel.ReadAt(w.t.Context(), "plex-web1", got, at*block); err != nil {
			w.t.Fatalf("read: %v", err)
		}
		if !bytes.Equal(got, stamped(stamp)) {
			w.t.Fatalf("block %d of web1 holds %d, want %d", at, binary.LittleEndian.Uint64(got), stamp)
		}
	}
}

// notSuspended fails the test when any device is suspended that has a live table.
func (w *world) notSuspended() {
	w.t.Helper()
	for name, info := range w.devices() {
		if info.Suspended && info.Live {
			w.t.Fatalf("%s is suspended", name)
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

// legs is the content of every plex of a LUN.
func (w *world) legs(l catalog.LUN) [][]byte {
	w.t.Helper()
	paths := map[string]string{}
	for _, d := range w.p.Drives() {
		paths[d.ID.String()] = d.Info.Path
	}
	var contents [][]byte
	for _, p := range l.Plexes {
		content := make([]byte, l.Size.Bytes())
		disk, err := w.mem.Open(w.t.Context(), paths[p.Data[0].Drive.String()], blockdev.Read)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := disk.ReadAt(content, int64(p.Data[0].Start.Bytes())); err != nil {
			w.t.Fatal(err)
		}
		_ = disk.Close()
		contents = append(contents, content)
	}
	return contents
}

// settle lets the kernel finish, waits for the operation, and checks that all plexes of web1 are equal.
func (w *world) settle() {
	w.t.Helper()
	w.rest()
	if props, err := w.find("web1").Properties(w.t.Context()); err == nil && props.Health == vds.HealthFailedRedundancy {
		if _, err := w.find("web1").Recover(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	w.finishCopy()
	record := w.record("web1")
	if len(record.Plexes) < 2 {
		return
	}
	legs := w.legs(record)
	for i, leg := range legs {
		if !bytes.Equal(leg, legs[0]) {
			w.t.Fatalf("plex %d of web1 differs from plex 0", i)
		}
	}
}

// rest lets the kernel do what it has to do.
func (w *world) rest() {
	w.t.Helper()
	if err := w.kernel.RunToEnd(); err != nil {
		w.t.Fatal(err)
	}
}

// finishCopy lets the kernel finish and waits for the operation of web1.
func (w *world) finishCopy() {
	w.t.Helper()
	if err := w.kernel.RunToEnd(); err != nil {
		w.t.Fatal(err)
	}
	op, err := w.find("web1").Operation()
	if err != nil {
		w.t.Fatal(err)
	}
	if w.record("web1").Operation == nil {
		return
	}
	if err := op.Wait(w.t.Context()); err != nil {
		w.t.Fatalf("operation: %v", err)
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
