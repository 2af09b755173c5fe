package resync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// ErrClosed is the error of Wait when the monitor was closed first. The operation goes on; a handle of another monitor can
// wait for it.
var ErrClosed = errors.New("monitor is closed")

// Async is the handle of an operation (IVdsAsync). Its methods may be called from several goroutines. After the operation
// has ended, the answers no longer change.
type Async struct {
	Descriptor

	op     Operation
	done   chan struct{}   // closed at the end of the operation
	closed <-chan struct{} // closed with the monitor
	wake   func()          // asks the monitor for a look
	// looking holds a token from a look until the end that it found is recorded. A second look in between could see another
	// end and report it before the record exists.
	looking chan struct{}

	mu        sync.Mutex
	watched   time.Time // start of watching
	last      Observation
	cause     error // of the failure that was seen first
	percent   int   // highest so far
	pace      pace
	idleSince time.Time // zero unless the last look found Idle
	unsaved   time.Time // since when recording the end has failed; zero unless it has
	result    vds.Code
	err       error
}

func newAsync(d Descriptor, op Operation, wake func(), closed <-chan struct{}) *Async {
	return &Async{
		Descriptor: d,
		op:         op,
		done:       make(chan struct{}),
		closed:     closed,
		wake:       wake,
		looking:    make(chan struct{}, 1),
		watched:    time.Now(),
		last:       Observation{State: Running},
		result:     vds.ErrOperationPending,
	}
}

// Finished returns a handle of an operation that has already ended with the code result. The length of its LUN is total.
func Finished(d Descriptor, result vds.Code, total size.Sectors) *Async {
	a := newAsync(d, nil, func() {}, nil)
	a.last.Total = total
	a.finish(result, errorOf(d, result))
	return a
}

// errorOf makes the error that Wait returns when only the final code is known.
func errorOf(d Descriptor, result vds.Code) error {
	if !result.Failed() {
		return nil
	}
	return d.fault(result, d.Type.String(), "ended without success")
}

// fault is an error of the operation.
func (d Descriptor) fault(code vds.Code, op, reason string) *vds.Error {
	return &vds.Error{Code: code, Op: op, Object: "operation " + d.ID.String(), Reason: reason}
}

// Done is closed when the operation has ended.
func (a *Async) Done() <-chan struct{} { return a.done }

// QueryStatus looks at the operation now and reports its status. It never waits for the end. The error is about the look;
// the operation's own result is in Status.
func (a *Async) QueryStatus(ctx context.Context) (Status, error) {
	err := a.look(ctx)
	if _, unsaved := errors.AsType[*unrecorded](err); unsaved || a.ended() {
		err = nil // the look is not to blame
	}
	return a.status(), err
}

// unrecorded is the error of a look that has found an end and could not have it recorded.
type unrecorded struct{ error }

func (e *unrecorded) Unwrap() error { return e.error }

// Wait returns when the operation has ended: nil after success, else a *vds.Error with the operation's code. It may be
// called again.
//
// If ctx ends first, the operation goes on. The error then has vds.ErrTimeout for an exceeded deadline, or is ctx's own. If
// the monitor is closed first, the error wraps ErrClosed.
func (a *Async) Wait(ctx context.Context) error {
	a.wake()
	select {
	case <-a.done:
	case <-a.closed:
	case <-ctx.Done():
	}
	switch {
	case a.ended(): // it wins over the others, because select picks any
		return a.err
	case ctx.Err() == nil:
		return fmt.Errorf("wait for operation %s: %w", a.ID, ErrClosed)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		timeout := a.fault(vds.ErrTimeout, "wait for", "")
		timeout.Err = ctx.Err()
		timeout.Hint = "the operation goes on; wait again or look with `plexctl op show " + a.ID.String() + "`"
		return timeout
	}
	return ctx.Err()
}

// Cancel ends the operation and frees what it allocated. After nil, Wait returns vds.ErrOperationCanceled.
//
// Cancel changes nothing when the operation has already ended. It then returns vds.ErrOperationCanceled if the operation
// was cancelled before, and vds.ErrCancelTooLate otherwise.
func (a *Async) Cancel(ctx context.Context) error {
	switch a.status().Result {
	case vds.ErrOperationPending:
	case vds.ErrOperationCanceled:
		return a.fault(vds.ErrOperationCanceled, "cancel", "it was cancelled before")
	default:
		return a.fault(vds.ErrCancelTooLate, "cancel", "too late, it has ended")
	}
	if err := a.op.Cancel(ctx); err != nil {
		a.wake()
		return err
	}
	a.finish(vds.ErrOperationCanceled, a.fault(vds.ErrOperationCanceled, a.Type.String(), "was cancelled"))
	return nil
}

func (a *Async) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// look observes once. If the operation has ended, it records the end and ends the handle.
func (a *Async) look(ctx context.Context) error {
	return a.ask(ctx, "look at", Operation.Observe)
}

// check goes on with the check of the operation, and ends the handle if it is at its end.
func (a *Async) check(ctx context.Context) error {
	return a.ask(ctx, "check", Operation.Check)
}

// ask asks for an observation and acts on it, with the looking token, unless the operation has ended.
func (a *Async) ask(ctx context.Context, verb string, question func(Operation, context.Context) (Observation, error)) error {
	select {
	case a.looking <- struct{}{}:
		defer func() { <-a.looking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if a.ended() {
		return nil
	}
	seen, err := question(a.op, ctx)
	if err != nil {
		return fmt.Errorf("%s operation %s: %w", verb, a.ID, err)
	}
	return a.act(ctx, seen)
}

// act does what an observation asks for: record an end, or begin a queued operation. The caller holds the looking token.
func (a *Async) act(ctx context.Context, seen Observation) error {
	now := time.Now()
	switch a.note(seen, now) {
	case Done:
		return a.settle(ctx, vds.OK, nil)
	case Failed:
		return a.settle(ctx, vds.CodeOf(seen.Err), seen.Err)
	case Canceled:
		a.finish(vds.ErrOperationCanceled, errorOf(a.Descriptor, vds.ErrOperationCanceled))
	case Queued:
		if seen.Ready {
			return a.op.Start(ctx)
		}
	case Idle:
		if err := a.stalled(now); err != nil {
			return a.settle(ctx, vds.CodeOf(err), err)
		}
	case Running, Checking: // Monitor.attend goes on with the check
	}
	return nil
}

// settle records the end, and ends the handle with the end that the record has. The caller holds the looking token. While
// nothing is recorded, the handle does not end, so it never says what the record may contradict later. If recording fails for
// as long as idleLimit, the handle ends with that error.
func (a *Async) settle(ctx context.Context, result vds.Code, cause error) error {
	recorded, err := a.op.Settle(ctx, result)
	switch {
	case err != nil:
		if a.unsavedFor(time.Now()) >= idleLimit {
			a.finish(vds.CodeOf(err), err)
		}
		return &unrecorded{err}
	case recorded == result:
		a.finish(result, cause)
	case recorded != vds.ErrOperationPending:
		a.finish(recorded, errorOf(a.Descriptor, recorded))
	}
	return nil
}

// unsavedFor is how long recording the end has been failing.
func (a *Async) unsavedFor(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unsaved.IsZero() {
		a.unsaved = now
	}
	return now.Sub(a.unsaved)
}

// note stores an observation and returns its state.
func (a *Async) note(seen Observation, now time.Time) State {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = seen
	if seen.State == Failed && a.cause == nil {
		a.cause = seen.Err // the record of the end holds the code alone
	}
	a.percent = max(a.percent, seen.percent())
	a.pace.add(now, seen.Done)
	if seen.State != Idle {
		a.idleSince = time.Time{}
		return seen.State
	}
	if a.idleSince.IsZero() {
		a.idleSince = now
	}
	return Idle
}

// stalled returns an error when the operation has been idle for longer than any kernel needs to continue.
func (a *Async) stalled(now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.idleSince.IsZero() || now.Sub(a.idleSince) < idleLimit {
		return nil
	}
	err := a.fault(vds.ErrIO, a.Type.String(), "the kernel stopped copying before the end, usually at an unreadable sector of the source")
	err.Hint = "see the kernel log; then `plexctl lun recover` tries again, and `plexctl plex remove` discards the plex"
	return err
}

func (a *Async) finish(result vds.Code, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended() {
		return
	}
	if a.cause != nil && vds.CodeOf(a.cause) == result {
		err = a.cause
	}
	a.result, a.err = result, err
	close(a.done)
}

func (a *Async) status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{Result: a.result, State: a.last.State, Done: a.last.Done, Total: a.last.Total}
	switch a.result {
	case vds.OK:
		s.Percent, s.State, s.Done = 100, Done, s.Total
	case vds.ErrOperationPending:
		if s.Percent = a.percent; s.State == Done || s.State == Failed {
			s.State = Idle // it is not recorded yet
		}
		s.Rate = a.pace.rate(time.Now())
		s.ETA = eta(s.Total-min(s.Done, s.Total), s.Rate)
	case vds.ErrOperationCanceled:
		s.State = Canceled
	default:
		s.State = Failed
	}
	return s
}
