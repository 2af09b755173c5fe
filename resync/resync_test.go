package resync

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// script is an operation that copies at a steady speed from the moment it is made.
type script struct {
	mu        sync.Mutex
	began     time.Time
	total     size.Sectors
	rate      size.Sectors // a second
	override  *Observation // what a look finds instead
	lookErr   error
	looks     []time.Time
	settledAs vds.Code
	started   int
	settled   int
	canceled  int
	cancel    error
}

func steady(total, rate size.Sectors) *script {
	return &script{began: time.Now(), total: total, rate: rate}
}

func (s *script) Observe(context.Context) (Observation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks = append(s.looks, time.Now())
	if s.lookErr != nil || s.override != nil {
		seen := Observation{}
		if s.override != nil {
			seen = *s.override
		}
		return seen, s.lookErr
	}
	done := min(s.total, size.Sectors(time.Since(s.began).Seconds()*float64(s.rate)))
	if done == s.total {
		return Observation{State: Done, Done: done, Total: s.total}, nil
	}
	return Observation{State: Running, Done: done, Total: s.total}, nil
}

func (s *script) Settle(_ context.Context, result vds.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled++
	s.settledAs = result
	return nil
}

func (s *script) Start(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started++
	return nil
}

func (s *script) Cancel(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.canceled++
	return s.cancel
}

func (s *script) set(o Observation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.override = &o
}

// bell is an event source that a test rings.
type bell struct{ rings chan struct{} }

func newBell() *bell { return &bell{make(chan struct{})} }

func (b *bell) WaitEvent(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-b.rings:
		return nil
	}
}

func monitorOf(t *testing.T, events Events) *Monitor {
	t.Helper()
	m := NewMonitor(events, slog.New(slog.DiscardHandler))
	t.Cleanup(m.Close)
	return m
}

func descriptor() Descriptor {
	return Descriptor{ID: uuid.New(), Type: vds.AsyncAddLUNPlex, LUN: uuid.New(), Started: time.Now()}
}

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

func TestLooksAreRareInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(1<<20, 1<<12) // 256 s
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(op.looks); n > 200 {
			t.Errorf("%d looks in 256 s", n)
		}
		middle := 0
		for i, at := range op.looks[1:] {
			if age := at.Sub(op.began); age > 10*time.Second && age < 240*time.Second {
				middle++
				if gap := at.Sub(op.looks[i]); gap < time.Second {
					t.Fatalf("looked after %v at %v", gap, age)
				}
			}
		}
		if middle == 0 {
			t.Error("never looked in the middle")
		}
	})
}

func TestAnEventMakesItLookAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op, events := steady(1<<30, 1), newBell()
		a := monitorOf(t, events).Watch(descriptor(), op)
		time.Sleep(60 * time.Second)
		op.set(Observation{State: Done, Done: 1 << 30, Total: 1 << 30})
		rung := time.Now()
		events.rings <- struct{}{}
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if late := time.Since(rung); late > 2*minInterval {
			t.Errorf("noticed the end %v after the event", late)
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

func TestAFailingLookIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := steady(10, 10)
		op.lookErr = errors.New("ioctl failed")
		a := monitorOf(t, newBell()).Watch(descriptor(), op)
		if _, err := a.QueryStatus(t.Context()); err == nil {
			t.Error("QueryStatus hides that it could not look")
		}
		time.Sleep(5 * time.Second)
		op.mu.Lock()
		op.lookErr = nil
		op.mu.Unlock()
		if err := a.Wait(t.Context()); err != nil {
			t.Error(err)
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

func (s *slowSettle) Settle(context.Context, vds.Code) error {
	if !s.busy.Swap(true) {
		time.Sleep(time.Second)
		s.recorded.Store(true)
	}
	return nil
}

// TestOneLookAtATime has two see the end at once: neither says so before it is recorded, because then the process may end.
func TestOneLookAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		op := &slowSettle{script: steady(100, 100)}
		a := newAsync(descriptor(), op, func() {})
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
		b := newAsync(descriptor(), op, func() {})
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

func TestOneHandleForAnOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, d := monitorOf(t, newBell()), descriptor()
		first := m.Watch(d, steady(1<<20, 1<<18))
		if again := m.Watch(d, steady(1, 1)); again != first {
			t.Error("a second handle for one operation")
		}
		if err := first.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if m.stop != nil {
			t.Error("the monitor runs with nothing to watch")
		}
		if err := m.Watch(descriptor(), steady(4, 2)).Wait(t.Context()); err != nil {
			t.Errorf("watching after a rest: %v", err)
		}
	})
}

func TestManyOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := monitorOf(t, newBell())
		var all []*Async
		for i := range 100 {
			all = append(all, m.Watch(descriptor(), steady(size.Sectors(1000*(i+1)), 1000)))
		}
		for _, a := range all {
			if err := a.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
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

func TestInterval(t *testing.T) {
	tests := map[string]struct{ age, eta, want time.Duration }{
		"at first":              {0, 0, minInterval},
		"after a second":        {time.Second, 0, 250 * time.Millisecond},
		"in the middle":         {time.Hour, time.Hour, maxInterval},
		"speed unknown":         {time.Hour, 0, maxInterval},
		"near the end":          {time.Hour, time.Second, 500 * time.Millisecond},
		"just before the end":   {time.Hour, time.Millisecond, minInterval},
		"young and near an end": {time.Second, 20 * time.Millisecond, minInterval},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := interval(test.age, test.eta); got != test.want {
				t.Errorf("interval(%v, %v) = %v, want %v", test.age, test.eta, got, test.want)
			}
		})
	}
}

func TestPercent(t *testing.T) {
	tests := map[string]struct {
		o    Observation
		want int
	}{
		"nothing known":        {Observation{State: Running}, 0},
		"half":                 {Observation{State: Running, Done: 1 << 40, Total: 1 << 41}, 50},
		"never 100":            {Observation{State: Running, Done: 10, Total: 10}, 99},
		"beyond the end":       {Observation{State: Running, Done: 20, Total: 10}, 99},
		"failed":               {Observation{State: Failed, Done: 5, Total: 10}, 0},
		"largest of all":       {Observation{State: Running, Done: 1<<54 - 1, Total: 1<<55 - 1}, 49},
		"less than a kibibyte": {Observation{State: Running, Done: 1, Total: 1}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.o.percent(); got != test.want {
				t.Errorf("percent %d, want %d", got, test.want)
			}
		})
	}
}
