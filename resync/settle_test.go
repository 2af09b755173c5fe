package resync

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexctl/plexctl/vds"
)

// The record has another end than the one that was found: another process has cancelled the operation meanwhile, or has seen it
// fail. The handle says what the record says.
func TestTheHandleSaysWhatTheRecordSays(t *testing.T) {
	for found, recorded := range map[State]vds.Code{Done: vds.ErrOperationCanceled, Failed: vds.ErrObjectStatusFailed} {
		synctest.Test(t, func(t *testing.T) {
			op := steady(10, 1)
			op.recorded = recorded
			op.set(Observation{State: found, Err: vds.ErrIO, Done: 10, Total: 10})
			a := monitorOf(t, newBell()).Watch(descriptor(), op)
			if err := a.Wait(t.Context()); vds.CodeOf(err) != recorded {
				t.Errorf("found %v, recorded %v: wait says %v", found, recorded, err)
			}
			if st, err := a.QueryStatus(t.Context()); err != nil || st.Result != recorded {
				t.Errorf("found %v, recorded %v: %+v, %v", found, recorded, st, err)
			}
		})
	}
}

// While another change holds the lock, the end is not recorded, and the handle does not say it.
func TestAnEndThatIsNotRecordedIsNotSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(10, 1)
		op.recorded = vds.ErrOperationPending
		op.set(Observation{State: Done, Done: 10, Total: 10})
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		time.Sleep(time.Minute)
		if st, err := a.QueryStatus(t.Context()); err != nil || !st.Pending() || st.State != Idle || st.Percent != 99 {
			t.Errorf("while the lock is held: %+v, %v; want pending, idle, 99 %%", st, err)
		}
		op.mu.Lock()
		op.recorded = 0
		op.mu.Unlock()
		if err := a.Wait(t.Context()); err != nil || op.settledAs != vds.OK {
			t.Errorf("then: %v, recorded %v", err, op.settledAs)
		}
	})
}

// An end that cannot be recorded is no end: after a while the handle says why.
func TestAnEndThatCannotBeRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(10, 1)
		op.settleErr = &vds.Error{Code: vds.ErrDiskConfigurationNotSaved, Op: "record"}
		op.set(Observation{State: Done, Done: 10, Total: 10})
		start := time.Now()
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		if st, err := a.QueryStatus(t.Context()); err != nil || !st.Pending() {
			t.Errorf("at first: %+v, %v", st, err)
		}
		if err := a.Wait(t.Context()); !errors.Is(err, vds.ErrDiskConfigurationNotSaved) || time.Since(start) < idleLimit {
			t.Errorf("wait: %v after %v", err, time.Since(start))
		}
	})
}

// A copy whose end is not proven is checked, part by part, until it is. Only the monitor does that: a look must be short.
func TestACopyIsCheckedToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(10, 1)
		op.checked = 5
		op.set(Observation{State: Checking, Done: 10, Total: 10})
		alone := newAsync(descriptor(), op, func() {}, nil)
		if st, err := alone.QueryStatus(t.Context()); err != nil || !st.Pending() || st.State != Checking || op.checks != 0 {
			t.Errorf("a look: %+v, %v, %d checks", st, err, op.checks)
		}
		start := time.Now()
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		if err := a.Wait(t.Context()); err != nil || op.checks != 5 || op.settledAs != vds.OK || op.settled != 1 {
			t.Errorf("wait: %v, %d checks, recorded %v %d times", err, op.checks, op.settledAs, op.settled)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("five checks took %v", took)
		}
	})
}

// A check that does not work is tried again, and is no end.
func TestACheckThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(10, 1)
		op.checkErr = errors.New("open: too many open files")
		op.set(Observation{State: Checking, Done: 10, Total: 10})
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		time.Sleep(time.Minute)
		op.mu.Lock()
		checks := op.checks
		op.checkErr = nil
		op.mu.Unlock()
		if a.ended() || checks < 2 {
			t.Errorf("ended: %v, after %d checks", a.ended(), checks)
		}
		if err := a.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
