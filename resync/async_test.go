package resync

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/vds"
)

func TestWaitReturnsAtTheEndAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(1<<20, 1<<16) // 16 s
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		for range 3 {
			if err := a.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got, err := a.QueryStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := Status{Result: vds.OK, Percent: 100, State: Done, Done: 1 << 20, Total: 1 << 20}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		if op.settled != 1 {
			t.Errorf("settled %d times, want once", op.settled)
		}
		if late := time.Since(op.began) - 16*time.Second; late > 100*time.Millisecond {
			t.Errorf("noticed the end %v late", late)
		}
	})
}

func TestQueryStatusWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(100_000, 1000) // 100 s
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		time.Sleep(50 * time.Second)
		got, err := a.QueryStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !got.Pending() || got.Percent != 50 || got.Rate == 0 {
			t.Errorf("status %+v, want pending at 50 %%", got)
		}
		if got.ETA < 45*time.Second || got.ETA > 60*time.Second {
			t.Errorf("ETA %v, want about 50 s", got.ETA)
		}
		op.set(Observation{State: Idle, Done: 100_000, Total: 100_000})
		if got, _ = a.QueryStatus(t.Context()); got.Percent != 99 || !got.Pending() {
			t.Errorf("all copied, not proven: %+v, want pending at 99 %%", got)
		}
		op.set(Observation{State: Running, Done: 10, Total: 100_000})
		if got, _ = a.QueryStatus(t.Context()); got.Percent != 99 {
			t.Errorf("percent fell to %d", got.Percent)
		}
	})
}

func TestFailures(t *testing.T) {
	dead := &vds.Error{Code: vds.ErrObjectStatusFailed, Op: "add-plex", Reason: "plex failed"}
	tests := map[string]struct {
		seen   Observation
		after  time.Duration // no end before that
		result vds.Code
	}{
		"a leg died":          {Observation{State: Failed, Err: dead, Total: 10}, 0, vds.ErrObjectStatusFailed},
		"the copy stopped":    {Observation{State: Idle, Done: 5, Total: 10}, idleLimit, vds.ErrIO},
		"cancelled elsewhere": {Observation{State: Canceled, Total: 10}, 0, vds.ErrOperationCanceled},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				op := steady(10, 1)
				op.set(test.seen)
				start := time.Now()
				a := monitorOf(t, newBell()).Watch(descriptor(), op)
				if err := a.Wait(t.Context()); !errors.Is(err, test.result) {
					t.Fatalf("wait: %v, want %v", err, test.result)
				}
				if time.Since(start) < test.after {
					t.Errorf("gave up after %v", time.Since(start))
				}
				got, err := a.QueryStatus(t.Context())
				if err != nil || got.Result != test.result || got.Percent != 0 {
					t.Errorf("status %+v, %v; want %v at 0 %%", got, err, test.result)
				}
				if ours := test.seen.State != Canceled; ours && (op.settled != 1 || !errors.Is(op.settledAs, test.result)) {
					t.Errorf("settled %d times, as %v", op.settled, op.settledAs)
				}
			})
		})
	}
}

func TestIdleForAMomentIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(10, 1)
		op.set(Observation{State: Idle, Total: 10})
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		for range 4 {
			time.Sleep(idleLimit - time.Second)
			op.set(Observation{State: Running, Total: 10})
			time.Sleep(3 * time.Second)
			op.set(Observation{State: Idle, Total: 10})
		}
		if st, err := a.QueryStatus(t.Context()); err != nil || !st.Pending() {
			t.Errorf("status %+v, %v; want pending", st, err)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := monitorOf(t, newBell()).Watch(descriptor(), steady(1<<30, 1))
		timed, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := a.Wait(timed); !errors.Is(err, vds.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deadline: %v, want VDS_E_TIMEOUT", err)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := a.Wait(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled wait: %v", err)
		}
		if st, _ := a.QueryStatus(t.Context()); !st.Pending() {
			t.Error("the end of a wait ended the operation")
		}
	})
}

// slowSettle takes a second to record the end. Whoever comes meanwhile is turned away, as by the host's lock.
type slowSettle struct {
	*script
	busy     atomic.Bool
	recorded atomic.Bool
}

func (s *slowSettle) Settle(_ context.Context, result vds.Code) (vds.Code, error) {
	if s.busy.Swap(true) {
		return vds.ErrOperationPending, nil
	}
	time.Sleep(time.Second)
	s.recorded.Store(true)
	return result, nil
}

// TestOneLookAtATime has two see the end at once: neither says so before it is recorded, because then the process may end.
func TestOneLookAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := &slowSettle{script: steady(100, 100)}
		a := newAsync(descriptor(), op, func() {}, nil)
		time.Sleep(2 * time.Second) // it has ended
		var looks sync.WaitGroup
		for range 2 {
			looks.Go(func() {
				if st, err := a.QueryStatus(t.Context()); err != nil || st.Result != vds.OK || !op.recorded.Load() {
					t.Errorf("status %+v, %v; recorded: %v", st, err, op.recorded.Load())
				}
			})
		}
		looks.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b := newAsync(descriptor(), op, func() {}, nil)
		b.looking <- struct{}{}
		if _, err := b.QueryStatus(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a look that waits for another one, with a context that is over: %v", err)
		}
	})
}

func TestCancelAnswers(t *testing.T) {
	tests := map[string]struct {
		prepare func(*script, *Async)
		err     error // of Cancel
		result  vds.Code
	}{
		"while copying": {func(*script, *Async) {}, nil, vds.ErrOperationCanceled},
		"a second time": {
			func(_ *script, a *Async) { _ = a.Cancel(context.Background()) }, vds.ErrOperationCanceled, vds.ErrOperationCanceled,
		},
		"after the end": {
			func(s *script, a *Async) { s.set(Observation{State: Done, Total: 1}); _ = a.Wait(context.Background()) },
			vds.ErrCancelTooLate, vds.OK,
		},
		"after a failure": {
			func(s *script, a *Async) {
				s.set(Observation{State: Failed, Err: vds.ErrIO, Total: 1})
				_ = a.Wait(context.Background())
			},
			vds.ErrCancelTooLate, vds.ErrIO,
		},
		"refused by the owner": {
			func(s *script, _ *Async) { s.cancel = vds.ErrCancelTooLate }, vds.ErrCancelTooLate, vds.ErrOperationPending,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				op := steady(1<<30, 1)
				a := monitorOf(t, newBell()).Watch(descriptor(), op)
				test.prepare(op, a)
				if err := a.Cancel(t.Context()); !errors.Is(err, test.err) {
					t.Errorf("cancel: %v, want %v", err, test.err)
				}
				if st, _ := a.QueryStatus(t.Context()); st.Result != test.result {
					t.Errorf("result %v, want %v", st.Result, test.result)
				}
			})
		})
	}
}

func TestFinished(t *testing.T) {
	tests := map[string]struct {
		result  vds.Code
		percent int
		cancel  error
	}{
		"done":      {vds.OK, 100, vds.ErrCancelTooLate},
		"cancelled": {vds.ErrOperationCanceled, 0, vds.ErrOperationCanceled},
		"failed":    {vds.ErrIO, 0, vds.ErrCancelTooLate},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := Finished(descriptor(), test.result, 7)
			err := a.Wait(t.Context())
			if test.result == vds.OK && err != nil || test.result != vds.OK && !errors.Is(err, test.result) {
				t.Errorf("wait: %v, want %v", err, test.result)
			}
			if st, err := a.QueryStatus(t.Context()); err != nil || st.Result != test.result || st.Percent != test.percent {
				t.Errorf("status %+v, %v", st, err)
			}
			if err := a.Cancel(t.Context()); !errors.Is(err, test.cancel) {
				t.Errorf("cancel: %v, want %v", err, test.cancel)
			}
		})
	}
}

// lateSuccess is idle for longer than idleLimit, is then seen as complete, and takes a second to record each end.
type lateSuccess struct {
	*script
	first atomic.Uint32 // code of the end that was recorded first
	ends  atomic.Int32
}

func (l *lateSuccess) Settle(_ context.Context, result vds.Code) (vds.Code, error) {
	if l.ends.Add(1) == 1 {
		l.first.Store(uint32(result))
		l.set(Observation{State: Done, Done: 10, Total: 10})
		time.Sleep(time.Second)
	}
	return result, nil
}

// TestStalledIsRecordedBeforeItIsReported looks at an operation while the monitor records that it has failed. The kernel
// completes it just then; still every answer must be the recorded one.
func TestStalledIsRecordedBeforeItIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := &lateSuccess{script: steady(10, 1)}
		op.set(Observation{State: Idle, Total: 10})
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		for op.ends.Load() == 0 {
			time.Sleep(minInterval)
		}
		st, err := a.QueryStatus(t.Context())
		if recorded := vds.Code(op.first.Load()); err != nil || st.Result != recorded || recorded != vds.ErrIO {
			t.Errorf("status %+v, %v; recorded %v, want %v", st, err, recorded, vds.ErrIO)
		}
		if err := a.Wait(t.Context()); !errors.Is(err, vds.ErrIO) {
			t.Errorf("wait: %v, want %v", err, vds.ErrIO)
		}
		if n := op.ends.Load(); n != 1 {
			t.Errorf("%d ends recorded, want one", n)
		}
	})
}

// TestALookThatFailsIsNoStandstill has the looks fail after a moment of idleness: nothing is known about the operation then.
func TestALookThatFailsIsNoStandstill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(10, 1)
		op.set(Observation{State: Idle, Total: 10})
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		time.Sleep(time.Second)
		op.mu.Lock()
		op.lookErr = errors.New("ioctl failed")
		op.mu.Unlock()
		time.Sleep(3 * idleLimit)
		if a.ended() || op.settled != 0 {
			t.Errorf("ended as %v, settled %d times", a.status().Result, op.settled)
		}
	})
}
