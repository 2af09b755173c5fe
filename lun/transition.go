package lun

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/vds"
)

// held is what the kernel has of one LUN, read for a change of it.
type held struct {
	view   view
	settle []step // ends what an interrupted change has left; view is as after them
	woken  bool   // the live table of view is one that only settle makes live
	was    standing
}

// hold reads what the kernel has of l.
func (m *machine) hold(ctx context.Context, l catalog.LUN) (held, error) {
	for deadline := time.Now().Add(settling); ; time.Sleep(passingPause) {
		h, err := m.settled(ctx, l)
		if err != nil {
			return h, err
		}
		if h.woken {
			return h, &vds.Error{
				Code: vds.ErrProviderCacheCorrupt, Op: "change", Object: lunObject(l.Name),
				Reason: "it was not started to the end", Hint: "run `plexctl assemble`",
			}
		}
		h.was, err = m.stand(ctx, l, h.view)
		if err != nil || l.Operation != nil || !h.was.busy() || time.Now().After(deadline) {
			return h, err
		}
	}
}

// settling is how long the kernel may take to show that a mirror is whole after its table was resumed, or a copy has ended.
const settling = 2 * time.Second

// active reports whether the LUN has a live table.
func (h held) active() bool { return h.was.live }

// move is how a transition is made.
type move struct {
	commit  step
	freeze  bool      // a file system on the LUN is frozen for the swap
	known   knowledge // of the plex that new ones are filled from; may be nil
	zeroing *bool     // is set when new plexes are being zeroed; may be nil
	forget  bool      // no region counts as written when the new table begins
}

// transition is the steps that make next of l, whose live table uses none of the slots in force in next. A LUN that is not
// active stays so: only its record changes.
func (m *machine) transition(next catalog.LUN, have held, how move) ([]step, error) {
	if !have.active() {
		return append(slices.Clone(have.settle), present(how.commit)...), nil
	}
	c := change{have: have.view, settle: have.settle, at: m.at, commit: how.commit}
	out := m.outOf(next, have.was)
	c.want = layout(next, out)
	conv, err := convert(next, have.was, out)
	if err != nil {
		return nil, err
	}
	conv.learn(how)
	conv.forget = how.forget
	c.prepare, c.ready, c.window = conv.prepare(), conv.ready(), conv.window(how.freeze)
	return plan(c), nil
}

// outOf says which plexes of l are left out of its table, given the one that the kernel runs: also one whose drive has come
// back, until it is recovered, because it may have missed writes that nobody has noted.
func (m *machine) outOf(l catalog.LUN, was standing) func(catalog.Plex) bool {
	fills := map[uuid.UUID]bool{}
	for i, is := range filled(l) {
		fills[l.Plexes[i].ID] = is
	}
	return func(p catalog.Plex) bool {
		_, leg := was.health[p.ID]
		return m.out(p) || was.mirror && !leg && !fills[p.ID]
	}
}

// settled is what the kernel will have of l, and the steps after which it does, when a change was interrupted while a table
// waited. A table that waits for a device without one is swapped in. Any other is thrown away: it uses slots that the live
// one does not. On Linux 6.1 the end of a raid table that was never live empties the bitmaps of its slots
// (drivers/md/md-bitmap.c, md_bitmap_flush); where those are in force their superblocks go first, so that everything is
// copied if the machine stops before they are written anew.
func (m *machine) settled(ctx context.Context, l catalog.LUN) (held, error) {
	view, err := m.viewOf(ctx, l.ID)
	h := held{view: view}
	id := lunUUID(l.ID)
	top := view[id]
	if err != nil || !top.Inactive {
		return h, err
	}
	waiting, err := m.kernel.Waiting(ctx, top.Name)
	if err != nil {
		return h, fault("read waiting table of", lunObject(l.Name), err)
	}
	top.Inactive = false
	switch {
	case !top.Live:
		top.Live, top.Suspended, top.table, h.woken = true, false, waiting, true
		h.settle = []step{resumeStep{node{name: top.Name, uuid: id, visibility: dm.Public}}}
	case slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool { return m.slotInUse(l, p, waiting) && !m.slotInUse(l, p, top.table) }):
		h.settle = append(present(m.spoilUnused(l, top.table)), clearStep{top.Name})
	default:
		h.settle = []step{clearStep{top.Name}}
	}
	view[id] = top
	return h, nil
}

// slotInUse reports whether a table uses the metadata slot in force of a plex of l that takes part.
func (m *machine) slotInUse(l catalog.LUN, p catalog.Plex, t dm.Table) bool {
	raid, ok := soleTarget[dm.Raid1](t)
	dev := m.at.nodes[metaNode(l, p).uuid]
	return ok && !m.out(p) && !dev.IsZero() && slices.ContainsFunc(raid.Legs, func(leg dm.Leg) bool { return leg.Meta == dev })
}

// inForce reports whether a table uses the metadata slots in force of all plexes of l that take part.
func (m *machine) inForce(l catalog.LUN, t dm.Table) bool {
	return isRaid(t) && !slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool { return !m.out(p) && !m.slotInUse(l, p, t) })
}

// clashes reports whether the live mirror uses a metadata slot that is in force in l.
func (m *machine) clashes(l catalog.LUN, was standing) bool {
	return slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool { return !m.out(p) && was.slots[p.ID] == p.Slot })
}

// bringUp plans and carries out what leads from what the kernel has to l. A LUN that was not active and cannot be started
// is taken down again: a mirror whose first resume has failed is suspended, and would go on without its bitmap when it is
// resumed once more.
func (m *machine) bringUp(ctx context.Context, l catalog.LUN) error {
	have, err := m.settled(ctx, l)
	if err != nil {
		return err
	}
	steps, err := m.upSteps(ctx, l, have)
	if err != nil {
		return err
	}
	err = m.execute(ctx, steps)
	if err == nil || have.view[lunUUID(l.ID)].Live {
		return err
	}
	return joinUndo(err, m.withdraw(ctx, l))
}

// withdraw takes down what there is of l in the kernel.
func (m *machine) withdraw(ctx context.Context, l catalog.LUN) error {
	left, err := m.viewOf(ctx, l.ID)
	if err != nil {
		return err
	}
	return m.execute(ctx, plan(change{have: left, at: m.at}))
}

// wake lets a LUN go on that a change which was cut off has left suspended, and completes that change.
func (m *machine) wake(ctx context.Context, l catalog.LUN) error {
	woken, err := m.letGo(ctx, l)
	if err != nil || !woken {
		return err
	}
	return m.bringUp(ctx, l)
}

// letGo lets a LUN go on that a change which was cut off has left suspended, with the table that it had; false when it is not
// suspended. To load the new one meanwhile would take a program, modprobe, which the kernel runs for each raid table
// (drivers/md/md.c, md_run), and which may lie on the LUN. A mirror whose first resume has failed must not be resumed again,
// and gets a new table at once.
func (m *machine) letGo(ctx context.Context, l catalog.LUN) (bool, error) {
	have, err := m.settled(ctx, l)
	top := have.view[lunUUID(l.ID)]
	if err != nil || !top.Suspended || !top.Live {
		return false, err
	}
	if m.inForce(l, top.table) {
		return true, m.bringUp(ctx, l)
	}
	steps := slices.Concat(present(m.spoilUnused(l, top.table)), have.settle)
	old := node{name: top.Name, uuid: lunUUID(l.ID), visibility: dm.Public}
	return true, m.execute(ctx, append(steps, resumeStep{old}))
}

// spoilUnused gives up the metadata in force of l that this live table does not use: it may lack what is written from now on.
// nil when there is none.
func (m *machine) spoilUnused(l catalog.LUN, live dm.Table) step {
	if len(l.Plexes) == 1 {
		return nil
	}
	l.Plexes = slices.DeleteFunc(slices.Clone(l.Plexes), func(p catalog.Plex) bool { return m.out(p) || m.slotInUse(l, p, live) })
	if len(l.Plexes) == 0 {
		return nil
	}
	return spoil(l)
}

// upSteps is the steps that bring the kernel to l.
func (m *machine) upSteps(ctx context.Context, l catalog.LUN, have held) ([]step, error) {
	var err error
	c := change{want: m.wants(l), have: have.view, settle: have.settle, at: m.at}
	top := c.want[len(c.want)-1]
	if !have.view[top.uuid].Live {
		if top.mirror != nil {
			c.prepare = restart(l)
		}
		return plan(c), nil
	}
	stuck := top.mirror != nil && have.view[top.uuid].Suspended          // its first resume has failed: it must not be resumed again
	held := l.Operation == nil && standsStill(have.view[top.uuid].table) // by an operation that has ended: nobody can let it go on
	if c.matches(top) && (l.Operation == nil || have.woken) && !stuck && !held {
		return plan(c), nil
	}
	if have.was, err = m.stand(ctx, l, have.view); err != nil {
		return nil, err
	}
	c.want = layout(l, m.outOf(l, have.was))
	if c.matches(c.want[len(c.want)-1]) && !dropped(l, have.was) && !stuck && (!held || !have.was.busy()) {
		return plan(c), nil
	}
	return m.renew(l, have)
}

// standsStill reports whether a table lets the kernel copy next to nothing.
func standsStill(t dm.Table) bool {
	raid, ok := soleTarget[dm.Raid1](t)
	return ok && raid.MaxRate == pausedRate
}

// dropped reports whether the kernel has given up a plex that l's operation fills. A new table takes it in again.
func dropped(l catalog.LUN, was standing) bool {
	for i, fills := range filled(l) {
		if letter, leg := was.health[l.Plexes[i].ID]; fills && leg && letter == dm.LegFailed {
			return true
		}
	}
	return false
}

// renew is the steps to a new table for a LUN whose live one is not the wanted one, or has to be begun anew. When the live
// one uses the slots in force, the others are put in force.
func (m *machine) renew(l catalog.LUN, have held) ([]step, error) {
	if !m.clashes(l, have.was) || len(l.Plexes) == 1 {
		return m.transition(l, have, move{})
	}
	next := m.next(m.flip(l, have.was))
	tx := &transaction{put: []catalog.LUN{next}}
	return m.transition(next, have, move{commit: tx.step("commit: " + l.Name + " has new metadata")})
}

// checkQuiet adds a reason when the kernel copies between the plexes of a LUN.
func checkQuiet(l catalog.LUN, was standing, why *reasons) {
	if l.Operation == nil && was.busy() {
		why.add(vds.ErrAnotherCallInProgress, "wait until `plexctl status` shows it healthy",
			"%s: its plexes are being made equal", lunObject(l.Name))
	}
}

// holdIdle is hold for a change that needs l active, whole as recorded, and nothing to be copied. It fails with the reasons
// there are already, and adds those that it finds.
func (m *machine) holdIdle(ctx context.Context, l catalog.LUN, why *reasons) (held, error) {
	if err := why.err(); err != nil {
		return held{}, err
	}
	have, err := m.hold(ctx, l)
	if err != nil {
		return have, err
	}
	checkActive(l, have.was, why)
	checkQuiet(l, have.was, why)
	m.checkKernel(l, have, why)
	return have, nil
}

// checkActive adds a reason when a LUN has no device.
func checkActive(l catalog.LUN, was standing, why *reasons) {
	if !was.live {
		why.add(vds.ErrObjectStatusFailed, "run `plexctl assemble`", "%s is not active", lunObject(l.Name))
	}
}
