package dmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// DeviceMapper is the part of a device-mapper that the contract tests: *dm.Control has it, and *Kernel.
type DeviceMapper interface {
	List(ctx context.Context) ([]dm.Device, error)
	Info(ctx context.Context, name string) (dm.Info, error)
	Create(ctx context.Context, name, uuid string) (devno.No, error)
	Load(ctx context.Context, name string, t dm.Table) error
	Clear(ctx context.Context, name string) error
	Suspend(ctx context.Context, name string, freeze bool) error
	Waiting(ctx context.Context, name string) (dm.Table, error)
	Resume(ctx context.Context, name string, v dm.Visibility) error
	Remove(ctx context.Context, name string) error
	Rename(ctx context.Context, name, newName string, v dm.Visibility) error
	Table(ctx context.Context, name string) (dm.Table, error)
	Status(ctx context.Context, name string) (dm.Status, error)
	Message(ctx context.Context, name string, sector size.Sectors, text string) (string, error)
	WaitEvent(ctx context.Context) error
	Mark(ctx context.Context, m dm.Marker) error
	Passed(ctx context.Context, operation string, legs []devno.No) dm.Passed
}

// Lab is a machine, simulated or real, on which the contract is tested.
type Lab interface {
	// Kernel is the device-mapper under test.
	Kernel() DeviceMapper
	// Release is its Linux. What differs between releases is checked only on those that this package knows.
	Release() Release
	// Disk is a new drive full of zeroes. It is removed when the test ends.
	Disk(t testing.TB, length size.Bytes) Disk
	// Open opens a device-mapper device by name, as its users do.
	Open(t testing.TB, name string) File
	// Pass lets a moment pass: 20 ms, or one Tick of the simulation.
	Pass()
	// Name is a device name that no other test uses.
	Name() string
}

// Disk is a drive of a Lab. Reads and writes go past all caches, in units of 4 KiB.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	// Dev is the drive's number.
	Dev() devno.No
	// Hold opens the drive exclusively, as a mount does, until the test calls release.
	Hold(t testing.TB) (release func())
}

// File is an open device. Reads and writes go past all caches, in units of 4 KiB.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// timeLimit bounds every wait of the contract. passes is the same time in calls of Pass.
const (
	timeLimit = time.Minute
	passes    = 3000
)

// RunContract checks that a device-mapper does what plexctl relies on, one subtest for each promise. Kernel and Linux 6.1 and
// 6.12 pass it. If a real kernel fails a test that Kernel passes, Kernel is wrong.
func RunContract(t *testing.T, lab Lab) {
	for _, p := range slices.Concat(ofDevices(), ofArrays(), ofChanges()) {
		t.Run(p.name, func(t *testing.T) {
			p.keep(&bench{TB: t, lab: lab, k: lab.Kernel(), ctx: t.Context()})
		})
	}
}

// promise is one thing that plexctl relies on.
type promise struct {
	name string
	keep func(*bench)
}

// ofDevices is what every device does, whatever its table.
func ofDevices() []promise {
	return []promise{
		{"names and numbers", (*bench).testNames},
		{"no such device", (*bench).testNoDevice},
		{"life of a device", (*bench).testLife},
		{"resume without a table", (*bench).testResumeEmpty},
		{"refused tables", (*bench).testRefusedTables},
		{"refused swap", (*bench).testSwapRefused},
		{"claimed drive", (*bench).testClaimed},
		{"swap under an opener", (*bench).testSwap},
		{"size changes", (*bench).testSizeChange},
		{"clear", (*bench).testClear},
		{"suspend holds writes", (*bench).testSuspend},
		{"remove an open device", (*bench).testRemoveOpen},
		{"stacked devices", (*bench).testStacked},
		{"rename", (*bench).testRename},
		{"events", (*bench).testEvents},
	}
}

// ofArrays is what a raid1 does, and what metadata make it do.
func ofArrays() []promise {
	return []promise{
		{"tables read back", (*bench).testTables},
		{"refused raid1 tables", (*bench).testRefusedRaid},
		{"new array", (*bench).testNewArray},
		{"rebuild on empty metadata", (*bench).testRebuild},
		{"attach", (*bench).testAttach},
		{"wrong metadata copies nothing", (*bench).testWrong},
		{"writes during a recovery", (*bench).testWritesDuringRecovery},
		{"reload in the middle", (*bench).testReload},
		{"suspend in the middle", (*bench).testSuspendInTheMiddle},
		{"cancel", (*bench).testCancel},
		{"resync after a crash", (*bench).testResync},
		{"crash without a resync", (*bench).testNoResync},
		{"missing leg", (*bench).testMissing},
		{"returned leg", (*bench).testReturned},
		{"attach to a degraded array", (*bench).testDegradedAttach},
		{"failing leg", (*bench).testFailing},
		{"unreadable source", (*bench).testUnreadable},
		{"unreadable leg in a resync", (*bench).testUnreadableInResync},
		{"check", (*bench).testCheck},
		{"bits reread at resume", (*bench).testBitsReread},
		{"table cleared before its first resume", (*bench).testCleared},
		{"table on its way out", (*bench).testDying},
		{"frozen", (*bench).testFrozen},
	}
}

// ofChanges is what happens when the table of a live mirror is exchanged for another.
func ofChanges() []promise {
	return []promise{
		{"add legs to a live mirror", (*bench).testSwitchAttach},
		{"bits written in the window", (*bench).testSwitchBits},
		{"remove a leg from a live mirror", (*bench).testSwitchRemove},
		{"leave a live mirror for one leg", (*bench).testSwitchLinear},
		{"rename a live mirror", (*bench).testSwitchRename},
		{"change the rate of a recovery", (*bench).testSwitchRate},
		{"bring a failed leg back", (*bench).testSwitchReturned},
		{"give a change up in the window", (*bench).testSwitchAbort},
		{"give a change up with the leg in order", (*bench).testSwitchRevived},
		{"leg that fails while it is filled", (*bench).testSwitchFailedTarget},
		{"drop a table that waits", (*bench).testSwitchCleared},
		{"fill a leg while another is missing", (*bench).testSwitchDegraded},
		{"keep a place for a leg that is never there", (*bench).testVacant},
		{"three legs after an unclean stop", (*bench).testAllInSync},
		{"grow a mirror", (*bench).testGrow},
		{"grow a linear device", (*bench).testGrowLinear},
	}
}

// bench is one test of the contract.
type bench struct {
	testing.TB
	lab Lab
	k   DeviceMapper
	ctx context.Context
}

// must fails the test on an error.
func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// wants checks the error of an operation.
func (b *bench) wants(what string, err, want error) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Errorf("%s: %v, want %v", what, err, want)
	}
}

// same compares values.
func (b *bench) same(what string, want, got any) {
	b.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// create makes a device without a table. It is removed with the test, resumed first where it is suspended.
func (b *bench) create() string {
	b.Helper()
	name := b.lab.Name()
	_, err := b.k.Create(b.ctx, name, "CONTRACT-"+name)
	b.must(err)
	b.Cleanup(func() { b.takeDown(name) })
	return name
}

func (b *bench) takeDown(name string) {
	ctx := context.Background()
	info, err := b.k.Info(ctx, name)
	if errors.Is(err, dm.ErrNotExist) {
		return
	}
	if err == nil && info.Suspended && info.Live {
		err = errors.Join(b.k.Clear(ctx, name), b.k.Resume(ctx, name, dm.Private))
	}
	if err := errors.Join(err, b.k.Remove(ctx, name)); err != nil {
		b.Errorf("take down: %v", err)
	}
}

// swap loads a table and resumes with it.
func (b *bench) swap(name string, t dm.Table) {
	b.Helper()
	b.must(b.k.Load(b.ctx, name, t))
	b.must(b.k.Resume(b.ctx, name, dm.Private))
}

// device makes a device that runs a table.
func (b *bench) device(t dm.Table) string {
	b.Helper()
	name := b.create()
	b.swap(name, t)
	return name
}

// info is the state of a device.
func (b *bench) info(name string) dm.Info {
	b.Helper()
	info, err := b.k.Info(b.ctx, name)
	b.must(err)
	return info
}

// eventually waits until ready says nil.
func (b *bench) eventually(what string, ready func() error) {
	b.Helper()
	var err error
	for range passes {
		if err = ready(); err == nil {
			return
		}
		b.lab.Pass()
	}
	b.Fatalf("%s: %v", what, err)
}

// rest lets so much time pass that whatever was going to happen has happened.
func (b *bench) rest() {
	for range 50 {
		b.lab.Pass()
	}
}

// linearOn is a table that maps a whole device onto dev.
func linearOn(dev devno.No, offset, length size.Sectors) dm.Table {
	return dm.Table{{Length: length, Target: dm.Linear{Dev: dev, Offset: offset}}}
}

// fill writes one byte all over a range.
func (b *bench) fill(to io.WriterAt, value byte, off, length int64) {
	b.Helper()
	_, err := to.WriteAt(bytes.Repeat([]byte{value}, int(length)), off)
	b.must(err)
}

// letters is one letter for each unit of a device: the byte that fills it, or "?" where it is mixed.
func (b *bench) letters(from io.ReaderAt, units int, unit int64) string {
	b.Helper()
	text := make([]byte, units)
	buf := make([]byte, unit)
	for i := range text {
		_, err := from.ReadAt(buf, int64(i)*unit)
		b.must(err)
		switch {
		case !bytes.Equal(buf[1:], buf[:unit-1]):
			text[i] = '?'
		case buf[0] == 0:
			text[i] = '.'
		default:
			text[i] = buf[0]
		}
	}
	return string(text)
}

// line is the status line of a device with one segment.
func (b *bench) line(name string) string {
	b.Helper()
	status, err := b.k.Status(b.ctx, name)
	b.must(err)
	info, err := b.k.Info(b.ctx, name)
	b.must(err)
	info.Event, status.Event = 0, 0 // an event may come in between
	b.same("state that comes with the status", info, status.Info)
	if len(status.Targets) != 1 {
		b.Fatalf("status of %s: %+v, want one segment", name, status)
	}
	return status.Targets[0].Line
}

// happens waits for an event of a device. The kernel raises it shortly after the change that it reports (md's event_work).
func (b *bench) happens(name string, before uint32) {
	b.Helper()
	b.eventually("event", func() error {
		if b.info(name).Event == before {
			return errors.New("none")
		}
		return nil
	})
}

// shows waits for a status line.
func (b *bench) shows(name, want string) {
	b.Helper()
	b.eventually("status", func() error {
		if got := b.line(name); got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}
