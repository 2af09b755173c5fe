package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Brittle is a drive that fails and heals as a test wants it: a device-mapper device over a loop device.
type Brittle struct {
	T      testing.TB
	Name   string // of the device-mapper device
	Path   string
	old    string // name of the device that it was before it came back
	Loop   string
	Length size.Sectors
}

// NewBrittle makes a drive that works. Make it before the rig, so that LUNs are gone from it before it goes.
func NewBrittle(t testing.TB, name string, length size.Bytes) *Brittle {
	t.Helper()
	b := &Brittle{T: t, Name: "lab-" + name, Loop: NewLoop(t, length, 512), Length: length.Sectors()}
	t.Cleanup(func() {
		if b.old != "" {
			RunTool(t, "dmsetup", "remove", "--retry", b.Name)
		}
	})
	b.Path = NewMapping(t, name, b.Linear())
	return b
}

// over is a table of one segment.
func (b *Brittle) over(target, args string) dm.Table {
	return dm.Table{{Length: b.Length, Target: dm.Other{Name: target, Args: args}}}
}

// Linear is the table of a drive that works.
func (b *Brittle) Linear() dm.Table { return b.over("linear", b.Loop+" 0") }

// become gives the drive another table, as a drive changes its mind: without waiting for anybody.
func (b *Brittle) become(table dm.Table) {
	b.T.Helper()
	if err := b.TurnInto(table); err != nil {
		b.T.Fatal(err)
	}
}

// TurnInto is become for any goroutine.
func (b *Brittle) TurnInto(table dm.Table) error {
	for _, args := range [][]string{
		{"suspend", "--noflush", "--nolockfs", b.Name},
		{"load", b.Name, "--table", table.String()},
		{"resume", "--noflush", "--nolockfs", b.Name},
	} {
		if out, err := TryTool(b.T, "dmsetup", args...); err != nil {
			return fmt.Errorf("dmsetup %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// Heal lets the drive work again, with what it held when it failed.
func (b *Brittle) Heal() {
	b.T.Helper()
	b.become(b.Linear())
}

// Pull makes every read and write fail, as with a drive that is gone. The loop device stays held, so that nobody takes that
// for the drive.
func (b *Brittle) Pull() {
	b.T.Helper()
	b.become(b.Pulled())
}

// Pulled is the table of a drive on which every read and write fails.
func (b *Brittle) Pulled() dm.Table { return b.over("flakey", b.Loop+" 0 0 60") }

// WearOut makes every write fail.
func (b *Brittle) WearOut() {
	b.T.Helper()
	b.become(b.WornOut())
}

// WornOut is the table of a drive on which every write fails.
func (b *Brittle) WornOut() dm.Table { return b.over("flakey", b.Loop+" 0 0 60 1 error_writes") }

// Flickering is a drive that works for a second, and then fails for one, over and over.
func (b *Brittle) Flickering() dm.Table { return b.over("flakey", b.Loop+" 0 1 1") }

// SlowDown holds up every write.
func (b *Brittle) SlowDown(by time.Duration) {
	b.T.Helper()
	b.become(b.Slow(by))
}

// Slow is the table of a drive that holds up every write.
func (b *Brittle) Slow(by time.Duration) dm.Table {
	return b.over("delay", fmt.Sprintf("%s 0 0 %s 0 %d", b.Loop, b.Loop, by.Milliseconds()))
}

// Unreadable makes all reads and writes of a part of the drive fail.
func (b *Brittle) Unreadable(start, length size.Bytes) {
	b.T.Helper()
	b.spoil(start, length, dm.Other{Name: "error"})
}

// Unwritable makes writes to a part of the drive fail.
func (b *Brittle) Unwritable(start, length size.Bytes) {
	b.T.Helper()
	b.spoil(start, length, dm.Other{Name: "flakey", Args: fmt.Sprintf("%s %d 0 60 1 error_writes", b.Loop, start.Sectors())})
}

// spoil puts a target in the place of a part of the drive.
func (b *Brittle) spoil(start, length size.Bytes, target dm.Target) {
	b.T.Helper()
	good := func(from, to size.Sectors) dm.Segment {
		return dm.Segment{Start: from, Length: to - from, Target: dm.Other{Name: "linear", Args: fmt.Sprintf("%s %d", b.Loop, from)}}
	}
	table := dm.Table{{Start: start.Sectors(), Length: length.Sectors(), Target: target}}
	if start > 0 {
		table = append(dm.Table{good(0, start.Sectors())}, table...)
	}
	b.become(append(table, good((start+length).Sectors(), b.Length)))
}

// Replug makes the drive come back as another device, as one that is pulled and plugged in does, once. The old device stays.
func (b *Brittle) Replug() {
	b.T.Helper()
	if b.old != "" {
		b.T.Fatalf("%s has come back before", b.old)
	}
	b.become(b.over("error", ""))
	b.old, b.Name = b.Name, b.Name+"-again"
	b.Path = "/dev/mapper/" + b.Name
	RunTool(b.T, "dmsetup", "create", b.Name, "--table", b.Linear().String())
}

// Reblock gives the drive logical blocks of another length, 512 or 4096, as another controller may. For a moment the drive is
// gone: its loop device takes no such change while it is held.
func (b *Brittle) Reblock(block size.Bytes) {
	b.T.Helper()
	b.become(b.over("error", ""))
	Must(b.T, OnDevice(b.Loop, func(fd int) error { return unix.IoctlSetInt(fd, unix.LOOP_SET_BLOCK_SIZE, int(block)) }))
	b.Heal()
}

// BrittleRig is n drives, each of which can be made to fail.
func BrittleRig(t testing.TB, n int, length size.Bytes) (*Rig, []*Brittle) {
	t.Helper()
	NewLab(t)
	var drives []*Brittle
	var paths []string
	for i := range n {
		drives = append(drives, NewBrittle(t, fmt.Sprintf("brittle%d", i), length))
		paths = append(paths, drives[i].Path)
	}
	r := RigOn(t, paths...)
	t.Cleanup(func() {
		for _, b := range drives {
			b.Heal() // what comes after, TakeDown among it, is about healthy drives
		}
	})
	return r, drives
}

// AwaitLoss waits until the kernel has given up so many legs of a LUN that is written to.
func (r *Rig) AwaitLoss(name string, legs int) {
	r.T.Helper()
	WaitFor(r.T, "the kernel to give a leg up", 20*time.Second, func() bool {
		failed := 0
		for _, letter := range r.RaidStatus(name).Health {
			if letter == dm.LegFailed {
				failed++
			}
		}
		return failed == legs
	})
}

// StatusSays runs plexctl status, which must end with the exit status and say every one of the texts.
func (r *Rig) StatusSays(status int, says ...string) {
	r.T.Helper()
	r.Refuse(status, []string{"status"}, says...)
}

// Crash takes the devices of a LUN away without a word to plexctl. Nobody may have it open.
func (r *Rig) Crash(name string) {
	r.T.Helper()
	list, err := r.Control.List(r.T.Context())
	if err != nil {
		r.T.Fatal(err)
	}
	RunTool(r.T, "dmsetup", "remove", "--retry", "plex-"+name)
	_ = os.Remove("/dev/mapper/plex-" + name) // no udevd did it
	for _, d := range list {
		if strings.HasPrefix(d.Name, "plex-"+name+":") {
			RunTool(r.T, "dmsetup", "remove", "--retry", d.Name)
		}
	}
}

// FailsWith fails the test unless an error has a code.
func FailsWith(t testing.TB, what string, err error, code vds.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: %v, want %v", what, err, code)
	}
}
