package lun

import (
	"context"
	"fmt"
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
	return resync.Finished(resync.Descriptor{ID: last.ID, Type: last.Type, LUN: l.ID, Started: last.Started}, last.Result)
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
	var found []*resync.Async
	for _, a := range p.Operations() {
		if id := a.ID.String(); id == strings.ToLower(ref) || len(ref) >= 4 && strings.HasPrefix(id, strings.ToLower(ref)) {
			found = append(found, a)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	if l, err := p.LUN(ref); err == nil && len(found) == 0 {
		if a, err := l.Operation(); err != nil || a != nil {
			return a, err
		}
	}
	return nil, &vds.Error{
		Code: vds.ErrObjectNotFound, Op: "find", Object: "operation " + ref,
		Reason: "no LUN has such an operation", Hint: "`plexctl op list` shows all",
	}
}

// Observe looks at the kernel with one status call, and at the superblocks when that claims the end.
func (o *operation) Observe(ctx context.Context) (resync.Observation, error) {
	m := o.p.machine()
	l, ok := m.record(o.lun)
	if !ok || l.Operation == nil || l.Operation.ID != o.id {
		return o.outcome(l)
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

// observeOperation is how the kernel gets on with l's operation; false when the kernel does not run l's mirror.
func (m *machine) observeOperation(ctx context.Context, l catalog.LUN) (resync.Observation, bool, error) {
	status, ok, err := m.raidStatus(ctx, l)
	if !ok || err != nil {
		return resync.Observation{}, false, err
	}
	seen := resync.Observation{State: resync.Running, Done: status.Done, Total: status.Total}
	for i, fills := range filled(l) {
		if fills && (status.Health[i] == dm.LegFailed || status.Health[i] == dm.LegMissing) {
			seen.State, seen.Err = resync.Failed, legFault(l, i)
			return seen, true, nil
		}
	}
	if status.Action != dm.ActionIdle && status.Action != dm.ActionFrozen {
		return seen, true, nil
	}
	seen.State = resync.Idle
	if !status.Complete() {
		seen.Done = 0 // until it has begun, the kernel shows N/N
		return seen, true, nil
	}
	proven, err := m.proven(ctx, l)
	if proven {
		seen.State = resync.Done
	}
	return seen, true, err
}

func legFault(l catalog.LUN, i int) error {
	return &vds.Error{
		Code: vds.ErrObjectStatusFailed, Op: l.Operation.Type.String(), Object: lunObject(l.Name),
		Reason: fmt.Sprintf("plex %s has failed or its drive is missing", l.Plexes[i].ID),
		Hint:   "the data is safe on the other plexes; " + failedHint(l),
	}
}

// failedHint is what to do when a plex has failed.
func failedHint(l catalog.LUN) string {
	if op := l.Operation; op != nil && op.Source != nil {
		return "see to its drive and run `plexctl assemble`, or give up with `plexctl op cancel " + op.ID.String() + "`"
	}
	return "see to its drive, then run `plexctl lun recover " + l.Name + "`"
}

// raidStatus is the decoded status of l's mirror; false when the kernel has no mirror for it.
func (m *machine) raidStatus(ctx context.Context, l catalog.LUN) (dm.RaidStatus, bool, error) {
	status, err := m.kernel.Status(ctx, lunName(l.Name))
	if isGone(err) {
		return dm.RaidStatus{}, false, nil
	}
	if err != nil {
		return dm.RaidStatus{}, false, fault("read status of", lunObject(l.Name), err)
	}
	return decodeRaid(l, status)
}

// decodeRaid is the decoded status of l's mirror; false when status is not one of a mirror of all its plexes.
func decodeRaid(l catalog.LUN, status dm.Status) (dm.RaidStatus, bool, error) {
	if len(status.Targets) != 1 || status.Targets[0].Type != (dm.Raid1{}).Type() {
		return dm.RaidStatus{}, false, nil
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	if err != nil {
		return dm.RaidStatus{}, false, fault("read status of", lunObject(l.Name), err)
	}
	return raid, len(raid.Health) == len(l.Plexes), nil
}

// Settle records that the operation is complete.
func (o *operation) Settle(ctx context.Context) error {
	return o.p.change(ctx, "settle operation "+o.id.String(), func(ctx context.Context, m *machine) error {
		l, ok := m.record(o.lun)
		if !ok || l.Operation == nil || l.Operation.ID != o.id {
			return nil
		}
		_, err := m.settleEnded(ctx, l, o.p.now())
		return err
	})
}

// settleEnded commits the end of l's operation when it is complete, and returns the record that then holds.
func (m *machine) settleEnded(ctx context.Context, l catalog.LUN, now time.Time) (catalog.LUN, error) {
	if l.Operation == nil {
		return l, nil
	}
	seen, known, err := m.observeOperation(ctx, l)
	if err != nil || !known || seen.State != resync.Done {
		return l, err
	}
	settled := m.next(conclude(l, vds.OK, now))
	return settled, m.commit(ctx, &transaction{put: []catalog.LUN{settled}})
}

// conclude is l after its operation has ended with result. It is pure.
func conclude(l catalog.LUN, result vds.Code, now time.Time) catalog.LUN {
	op := l.Operation
	l.Operation = nil
	l.Last = &catalog.Outcome{ID: op.ID, Type: op.Type, Started: op.Started, Ended: now.UTC().Truncate(time.Millisecond), Result: result}
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
		if l.Operation.Source == nil {
			return &vds.Error{
				Code: vds.ErrNotSupported, Op: "cancel", Object: "operation " + o.id.String(),
				Reason: l.Operation.Type.String() + " cannot be cancelled",
			}
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
	before, source := giveBack(l, now)
	before, source = m.next(before), m.next(source)
	have, err := m.settledView(ctx, l)
	if err != nil {
		return err
	}
	tx := &transaction{put: []catalog.LUN{before, source}, first: source.Drives(), all: true, need: before.Drives()}
	c := change{want: m.wants(before), have: have, at: m.at, commit: tx.step("commit: " + source.Name + " is a LUN again")}
	if len(have) == 0 {
		c.want = nil // the LUN is not active, and a cancel does not activate it
	}
	if err := m.execute(ctx, plan(c)); err != nil {
		err = fault("cancel", lunObject(l.Name), err)
		record, _ := m.record(l.ID)
		return joinUndo(err, m.restore(ctx, record))
	}
	if len(have) == 0 {
		return nil // the host is not using its LUNs; Assemble readies the source
	}
	if _, ok := m.record(source.ID); !ok {
		m.log.Warn("the LUN that was absorbed cannot be given back: its drives cannot be written", "lun", source.Name)
		return nil
	}
	if err := m.revive(ctx, source); err != nil {
		m.log.Warn("activate the LUN that was given back", "lun", source.Name, "error", err)
	}
	return nil
}

// giveBack is the two records after a cancel: the target without the plexes being filled, and the source. It is pure.
func giveBack(l catalog.LUN, now time.Time) (target, source catalog.LUN) {
	source = *l.Operation.Source
	source.Wipe = true
	target = conclude(l, vds.ErrOperationCanceled, now)
	target.Plexes = slices.DeleteFunc(slices.Clone(l.Plexes), func(p catalog.Plex) bool {
		return slices.Contains(l.Operation.Plexes, p.ID)
	})
	return target, source
}

// revive readies and activates a LUN that a cancel gave back.
func (m *machine) revive(ctx context.Context, l catalog.LUN) error {
	cleaned, err := m.cleanse(ctx, l)
	if err != nil {
		return err
	}
	return m.bringUp(ctx, cleaned)
}

// cleanse zeroes what a record says is to be wiped, and commits that it was.
func (m *machine) cleanse(ctx context.Context, l catalog.LUN) (catalog.LUN, error) {
	if !l.Wipe {
		return l, nil
	}
	if err := m.wipe(ctx, l.Plexes); err != nil {
		return l, err
	}
	l.Wipe = false
	l = m.next(l)
	return l, m.commit(ctx, &transaction{put: []catalog.LUN{l}})
}
