package resync

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

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
	recorded  vds.Code // what the record says in the end; 0: what was found
	settleErr error
	checks    int
	checked   int // checks that are needed
	checkErr  error
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

func (s *script) Settle(_ context.Context, result vds.Code) (vds.Code, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled++
	if s.settleErr != nil {
		return vds.ErrOperationPending, s.settleErr
	}
	if s.recorded != 0 {
		return s.recorded, nil
	}
	s.settledAs = result
	return result, nil
}

func (s *script) Check(context.Context) (Observation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	if s.checks < s.checked {
		return Observation{State: Checking, Done: s.total, Total: s.total}, nil
	}
	return Observation{State: Done, Done: s.total, Total: s.total}, s.checkErr
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
