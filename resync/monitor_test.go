package resync

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

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

// TestCloseEndsEveryWait closes a monitor under a Wait. The operation goes on, so that its status is still pending.
func TestCloseEndsEveryWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := monitorOf(t, newBell())
		a := m.Watch(descriptor(), steady(1<<30, 1))
		ended := make(chan error)
		go func() { ended <- a.Wait(t.Context()) }()
		time.Sleep(time.Minute)
		m.Close()
		m.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("wait: %v, want %v", err, ErrClosed)
		}
		if err := a.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("wait on a closed monitor: %v, want %v", err, ErrClosed)
		}
		if st, err := a.QueryStatus(t.Context()); err != nil || !st.Pending() {
			t.Errorf("status %+v, %v; want pending", st, err)
		}
	})
}

// TestNothingRunsAfterClose watches on a closed monitor. synctest fails when a goroutine is left.
func TestNothingRunsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(newBell(), slog.New(slog.DiscardHandler))
		m.Close()
		op := steady(4, 1)
		a := m.Watch(descriptor(), op)
		time.Sleep(time.Minute)
		if len(op.looks) > 0 || m.stop != nil {
			t.Errorf("%d looks, running %t", len(op.looks), m.stop != nil)
		}
		if err := a.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("wait: %v, want %v", err, ErrClosed)
		}
		if st, err := a.QueryStatus(t.Context()); err != nil || st.Result != vds.OK {
			t.Errorf("status %+v, %v; want the end that a look finds", st, err)
		}
		if err := a.Wait(t.Context()); err != nil {
			t.Errorf("wait after the end: %v", err)
		}
	})
}
