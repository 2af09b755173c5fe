package lun

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// Recover brings plexes back that have failed or were missing, while the LUN is in use (IVdsLun::Recover): the kernel
// copies the regions that were written meanwhile, and no others. When nothing is to be recovered the handle has ended with
// vds.OK; a recovery that has failed goes on. Codes: vds.ErrInvalidOperation (one plex), vds.ErrObjectStatusFailed (the LUN or the drive is not there),
// vds.ErrAnotherCallInProgress, vds.ErrObjectDeleted.
func (l *LUN) Recover(ctx context.Context) (*resync.Async, error) {
	var next catalog.LUN
	err := l.p.change(ctx, "recover "+lunObject(l.name), func(ctx context.Context, m *machine) error {
		record, err := l.in(m, "recover")
		if err != nil {
			return err
		}
		next, err = m.recover(ctx, record, l.p.now())
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case next.Operation != nil:
		return l.p.watch(next), nil
	default:
		d := resync.Descriptor{ID: uuid.New(), Type: vds.AsyncRecoverLUN, LUN: l.id, Started: l.p.now()}
		return resync.Finished(d, vds.OK), nil
	}
}

// recover commits that the failed plexes of l are being filled, and loads the mirror's table anew. The kernel then takes
// them for members that come back, and copies the regions whose bits it kept (drivers/md/dm-raid.c, super_validate).
// The record is as it was when there is nothing to recover.
func (m *machine) recover(ctx context.Context, l catalog.LUN, now time.Time) (catalog.LUN, error) {
	l, err := m.settleEnded(ctx, l, now)
	if err != nil {
		return l, err
	}
	if op := l.Operation; op != nil && op.Type == vds.AsyncRecoverLUN {
		if dropped, err := m.dropped(ctx, l); err != nil || dropped {
			return l, errors.Join(err, m.bringUp(ctx, l)) // it failed again: the same operation goes on
		}
	}
	failed, err := m.failedPlexes(ctx, l)
	if err != nil || len(failed) == 0 {
		return l, err
	}
	next := l
	next.Operation = &catalog.Operation{
		ID: uuid.New(), Type: vds.AsyncRecoverLUN, Started: now.UTC().Truncate(time.Millisecond), Plexes: failed,
	}
	next.Last = nil
	next = m.next(next)
	have, err := m.settledView(ctx, l)
	if err != nil {
		return l, err
	}
	tx := &transaction{put: []catalog.LUN{next}}
	c := change{want: m.wants(next), have: have, at: m.at, commit: tx.step("commit: plexes of " + l.Name + " are recovered"), reload: true}
	if err := m.execute(ctx, plan(c)); err != nil {
		return l, joinUndo(fault("recover", lunObject(l.Name), err), m.restore(ctx, l))
	}
	return next, nil
}

// failedPlexes is the plexes of l that the kernel has dropped or never had, all of whose drives are here.
func (m *machine) failedPlexes(ctx context.Context, l catalog.LUN) ([]uuid.UUID, error) {
	why := reasons{op: "recover", object: lunObject(l.Name)}
	if len(l.Plexes) == 1 {
		why.add(vds.ErrInvalidOperation, "attach another LUN with `plexctl plex add`", "it has one plex, and nothing to recover from")
		return nil, why.err()
	}
	m.checkUsable(l, &why)
	checkIdle(l, &why)
	if err := why.err(); err != nil {
		return nil, err
	}
	status, ok, err := m.raidStatus(ctx, l)
	if err != nil {
		return nil, err
	}
	if !ok {
		why.add(vds.ErrObjectStatusFailed, "run `plexctl assemble`", "its mirror is not active")
		return nil, why.err()
	}
	var failed []uuid.UUID
	for i, letter := range status.Health {
		if letter == dm.LegFailed || letter == dm.LegMissing || letter == dm.LegSyncing && status.Action == dm.ActionIdle {
			failed = append(failed, l.Plexes[i].ID)
		}
	}
	return failed, nil
}
