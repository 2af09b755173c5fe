package ops

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// AllRoom is the size of a LUN that takes all the room of its drives.
const AllRoom size.Bytes = math.MaxUint64

// Spec describes a LUN to make.
type Spec struct {
	Name   string     // letters, digits, '.', '_' and '-'; starts with a letter or digit; at most catalog.MaxName bytes
	Size   size.Bytes // rounded up to a MiB; AllRoom: all that there is room for
	Drives []string   // drives to use, each filled before the next; empty: the one with the most free space
	// Track makes the kernel record every MiB that is ever written, so that a new plex gets only these. All of the LUN is
	// zeroed first. Its drive does that, or, if it cannot, plexctl writes the zeros, which takes as long as filling the LUN. Other
	// changes of the host go on meanwhile.
	Track bool
}

// Create makes a LUN with one plex and activates it. It stops zeroing when ctx is cancelled. On an error nothing of the LUN
// remains.
func Create(ctx context.Context, env *Env, spec Spec) (catalog.LUN, error) {
	interruptible, done := untilCanceled(ctx)
	defer done()
	var made catalog.LUN
	var release func() // not nil: the room of made is reserved
	err := env.Change(ctx, "create "+record.LUNObject(spec.Name), func(ctx context.Context, s *Session) error {
		err := s.unmakeAll(ctx)
		if err != nil {
			return err
		}
		if made, err = newLUN(s, spec); err != nil {
			return err
		}
		if err := refuseTaken(ctx, s, made); err != nil {
			return err
		}
		if err := s.CheckNames("create", made.Name, made, host.OtherName); err != nil {
			return err
		}
		if made.Making && s.Dry == nil {
			release, err = reserve(ctx, s, made)
			return err
		}
		if err := s.Run(interruptible, readyExtents(made)); err != nil {
			return fault.Of("create", record.LUNObject(made.Name), err)
		}
		return create(ctx, s, made)
	})
	if err != nil || release == nil {
		return made, err
	}
	defer release()
	return makeReserved(interruptible, env, made)
}

// newLUN is the record of a LUN for spec.
func newLUN(s *Session, spec Spec) (catalog.LUN, error) {
	object := record.LUNObject(spec.Name)
	if err := checkName(s, "create", spec.Name); err != nil {
		return catalog.LUN{}, err
	}
	length := spec.Size.RoundUp(size.MiB).Sectors()
	if length == 0 && spec.Size != AllRoom {
		return catalog.LUN{}, &vds.Error{Code: vds.ErrInvalidArg, Op: "create", Object: object, Reason: "the size is zero, or too large"}
	}
	drives, err := s.DriveIDs(spec.Drives)
	if err != nil {
		return catalog.LUN{}, err
	}
	if spec.Size == AllRoom {
		length = max(size.MiB.Sectors(), s.Most(catalog.Plex{}, drives))
	}
	plex, err := s.Allocate(length, drives)
	if err != nil {
		return catalog.LUN{}, err
	}
	made := catalog.LUN{ID: uuid.New(), Name: spec.Name, Size: length, Plexes: []catalog.Plex{plex}}
	if spec.Track {
		if record.PlexType(plex) == vds.TypeSpan {
			return catalog.LUN{}, record.LUNFault(vds.ErrNotSupported, "create", spec.Name,
				"its plex would span drives, and no other plex can be added to such a one",
				"name one drive that has room for all of it, or leave --track out")
		}
		made = record.Track(made)
		made.Making = true
	}
	made = s.Next(made)
	if err := made.Validate(); err != nil {
		return catalog.LUN{}, &vds.Error{Code: vds.ErrInvalidArg, Op: "create", Object: object, Err: err}
	}
	return made, nil
}

// readyExtents is the steps that prepare the extents of a new LUN.
func readyExtents(l catalog.LUN) []layout.Step {
	if l.Making {
		tx := &host.Transaction{Put: []catalog.LUN{l}}
		return []layout.Step{reservation(tx, l), engine.ZeroTracked{LUN: l}, engine.NoteBlank{LUN: l}}
	}
	return []layout.Step{engine.Wipe{LUN: l}, engine.ZeroMeta{LUN: l}}
}

// create commits l and activates it. If activation fails, l is deleted again.
func create(ctx context.Context, s *Session, l catalog.LUN) error {
	tx := &host.Transaction{Put: []catalog.LUN{l}}
	steps := layout.Plan(layout.Change{Want: s.Wants(l), At: s.At, Commit: engine.Commit{Tx: tx, Text: l.Name + " is a LUN"}})
	err := fault.Of("create", record.LUNObject(l.Name), s.Run(ctx, steps))
	if err == nil || !tx.Begun {
		return err
	}
	return fault.Undo(err, discard(ctx, s, l))
}

// untilCanceled is a context that ends when ctx is cancelled, but not at ctx's deadline. The deadline is for the wait for the
// lock.
func untilCanceled(ctx context.Context) (context.Context, func()) {
	interruptible, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	return interruptible, func() { stop(); cancel() }
}

// Delete removes a LUN and all its plexes. It need not resume a LUN that a dead process left suspended.
func Delete(ctx context.Context, env *Env, l LUN) error {
	return env.Change(ctx, "delete "+record.LUNObject(l.Name), func(ctx context.Context, s *Session) error {
		now, err := l.In(s.Host, "delete")
		if err != nil {
			return err
		}
		if now, err = s.conclude(ctx, now, parting{activate: true}); err != nil {
			return err
		}
		why := fault.Reasons{Op: "delete", Object: record.LUNObject(now.Name)}
		if s.Set.Unheard(now.ID) {
			return s.Unusable("delete", now)
		}
		if now.Making {
			return s.unmake(ctx, "delete", now)
		}
		if now.Operation != nil {
			why.Add(vds.ErrAnotherCallInProgress, cancelHint(now), "%s is running", now.Operation.Type)
		}
		if err := s.RefuseOpen(ctx, now, &why); err != nil {
			return err
		}
		return discard(ctx, s, now)
	})
}

// discard takes a LUN down and commits that it is deleted. It also tries the drives that may have missed the LUN's record.
func discard(ctx context.Context, s *Session, l catalog.LUN) error {
	have, err := s.AfterCleanup(ctx, l)
	if err != nil {
		return err
	}
	gone := l
	gone.Deleted, gone.Making = true, false
	tx := &host.Transaction{Put: []catalog.LUN{s.Next(gone)}, First: slices.Clone(l.Drives())}
	steps := layout.Plan(layout.Change{
		Have: have.View, Cleanup: have.Cleanup, At: s.At, Commit: engine.Commit{Tx: tx, Text: l.Name + " is deleted"},
	})
	return fault.Of("delete", record.LUNObject(l.Name), s.Run(ctx, steps))
}
