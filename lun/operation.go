package lun

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// operation is the running operation of a LUN, found again by its id whatever process looks.
type operation struct {
	p   *Provider
	lun uuid.UUID
	id  uuid.UUID
}

// watch is the handle of l's running operation.
func (p *Provider) watch(l catalog.LUN) *resync.Async {
	op := l.Operation
	return p.monitor.Watch(
		resync.Descriptor{ID: op.ID, Type: op.Type, LUN: l.ID, Started: op.Started},
		&operation{p: p, lun: l.ID, id: op.ID},
	)
}

// ended is the handle of l's last operation.
func ended(l catalog.LUN) *resync.Async {
	last := l.Last
	return resync.Finished(resync.Descriptor{ID: last.ID, Type: last.Type, LUN: l.ID, Started: last.Started}, last.Result, l.Size)
}

// Operations is a handle on every LUN's operation, running or last.
func (p *Provider) Operations() []*resync.Async {
	var all []*resync.Async
	for _, l := range p.machine().set.LUNs {
		switch {
		case l.Operation != nil:
			all = append(all, p.watch(l))
		case l.Last != nil:
			all = append(all, ended(l))
		}
	}
	return all
}

// Operation finds an operation by its GUID, a unique beginning of it (at least 4 digits), or its LUN's name or GUID.
func (p *Provider) Operation(ref string) (*resync.Async, error) {
	all := p.Operations() // once: a handle that is watched knows more of a failure than the record does
	matching := func(match func(*resync.Async) bool) []*resync.Async {
		return slices.DeleteFunc(slices.Clone(all), func(a *resync.Async) bool { return !match(a) })
	}
	found := matching(func(a *resync.Async) bool {
		id := a.ID.String()
		return id == strings.ToLower(ref) || len(ref) >= 4 && strings.HasPrefix(id, strings.ToLower(ref))
	})
	if l, err := p.LUN(ref); err == nil && len(found) == 0 {
		found = matching(func(a *resync.Async) bool { return a.LUN == l.ID() })
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return nil, &vds.Error{
		Code: vds.ErrObjectNotFound, Op: "find", Object: "operation " + ref,
		Reason: "no LUN has such an operation", Hint: "`plexctl op list` shows all",
	}
}

// handleOf is a handle on what a call has begun: the operation that l is under, or its last one, when the call did all there
// was to do.
func (p *Provider) handleOf(l catalog.LUN) *resync.Async {
	if l.Operation != nil {
		return p.watch(l)
	}
	return ended(l)
}

// Observe looks at the kernel with one status call, and at the superblocks when that claims the end.
func (o *operation) Observe(ctx context.Context) (resync.Observation, error) {
	m := o.p.machine()
	l, ok := m.record(o.lun)
	if !ok || l.Operation == nil || l.Operation.ID != o.id {
		return o.outcome(l)
	}
	if l.Operation.Queued {
		return o.queued(ctx)
	}
	seen, known, err := m.observeOperation(ctx, l)
	if known || err != nil {
		return seen, err
	}
	// The device is not what the record wants: another process has ended the operation, or taken the LUN down.
	if err := o.p.Refresh(ctx); err != nil {
		return resync.Observation{}, err
	}
	if l, ok = o.p.machine().record(o.lun); !ok || l.Operation == nil || l.Operation.ID != o.id {
		return o.outcome(l)
	}
	return resync.Observation{State: resync.Running, Total: l.Size}, nil
}

// outcome is how an operation ended that l is no longer under.
func (o *operation) outcome(l catalog.LUN) (resync.Observation, error) {
	if l.Last == nil || l.Last.ID != o.id {
		return resync.Observation{State: resync.Failed, Err: &vds.Error{
			Code: vds.ErrObjectDeleted, Op: "look at", Object: "operation " + o.id.String(), Reason: "its LUN is gone or has gone on without it",
		}}, nil
	}
	switch l.Last.Result {
	case vds.OK:
		return resync.Observation{State: resync.Done, Done: l.Size, Total: l.Size}, nil
	case vds.ErrOperationCanceled:
		return resync.Observation{State: resync.Canceled, Total: l.Size}, nil
	default:
		return resync.Observation{State: resync.Failed, Total: l.Size, Err: &vds.Error{
			Code: l.Last.Result, Op: l.Last.Type.String(), Object: lunObject(l.Name), Reason: "the operation failed",
		}}, nil
	}
}

// Settle records the end of the operation, if nobody is changing anything: whoever is settles it too.
func (o *operation) Settle(ctx context.Context, result vds.Code) error {
	err := o.p.changeSoon(ctx, "settle operation "+o.id.String(), func(ctx context.Context, m *machine) error {
		l, ok := m.record(o.lun)
		if !ok || l.Operation == nil || l.Operation.ID != o.id {
			return nil
		}
		seen, known, err := m.observeOperation(ctx, l)
		if err != nil || !known {
			return err
		}
		switch {
		case seen.State == resync.Done:
			result = vds.OK
		case seen.State == resync.Failed:
			result = vds.CodeOf(seen.Err)
		case seen.State == resync.Running || result == vds.OK:
			return nil // it goes on after all
		}
		_, err = m.settle(ctx, l, result, o.p.now())
		return err
	})
	if errors.Is(err, vds.ErrAnotherCallInProgress) {
		return nil
	}
	return err
}

// settleEnded commits the end of l's operation when it has ended, and returns the record that then holds.
func (m *machine) settleEnded(ctx context.Context, l catalog.LUN, now time.Time) (catalog.LUN, error) {
	if l.Operation == nil {
		return l, nil
	}
	seen, known, err := m.observeOperation(ctx, l)
	switch {
	case err != nil || !known:
		return l, err
	case seen.State == resync.Done:
		return m.settle(ctx, l, vds.OK, now)
	case seen.State == resync.Failed:
		return m.settle(ctx, l, vds.CodeOf(seen.Err), now)
	default:
		return l, nil
	}
}

// settle commits that l's operation has ended with result. The kernel keeps its table; a failed plex leaves it with the next
// change or Assemble.
func (m *machine) settle(ctx context.Context, l catalog.LUN, result vds.Code, now time.Time) (catalog.LUN, error) {
	status, mirrored, err := m.raidStatus(ctx, l)
	if err != nil {
		return l, err
	}
	settled := conclude(l, result, now)
	if mirrored {
		settled = afterLosses(settled, l, status.Health)
	}
	settled = m.next(settled)
	tx := &transaction{put: []catalog.LUN{settled}, back: []catalog.LUN{l}}
	steps := []step{tx.step("commit: " + l.Operation.Type.String() + " of " + l.Name + " has ended")}
	return settled, m.carryOut(ctx, "record the end of the operation of", l.Name, steps, tx)
}

// afterLosses is l, whose operation has ended, as the kernel's word on its legs makes it: after a success a plex that the
// kernel has dropped is out of date, and its drive need not take the commit. After a failure a plex that was filled stays
// one that holds the data when it is all there is: those that it was filled from were dropped after it was whole. It is pure.
func afterLosses(l, before catalog.LUN, health []dm.LegHealth) catalog.LUN {
	l.Plexes = slices.Clone(l.Plexes)
	holds := func(i int) bool { return i < len(health) && health[i] == dm.LegInSync }
	alone := true
	for i, p := range l.Plexes {
		alone = alone && (p.Stale || !holds(i))
	}
	for i := range l.Plexes {
		switch {
		case alone && holds(i):
			l.Plexes[i].Stale = before.Plexes[i].Stale
		case !l.Last.Result.Failed() && i < len(health) && health[i] == dm.LegFailed:
			l.Plexes[i].Stale = true
		}
	}
	return l
}

// conclude is l after its operation has ended with result: after a failure the plexes that it was filling are out of date. It
// is pure.
func conclude(l catalog.LUN, result vds.Code, now time.Time) catalog.LUN {
	op := l.Operation
	if result.Failed() && result != vds.ErrOperationCanceled {
		l.Plexes = slices.Clone(l.Plexes)
		for i := range l.Plexes {
			l.Plexes[i].Stale = l.Plexes[i].Stale || slices.Contains(op.Plexes, l.Plexes[i].ID)
		}
	}
	l.Operation = nil
	l.Last = &catalog.Outcome{ID: op.ID, Type: op.Type, Started: op.Started, Ended: stamp(now), Result: result}
	return l
}

// Cancel takes the new plexes away again and gives the source back as a LUN, with its GUID and its name. Its contents
// are undefined; the first and last MiB are zeroed, so that no file system shows up twice.
func (o *operation) Cancel(ctx context.Context) error {
	return o.p.change(ctx, "cancel operation "+o.id.String(), func(ctx context.Context, m *machine) error {
		l, ok := m.record(o.lun)
		if !ok {
			return &vds.Error{Code: vds.ErrObjectDeleted, Op: "cancel", Object: "operation " + o.id.String(), Reason: "its LUN is gone"}
		}
		l, err := m.settleEnded(ctx, l, o.p.now())
		if err != nil {
			return err
		}
		if l.Operation == nil || l.Operation.ID != o.id {
			return tooLate(l, o.id)
		}
		if l.Operation.Type != vds.AsyncAddLUNPlex {
			return &vds.Error{
				Code: vds.ErrNotSupported, Op: "cancel", Object: "operation " + o.id.String(),
				Reason: l.Operation.Type.String() + " cannot be cancelled",
			}
		}
		why := reasons{op: "cancel", object: "operation " + o.id.String()}
		if m.checkRecords(l, &why); why.err() != nil {
			return why.err()
		}
		return m.cancel(ctx, l, o.p.now())
	})
}

// tooLate is why an operation that l is not under cannot be cancelled.
func tooLate(l catalog.LUN, id uuid.UUID) error {
	err := &vds.Error{Code: vds.ErrCancelTooLate, Op: "cancel", Object: "operation " + id.String(), Reason: "it has ended"}
	if l.Last != nil && l.Last.ID == id && l.Last.Result == vds.ErrOperationCanceled {
		err.Code, err.Reason = vds.ErrOperationCanceled, "it was cancelled before"
	}
	return err
}

// cancel commits l without the plexes of its operation, and the source as a LUN, and brings the kernel there. The drives of
// the source need not take it: a source that has broken must not keep the target from being rid of it. It is then no LUN
// any more, and its space is free when its drive comes back.
func (m *machine) cancel(ctx context.Context, l catalog.LUN, now time.Time) error {
	have, err := m.hold(ctx, l)
	if err != nil {
		return err
	}
	before := m.next(m.flippedIf(have, without(conclude(l, vds.ErrOperationCanceled, now), l.Operation.Plexes...)))
	tx := &transaction{put: []catalog.LUN{before}, back: []catalog.LUN{l}, all: true, need: before.Drives()}
	text := "commit: " + l.Name + " is without the new plexes"
	var after []step
	if l.Operation.Source != nil {
		source := m.next(*l.Operation.Source)
		source.Wipe = true
		tx.put, tx.first = append(tx.put, source), source.Drives()
		text = "commit: " + source.Name + " is a LUN again"
		if have.active() { // else the host is not using its LUNs; Assemble readies the source
			after = []step{m.revive(source)}
		}
	}
	steps, err := m.transition(before, have, move{commit: tx.step(text)})
	if err != nil {
		return err
	}
	return m.carryOut(ctx, "cancel", l.Name, slices.Concat(steps, after), tx, l)
}

// flippedIf is l with its other metadata slots in force where the live mirror uses those that are, and a mirror it stays.
func (m *machine) flippedIf(have held, l catalog.LUN) catalog.LUN {
	if m.clashes(l, have.was) && len(l.Plexes) > 1 {
		return m.flip(l, have.was)
	}
	return l
}

// without is l without these plexes. It is pure.
func without(l catalog.LUN, plexes ...uuid.UUID) catalog.LUN {
	l.Plexes = slices.DeleteFunc(slices.Clone(l.Plexes), func(p catalog.Plex) bool { return slices.Contains(plexes, p.ID) })
	return l
}

// revive is the step that readies and activates a LUN that a change gave back or made.
func (m *machine) revive(l catalog.LUN) step {
	var steps []step
	if l.Wipe {
		clean := l
		clean.Wipe = false
		clean = m.next(clean)
		steps = append(steps, wipe(l), (&transaction{put: []catalog.LUN{clean}}).step("commit: "+l.Name+" is wiped"))
		l = clean
	}
	c := change{want: m.wants(l), at: m.at}
	if len(l.Plexes) > 1 {
		c.prepare = restart(l)
	}
	return reviveStep{l, append(steps, plan(c)...)}
}

// reviveStep is steps for a LUN that may not have come to be, because none of its drives could be written. Their failure
// undoes nothing: the next Assemble does them.
type reviveStep struct {
	lun   catalog.LUN
	steps []step
}

func (s reviveStep) String() string { return "activate " + s.lun.Name }

func (s reviveStep) run(ctx context.Context, m *machine) error {
	err := errors.New("its drives cannot be written, so it is no LUN any more")
	if _, ok := m.record(s.lun.ID); ok {
		err = m.execute(ctx, s.steps)
	}
	if err != nil {
		m.log.Warn("activate", "lun", s.lun.Name, "error", joinUndo(err, m.withdraw(ctx, s.lun)))
	}
	return nil
}

// cleanse zeroes what a record says is to be wiped, and commits that it was.
func (m *machine) cleanse(ctx context.Context, l catalog.LUN) (catalog.LUN, error) {
	if !l.Wipe {
		return l, nil
	}
	clean := l
	clean.Wipe = false
	clean = m.next(clean)
	tx := &transaction{put: []catalog.LUN{clean}, back: []catalog.LUN{l}}
	return clean, m.carryOut(ctx, "wipe", l.Name, []step{wipe(l), tx.step("commit: " + l.Name + " is wiped")}, tx)
}
