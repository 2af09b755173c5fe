package codes

import (
	"context"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// TestAsyncPercent follows a copy with as many looks as there is time for: percent is 0 to 99 while it is pending, never
// falls, and is 100 with the end.
//
//gate:kernels bare
func TestAsyncPercent(t *testing.T) {
	r := lab.NewSmallRig(t, 2)
	l := r.CreateFull("web1", 0)
	op, err := l.AddNewPlex(t.Context(), r.Drives[1:], lun.AttachOptions{Rate: 4 * size.MiB})
	lab.Must(t, err)
	last, seen := 0, map[int]bool{}
	for deadline := time.Now().Add(lab.SyncLimit); ; {
		st, err := op.QueryStatus(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("status %+v, %v", st, err)
		}
		if !st.Pending() {
			break
		}
		if st.Percent < last || st.Percent > 99 || st.Result != vds.ErrOperationPending {
			t.Errorf("status %+v after %d %%", st, last)
		}
		last, seen[st.Percent] = st.Percent, true
	}
	r.Succeeded(op, nil)
	if len(seen) < 3 {
		t.Errorf("saw %d different percentages, want some", len(seen))
	}
	t.Logf("%d different percentages", len(seen))
}

// TestAsyncWait waits for one operation again and again: with a deadline that is too short, from several goroutines, and
// after the end.
//
//gate:kernels bare
func TestAsyncWait(t *testing.T) {
	r := lab.NewSmallRig(t, 2)
	l, op := r.Busy("web1", 0, 1)
	for range 2 {
		if err := op.Wait(lab.Briefly(t)); vds.CodeOf(err) != vds.ErrTimeout {
			t.Errorf("wait: %v, want VDS_E_TIMEOUT", err)
		}
	}
	ends := make(chan error)
	for range 3 {
		go func() { ends <- op.Wait(lab.Within(t, lab.SyncLimit)) }()
	}
	lab.Must(t, l.SetRate(t.Context(), lun.Unlimited))
	for range 3 {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	for range 20 {
		if err := op.Wait(over); err != nil {
			t.Fatalf("wait after the end, with a context that is over: %v", err)
		}
	}
	r.Succeeded(op, nil)
}

// TestAsyncTypes asks every call that returns a handle for its type, which is never unknown: when it has to copy, and when
// there was nothing to do.
//
//gate:kernels bare
func TestAsyncTypes(t *testing.T) {
	r := lab.NewSmallRig(t, 3)
	l := r.Create("web1", lab.SmallLUN, 0)
	calls := []struct {
		name   string
		number vds.AsyncType
		copies bool
		call   func() (*resync.Async, error)
	}{
		{"extend one plex", 54, false, func() (*resync.Async, error) { return l.Extend(t.Context(), size.MiB, nil) }},
		{"add a plex", 52, true, func() (*resync.Async, error) { return l.AddNewPlex(t.Context(), r.Drives[1:2], lun.AttachOptions{}) }},
		{"recover a healthy mirror", 56, false, func() (*resync.Async, error) { return l.Recover(t.Context()) }},
		{"extend a mirror", 54, true, func() (*resync.Async, error) { return l.Extend(t.Context(), size.MiB, nil) }},
		{"remove a plex", 53, false, func() (*resync.Async, error) { return l.RemovePlex(t.Context(), r.PlexOn(l, 1)) }},
	}
	for _, is := range calls {
		t.Run(is.name, func(t *testing.T) {
			op, err := is.call()
			lab.Must(t, err)
			if op.Type != is.number || op.LUN != l.ID() || op.Started.IsZero() {
				t.Errorf("operation %+v, want type %d", op.Descriptor, is.number)
			}
			st, err := op.QueryStatus(t.Context())
			if err != nil || !is.copies && (st.Result != vds.OK || st.Percent != 100) || st.Pending() && st.Percent > 99 {
				t.Errorf("status %+v, %v", st, err)
			}
			r.Succeeded(op, nil)
			again, err := r.Provider.Operation(op.ID.String())
			if is.number != vds.AsyncRecoverLUN && (err != nil || again.Type != is.number) {
				t.Errorf("found again: %+v, %v", again, err)
			}
		})
	}
}

// TestAsyncRecover is the handle of a recovery that has something to copy.
//
//gate:kernels bare
func TestAsyncRecover(t *testing.T) {
	r, l := halfFailed(t)
	op, err := l.Recover(t.Context())
	lab.Must(t, err)
	if op.Type != 56 {
		t.Errorf("type %d, want 56", op.Type)
	}
	r.Succeeded(op, nil)
	r.EqualLegs(r.Record("web1"))
}
