package engine

import (
	"context"
	"errors"
	"time"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// overtakePause is how long Overtake waits until a swap that the kernel has begun is visible.
const overtakePause = 500 * time.Millisecond

// Overtake resumes a suspended LUN with its live table in place of another process that has suspended it, lives, and does not go on.
// Overtake reports whether it did so. The other process may go on at any moment, even in the middle of Overtake. It must wait for
// the end of Overtake before it changes anything else.
//
// The waiting table decides between the two. The kernel gives it either to the Clear of Overtake or to the Resume of the other
// process, never to both. If Overtake gets it, the other process resumes the old table, sees that, and takes its change back. If
// the other process gets it, Overtake finds the new table live and leaves it. Overtake invalidates the new metadata before that,
// because whoever resumes the old table makes them lack writes.
func (e *Engine) Overtake(ctx context.Context, l catalog.LUN) (bool, error) {
	top, err := e.orphan(ctx, l)
	if err != nil || !top.Live {
		return false, err
	}
	restore, err := e.Withdraw(ctx, e.unused(l, top.Table))
	if err == nil {
		err = e.Kernel.Clear(ctx, top.Name)
	}
	if err != nil {
		return false, fault.Of("overtake", record.LUNObject(l.Name), err)
	}
	time.Sleep(overtakePause)
	if top, err = e.orphan(ctx, l); err == nil && top.Live {
		return true, e.Kernel.Resume(ctx, top.Name, layout.VisibilityOf(l))
	}
	view, viewErr := e.View(ctx, l.ID)
	if viewErr == nil && e.serves(l, view.Own(l.ID).Table) {
		viewErr = restore(ctx)
	}
	return false, errors.Join(err, viewErr)
}

// orphan is the device of l if it is suspended with another table than that of the record. Else it has no live table.
func (e *Engine) orphan(ctx context.Context, l catalog.LUN) (layout.Observed, error) {
	view, err := e.View(ctx, l.ID)
	top := view.Own(l.ID)
	if err != nil || !top.Suspended || e.serves(l, top.Table) {
		return layout.Observed{}, err
	}
	return top, nil
}

// serves reports whether a table of the device of l is that of its record. The table of a mirror uses the current metadata slots. The
// table of a LUN with one plex is no mirror's.
func (e *Engine) serves(l catalog.LUN, t dm.Table) bool {
	if len(l.Plexes) == 1 {
		return !layout.IsRaid(t)
	}
	return e.usesSlots(l, t)
}
