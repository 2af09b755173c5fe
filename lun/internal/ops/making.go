package ops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Zeroing a LUN takes as long as writing it. So it is done without the host's lock. A record reserves the room and says that the LUN is
// being made. Meanwhile the process holds a lock of that LUN alone. The kernel drops this lock with the process, after its last write.
// So a reservation whose lock is free is of a process that has died, and whoever finds it frees the room.

// working takes the lock of the work on l. vds.ErrAnotherCallInProgress when another process has it.
func (env *Env) working(op string, l catalog.LUN) (release func(), err error) {
	now, cancel := context.WithDeadline(context.Background(), time.Time{})
	defer cancel()
	path := env.LockPath + "." + l.ID.String()
	lock, err := hostlock.Acquire(now, path, "create "+record.LUNObject(l.Name))
	if held, ok := errors.AsType[*hostlock.HeldError](err); ok {
		pid, _, _ := strings.Cut(held.Holder, " ")
		return nil, record.LUNFault(vds.ErrAnotherCallInProgress, op, l.Name,
			fmt.Sprintf("process %s is making it, and zeroes its room", pid), "wait for it to end and try again")
	}
	if err != nil {
		return nil, fault.Of(op, record.LUNObject(l.Name), err)
	}
	return func() { _ = os.Remove(path); lock.Unlock() }, nil
}

// unmake frees the room of l if the process that was making it has died. vds.ErrAnotherCallInProgress while it is at work.
func (s *Session) unmake(ctx context.Context, op string, l catalog.LUN) error {
	release, err := s.env.working(op, l)
	if err != nil {
		return err
	}
	defer release()
	if err := discard(ctx, s, l); err != nil || s.Dry != nil {
		return err
	}
	s.Log.WarnContext(ctx, "the LUN was not made to the end, and its room is free again", "lun", l.Name)
	return nil
}

// unmakeAll frees the room of all LUNs that processes which have died were making.
func (s *Session) unmakeAll(ctx context.Context) error {
	for _, l := range s.Set.LUNs {
		if !l.Making || s.Set.Unheard(l.ID) {
			continue
		}
		if err := s.unmake(ctx, "create", l); err != nil && !errors.Is(err, vds.ErrAnotherCallInProgress) {
			return err
		}
	}
	return nil
}

// unmakeChosen is unmake for those of luns that are being made. It returns the others. If none was named, it passes over those that a
// process is at work on.
func (s *Session) unmakeChosen(ctx context.Context, luns []catalog.LUN, named bool) (others []catalog.LUN, results []Result) {
	for _, l := range luns {
		if !l.Making || s.Set.Unheard(l.ID) {
			others = append(others, l)
			continue
		}
		err := s.unmake(ctx, "start", l)
		if named || !errors.Is(err, vds.ErrAnotherCallInProgress) {
			results = append(results, result("assemble", l, err))
		}
	}
	return others, results
}

// reserve commits that l is being made. The work on it can be done without the host's lock, until release is called.
func reserve(ctx context.Context, s *Session, l catalog.LUN) (release func(), err error) {
	release, err = s.env.working("create", l)
	if err != nil {
		return nil, err
	}
	tx := &host.Transaction{Put: []catalog.LUN{l}}
	err = fault.Of("create", record.LUNObject(l.Name), s.Run(ctx, []layout.Step{reservation(tx, l)}))
	if err == nil {
		return release, nil
	}
	if tx.Begun {
		err = fault.Undo(err, discard(ctx, s, l))
	}
	release()
	return nil, err
}

func reservation(tx *host.Transaction, l catalog.LUN) layout.Step {
	return engine.Commit{Tx: tx, Text: "the room of " + l.Name + " is reserved"}
}

// makeReserved zeroes the room that is reserved for l, without the host's lock, and then makes l. It stops zeroing when ctx ends. On
// an error it frees the room.
func makeReserved(ctx context.Context, env *Env, l catalog.LUN) (catalog.LUN, error) {
	object := "create " + record.LUNObject(l.Name)
	made := l
	err := zeroReserved(ctx, env, l)
	if err == nil {
		err = env.ChangeWithin(ctx, 0, object, func(ctx context.Context, s *Session) error {
			if now, ok := s.Record(l.ID); !ok || !now.Making || now.Generation != l.Generation {
				return record.LUNFault(vds.ErrObjectDeleted, "create", l.Name, "its room is not reserved any more", "")
			}
			if err := s.CheckNames("create", l.Name, l, host.OtherName); err != nil {
				return err
			}
			made.Making = false
			made = s.Next(made)
			if err := s.Run(ctx, []layout.Step{engine.NoteBlank{LUN: made}}); err != nil {
				return fault.Of("create", record.LUNObject(l.Name), err)
			}
			return create(ctx, s, made)
		})
	}
	if err == nil {
		return made, nil
	}
	freed := env.ChangeWithin(context.WithoutCancel(ctx), freeTime, object, func(ctx context.Context, s *Session) error {
		if now, ok := s.Record(l.ID); ok && now.Making {
			return discard(ctx, s, now)
		}
		return nil
	})
	return made, fault.Undo(err, freed)
}

// freeTime is how long a change that has failed waits for the host's lock, to free the room. After that `plexctl assemble` does it.
const freeTime = time.Minute

// zeroReserved zeroes the room of l. It reads the host for itself: others publish theirs meanwhile.
func zeroReserved(ctx context.Context, env *Env, l catalog.LUN) error {
	h, err := host.Read(ctx, env.Options)
	if err != nil {
		return err
	}
	e := &engine.Engine{Host: h, Now: env.Now()}
	return fault.Of("create", record.LUNObject(l.Name), e.Run(ctx, []layout.Step{engine.ZeroTracked{LUN: l}}))
}
