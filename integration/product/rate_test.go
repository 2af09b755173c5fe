package product

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// copiesAt fails the test unless about rate a second is written to a drive. The kernel counts over seconds, and so do we.
func copiesAt(r *lab.Rig, drive int, rate size.Bytes) {
	r.T.Helper()
	const seconds = 5
	from := lab.WrittenTo(r.T, r.Drives[drive])
	time.Sleep(seconds * time.Second)
	got := (lab.WrittenTo(r.T, r.Drives[drive]) - from) / seconds
	r.T.Logf("limited to %v a second: %v a second", rate, got)
	if got < rate/4 || got > 2*rate {
		r.T.Errorf("%v a second are copied, want about %v", got, rate)
	}
}

// standsStill fails the test unless next to nothing is written to a drive and the operation of the LUN has not ended.
func standsStill(r *lab.Rig, name string, drive int) {
	r.T.Helper()
	from := lab.WrittenTo(r.T, r.Drives[drive])
	time.Sleep(3 * time.Second)
	if got := lab.WrittenTo(r.T, r.Drives[drive]) - from; got > size.MiB {
		r.T.Errorf("%v were copied in 3 s though the copy is paused", got)
	}
	if r.Record(name).Operation == nil {
		r.T.Error("the paused operation has ended")
	}
}

// queued fails the test unless the LUN has an operation that waits for others, or one that does not.
func queued(r *lab.Rig, name string, want bool) {
	r.T.Helper()
	if op := r.Record(name).Operation; op == nil || op.Queued != want {
		r.T.Errorf("operation of %s: %+v, want one that is queued: %v", name, op, want)
	}
}

// A rate holds from the first second on. Set anew it holds for what is left, and nothing is copied twice.
//
//gate:kernels bare
func TestRate(t *testing.T) {
	r := lab.NewRig(t, 2, cut.FailDrive)
	l := r.Create("web1", cut.FailLength, 0)
	lab.FillWith(t, "/dev/mapper/plex-web1", "what has to be copied ", cut.FailLength)
	from := lab.WrittenTo(t, r.Drives[1])
	op, err := l.AddNewPlex(t.Context(), r.Drives[1:], lun.AttachOptions{Rate: size.MiB})
	if err != nil {
		t.Fatal(err)
	}
	copiesAt(r, 1, size.MiB)
	r.Run("op", "set-rate", "web1", "paused")
	standsStill(r, "web1", 1)
	r.Run("op", "set-rate", "web1", "3MiB")
	copiesAt(r, 1, 3*size.MiB)
	r.Run("op", "set-rate", "web1", "max")
	r.End(op, nil)
	if got := lab.WrittenTo(t, r.Drives[1]) - from; got < cut.FailLength || got > cut.FailLength*5/4 {
		t.Errorf("%v were written to the new plex of %v", got, cut.FailLength)
	}
	r.Whole("filled", "web1", 2)
}

// A plex that is never filled is cancelled: its room is free again.
//
//gate:kernels bare
func TestCancelOfAPausedPlex(t *testing.T) {
	r := lab.NewRig(t, 2, cut.FailDrive)
	l := r.LiveOn("web1", cut.FailHot, 0)
	before, room := r.Tables(), r.Free(1)
	r.Run("plex", "add", "web1", "--drive", r.Drives[1], "--rate", "paused")
	l.More(20)
	r.Refuse(10, []string{"op", "wait", "web1", "--timeout", "3s"})
	if r.Free(1) >= room {
		t.Error("the new plex takes no room")
	}
	r.Run("op", "cancel", "web1", "--yes")
	if got := r.Free(1); got != room {
		t.Errorf("the drive has %v free, want %v", got, room)
	}
	if diff := cmp.Diff(before, r.Tables()); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	l.Verify("cancel", 1)
}

// Of two copies to a drive the second one waits for the first, and begins by itself while somebody waits for it. --now does
// not wait.
//
//gate:kernels bare
func TestCopiesToOneDriveQueue(t *testing.T) {
	r := lab.NewRig(t, 4, 96*size.MiB)
	for drive, name := range []string{"first", "second", "hasty"} {
		r.Create(name, 24*size.MiB, drive)
		lab.FillWith(t, "/dev/mapper/plex-"+name, name+" ", 24*size.MiB)
	}
	r.Run("plex", "add", "first", "--drive", r.Drives[3], "--rate", "paused")
	r.Run("plex", "add", "second", "--drive", r.Drives[3])
	queued(r, "second", true)
	r.Run("plex", "add", "hasty", "--drive", r.Drives[3], "--now")
	queued(r, "hasty", false)
	r.Run("op", "wait", "hasty", "--timeout", lab.SyncLimit.String())
	r.Whole("--now", "hasty", 2)

	standsStill(r, "second", 3)
	queued(r, "first", false)
	queued(r, "second", true)
	r.Run("op", "set-rate", "first", "max")
	r.Run("op", "wait", "second", "--timeout", lab.SyncLimit.String())
	r.Run("op", "wait", "first", "--timeout", "1s") // it has ended
	r.Whole("the first", "first", 2)
	r.Whole("the second", "second", 2)
}
