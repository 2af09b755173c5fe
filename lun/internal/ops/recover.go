package ops

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Recover commits that an operation fills the failed plexes of a LUN, and swaps in a table with all of them. The metadata makes
// the kernel treat them as members that come back. So it copies only the regions whose bits it has kept (drivers/md/dm-raid.c,
// super_validate).
func Recover(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
	have, failed, err := failedPlexes(ctx, s, l)
	if err != nil {
		return l, err
	}
	next := record.Begin(l, vds.AsyncRecoverLUN, s.Now)
	if len(failed) == 0 {
		return record.Conclude(next, vds.OK, s.Now), nil // not recorded, because nothing has changed
	}
	why := fault.Reasons{Op: "recover", Object: record.LUNObject(l.Name)}
	if checkRelease(s, &why); why.Err() != nil {
		return l, why.Err()
	}
	whole := needWhole(ctx, s, l, have, failed)
	next = record.Recover(next, failed)
	next.Operation.Whole = next.Operation.Whole || whole
	next.Operation.Queued = len(conflictingCopies(s.Host, next)) > 0
	if next.Operation.Whole {
		next = worthTracking(ctx, s, next)
	}
	return s.Swap(ctx, engine.Swap{
		Op: "recover", Before: l, Next: next, Have: have, SwitchSlots: true, Commit: "plexes of " + l.Name + " are recovered",
	})
}

// needWhole reports whether one of these plexes has to get everything. The bitmaps of the others tell what it lacks only if it is
// the plex that went away, as it was then. Its metadata must show that.
func needWhole(ctx context.Context, s *Session, l catalog.LUN, have engine.State, failed []uuid.UUID) bool {
	return slices.ContainsFunc(failed, func(id uuid.UUID) bool {
		p := l.Plexes[record.Index(l, id)]
		slot := p.Slot
		if used, leg := have.Legs.Slots[id]; leg {
			slot = used
		}
		meta, err := s.ReadSlot(ctx, p, slot)
		if err != nil || s.Changed(p) || !have.Legs.Knows(p, meta) {
			about := []any{"lun", l.Name, "plex", id}
			if err != nil {
				about = append(about, "error", err)
			}
			s.Log.Warn("everything is copied: the plex may be an earlier copy of itself", about...)
			return true
		}
		return false
	})
}

// failedPlexes is the plexes of l that lack data, that no operation fills, and whose drives are all present.
func failedPlexes(ctx context.Context, s *Session, l catalog.LUN) (engine.State, []uuid.UUID, error) {
	why := fault.Reasons{Op: "recover", Object: record.LUNObject(l.Name)}
	if len(l.Copies()) == 1 {
		why.Add(vds.ErrInvalidOperation, "attach another LUN with `plexctl plex add`", "it has one plex, and nothing to recover from")
		return engine.State{}, nil, why.Err()
	}
	checkRecords(s, l, &why)
	checkIdle(l, &why)
	have, err := inspectQuiet(ctx, s, l, &why)
	if err != nil {
		return have, nil, err
	}
	var failed []uuid.UUID
	absent := false
	for _, p := range l.Copies() {
		switch {
		case !p.Stale && have.Legs.Complete(p.ID):
		case s.IsMissing(l, p):
			absent = true
		default:
			failed = append(failed, p.ID)
		}
	}
	if absent && len(failed) == 0 {
		checkUsable(s, l, &why)
	}
	return have, failed, why.Err()
}
