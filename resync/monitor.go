package resync

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Events reports that the kernel has changed something, so that the monitor can look less often.
type Events interface {
	// WaitEvent returns when anything has happened since it was last called, or with ctx's error.
	WaitEvent(ctx context.Context) error
}

// Monitor looks at all watched operations with one goroutine, and listens for events with another. Both run only while
// there is something to watch. The zero Monitor is not usable; see NewMonitor.
type Monitor struct {
	events Events
	log    *slog.Logger
	poke   chan struct{}
	closed chan struct{} // closed at the end of Close

	mu      sync.Mutex
	watched map[uuid.UUID]*Async
	stop    context.CancelFunc // nil unless running
	running *sync.WaitGroup    // the goroutines of the last run
	closing bool
}

// NewMonitor makes a monitor that gets kernel events from events. Close it when it is no longer needed.
func NewMonitor(events Events, log *slog.Logger) *Monitor {
	return &Monitor{
		events:  events,
		log:     log,
		watched: map[uuid.UUID]*Async{},
		running: &sync.WaitGroup{},
		poke:    make(chan struct{}, 1),
		closed:  make(chan struct{}),
	}
}

// Watch looks at an operation until it ends. The same operation watched twice has one handle. After Close nothing is
// watched: QueryStatus of the handle still looks, and Wait returns ErrClosed.
func (m *Monitor) Watch(d Descriptor, op Operation) *Async {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.watched[d.ID]; ok {
		return a
	}
	a := newAsync(d, op, m.wake, m.closed)
	if m.closing {
		return a
	}
	m.watched[d.ID] = a
	if m.stop == nil {
		m.start()
	}
	m.wake()
	return a
}

// Close ends the watching and waits for both goroutines. Operations go on in the kernel. Every Wait that is still pending
// returns ErrClosed.
func (m *Monitor) Close() {
	m.mu.Lock()
	first, stop, running := !m.closing, m.stop, m.running
	m.closing = true
	m.mu.Unlock()
	if stop != nil {
		stop()
	}
	running.Wait()
	if first { // only now, so that an end that the last look found is what Wait returns
		close(m.closed)
	}
}

// start is called with mu held.
func (m *Monitor) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop, m.running = cancel, &sync.WaitGroup{}
	m.running.Go(func() { m.listen(ctx) })
	m.running.Go(func() {
		defer cancel()
		m.run(ctx)
	})
}

func (m *Monitor) wake() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// listen turns kernel events into wake-ups. The monitor polls as well, so an error costs only time.
func (m *Monitor) listen(ctx context.Context) {
	for {
		err := m.events.WaitEvent(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.log.Warn("no device-mapper events, polling only", "error", err)
			return
		}
		m.wake()
	}
}

// run looks at every operation until none is left or ctx ends.
func (m *Monitor) run(ctx context.Context) {
	for {
		next := m.round(ctx)
		if m.idle() {
			return
		}
		if !m.sleep(ctx, next) {
			m.halt()
			return
		}
	}
}

// sleep waits for d or for a wake-up, and returns false when ctx has ended. Wake-ups within minInterval count as one.
func (m *Monitor) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(minInterval):
	}
	select {
	case <-ctx.Done():
		return false
	case <-m.poke:
	case <-time.After(d - minInterval):
	}
	return true
}

// round looks at each operation once, and returns when to look again.
func (m *Monitor) round(ctx context.Context) time.Duration {
	next := maxInterval
	for _, a := range m.snapshot() {
		if ctx.Err() != nil {
			break
		}
		next = min(next, m.attend(ctx, a))
	}
	return next
}

// attend looks at one operation and returns when to look again.
func (m *Monitor) attend(ctx context.Context, a *Async) time.Duration {
	err := a.look(ctx)
	checking := err == nil && a.status().State == Checking
	if checking {
		err = a.check(ctx)
	}
	if err != nil && ctx.Err() == nil {
		m.log.Warn("look at operation", "operation", a.ID, "error", err)
	}
	switch {
	case a.ended():
		m.mu.Lock()
		delete(m.watched, a.ID)
		m.mu.Unlock()
		return maxInterval
	case checking && err == nil:
		return minInterval
	}
	return interval(time.Since(a.watched), a.status().ETA)
}

func (m *Monitor) snapshot() []*Async {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.watched))
}

// idle reports whether nothing is watched. If so, the next Watch starts a new run.
func (m *Monitor) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.watched) > 0 {
		return false
	}
	m.stop = nil
	return true
}

// halt marks the end of a run that Close has stopped.
func (m *Monitor) halt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stop = nil
	clear(m.watched)
}
