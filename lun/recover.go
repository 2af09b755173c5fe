package lun

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// Recover brings plexes back that have failed or were missing, while the LUN is in use (IVdsLun::Recover): the kernel
// copies the regions that were written meanwhile, and no others; everything, to a plex that was never filled to the end or
// without which the LUN was started by force. When nothing is to be recovered the handle has ended with vds.OK. Codes:
// vds.ErrInvalidOperation (one plex), vds.ErrObjectStatusFailed (the LUN is not active, or the drives of all failed plexes
// are missing), vds.ErrAnotherCallInProgress, vds.ErrObjectDeleted.
func (l *LUN) Recover(ctx context.Context) (*resync.Async, error) {
	return l.begin(ctx, "recover", func(ctx context.Context, m *machine, record catalog.LUN) (catalog.LUN, error) {
		return m.recover(ctx, record, l.p.now())
	})
}

// recover commits that the failed plexes of l are being filled, and swaps in a table with all of them. The metadata makes
// the kernel take them for members that come back, and copy the regions whose bits it kept (drivers/md/dm-raid.c,
// super_validate).
func (m *machine) recover(ctx context.Context, l catalog.LUN, now time.Time) (catalog.LUN, error) {
	have, failed, err := m.failedPlexes(ctx, l)
	if err != nil {
		return l, err
	}
	next := l
	next.Operation = newOperation(vds.AsyncRecoverLUN, now)
	next.Last, next.MaxRate = nil, 0
	if len(failed) == 0 {
		return conclude(next, vds.OK, now), nil // not recorded: nothing has happened
	}
	next.Operation.Plexes = failed
	next.Operation.Queued = len(m.rivals(next)) > 0
	next.Plexes = slices.Clone(next.Plexes)
	for i, p := range next.Plexes {
		if slices.Contains(failed, p.ID) {
			next.Operation.Whole = next.Operation.Whole || p.Stale
			next.Plexes[i].Stale = false
		}
	}
	if next.Operation.Whole {
		next = m.worthTracking(ctx, next)
	}
	next = m.next(m.flip(next, have.was))
	tx := &transaction{put: []catalog.LUN{next}, back: []catalog.LUN{l}}
	steps, err := m.transition(next, have, move{commit: tx.step("commit: plexes of " + l.Name + " are recovered")})
	if err != nil {
		return l, err
	}
	return next, m.carryOut(ctx, "recover", l.Name, steps, tx, l)
}

// failedPlexes is the plexes of l that do not hold all of its data though nothing fills them, all of whose drives are here.
func (m *machine) failedPlexes(ctx context.Context, l catalog.LUN) (held, []uuid.UUID, error) {
	why := reasons{op: "recover", object: lunObject(l.Name)}
	if len(l.Copies()) == 1 {
		why.add(vds.ErrInvalidOperation, "attach another LUN with `plexctl plex add`", "it has one plex, and nothing to recover from")
		return held{}, nil, why.err()
	}
	m.checkRecords(l, &why)
	checkIdle(l, &why)
	have, err := m.holdIdle(ctx, l, &why)
	if err != nil {
		return have, nil, err
	}
	var failed []uuid.UUID
	absent := false
	for _, p := range l.Copies() {
		switch {
		case !p.Stale && have.was.holds(p.ID):
		case missing(p, m.absent):
			absent = true
		default:
			failed = append(failed, p.ID)
		}
	}
	if absent && len(failed) == 0 {
		m.checkUsable(l, &why)
	}
	return have, failed, why.err()
}
