package integration

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// brittle is a drive that fails and heals as a test wants it: a device-mapper device over a loop device.
type brittle struct {
	t      testing.TB
	name   string // of the device-mapper device
	path   string
	other  string // name of a second device, as which the drive can come back
	loop   string
	length size.Sectors
}

// newBrittle makes a drive that works.
func newBrittle(t testing.TB, name string, length size.Bytes) *brittle {
	t.Helper()
	b := &brittle{t: t, name: "lab-" + name, loop: newLoop(t, length, 512), length: length.Sectors()}
	b.path, b.other = newMapping(t, name, b.linear()), "lab-"+name+"-other"
	newMapping(t, name+"-other", b.over("zero", ""))
	return b
}

// over is a table of one segment.
func (b *brittle) over(target, args string) dm.Table {
	return dm.Table{{Length: b.length, Target: dm.Other{Name: target, Args: args}}}
}

func (b *brittle) linear() dm.Table { return b.over("linear", b.loop+" 0") }

// become gives the drive another table, as a drive changes its mind: without waiting for anybody.
func (b *brittle) become(table dm.Table) {
	b.t.Helper()
	if err := b.turnInto(table); err != nil {
		b.t.Fatal(err)
	}
}

// turnInto is become for any goroutine.
func (b *brittle) turnInto(table dm.Table) error {
	for _, args := range [][]string{
		{"suspend", "--noflush", "--nolockfs", b.name},
		{"load", b.name, "--table", table.String()},
		{"resume", "--noflush", "--nolockfs", b.name},
	} {
		if out, err := tryTool(b.t, "dmsetup", args...); err != nil {
			return fmt.Errorf("dmsetup %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// heal lets the drive work again, with what it held when it failed.
func (b *brittle) heal() {
	b.t.Helper()
	b.become(b.linear())
}

// pull makes every read and write fail, as with a drive that is gone. The loop device stays held, so that nobody takes that
// for the drive.
func (b *brittle) pull() {
	b.t.Helper()
	b.become(b.pulled())
}

func (b *brittle) pulled() dm.Table { return b.over("flakey", b.loop+" 0 0 60") }

// wearOut makes every write fail.
func (b *brittle) wearOut() {
	b.t.Helper()
	b.become(b.wornOut())
}

func (b *brittle) wornOut() dm.Table { return b.over("flakey", b.loop+" 0 0 60 1 error_writes") }

// flickering is a drive that works for a second, and then fails for one, over and over.
func (b *brittle) flickering() dm.Table { return b.over("flakey", b.loop+" 0 1 1") }

// slowDown holds up every write.
func (b *brittle) slowDown(by time.Duration) {
	b.t.Helper()
	b.become(b.slow(by))
}

func (b *brittle) slow(by time.Duration) dm.Table {
	return b.over("delay", fmt.Sprintf("%s 0 0 %s 0 %d", b.loop, b.loop, by.Milliseconds()))
}

// spoil makes a few sectors unreadable.
func (b *brittle) spoil(at size.Sectors) {
	b.t.Helper()
	const length = 8
	b.become(dm.Table{
		{Length: at, Target: dm.Other{Name: "linear", Args: b.loop + " 0"}},
		{Start: at, Length: length, Target: dm.Other{Name: "error"}},
		{Start: at + length, Length: b.length - at - length, Target: dm.Other{Name: "linear", Args: fmt.Sprintf("%s %d", b.loop, at+length)}},
	})
}

// replug makes the drive come back as another device, as one that is pulled and plugged in does. The old device stays.
func (b *brittle) replug() {
	b.t.Helper()
	b.become(b.over("error", ""))
	b.name, b.other = b.other, b.name
	b.path = "/dev/mapper/" + b.name
	b.heal()
}

// brittleRig is n drives, each of which can be made to fail.
func brittleRig(t testing.TB, n int, length size.Bytes) (*rig, []*brittle) {
	t.Helper()
	newLab(t)
	var drives []*brittle
	var paths []string
	for i := range n {
		drives = append(drives, newBrittle(t, fmt.Sprintf("brittle%d", i), length))
		paths = append(paths, drives[i].path)
	}
	r := rigOn(t, paths...)
	t.Cleanup(func() {
		for _, b := range drives {
			b.heal() // what comes after, takeDown among it, is about healthy drives
		}
	})
	return r, drives
}

// awaitLoss waits until the kernel has given up so many legs of a LUN that is written to.
func (r *rig) awaitLoss(name string, legs int) {
	r.t.Helper()
	waitFor(r.t, "the kernel to give a leg up", 20*time.Second, func() bool {
		failed := 0
		for _, letter := range r.raidStatus(name).Health {
			if letter == dm.LegFailed {
				failed++
			}
		}
		return failed == legs
	})
}

// statusSays runs plexctl status, which must end with the exit status and say every one of the texts.
func (r *rig) statusSays(status int, says ...string) {
	r.t.Helper()
	r.refuse(status, []string{"status"}, says...)
}

// crash takes the devices of a LUN away without a word to plexctl. Nobody may have it open.
func (r *rig) crash(name string) {
	r.t.Helper()
	list, err := r.control.List(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	runTool(r.t, "dmsetup", "remove", "--retry", "plex-"+name)
	_ = os.Remove("/dev/mapper/plex-" + name) // no udevd did it
	for _, d := range list {
		if strings.HasPrefix(d.Name, "plex-"+name+":") {
			runTool(r.t, "dmsetup", "remove", "--retry", d.Name)
		}
	}
}

// failsWith fails the test unless an error has a code.
func failsWith(t testing.TB, what string, err error, code vds.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%s: %v, want %v", what, err, code)
	}
}
