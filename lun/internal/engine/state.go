package engine

import (
	"context"
	"slices"
	"time"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// State is what the kernel has of one LUN, read for a change of it.
type State struct {
	View    layout.View
	Cleanup []layout.Step // steps that end an interrupted change; View is the state after them
	Revived bool          // the live table of View becomes live only through Cleanup
	Legs    raid1.LegState
}

// Active reports whether the LUN has a live table.
func (s State) Active() bool { return s.Legs.Live }

// The kernel shows with a delay that a mirror is in sync, after a resume or at the end of a copy. These are the longest wait,
// and the pause between two looks.
const (
	quiesceTimeout = 2 * time.Second
	quiescePause   = 50 * time.Millisecond
)

// Inspect reads what the kernel has of l for a change of it, including its legs. If nothing should be copied, Inspect waits for
// a moment until the kernel copies nothing. vds.ErrProviderCacheCorrupt for a LUN whose start was interrupted.
func (e *Engine) Inspect(ctx context.Context, l catalog.LUN) (State, error) {
	for deadline := time.Now().Add(quiesceTimeout); ; time.Sleep(quiescePause) {
		s, err := e.AfterCleanup(ctx, l)
		if err != nil {
			return s, err
		}
		if s.Revived {
			return s, record.LUNFault(vds.ErrProviderCacheCorrupt, "change", l.Name,
				"it was not started to the end", "run `plexctl assemble`")
		}
		if err := e.Moved(l, s.View); err != nil {
			return s, err
		}
		s.Legs, err = e.ReadLegs(ctx, l, s.View)
		if err != nil || l.Operation != nil || !s.Legs.Busy() || time.Now().After(deadline) {
			return s, err
		}
	}
}

// AfterCleanup returns the clean-up steps for l after an interrupted change, and the state that the kernel has after them. The
// State has no Legs.
//
// The steps concern a waiting table. If the device has no live table, the waiting one is swapped in. Otherwise it is dropped,
// because it uses other slots than the live table.
//
// On Linux 6.1 the kernel empties the bitmaps of a raid table's slots when it destroys a table that was never live
// (drivers/md/md-bitmap.c, md_bitmap_flush). If those slots are current, a step first invalidates their superblocks. Then
// everything is copied if the machine stops before the metadata is written anew.
func (e *Engine) AfterCleanup(ctx context.Context, l catalog.LUN) (State, error) {
	view, err := e.View(ctx, l.ID)
	s := State{View: view}
	id := layout.LUNUUID(l.ID)
	top := view[id]
	if err != nil || !top.Inactive {
		return s, err
	}
	waiting, err := e.Kernel.Waiting(ctx, top.Name)
	if err != nil {
		return s, fault.Of("read waiting table of", record.LUNObject(l.Name), err)
	}
	top.Inactive = false
	switch {
	case !top.Live:
		top.Live, top.Suspended, top.Table, s.Revived = true, false, waiting, true
		s.Cleanup = []layout.Step{layout.Resume{Node: own(l, top)}}
	case len(e.onlyIn(l, waiting, view.Own(l.ID).Table)) > 0:
		s.Cleanup = append(layout.Present(e.invalidateUnused(l, top.Table)), layout.Clear{Name: top.Name})
	default:
		s.Cleanup = []layout.Step{layout.Clear{Name: top.Name}}
	}
	view[id] = top
	return s, nil
}

// own is the node of a LUN's own device as the kernel has it.
func own(l catalog.LUN, top layout.Observed) layout.Node {
	return layout.Node{Name: top.Name, UUID: layout.LUNUUID(l.ID), Visibility: layout.VisibilityOf(l)}
}

// clearWaiting is the step that drops the waiting table of a LUN's own device, if there is one.
func clearWaiting(top layout.Observed) []layout.Step {
	if !top.Inactive {
		return nil
	}
	return []layout.Step{layout.Clear{Name: top.Name}}
}

// onlyIn is the plexes of l that take part and whose current slot is used by table a and not by table b.
func (e *Engine) onlyIn(l catalog.LUN, a, b dm.Table) []catalog.Plex {
	return slices.DeleteFunc(e.Roles(l).Plexes(l), func(p catalog.Plex) bool {
		return !layout.UsesSlot(l, p, a, e.At) || layout.UsesSlot(l, p, b, e.At)
	})
}

// invalidateUnused is the step that invalidates the current metadata of l that this live table does not use. Later writes may
// be missing from that metadata. nil when there is none.
func (e *Engine) invalidateUnused(l catalog.LUN, live dm.Table) layout.Step {
	unused := e.unused(l, live)
	if len(unused) == 0 {
		return nil
	}
	return Invalidate{l.Name, unused}
}

// unused is the plexes of mirror l whose current slots a table does not use.
func (e *Engine) unused(l catalog.LUN, t dm.Table) []catalog.Plex {
	if len(l.Plexes) == 1 {
		return nil
	}
	return slices.DeleteFunc(e.Roles(l).Plexes(l), func(p catalog.Plex) bool { return layout.UsesSlot(l, p, t, e.At) })
}

// usesSlots reports whether a table uses the current slots of all plexes of l that take part.
func (e *Engine) usesSlots(l catalog.LUN, t dm.Table) bool {
	return layout.UsesSlots(l, e.Roles(l), t, e.At)
}

// usesLeaving reports whether a table uses the metadata of a plex that is leaving l.
func (e *Engine) usesLeaving(l catalog.LUN, t dm.Table) bool {
	return slices.ContainsFunc(l.Leaving(), func(p catalog.Plex) bool { return layout.UsesSlot(l, p, t, e.At) })
}

// needed is what l needs, and the change for the plan.
func (e *Engine) needed(ctx context.Context, l catalog.LUN, have *State) (raid1.Need, layout.Change, error) {
	c := layout.Change{Want: e.Wants(l), Have: have.View, Cleanup: have.Cleanup, At: e.At}
	if err := e.Moved(l, have.View); err != nil {
		return raid1.NeedLegs, c, err
	}
	top := have.View.Own(l.ID)
	r := raid1.Running{
		Live: top.Live, Suspended: top.Suspended, Matches: c.Satisfied(), Revived: have.Revived, Paused: layout.Paused(top.Table),
	}
	need := raid1.Needed(l, r)
	if need != raid1.NeedLegs {
		return need, c, nil
	}
	var err error
	if have.Legs, err = e.ReadLegs(ctx, l, have.View); err != nil {
		return need, c, err
	}
	roles := e.Roles(l)
	c.Want = layout.Of(l, raid1.RolesBeside(l, roles, have.Legs))
	r.Legs, r.Matches = &have.Legs, c.Satisfied()
	return raid1.Needed(l, r), c, nil
}

// BringUp brings the kernel to the record of l. If the LUN was not active and cannot be started, BringUp takes it down again. A
// mirror whose first resume has failed is suspended, and a second resume would run it without its bitmap.
func (e *Engine) BringUp(ctx context.Context, l catalog.LUN) error {
	return e.bringUp(ctx, l, false, e.Swap)
}

// BringUpReady is BringUp of a mirror whose run has begun; see Begin.
func (e *Engine) BringUpReady(ctx context.Context, l catalog.LUN) error {
	return e.bringUp(ctx, l, true, e.Swap)
}

// Begin writes the metadata with which mirror l, which is not active, is started, and returns the record to commit before that.
func (e *Engine) Begin(ctx context.Context, l catalog.LUN) (catalog.LUN, error) {
	prepare, _ := e.begin(l)
	err := e.Run(ctx, []layout.Step{prepare})
	return prepare.Tx.Put[0], err
}

// bringUp is BringUp with the way to swap to another table as an argument. ready says that the run of the mirror has begun.
func (e *Engine) bringUp(ctx context.Context, l catalog.LUN, ready bool, swap func(context.Context, Swap) (catalog.LUN, error)) error {
	have, err := e.AfterCleanup(ctx, l)
	if err != nil {
		return err
	}
	need, c, err := e.needed(ctx, l, &have)
	if err != nil {
		return err
	}
	switch need {
	case raid1.NeedStart:
		if len(l.Plexes) > 1 && !ready {
			c.Prepare, c.Commit = e.begin(l)
		}
		if l.Operation != nil {
			c.Mark = Mark{l, ready} // what readies a mirror may begin an operation; all others go on
		}
		if err := e.Run(ctx, layout.Plan(c)); err != nil {
			return fault.Undo(err, e.TearDown(ctx, l))
		}
		return nil
	case raid1.NeedSwap:
		s := Swap{Op: "start", Before: l, Next: l, Have: have}
		if len(l.Plexes) > 1 {
			s.Commit = l.Name + " has new metadata"
		}
		_, err := swap(ctx, s)
		return err
	default:
		return e.Run(ctx, layout.Plan(c))
	}
}

// TearDown removes all devices of l from the kernel.
func (e *Engine) TearDown(ctx context.Context, l catalog.LUN) error {
	left, err := e.View(ctx, l.ID)
	if err != nil {
		return err
	}
	return e.Run(ctx, layout.Plan(layout.Change{Have: left, At: e.At}))
}

// ResumeOrphan resumes a LUN that an interrupted change has left suspended, with its live table; false when it is not
// suspended. It returns the record that then holds. It does not load the new table. For each raid table the kernel runs a program, modprobe (drivers/md/md.c, md_run),
// which may lie on the LUN. A mirror whose first resume has failed must not be resumed again, and gets a new table at once.
func (e *Engine) ResumeOrphan(ctx context.Context, l catalog.LUN) (catalog.LUN, bool, error) {
	have, err := e.AfterCleanup(ctx, l)
	top := have.View.Own(l.ID)
	if err != nil || !top.Suspended || !top.Live {
		return l, false, err
	}
	if e.usesSlots(l, top.Table) && !e.usesLeaving(l, top.Table) {
		err = e.BringUp(ctx, l) // this may take a commit
	} else {
		steps := slices.Concat(layout.Present(e.invalidateUnused(l, top.Table)), have.Cleanup)
		err = e.Run(ctx, append(steps, layout.Resume{Node: own(l, top)}))
	}
	return e.Current(l), true, err
}

// FinishWipe wipes l if its record asks for it, and commits that it was done.
func (e *Engine) FinishWipe(ctx context.Context, l catalog.LUN) (catalog.LUN, error) {
	if !l.Wipe {
		return l, nil
	}
	return e.Amend(ctx, "wipe", l, record.Wiped(l), l.Name+" is wiped", []layout.Step{Wipe{l}})
}
