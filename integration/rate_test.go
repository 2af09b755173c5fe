package integration

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// copiesAt fails the test unless about rate a second is written to a drive. The kernel counts over seconds, and so do we.
func (r *rig) copiesAt(drive int, rate size.Bytes) {
	r.t.Helper()
	const seconds = 5
	from := writtenTo(r.t, r.drives[drive])
	time.Sleep(seconds * time.Second)
	got := (writtenTo(r.t, r.drives[drive]) - from) / seconds
	r.t.Logf("limited to %v a second: %v a second", rate, got)
	if got < rate/4 || got > 2*rate {
		r.t.Errorf("%v a second are copied, want about %v", got, rate)
	}
}

// standsStill fails the test unless next to nothing is written to a drive and the operation of the LUN has not ended.
func (r *rig) standsStill(name string, drive int) {
	r.t.Helper()
	from := writtenTo(r.t, r.drives[drive])
	time.Sleep(3 * time.Second)
	if got := writtenTo(r.t, r.drives[drive]) - from; got > size.MiB {
		r.t.Errorf("%v were copied in 3 s though the copy is paused", got)
	}
	if r.record(name).Operation == nil {
		r.t.Error("the paused operation has ended")
	}
}

// queued fails the test unless the LUN has an operation that waits for others, or one that does not.
func (r *rig) queued(name string, want bool) {
	r.t.Helper()
	if op := r.record(name).Operation; op == nil || op.Queued != want {
		r.t.Errorf("operation of %s: %+v, want one that is queued: %v", name, op, want)
	}
}

// A rate holds from the first second on. Set anew it holds for what is left, and nothing is copied twice.
func TestRate(t *testing.T) {
	r := newRig(t, 2, failDrive)
	l := r.create("web1", failLength, 0)
	fillWith(t, "/dev/mapper/plex-web1", "what has to be copied ", failLength)
	from := writtenTo(t, r.drives[1])
	op, err := l.AddNewPlex(t.Context(), r.drives[1:], lun.AttachOptions{Rate: size.MiB})
	if err != nil {
		t.Fatal(err)
	}
	r.copiesAt(1, size.MiB)
	r.run("op", "set-rate", "web1", "paused")
	r.standsStill("web1", 1)
	r.run("op", "set-rate", "web1", "3MiB")
	r.copiesAt(1, 3*size.MiB)
	r.run("op", "set-rate", "web1", "max")
	r.end(op, nil)
	if got := writtenTo(t, r.drives[1]) - from; got < failLength || got > failLength*5/4 {
		t.Errorf("%v were written to the new plex of %v", got, failLength)
	}
	r.whole("filled", "web1", 2)
}

// A plex that is never filled is cancelled: its room is free again.
func TestCancelOfAPausedPlex(t *testing.T) {
	r := newRig(t, 2, failDrive)
	l := r.liveOn("web1", failHot, 0)
	before, room := r.tables(), r.free(1)
	r.run("plex", "add", "web1", "--drive", r.drives[1], "--rate", "paused")
	l.more(20)
	r.refuse(10, []string{"op", "wait", "web1", "--timeout", "3s"})
	if r.free(1) >= room {
		t.Error("the new plex takes no room")
	}
	r.run("op", "cancel", "web1", "--yes")
	if got := r.free(1); got != room {
		t.Errorf("the drive has %v free, want %v", got, room)
	}
	if diff := cmp.Diff(before, r.tables()); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	l.verify("cancel", 1)
}

// Of two copies to a drive the second one waits for the first, and begins by itself while somebody waits for it. --now does
// not wait.
func TestCopiesToOneDriveQueue(t *testing.T) {
	r := newRig(t, 4, 96*size.MiB)
	for drive, name := range []string{"first", "second", "hasty"} {
		r.create(name, 24*size.MiB, drive)
		fillWith(t, "/dev/mapper/plex-"+name, name+" ", 24*size.MiB)
	}
	r.run("plex", "add", "first", "--drive", r.drives[3], "--rate", "paused")
	r.run("plex", "add", "second", "--drive", r.drives[3])
	r.queued("second", true)
	r.run("plex", "add", "hasty", "--drive", r.drives[3], "--now")
	r.queued("hasty", false)
	r.run("op", "wait", "hasty", "--timeout", syncLimit.String())
	r.whole("--now", "hasty", 2)

	r.standsStill("second", 3)
	r.queued("first", false)
	r.queued("second", true)
	r.run("op", "set-rate", "first", "max")
	r.run("op", "wait", "second", "--timeout", syncLimit.String())
	r.run("op", "wait", "first", "--timeout", "1s") // it has ended
	r.whole("the first", "first", 2)
	r.whole("the second", "second", 2)
}
