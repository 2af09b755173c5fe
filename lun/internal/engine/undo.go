package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// takeBack takes a change back: the records, if the commit was begun, and the devices of the LUNs in up.
func (e *Engine) takeBack(ctx context.Context, tx *host.Transaction, unstarted bool, up []catalog.LUN) error {
	var failed []error
	if tx.Begun {
		failed = append(failed, e.TakeBack(ctx, tx))
	}
	for _, l := range up {
		now, recorded := e.Record(l.ID)
		switch {
		case tx.Begun && !recorded:
			continue // there is no such LUN any more
		case tx.Begun:
			l = now
		}
		failed = append(failed, e.restore(ctx, l, tx.RecordOf(l), unstarted))
	}
	return errors.Join(failed...)
}

// restore returns the kernel to record l after a change to record put has failed. If the old record could not be committed
// again, l may be put. If a device cannot get its table, restore at least resumes it, so that no LUN stays suspended.
//
// The exception is a mirror whose new table could not be resumed. A second resume would run it without its bitmap, and treat
// targets as full copies. restore starts it degraded, or makes it fail all I/O until it is assembled. With unstarted every mirror's
// table is such a one; see carryOut. Else the table from before the change is told from it by its metadata slots.
func (e *Engine) restore(ctx context.Context, l, put catalog.LUN, unstarted bool) error {
	l, err := e.FinishWipe(ctx, l)
	if err == nil {
		err = e.bringUp(ctx, l, false, e.swapForGood)
	}
	if err == nil {
		return nil
	}
	have, viewErr := e.View(ctx, l.ID)
	if viewErr != nil {
		return fault.Undo(err, viewErr)
	}
	live := have.Own(l.ID)
	var again error
	switch {
	case !live.Suspended:
		return err // no I/O waits; a waiting table must not become live
	case !layout.IsRaid(live.Table) || !unstarted && e.usesSlots(l, live.Table) && l.Generation != put.Generation:
		again = e.Run(ctx, append(clearWaiting(live), layout.Resume{Node: own(l, live)}))
	case len(l.Plexes) == 1: // the only plex holds the data
		err, again = nil, e.Run(ctx, layout.Plan(layout.Change{Want: e.Wants(l), Have: have, At: e.At}))
	default:
		again = e.startDegraded(ctx, l, put, have)
	}
	if again != nil {
		again = fault.Undo(again, e.failAllIO(ctx, l))
	}
	return fault.Undo(err, again)
}

// swapForGood is Swap for a change that is already being taken back. It is not taken back itself.
func (e *Engine) swapForGood(ctx context.Context, s Swap) (catalog.LUN, error) {
	steps, _, err := e.planSwap(&s)
	if err != nil {
		return s.Before, err
	}
	return s.Next, e.Run(ctx, steps)
}

// startDegraded resumes a suspended mirror when neither of its tables can be started: the loaded one for record put, and the
// one for record l. A drive that failed during the swap is one cause.
//
// Nothing has been written since the suspend, so startDegraded starts the LUN like one that is not active. It uses only plexes
// that can be written and that hold all of the data, by put and by their metadata. It first invalidates the metadata of the
// live table, because the end of that table may empty the bitmaps (see AfterCleanup).
func (e *Engine) startDegraded(ctx context.Context, l, put catalog.LUN, have layout.View) error {
	top := have.Own(l.ID)
	left, err := e.withoutDead(ctx, l, put)
	if err != nil {
		return err
	}
	if len(e.onlyIn(l, top.Table, nil)) > 0 {
		if err := e.Run(ctx, []layout.Step{Invalidate{left.Name, e.Roles(left).Plexes(left)}}); err != nil {
			return err
		}
	}
	top.Live = false
	have[layout.LUNUUID(l.ID)] = top
	prepare, commit := e.begin(left)
	prepare.Tx.All = true
	return e.Run(ctx, layout.Plan(layout.Change{Want: e.Wants(left), Have: have, At: e.At, Prepare: prepare, Commit: commit}))
}

// withoutDead is l with plexes marked stale. A plex is marked when it cannot be written, or when
// it does not hold all of the data by put and by its metadata. withoutDead fails when no plex is left.
func (e *Engine) withoutDead(ctx context.Context, l, put catalog.LUN) (catalog.LUN, error) {
	reads, err := e.ReadSlots(ctx, l)
	if err != nil {
		return l, err
	}
	here := e.Roles(l)
	sources, _ := raid1.Sources(l, here, raid1.Weigh(l, here, reads).Slots)
	next := l
	next.Plexes = slices.Clone(l.Plexes)
	left, roles := false, record.RolesOf(l, record.AllHere)
	for i, p := range next.Copies() {
		err := e.Writable(ctx, p)
		if err != nil {
			e.Log.WarnContext(ctx, "goes on without a plex", "lun", l.Name, "plex", p.ID, "error", err)
		}
		complete := e.isSource(put, p.ID) && slices.Contains(sources, i)
		left = left || complete && err == nil
		if err != nil || !complete && !roles[i].IsTarget() {
			next.Plexes[i].Stale = true
		}
	}
	if !left {
		return l, record.LUNFault(vds.ErrObjectStatusFailed, "restore", l.Name,
			"no plex that can be written holds all of its data", "see to its drives, then run `plexctl assemble "+l.Name+"`")
	}
	return next, nil
}

// isSource reports whether a plex holds all of the data by a record and its drive is present.
func (e *Engine) isSource(l catalog.LUN, plex uuid.UUID) bool {
	i := record.Index(l, plex)
	return i >= 0 && e.Roles(l)[i] == record.Source
}

// failAllIO fails all I/O of a LUN that is still suspended. So no I/O waits forever, and no write is missing from the metadata.
// Assemble starts the LUN like one that is not active. If the old table uses current metadata, failAllIO first makes those
// metadata devices fail: the end of the table may empty their bitmaps (see AfterCleanup).
func (e *Engine) failAllIO(ctx context.Context, l catalog.LUN) error {
	have, err := e.View(ctx, l.ID)
	top := have.Own(l.ID)
	if err != nil || !top.Suspended {
		return err
	}
	var steps []layout.Step
	for _, s := range clearWaiting(top) {
		steps = append(steps, layout.BestEffort{Step: s}) // the table that is loaded next takes the waiting one's place
	}
	for _, p := range e.onlyIn(l, top.Table, nil) {
		if meta, ok := have[layout.MetaUUID(l, p, p.Slot)]; ok {
			steps = append(steps, FailIO{meta, dm.Private})
		}
	}
	return e.Run(ctx, append(steps, FailIO{top, layout.VisibilityOf(l)}))
}
