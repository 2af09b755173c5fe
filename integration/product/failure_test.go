package product

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// mirrorOn makes a LUN with plexes on the first n drives, and starts a writer on its first few MiB.
func mirrorOn(r *lab.Rig, name string, n int) *lab.Live {
	r.T.Helper()
	l := &lab.Live{Rig: r, LUN: r.Create(name, cut.FailLength, 0)}
	lab.FillWith(r.T, "/dev/mapper/plex-"+name, "what was there before ", cut.FailLength)
	for drive := 1; drive < n; drive++ {
		r.AddOn(l.LUN, drive)
	}
	lab.FillWith(r.T, "/dev/mapper/plex-"+name, "\x00", cut.FailHot) // as the writer's check wants it
	l.Writer = lab.StartWriter(r.T, "/dev/mapper/plex-"+name, cut.FailHot)
	l.More(20)
	return l
}

// A leg is lost while the LUN is in use, comes back, and gets what was written meanwhile, and no more. With PLEXCTL_SWEEP it
// comes back while the writer is at work after every kind of loss; without, after one, and the plainest kind is left out.
//
//gate:kernels others
func TestRecoverCopiesOnlyWhatWasMissed(t *testing.T) {
	kinds := map[string]struct{ fail, back func(b *lab.Brittle) }{
		"pulled":                    {(*lab.Brittle).Pull, (*lab.Brittle).Heal},
		"worn out":                  {(*lab.Brittle).WearOut, (*lab.Brittle).Heal},
		"back under another number": {(*lab.Brittle).Pull, (*lab.Brittle).Replug},
	}
	for name, kind := range kinds {
		if name == "pulled" && !sweep.On() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
			l := mirrorOn(r, "web1", 2)
			for _, busy := range []bool{true, false} {
				if busy && name != "worn out" && !sweep.On() {
					continue
				}
				kind := kind
				if busy {
					kind.back = (*lab.Brittle).Heal
				}
				kind.fail(drives[1])
				r.AwaitLoss("web1", 1)
				l.More(50)
				r.StatusSays(20, "failed-redundancy")
				if !busy {
					l.Writer.Stop()
				}
				kind.back(drives[1])
				r.Drives[1] = drives[1].Path
				before := lab.WrittenTo(t, drives[1].Loop)
				r.Run("lun", "recover", "web1", "--wait")
				copied := lab.WrittenTo(t, drives[1].Loop) - before
				t.Logf("writer at work: %v; written to the leg by and during the recovery: %v", busy, copied)
				if !busy && copied > cut.FailHot+lab.Overhead {
					t.Errorf("%v were written to the leg, though %v were missing", copied, cut.FailHot)
				}
				l.Verify("recover", 2)
			}
			nothingToRecover(l)
			t.Logf("writer: %v", l.Writer.Finish(t))
		})
	}
}

// nothingToRecover recovers a LUN that has lost nothing: that succeeds, and nothing changes.
func nothingToRecover(l *lab.Live) {
	l.T.Helper()
	before := l.Tables()
	op, err := l.LUN.Recover(l.T.Context())
	if err != nil {
		l.T.Fatal(err)
	}
	if st, err := op.QueryStatus(l.T.Context()); err != nil || st.Result != vds.OK || op.Type != vds.AsyncRecoverLUN {
		l.T.Errorf("nothing to recover: %+v, %v", st, err)
	}
	l.End(op, nil)
	if diff := cmp.Diff(before, l.Tables()); diff != "" {
		l.T.Errorf("tables (-before +after):\n%s", diff)
	}
}

// A mirror that has lost a leg gets another plex, and then gives the lost one up.
//
//gate:kernels bare
func TestAttachRepairsADegradedMirror(t *testing.T) {
	r, drives := lab.BrittleRig(t, 3, cut.FailDrive)
	room := r.Free(1)
	l := mirrorOn(r, "web1", 2)
	drives[1].WearOut()
	r.AwaitLoss("web1", 1)
	spare := r.Create("spare", cut.FailLength+4*size.MiB, 2)
	r.End(l.LUN.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{}))
	l.More(20)
	r.StatusSays(20, "failed-redundancy")
	drives[1].Heal()
	r.RemoveFrom(l.LUN, 1)
	l.Verify("replace a lost plex", 2)
	if got := r.Free(1); got != room {
		t.Errorf("the drive of the lost plex has %v free, want %v", got, room)
	}

	drives[0].Pull() // the first plex, from which everything was copied
	r.AwaitLoss("web1", 1)
	l.More(20)
	r.AddOn(l.LUN, 1)
	lost := l.LUN
	record := r.Record("web1")
	if _, err := lost.RemovePlex(t.Context(), record.Plexes[0].ID); err != nil {
		t.Fatalf("remove a plex whose drive is gone: %v", err)
	}
	l.Verify("replace a plex whose drive is gone", 2)
	drives[0].Heal()
	r.Run("assemble") // the drive learns of what has become of its plex
	if got := r.Free(0); got != room {
		t.Errorf("the drive that came back has %v free, want %v", got, room)
	}
	t.Logf("writer: %v", l.Writer.Finish(t))
}

// A leg is lost before it is filled: the operation fails, and the plex counts for nothing until it is recovered or, with
// PLEXCTL_SWEEP, removed.
//
//gate:kernels others
func TestLegLostInMidCopy(t *testing.T) {
	for _, then := range []string{"recover", "remove"}[:lab.Rounds(1, 2)] {
		t.Run(then, func(t *testing.T) {
			r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
			l := r.LiveOn("web1", cut.FailLength, 0)
			drives[1].SlowDown(20 * time.Millisecond)
			op, err := l.LUN.AddNewPlex(t.Context(), []string{r.Drives[1]}, lun.AttachOptions{})
			if err != nil {
				t.Fatal(err)
			}
			l.More(20)
			drives[1].WearOut()
			lab.FailsWith(t, "the operation", op.Wait(lab.Within(t, lab.SyncLimit)), vds.ErrObjectStatusFailed)
			r.StatusSays(20, "failed-redundancy", "failed")
			drives[1].Heal()
			r.Run("assemble")
			l.More(20)
			if then == "remove" {
				r.RemoveFrom(l.LUN, 1)
				l.Verify("remove", 1)
				return
			}
			before := lab.WrittenTo(t, drives[1].Loop)
			r.End(l.LUN.Recover(t.Context()))
			if copied := lab.WrittenTo(t, drives[1].Loop) - before; copied < cut.FailLength {
				t.Errorf("%v were copied to a plex that was never filled, want all %v", copied, cut.FailLength)
			}
			l.Verify("recover", 2)
		})
	}
}

// The only plex with the data has a sector that cannot be read: the operation ends, the LUN goes on, and once the sector is
// well the plex is filled.
//
//gate:kernels bare
func TestUnreadableSectorOfTheSource(t *testing.T) {
	r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 1)
	drives[0].Unreadable(r.Record("web1").Plexes[0].Data[0].Start.Bytes()+20*size.MiB, 4*size.KiB)
	op, err := l.LUN.AddNewPlex(t.Context(), []string{r.Drives[1]}, lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lab.FailsWith(t, "the operation", op.Wait(lab.Within(t, lab.SyncLimit)), vds.ErrIO)
	l.More(20)
	r.StatusSays(20, "failed-redundancy")
	drives[0].Heal()
	r.End(l.LUN.Recover(t.Context()))
	l.Verify("recover", 2)
}
