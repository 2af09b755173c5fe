package ops

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Env is the environment of changes.
type Env struct {
	host.Options
	LockPath string
	// LockTimeout is how long a change waits for the host's lock. 0: until its context ends; negative: not at all.
	LockTimeout time.Duration
	Held        bool // this process shares the host's lock with the one that has started it, and takes none

	Now     func() time.Time
	Guard   engine.Guard
	Dry     *engine.Recorder   // not nil: changes are only planned
	Publish func(h *host.Host) // gets the state of the host after a change, which must not be modified afterwards
}

// Session is one change, under the host's lock.
type Session struct {
	*engine.Engine
	env *Env
}

// Change runs f under the host's lock, on a Host that was read anew, with healed catalogs. The end of ctx does not interrupt f:
// a change that has begun is carried out or taken back. vds.ErrAnotherCallInProgress when another process holds the lock for
// longer than LockTimeout.
func (env *Env) Change(ctx context.Context, purpose string, f func(context.Context, *Session) error) error {
	return env.ChangeWithin(ctx, env.LockTimeout, purpose, f)
}

// ChangeWithin is Change with another LockTimeout.
func (env *Env) ChangeWithin(
	ctx context.Context, timeout time.Duration, purpose string, f func(context.Context, *Session) error,
) error {
	var file *os.File
	if env.Dry == nil && !env.Held {
		lock, err := env.lock(ctx, timeout, purpose)
		if err != nil {
			return err
		}
		defer lock.Unlock()
		file = lock.File()
	}
	h, err := host.Read(ctx, env.Options)
	if err != nil {
		return err
	}
	s := &Session{env: env, Engine: &engine.Engine{Host: h, Now: env.Now(), Guard: env.Guard, Lock: file, Dry: env.Dry}}
	if env.Dry != nil {
		return f(ctx, s)
	}
	ctx = context.WithoutCancel(ctx)
	if err := h.Heal(ctx); err != nil {
		h.Log.Warn("heal catalogs", "error", err)
	}
	h.Claim(ctx)
	err = f(ctx, s)
	if h.Outdated || err != nil {
		fresh, readErr := host.Read(ctx, env.Options)
		if readErr == nil {
			env.Publish(fresh)
		}
		return errors.Join(err, readErr)
	}
	env.Publish(h)
	return nil
}

// lock takes the host's lock.
func (env *Env) lock(ctx context.Context, timeout time.Duration, purpose string) (*hostlock.Lock, error) {
	if timeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(0, timeout))
		defer cancel()
	}
	lock, err := hostlock.Acquire(ctx, env.LockPath, purpose)
	if errors.Is(err, hostlock.ErrHeld) {
		err = &vds.Error{
			Code: vds.ErrAnotherCallInProgress, Op: purpose, Reason: "another plexctl is changing this host's LUNs", Err: err,
			Hint: "wait for it to end and try again",
		}
	}
	return lock, fault.Of(purpose, "", err)
}

// Result is the outcome for one LUN.
type Result struct {
	ID      uuid.UUID
	Name    string
	Err     error // nil after a success
	Changed bool  // of Reenumerate: the kernel or the record was not as it should be, and has been corrected
}

// result is the outcome of op for l.
func result(op string, l catalog.LUN, err error) Result {
	return Result{ID: l.ID, Name: l.Name, Err: fault.Of(op, record.LUNObject(l.Name), err)}
}

// changeMany is Change for the LUNs that refs name, or for all. It leaves out those that are stuck. It lists the kernel's devices once.
func (env *Env) changeMany(
	ctx context.Context, op string, refs []string, f func(context.Context, *Session, []catalog.LUN) ([]Result, error),
) ([]Result, error) {
	var results []Result
	err := env.Change(ctx, op, func(ctx context.Context, s *Session) error {
		chosen, err := s.Choose(refs)
		if err != nil {
			return err
		}
		defer s.DropList()
		if err := s.KeepList(ctx); err != nil {
			return err
		}
		var free []catalog.LUN
		for _, l := range chosen {
			if err := s.Stuck(ctx, op, l); err != nil {
				results = append(results, result(op, l, err))
			} else {
				free = append(free, l)
			}
		}
		done, err := f(ctx, s, free)
		results = append(results, done...)
		return err
	})
	return results, err
}

// LUN is a LUN as its user names it.
type LUN struct {
	ID   uuid.UUID
	Name string
}

// In is the LUN's record on h; vds.ErrObjectDeleted when there is none. While devices do not answer, one of them may have it, and the
// error is vds.ErrObjectStatusFailed.
func (l LUN) In(h *host.Host, op string) (catalog.LUN, error) {
	found, ok := h.Record(l.ID)
	if ok {
		return found, nil
	}
	if paths := h.Beside(); paths != "" {
		return found, record.LUNFault(vds.ErrObjectStatusFailed, op, l.Name,
			"no drive that answers has its record, and these devices do not answer: "+paths, "see to the devices, and try again")
	}
	return found, record.LUNFault(vds.ErrObjectDeleted, op, l.Name,
		"no drive here has its record: it was deleted, has become a plex of another LUN, or its drive is gone", "")
}

// Verb is a change of one LUN. It gets the LUN's record and returns the next one.
type Verb func(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error)

// ChangeLUN is Change for one LUN. Before it calls f, it resumes what a dead process left suspended, and completes a departure of
// plexes. It records the end of an operation that has ended. It returns the record that f returns.
func (env *Env) ChangeLUN(ctx context.Context, l LUN, op string, f Verb) (catalog.LUN, error) {
	var next catalog.LUN
	err := env.Change(ctx, op+" "+record.LUNObject(l.Name), func(ctx context.Context, s *Session) error {
		now, err := s.enter(ctx, l, op)
		if err != nil {
			return err
		}
		next, err = f(ctx, s, now)
		return err
	})
	return next, err
}

// enter is the record of l once earlier changes have been completed.
func (s *Session) enter(ctx context.Context, l LUN, op string) (catalog.LUN, error) {
	now, err := l.In(s.Host, op)
	if err != nil {
		return now, err
	}
	if s.Set.Unheard(l.ID) {
		return now, s.Unusable(op, now)
	}
	if now.Making {
		if err := s.unmake(ctx, op, now); err != nil {
			return now, err
		}
		return l.In(s.Host, op)
	}
	if err := s.Stuck(ctx, op, now); err != nil {
		return now, err
	}
	now, resumed, err := s.ResumeOrphan(ctx, now)
	if err != nil {
		return now, err
	}
	if now, err = s.part(ctx, now, parting{activate: true}); err != nil {
		return now, err
	}
	if resumed {
		if err := s.BringUp(ctx, now); err != nil {
			return now, err
		}
		now = s.Current(now)
	}
	return s.RecordEnd(ctx, now, vds.ErrOperationPending)
}

// swapTo swaps in the table of next, which is l with something else recorded.
func swapTo(ctx context.Context, s *Session, op string, l, next catalog.LUN, commit string) (catalog.LUN, error) {
	have, err := s.Inspect(ctx, l)
	if err != nil {
		return l, err
	}
	return s.Swap(ctx, engine.Swap{Op: op, Before: l, Next: next, Have: have, Commit: commit})
}

// each calls f for each of luns, several at a time. Each call has a session of its own that knows only the devices of its LUN.
// Several at a time are faster, because the kernel mostly waits when it makes or removes a device. f must not commit anything,
// because all sessions share the records and the drives.
func (s *Session) each(luns []catalog.LUN, f func(s *Session, i int, l catalog.LUN)) {
	workers := s.Workers
	if s.Dry != nil {
		workers = 1 // so that a plan has a fixed order
	}
	forks := make([]*Session, len(luns))
	for i, l := range luns {
		forks[i] = &Session{env: s.env, Engine: &engine.Engine{Host: s.ForkFor(l.ID), Now: s.Now, Guard: s.Guard, Lock: s.Lock, Dry: s.Dry}}
	}
	host.Parallel(workers, len(luns), func(i int) { f(forks[i], i, luns[i]) })
	for i, l := range luns {
		s.Merge(forks[i].Host, l.ID)
	}
}
