package lun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// AddPlex makes the LUN source a plex of l (IVdsLun::AddPlex) while l is in use. When it returns, source is no LUN any
// more, every write to l goes to both, and the kernel copies the rest; the handle follows that. All data on source is
// lost. A larger source leaves l's size as it is.
//
// On an error nothing has changed. Codes: vds.ErrObjectNotFound (no such source), vds.ErrObjectDeleted (l is gone),
// vds.ErrInvalidOperation (source is l, is smaller, shares a drive with l, or l has no place for another plex),
// vds.ErrDeviceInUse (source is open), vds.ErrInvalidSectorSize (larger logical blocks), vds.ErrObjectStatusFailed
// (a drive is missing), vds.ErrAnotherCallInProgress (an operation runs on either, or another process holds the lock past
// ctx), vds.ErrNotSupported (zoned, DAX or integrity-protected drives), vds.ErrProviderCacheCorrupt (the kernel has
// another table than the catalog says).
func (l *LUN) AddPlex(ctx context.Context, source uuid.UUID, opts AttachOptions) (*resync.Async, error) {
	var next catalog.LUN
	err := l.p.change(ctx, "add plex to "+lunObject(l.name), func(ctx context.Context, m *machine) error {
		a, err := m.prepareAttach(ctx, l, source, l.p.now())
		if err != nil {
			return err
		}
		next = a.next
		return m.attach(ctx, a)
	})
	if err != nil {
		return nil, err
	}
	return l.p.watch(next), nil
}

// attachment is an AddPlex that has passed every check.
type attachment struct {
	target, source         catalog.LUN // before
	next                   catalog.LUN // the target after
	targetView, sourceView view
}

// prepareAttach finds both LUNs, brings them to their recorded state, and checks everything that can be checked.
func (m *machine) prepareAttach(ctx context.Context, l *LUN, source uuid.UUID, now time.Time) (attachment, error) {
	var a attachment
	var err error
	if a.target, err = l.in(m, "add plex to"); err != nil {
		return a, err
	}
	var ok bool
	if a.source, ok = m.record(source); !ok {
		return a, &vds.Error{
			Code: vds.ErrObjectNotFound, Op: "add plex", Object: "lun " + source.String(),
			Reason: "no LUN has this GUID", Hint: "`plexctl lun list` shows all",
		}
	}
	if a.target, err = m.settleEnded(ctx, a.target, now); err != nil {
		return a, err
	}
	if a.source, err = m.settleEnded(ctx, a.source, now); err != nil {
		return a, err
	}
	if a.targetView, err = m.settledView(ctx, a.target); err != nil {
		return a, err
	}
	if a.sourceView, err = m.settledView(ctx, a.source); err != nil {
		return a, err
	}
	if err := m.checkAttach(ctx, a); err != nil {
		return a, err
	}
	a.next = m.next(absorb(a.target, a.source, now))
	return a, nil
}

// absorb is target with all plexes of source, under the operation that fills them. It is pure; Set.Next makes it the next version
// of the record. Every plex changes its
// metadata slot: the one in force may be in use by a table until the new one has replaced it.
func absorb(target, source catalog.LUN, now time.Time) catalog.LUN {
	next := target
	next.RegionSize = raidmeta.RegionSize(target.Size)
	next.Plexes = nil
	for _, p := range slices.Concat(target.Plexes, source.Plexes) {
		p.Slot = p.Slot.Other()
		next.Plexes = append(next.Plexes, p)
	}
	next.Last = nil
	next.Operation = &catalog.Operation{ID: uuid.New(), Type: vds.AsyncAddLUNPlex, Started: now.UTC().Truncate(time.Millisecond), Source: &source}
	for _, p := range source.Plexes {
		next.Operation.Plexes = append(next.Operation.Plexes, p.ID)
	}
	return next
}

// attach carries out an attachment. Its steps, and what a crash after each leaves:
//
//	take the source down          the source is a LUN without a device; nothing is lost
//	write metadata, other slots   nobody uses them
//	make private devices          left over, removed by the next plan
//	load the mirror table         waits in the inactive slot, cleared by the next plan
//	COMMIT                        source's drives first: from the first write on the target is the mirror
//	swap                          the next plan does it
func (m *machine) attach(ctx context.Context, a attachment) error {
	tx := &transaction{put: []catalog.LUN{a.next}, first: a.source.Drives()}
	steps := slices.Concat(
		plan(change{have: a.sourceView, at: m.at}),
		plan(change{
			want: m.wants(a.next), have: a.targetView, at: m.at, prepare: fullCopy(a.next),
			commit: tx.step(fmt.Sprintf("commit: %s has the plexes of %s", a.target.Name, a.source.Name)),
		}),
	)
	err := m.execute(ctx, steps)
	if err == nil {
		return nil
	}
	return joinUndo(fault("add plex to", lunObject(a.target.Name), err), m.detach(ctx, a, tx))
}

// detach takes an attachment back: first on the drives when its commit was begun, then in the kernel. The old records are
// committed as new generations, because the new ones may have reached some drive.
func (m *machine) detach(ctx context.Context, a attachment, tx *transaction) error {
	target, source := a.target, a.source
	var failed []error
	if tx.begun {
		m.remerge()
		target.Generation = a.next.Generation
		target, source = m.next(target), m.next(source)
		undo := &transaction{put: []catalog.LUN{target, source}, first: source.Drives(), all: true}
		failed = append(failed, m.commit(ctx, undo))
	}
	failed = append(failed, m.restore(ctx, target))
	if _, active := a.sourceView[lunUUID(source.ID)]; active {
		failed = append(failed, m.restore(ctx, source))
	}
	return errors.Join(failed...)
}

// restore brings the kernel to a record after a failed change. A device that cannot be brought there is at least let go
// on: whatever else is wrong, no LUN stays suspended.
func (m *machine) restore(ctx context.Context, l catalog.LUN) error {
	err := m.bringUp(ctx, l)
	if err == nil {
		return nil
	}
	top := m.wants(l)
	return joinUndo(err, m.kernel.Resume(ctx, lunName(l.Name), top[len(top)-1].visibility))
}

// joinUndo is err, with what went wrong when it was taken back.
func joinUndo(err, undo error) error {
	if undo == nil {
		return err
	}
	return errors.Join(err, fmt.Errorf("taking it back: %w", undo))
}
