package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

// Sizes of what codes are provoked with: as small as they can be, for there are many.
const (
	codesLUN   = 4 * size.MiB
	codesDrive = 40 * size.MiB
)

// newCodesRig is n drives, without a run of the command for each.
func newCodesRig(t testing.TB, n int) *rig {
	t.Helper()
	newLab(t)
	var devices []string
	for range n {
		devices = append(devices, newLoop(t, codesDrive, 512))
	}
	return labelled(t, devices...)
}

// labelled makes devices drives.
func labelled(t testing.TB, devices ...string) *rig {
	t.Helper()
	r := openRig(t, devices...)
	for _, d := range devices {
		r.label(d)
	}
	return r
}

// label makes a device a drive.
func (r *rig) label(device string) {
	r.t.Helper()
	if _, err := r.p.InitDrive(r.t.Context(), device, lun.InitOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// mirrored makes a LUN with a plex on each of the drives, all in sync.
func (r *rig) mirrored(name string, drives ...int) *lun.LUN {
	r.t.Helper()
	l := r.create(name, codesLUN, drives[0])
	for _, drive := range drives[1:] {
		r.addOn(l, drive)
	}
	return l
}

// busyLength is the length of a LUN of which a paused copy leaves most undone: the kernel copies 2 MiB before it pauses.
const busyLength = 16 * size.MiB

// createFull makes a LUN of busyLength that is full of data: what is blank would not be copied.
func (r *rig) createFull(name string, drive int) *lun.LUN {
	r.t.Helper()
	l := r.create(name, busyLength, drive)
	fillWith(r.t, "/dev/mapper/plex-"+name, "what has to be copied ", busyLength)
	return l
}

// busy makes a LUN under an AddPlex that does not get on.
func (r *rig) busy(name string, drive, other int) (*lun.LUN, *resync.Async) {
	r.t.Helper()
	l := r.createFull(name, drive)
	op, err := l.AddNewPlex(r.t.Context(), []string{r.drives[other]}, lun.AttachOptions{Rate: lun.Paused, Now: true})
	if err != nil {
		r.t.Fatal(err)
	}
	return l, op
}

// scope is how much of the drives a call must leave as it was.
type scope int

const (
	everything scope = iota // every byte; only the catalogs while a mirror is active, whose metadata the kernel writes
	catalogs                // labels and catalogs; metadata that nobody uses may have been written
	devices                 // nothing but the kernel's devices
)

// state is what a refused call must not change.
type state struct {
	Tables map[string]string
	Bytes  map[string]uint32 // checksums, by file under a loop device
}

// state is what there is now.
func (r *rig) state(of scope) state {
	r.t.Helper()
	s := state{Tables: r.tables(), Bytes: map[string]uint32{}}
	whole := of == everything
	for _, table := range s.Tables {
		whole = whole && !strings.Contains(table, " raid ")
	}
	if of == devices {
		return s
	}
	for _, name := range glob(r.t, "/sys/block/loop*/loop/backing_file") {
		if text, err := os.ReadFile(name); err == nil {
			file := strings.TrimSpace(string(text))
			s.Bytes[file] = imageSum(r.t, file, whole)
		}
	}
	return s
}

// imageSum is a checksum of a file, of the blocks that are not all zero: a hole is as good as zeros. Without whole it is one
// of the part that a drive's label and catalogs lie on.
func imageSum(t testing.TB, file string, whole bool) uint32 {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	tail := int64(catalog.TailStart(size.Bytes(info.Size())))
	sum, block := newChecksum(), make([]byte, blockSize)
	for at := nextData(t, f, 0); at < info.Size(); at = nextData(t, f, at+int64(blockSize)) {
		if !whole && at >= int64(catalog.FirstExtent) && at < tail {
			at = tail - int64(blockSize)
			continue
		}
		if n, err := f.ReadAt(block, at); err != nil && err != io.EOF || n == 0 {
			t.Fatal(err)
		}
		if len(bytes.Trim(block, "\x00")) > 0 {
			_ = binary.Write(sum, binary.LittleEndian, at)
			_, _ = sum.Write(block)
		}
	}
	return sum.Sum32()
}

// nextData is the first block from at on that is not in a hole; beyond the end when there is none.
func nextData(t testing.TB, f *os.File, at int64) int64 {
	t.Helper()
	next, err := f.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 1 << 62
	}
	if err != nil {
		t.Fatal(err)
	}
	return next / int64(blockSize) * int64(blockSize)
}

// fragile is a drive that a test makes misbehave: a device-mapper device over a loop device. It has to be made before the
// rig, so that LUNs are gone from it before it goes.
type fragile struct {
	t       testing.TB
	control *dm.Control
	name    string
	path    string
	loop    string
}

func newFragile(t testing.TB, name string) *fragile {
	t.Helper()
	control, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fragile{t: t, control: control, name: "lab-" + name, loop: newLoop(t, codesDrive, 512)}
	f.path = newMapping(t, name, dm.Table{f.segment(0, codesDrive, "linear", "")})
	return f
}

// segment is a part of the drive behind a target.
func (f *fragile) segment(start, length size.Bytes, target, args string) dm.Segment {
	if target != "error" {
		args = strings.TrimSpace(fmt.Sprintf("%s %d %s", f.loop, start.Sectors(), args))
	}
	return dm.Segment{Start: start.Sectors(), Length: length.Sectors(), Target: dm.Other{Name: target, Args: args}}
}

// behave gives the drive another table.
func (f *fragile) behave(segments ...dm.Segment) {
	f.t.Helper()
	ctx := context.WithoutCancel(f.t.Context())
	err := f.control.Load(ctx, f.name, dm.Table(segments))
	if err == nil {
		err = f.control.Resume(ctx, f.name, dm.Public)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// fail makes all I/O fail: for plexctl the drive is missing. The loop device stays claimed, else it would be the drive.
func (f *fragile) fail() { f.t.Helper(); f.behave(f.segment(0, codesDrive, "flakey", "0 60")) }

// mend makes everything work again, at full speed.
func (f *fragile) mend() { f.t.Helper(); f.behave(f.segment(0, codesDrive, "linear", "")) }

// slow makes every write take a time.
func (f *fragile) slow(delay time.Duration) {
	f.t.Helper()
	f.behave(f.segment(0, codesDrive, "delay", fmt.Sprintf("0 %s 0 %d", f.loop, delay.Milliseconds())))
}

// unwritable makes writes to a part of the drive fail.
func (f *fragile) unwritable(start, length size.Bytes) {
	f.t.Helper()
	f.spoil(start, length, "flakey", "0 60 1 error_writes")
}

// unreadable makes all I/O to a part of the drive fail.
func (f *fragile) unreadable(start, length size.Bytes) {
	f.t.Helper()
	f.spoil(start, length, "error", "")
}

func (f *fragile) spoil(start, length size.Bytes, target, args string) {
	f.t.Helper()
	segments := []dm.Segment{f.segment(start, length, target, args)}
	if start > 0 {
		segments = append([]dm.Segment{f.segment(0, start, "linear", "")}, segments...)
	}
	f.behave(append(segments, f.segment(start+length, codesDrive-start-length, "linear", ""))...)
}

// failLeg makes the plex of a mirror that lies on f fail, and waits until the kernel has noticed.
func (r *rig) failLeg(name string, f *fragile) {
	r.t.Helper()
	f.fail()
	device := "/dev/mapper/plex-" + name
	waitFor(r.t, "the kernel to give up a leg of "+name, 30*time.Second, func() bool {
		writeBlock(r.t, device, 0)
		for _, letter := range r.raidStatus(name).Health {
			if letter == dm.LegFailed {
				return true
			}
		}
		return false
	})
}

// writeBlock writes a block of random bytes to a device, past every cache.
func writeBlock(t testing.TB, device string, at size.Bytes) {
	t.Helper()
	f, err := openDirect(device, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := alignedBuffer(blockSize)
	defer unix.Munmap(block)
	id := uuid.New()
	copy(block, id[:])
	if _, err := f.WriteAt(block, int64(at)); err != nil {
		t.Fatal(err)
	}
}

// replaceTable gives a device another table behind plexctl's back.
func (r *rig) replaceTable(device string, table dm.Table) {
	r.t.Helper()
	runTool(r.t, "dmsetup", "load", device, "--table", strings.TrimSpace(table.String()))
	runTool(r.t, "dmsetup", "suspend", "--noflush", device)
	runTool(r.t, "dmsetup", "resume", device)
}

// foreignLinear replaces the table of a LUN with one plex by one that lies a MiB further on.
func (r *rig) foreignLinear(l *lun.LUN) {
	r.t.Helper()
	table, err := r.control.Table(r.t.Context(), "plex-"+l.Name())
	if err != nil {
		r.t.Fatal(err)
	}
	linear, ok := table[0].Target.(dm.Linear)
	if !ok {
		r.t.Fatalf("the table of %s is %s", l.Name(), table)
	}
	linear.Offset += size.MiB.Sectors()
	table[0].Target = linear
	r.replaceTable("plex-"+l.Name(), table)
}

// onlyPlexIs replaces the table of a mirror by one of its plex on a drive alone.
func (r *rig) onlyPlexIs(l *lun.LUN, drive int) {
	r.t.Helper()
	record := r.record(l.Name())
	for _, p := range record.Plexes {
		if p.ID == r.plexOn(l, drive) {
			r.replaceTable("plex-"+l.Name(), dm.Table{{Length: record.Size, Target: dm.Linear{
				Dev: statDevice(r.t, r.drives[drive]).Dev, Offset: p.Data[0].Start,
			}}})
		}
	}
}
