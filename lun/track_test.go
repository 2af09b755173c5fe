package lun_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// newTracked is a machine with n drives and a LUN web1 on the first one. LUNs on it are tracked.
func newTracked(t *testing.T, release dmtest.Release, n int) *world {
	t.Helper()
	w := newWorld(t, release, n)
	w.tracks()
	w.create("web1", lunSize, 0)
	return w
}

// tracks makes new LUNs tracked. All drives can zero by themselves, and are full of content.
func (w *world) tracks() {
	w.t.Helper()
	w.track = true
	for i, d := range w.p.Drives() {
		w.litters(i)
		w.mem.SetOffload(d.Info.Path, true)
	}
}

// thins makes all drives tell which parts are blank. They can zero by themselves, and all but the first have content in every
// MiB.
func (w *world) thins() {
	w.t.Helper()
	w.scannable()
	for _, d := range w.p.Drives() {
		w.mem.SetAllocation(d.Info.Path, true)
	}
}

// litters puts something into every MiB of a drive that has extents.
func (w *world) litters(drive int) {
	w.t.Helper()
	for at := 4 * size.MiB; at < driveSize-4*size.MiB; at += size.MiB {
		_, err := w.medium(drive).WriteAt(litter, int64(at+size.MiB/2))
		w.must(err)
	}
}

// litter is what every MiB of a drive that has extents has in its middle.
var litter = bytes.Repeat([]byte{0xA5}, block)

// ever is how much of a LUN was ever written.
func (w *world) ever(name string) size.Bytes {
	w.t.Helper()
	written, err := w.find(name).Written(w.t.Context())
	w.must(err)
	return written
}

// A tracked LUN knows its written regions through all changes, and new plexes get only those.
func TestTracked(t *testing.T) {
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		t.Run(string(release), func(t *testing.T) {
			w := newTracked(t, release, 3)
			w.knows(0)
			w.write(0)
			w.write(300)
			w.knows(2 * size.MiB)

			w.create("second", lunSize, 1)
			w.must(addPlex("web1", "second")(w))
			w.settle()
			w.knows(2 * size.MiB)
			w.write(600)
			w.knows(3 * size.MiB)

			w.must(removePlex(0)(w))
			w.knows(3 * size.MiB)
			w.must(addNewPlex(2, lun.Unlimited)(w))
			w.settle()
			w.knows(3 * size.MiB)

			w.cut(blocktest.Lost)
			w.assemble()
			w.settle()
			w.knows(3 * size.MiB)

			w.keep()
			w.must(split(1)(w))
			w.knows(3 * size.MiB)
			if got := w.ever("part"); got != 3*size.MiB {
				t.Errorf("of the part %s were ever written, want 3 MiB", got)
			}
			w.must(addPlex("web1", "part")(w))
			w.settle()
			w.knows(3 * size.MiB)

			w.must(extend(w))
			w.knows(3 * size.MiB)
			w.write(2000)
			w.knows(4 * size.MiB)
			broken(w, 1)
			w.write(900)
			w.settle()
			w.knows(5 * size.MiB)

			w.must(deactivate(w))
			w.damage(w.second("web1"), 3*block)
			w.assemble()
			w.rest()
			if got := w.objections(); !strings.Contains(got, "differs from plex 0 in the MiB at 0") {
				t.Errorf("a clean start has copied something: %q", got)
			}
			w.cut(blocktest.Kept)
			w.assemble()
			w.settle() // which has
			w.knows(5 * size.MiB)
			w.verify()
			w.oracle().inOrder()
		})
	}
}

// second is the number of the drive of the second plex of a LUN.
func (w *world) second(name string) int {
	w.t.Helper()
	drive, err := w.p.Drive(w.record(name).Plexes[1].Meta.Drive.String())
	w.must(err)
	return int(drive.Info.Path[len(drive.Info.Path)-1] - 'a')
}

// knows checks how much of web1 counts as written.
func (w *world) knows(want size.Bytes) {
	w.t.Helper()
	if got := w.ever("web1"); got != want {
		w.t.Errorf("%s of web1 were ever written, want %s", got, want)
	}
}

// If the drive of the new plex cannot zero by itself, everything is copied, and the LUN is no longer tracked.
func TestTrackedNoOffload(t *testing.T) {
	w := newTracked(t, dmtest.Linux6_12, 2)
	w.mem.SetOffload(w.path(1), false)
	w.write(0)
	w.create("second", lunSize, 1)
	w.must(addPlex("web1", "second")(w))
	if w.record("web1").Tracked() {
		t.Error("web1 is still tracked")
	}
	w.settle()
	w.verify()
	w.oracle().inOrder()
	w.knows(lunSize)
}

// A drive that claims to zero by itself, and then refuses, gets everything.
func TestTrackedOffloadRefused(t *testing.T) {
	w := newTracked(t, dmtest.Linux6_12, 2)
	w.write(0)
	w.create("second", lunSize, 1)
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == "load" && e.Object == "plex-web1" {
			w.mem.SetOffload(w.path(1), false)
		}
		return nil
	}
	w.must(addPlex("web1", "second")(w))
	w.mem.OnEffect = nil
	w.settle()
	w.verify()
	w.oracle().inOrder()
	w.knows(lunSize)
}

// A LUN on several drives cannot get another plex, so tracking it is refused.
func TestTrackedSpan(t *testing.T) {
	w := newTracked(t, dmtest.Linux6_12, 3)
	spec := lun.Spec{Name: "wide", Size: 26 * size.MiB, Drives: []string{w.path(1), w.path(2)}, Track: true}
	if _, err := w.p.CreateLUN(t.Context(), spec); vds.CodeOf(err) != vds.ErrNotSupported {
		t.Errorf("create: %v", err)
	}
}

// Unallocated regions are not copied to a drive that has zeroed them, for one new plex and for several. Regions that are
// written meanwhile are copied.
func TestThin(t *testing.T) {
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		t.Run(string(release), func(t *testing.T) {
			w := newWorld(t, release, 3)
			w.thins()
			w.create("web1", lunSize, 0)
			w.write(300)
			w.write(600)
			for i, name := range []string{"second", "third"} {
				w.create(name, lunSize, i+1)
				w.must(addPlex("web1", name)(w))
				if got := w.oracle().slot(w.record("web1").Plexes[0]).Bitmap.Bits.Count(); got != uint64(i+2) {
					t.Errorf("%d regions are copied to %s, want %d", got, name, i+2)
				}
				w.write(900) // is known not to be blank in the next round
				w.write(300)
				w.settle()
				w.write(300)
				w.verify()
				w.oracle().inOrder()
				w.must(deactivate(w)) // empties the bitmaps
				w.assemble()
				w.rest()
			}
		})
	}
}

// Regions that are written between the survey and the swap are copied.
func TestThinWriteMeanwhile(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 2)
	w.thins()
	w.create("web1", lunSize, 0)
	w.create("second", lunSize, 1)
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == "load" && e.Object == "plex-web1" {
			w.write(1000)
		}
		return nil
	}
	w.must(addPlex("web1", "second")(w))
	w.mem.OnEffect = nil
	w.settle()
	w.verify()
	w.oracle().inOrder()
}

// Regions that are written while the drive of the new plex zeroes them are copied too.
func TestTrackedWriteMeanwhile(t *testing.T) {
	w := newTracked(t, dmtest.Linux6_12, 2)
	w.write(0)
	w.create("second", lunSize, 1)
	wrote := false
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == "zero" && !wrote {
			wrote = true
			w.write(1000)
		}
		return nil
	}
	w.must(addPlex("web1", "second")(w))
	w.mem.OnEffect = nil
	w.settle()
	w.verify()
	w.oracle().inOrder()
	w.knows(2 * size.MiB)
}

// The drive of a source has zeroed parts of it for an attachment that failed. The source is given back with zeroed ends.
func TestRuinedSource(t *testing.T) {
	ruined := 0
	for nth := 1; ; nth++ {
		w := newTracked(t, dmtest.Linux6_12, 2)
		w.write(0)
		w.create("second", lunSize, 1)
		at := int64(w.record("second").Plexes[0].Data[0].Start.Bytes())
		_, err := w.medium(1).WriteAt(litter, at) // what a user has written
		w.must(err)
		kernel := &refusing{Kernel: w.kernel, nth: nth}
		p, err := lun.Open(t.Context(), lun.Options{Kernel: kernel, Devices: w.mem, LockPath: w.lock})
		w.must(err)
		zeroed := false
		w.mem.OnEffect = func(e blocktest.Effect) error { zeroed = zeroed || e.Kind == "zero"; return nil }
		err = w.on(p, addPlex("web1", "second"))
		w.mem.OnEffect = nil
		p.Close()
		if kernel.calls < nth {
			break
		}
		w.restart()
		w.assemble()
		if l, findErr := w.p.LUN("second"); err != nil && findErr == nil && zeroed && l.Name() == "second" {
			ruined++
			first := make([]byte, block)
			_, err := w.medium(1).ReadAt(first, at)
			w.must(err)
			if !allZero(first) {
				t.Errorf("call %d refused: the source has zeros in its middle, and its beginning", nth)
			}
		}
	}
	if ruined == 0 {
		t.Error("no source was given back after it had been zeroed")
	}
}

// Nothing remains of a tracked LUN whose zeroing is cancelled.
func TestTrackedGivenUp(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	ctx, cancel := context.WithCancel(t.Context())
	w.mem.OnEffect = func(blocktest.Effect) error {
		cancel()
		time.Sleep(10 * time.Millisecond) // for it to get around
		return nil
	}
	_, err := w.p.CreateLUN(ctx, lun.Spec{Name: "web1", Size: lunSize, Drives: []string{w.path(0)}, Track: true})
	w.mem.OnEffect = nil
	if !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
	w.restart()
	if luns := w.p.LUNs(); len(luns) != 0 || len(w.devices()) != 0 {
		t.Errorf("%d LUNs and devices %v are left", len(luns), w.devices())
	}
	expired, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := w.p.CreateLUN(expired, lun.Spec{Name: "web1", Size: lunSize, Track: true}); err != nil {
		t.Error(err)
	}
}
