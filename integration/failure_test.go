package integration

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// What the tests of failing drives agree on: a LUN of which only the first few MiB are written to, and how much may be written
// to a drive beyond what is copied: catalogs, superblocks, bitmaps.
const (
	failDrive  = 64 * size.MiB
	failLength = 40 * size.MiB
	failHot    = 3 * size.MiB
	overhead   = 2 * size.MiB
)

// mirrorOn makes a LUN with plexes on the first n drives, and starts a writer on its first few MiB.
func (r *rig) mirrorOn(name string, n int) *live {
	r.t.Helper()
	l := &live{rig: r, l: r.create(name, failLength, 0)}
	fillWith(r.t, "/dev/mapper/plex-"+name, "what was there before ", failLength)
	for drive := 1; drive < n; drive++ {
		r.addOn(l.l, drive)
	}
	fillWith(r.t, "/dev/mapper/plex-"+name, "\x00", failHot) // as the writer's check wants it
	l.w = startWriter(r.t, "/dev/mapper/plex-"+name, failHot)
	l.more(20)
	return l
}

// A leg is lost while the LUN is in use, comes back, and gets what was written meanwhile, and no more. With PLEXCTL_SWEEP it
// comes back while the writer is at work after every kind of loss; without, after one, and the plainest kind is left out.
func TestRecoverCopiesOnlyWhatWasMissed(t *testing.T) {
	kinds := map[string]struct{ fail, back func(b *brittle) }{
		"pulled":                    {(*brittle).pull, (*brittle).heal},
		"worn out":                  {(*brittle).wearOut, (*brittle).heal},
		"back under another number": {(*brittle).pull, (*brittle).replug},
	}
	for name, kind := range kinds {
		if name == "pulled" && !sweep.On() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r, drives := brittleRig(t, 2, failDrive)
			l := r.mirrorOn("web1", 2)
			for _, busy := range []bool{true, false} {
				if busy && name != "worn out" && !sweep.On() {
					continue
				}
				kind := kind
				if busy {
					kind.back = (*brittle).heal
				}
				kind.fail(drives[1])
				r.awaitLoss("web1", 1)
				l.more(50)
				r.statusSays(20, "failed-redundancy")
				if !busy {
					l.w.stop()
				}
				kind.back(drives[1])
				r.drives[1] = drives[1].path
				before := writtenTo(t, drives[1].loop)
				r.run("lun", "recover", "web1", "--wait")
				copied := writtenTo(t, drives[1].loop) - before
				t.Logf("writer at work: %v; written to the leg by and during the recovery: %v", busy, copied)
				if !busy && copied > failHot+overhead {
					t.Errorf("%v were written to the leg, though %v were missing", copied, failHot)
				}
				l.verify("recover", 2)
			}
			l.nothingToRecover()
			t.Logf("writer: %v", l.w.finish(t))
		})
	}
}

// nothingToRecover recovers a LUN that has lost nothing: that succeeds, and nothing changes.
func (l *live) nothingToRecover() {
	l.t.Helper()
	before := l.tables()
	op, err := l.l.Recover(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	if st, err := op.QueryStatus(l.t.Context()); err != nil || st.Result != vds.OK || op.Type != vds.AsyncRecoverLUN {
		l.t.Errorf("nothing to recover: %+v, %v", st, err)
	}
	l.end(op, nil)
	if diff := cmp.Diff(before, l.tables()); diff != "" {
		l.t.Errorf("tables (-before +after):\n%s", diff)
	}
}

// A mirror that has lost a leg gets another plex, and then gives the lost one up.
func TestAttachRepairsADegradedMirror(t *testing.T) {
	r, drives := brittleRig(t, 3, failDrive)
	room := r.free(1)
	l := r.mirrorOn("web1", 2)
	drives[1].wearOut()
	r.awaitLoss("web1", 1)
	spare := r.create("spare", failLength+4*size.MiB, 2)
	r.end(l.l.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{}))
	l.more(20)
	r.statusSays(20, "failed-redundancy")
	drives[1].heal()
	r.removeFrom(l.l, 1)
	l.verify("replace a lost plex", 2)
	if got := r.free(1); got != room {
		t.Errorf("the drive of the lost plex has %v free, want %v", got, room)
	}

	drives[0].pull() // the first plex, from which everything was copied
	r.awaitLoss("web1", 1)
	l.more(20)
	r.addOn(l.l, 1)
	lost := l.l
	record := r.record("web1")
	if _, err := lost.RemovePlex(t.Context(), record.Plexes[0].ID); err != nil {
		t.Fatalf("remove a plex whose drive is gone: %v", err)
	}
	l.verify("replace a plex whose drive is gone", 2)
	drives[0].heal()
	r.run("assemble") // the drive learns of what has become of its plex
	if got := r.free(0); got != room {
		t.Errorf("the drive that came back has %v free, want %v", got, room)
	}
	t.Logf("writer: %v", l.w.finish(t))
}

// A leg is lost before it is filled: the operation fails, and the plex counts for nothing until it is recovered or, with
// PLEXCTL_SWEEP, removed.
func TestLegLostInMidCopy(t *testing.T) {
	for _, then := range []string{"recover", "remove"}[:rounds(1, 2)] {
		t.Run(then, func(t *testing.T) {
			r, drives := brittleRig(t, 2, failDrive)
			l := r.liveOn("web1", failLength, 0)
			drives[1].slowDown(20 * time.Millisecond)
			op, err := l.l.AddNewPlex(t.Context(), []string{r.drives[1]}, lun.AttachOptions{})
			if err != nil {
				t.Fatal(err)
			}
			l.more(20)
			drives[1].wearOut()
			failsWith(t, "the operation", op.Wait(within(t, syncLimit)), vds.ErrObjectStatusFailed)
			r.statusSays(20, "failed-redundancy", "failed")
			drives[1].heal()
			r.run("assemble")
			l.more(20)
			if then == "remove" {
				r.removeFrom(l.l, 1)
				l.verify("remove", 1)
				return
			}
			before := writtenTo(t, drives[1].loop)
			r.end(l.l.Recover(t.Context()))
			if copied := writtenTo(t, drives[1].loop) - before; copied < failLength {
				t.Errorf("%v were copied to a plex that was never filled, want all %v", copied, failLength)
			}
			l.verify("recover", 2)
		})
	}
}

// The only plex with the data has a sector that cannot be read: the operation ends, the LUN goes on, and once the sector is
// well the plex is filled.
func TestUnreadableSectorOfTheSource(t *testing.T) {
	r, drives := brittleRig(t, 2, failDrive)
	l := r.mirrorOn("web1", 1)
	drives[0].spoil(r.record("web1").Plexes[0].Data[0].Start + (20 * size.MiB).Sectors())
	op, err := l.l.AddNewPlex(t.Context(), []string{r.drives[1]}, lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	failsWith(t, "the operation", op.Wait(within(t, syncLimit)), vds.ErrIO)
	l.more(20)
	r.statusSays(20, "failed-redundancy")
	drives[0].heal()
	r.end(l.l.Recover(t.Context()))
	l.verify("recover", 2)
}
