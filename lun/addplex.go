package lun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// AttachOptions say how AddPlex copies.
type AttachOptions struct {
	Rate size.Bytes // see SetRate
	Now  bool       // copy at once, though another LUN is being rebuilt on one of the drives
}

// AddPlex makes the LUN source a plex of l (IVdsLun::AddPlex) while l is in use. When it returns, source is no LUN any
// more, every write to l goes to both, and the kernel copies the rest; the handle follows that. All data on source is
// lost. A larger source leaves l's size as it is. Of a mirrored source every plex becomes a plex of l, and l may be a mirror
// itself, also one that has lost a plex.
//
// On an error nothing has changed. Codes: vds.ErrObjectNotFound (no such source), vds.ErrObjectDeleted (l is gone),
// vds.ErrInvalidOperation (source is l, is smaller, shares a drive with l, or l has no place for so many plexes),
// vds.ErrDeviceInUse (source is open), vds.ErrInvalidSectorSize (larger logical blocks), vds.ErrObjectStatusFailed
// (a drive is missing, or a plex of source has failed), vds.ErrAnotherCallInProgress (an operation or a resync runs on
// either, or another process holds the lock past ctx), vds.ErrNotSupported (zoned, DAX or integrity-protected drives),
// vds.ErrProviderCacheCorrupt (the kernel has another table than the catalog says), vds.ErrInvalidArg (the rate).
func (l *LUN) AddPlex(ctx context.Context, source uuid.UUID, opts AttachOptions) (*resync.Async, error) {
	return l.begin(ctx, "add plex to", func(ctx context.Context, m *machine, target catalog.LUN) (catalog.LUN, error) {
		from, err := m.sourceOf("add plex", source)
		if err != nil {
			return target, err
		}
		return m.attach(ctx, target, from, opts, l.p.now())
	})
}

// AddNewPlex makes room for a plex on drives, as CreateLUN does, and adds it to l, as AddPlex does. A cancel frees the room.
func (l *LUN) AddNewPlex(ctx context.Context, drives []string, opts AttachOptions) (*resync.Async, error) {
	return l.begin(ctx, "add plex to", func(ctx context.Context, m *machine, target catalog.LUN) (catalog.LUN, error) {
		room, err := m.roomFor(target, drives)
		if err != nil {
			return target, err
		}
		return m.attach(ctx, target, room, opts, l.p.now())
	})
}

// roomFor is room for a plex of l on drives, as a LUN without an ID.
func (m *machine) roomFor(l catalog.LUN, drives []string) (catalog.LUN, error) {
	none := catalog.LUN{ID: uuid.Nil, Name: "the new plex", Size: l.Size}
	ids, err := m.driveIDs(drives)
	if err != nil {
		return none, err
	}
	if ids, err = m.elsewhere(l, ids); err != nil {
		return none, err
	}
	plex, err := m.allocate(l.Size, ids)
	none.Plexes = []catalog.Plex{plex}
	return none, err
}

// sourceOf is the record of a LUN that is to become a plex.
func (m *machine) sourceOf(op string, id uuid.UUID) (catalog.LUN, error) {
	from, ok := m.record(id)
	if !ok {
		return from, &vds.Error{
			Code: vds.ErrObjectNotFound, Op: op, Object: "lun " + id.String(),
			Reason: "no LUN has this GUID", Hint: "`plexctl lun list` shows all",
		}
	}
	return from, nil
}

// elsewhere is ids or, when there are none, the drive with the most room on which l has nothing.
func (m *machine) elsewhere(l catalog.LUN, ids []uuid.UUID) ([]uuid.UUID, error) {
	if len(ids) == 0 {
		ids = m.roomiest(l.Drives()...)
	}
	if len(ids) == 0 {
		return nil, &vds.Error{
			Code: vds.ErrNotEnoughDrive, Op: "add plex to", Object: lunObject(l.Name), Reason: "it has a plex on every drive that can be used",
			Hint: "make another one with `plexctl drive init DEVICE`",
		}
	}
	return ids, nil
}

// begin runs a change that leaves l under an operation, and returns the operation's handle.
func (l *LUN) begin(
	ctx context.Context, op string, f func(context.Context, *machine, catalog.LUN) (catalog.LUN, error),
) (*resync.Async, error) {
	var next catalog.LUN
	err := l.p.change(ctx, op+" "+lunObject(l.name), func(ctx context.Context, m *machine) error {
		record, err := l.in(m, op)
		if err != nil {
			return err
		}
		if err := m.wake(ctx, record); err != nil {
			return err
		}
		if record, err = l.in(m, op); err != nil {
			return err
		}
		if record, err = m.settleEnded(ctx, record, l.p.now()); err != nil {
			return err
		}
		next, err = f(ctx, m, record)
		return err
	})
	if err != nil || l.p.dry != nil {
		return nil, err
	}
	return l.p.handleOf(next), nil
}

// attachment is an AddPlex: what there is, and what it makes of it.
type attachment struct {
	target, source catalog.LUN // before; a source without an ID is room that was made for it
	have, from     held        // what the kernel has of them
	next           catalog.LUN // the target after
}

// attach checks everything that can be checked and carries the attachment out. Its steps, and what a crash after each leaves:
//
//	take the source down          the source is a LUN without a device; nothing is lost
//	write metadata, other slots   nobody uses them
//	make private devices          left over, removed by the next plan
//	load the mirror table         waits in the inactive slot, cleared by the next plan
//	COMMIT                        source's drives first: from the first write on the target is the mirror
//	swap                          the next plan does it
func (m *machine) attach(
	ctx context.Context, target, source catalog.LUN, opts AttachOptions, now time.Time,
) (catalog.LUN, error) {
	a := attachment{target: target, source: source}
	if err := m.prepareAttach(ctx, &a, now); err != nil {
		return target, err
	}
	rate, err := rateKiB(opts.Rate)
	if err != nil {
		return target, err
	}
	a.next = m.flip(m.worthTracking(ctx, absorb(a, now)), a.have.was)
	a.next.MaxRate = rate
	a.next.Operation.Queued = !opts.Now && len(m.rivals(a.next)) > 0
	a.next = m.next(a.next)
	tx := &transaction{put: []catalog.LUN{a.next}, first: a.source.Drives(), back: a.before()}
	if a.source.ID == uuid.Nil {
		tx.first = a.target.Drives() // the room belongs to nobody before
	}
	if err := m.refuseTaken(ctx, a.next, a.source.ID); err != nil {
		return target, err
	}
	how := move{
		commit: tx.step(fmt.Sprintf("commit: %s has the plexes of %s", a.target.Name, a.source.Name)),
		known:  m.knowledge(ctx, a), zeroing: new(bool),
	}
	if how.known != nil {
		defer how.known.close()
	}
	tx.ruined = func(l catalog.LUN) bool { return *how.zeroing && l.ID == a.source.ID }
	steps, err := m.transition(a.next, a.have, how)
	if err != nil {
		return target, err
	}
	down := plan(change{have: a.from.view, settle: a.from.settle, at: m.at})
	up := []catalog.LUN{a.target}
	if a.from.active() {
		up = append(up, a.source)
	}
	return a.next, m.carryOut(ctx, "add plex to", a.target.Name, slices.Concat(down, steps), tx, up...)
}

// knowledge is what is known to be zero of the plex that new ones are filled from; nil when nothing is.
func (m *machine) knowledge(ctx context.Context, a attachment) knowledge {
	if a.target.Scan != uuid.Nil {
		if s := m.scanned(ctx, a.target, a.have.was); s != nil {
			return s
		}
		return nil
	}
	if k := m.survey(ctx, a.target, a.have.was, a.source); k != nil {
		return k
	}
	return nil
}

// before is the records that an attachment changes.
func (a attachment) before() []catalog.LUN {
	if a.source.ID == uuid.Nil {
		return []catalog.LUN{a.target}
	}
	return []catalog.LUN{a.target, a.source}
}

// prepareAttach reads what the kernel has of both LUNs and checks them.
func (m *machine) prepareAttach(ctx context.Context, a *attachment, now time.Time) error {
	var err error
	if a.source.ID != uuid.Nil {
		if a.source, err = m.settleEnded(ctx, a.source, now); err != nil {
			return err
		}
		if a.from, err = m.hold(ctx, a.source); err != nil {
			return err
		}
	}
	if a.have, err = m.hold(ctx, a.target); err != nil {
		return err
	}
	return m.checkAttach(ctx, *a)
}

// absorb is the target with all plexes of the source, under the operation that fills them. It is pure; Set.Next makes it the
// next version of the record. A plex of the target that has failed is out from now on.
func absorb(a attachment, now time.Time) catalog.LUN {
	next := a.target
	next.Plexes, next.Scan = nil, uuid.Nil
	for _, p := range a.target.Copies() {
		p.Stale = p.Stale || a.have.was.mirror && !a.have.was.holds(p.ID)
		next.Plexes = append(next.Plexes, p)
	}
	next.Operation = newOperation(vds.AsyncAddLUNPlex, now)
	for _, p := range a.source.Copies() {
		p.Stale = false
		next.Plexes = append(next.Plexes, p)
		next.Operation.Plexes = append(next.Operation.Plexes, p.ID)
	}
	if a.target.Tracked() {
		next.Plexes = append(next.Plexes, a.target.Plexes[len(a.target.Plexes)-1])
	}
	if a.source.ID != uuid.Nil {
		next.Operation.Source = &a.source
	}
	if !a.have.was.mirror {
		next.RegionSize = raidmeta.RegionSize(next.Size)
	}
	next.Last = nil
	return next
}

// newOperation is an operation that begins now.
func newOperation(kind vds.AsyncType, now time.Time) *catalog.Operation {
	return &catalog.Operation{ID: uuid.New(), Type: kind, Started: stamp(now)}
}

// stamp is a time as records hold it.
func stamp(now time.Time) time.Time { return now.UTC().Truncate(time.Millisecond) }

// restore brings the kernel to a record after a failed change to put, which may be what l still is. A device that cannot be
// brought there is at least let go on: whatever else is wrong, no LUN stays suspended. But one whose new table could not be
// resumed would go on without its bitmap, and take the plexes that were to be filled for whole: it is rescued, or fails all
// I/O until it is assembled.
func (m *machine) restore(ctx context.Context, l, put catalog.LUN) error {
	l, err := m.cleanse(ctx, l)
	if err == nil {
		err = m.bringUp(ctx, l)
	}
	if err == nil {
		return nil
	}
	have, viewErr := m.viewOf(ctx, l.ID)
	if viewErr != nil {
		return joinUndo(err, viewErr)
	}
	live := have[lunUUID(l.ID)]
	var again error
	switch {
	case !live.Suspended:
		return err // nobody waits; a table that waits must not be made the live one
	case !isRaid(live.table) || m.inForce(l, live.table) && l.Generation != put.Generation:
		top := node{name: live.Name, uuid: lunUUID(l.ID), visibility: dm.Public}
		again = m.execute(ctx, append(change{have: have}.clear(top), resumeStep{top}))
	case len(l.Plexes) == 1: // the record leaves no doubt where the data is
		err, again = nil, m.execute(ctx, plan(change{want: m.wants(l), have: have, at: m.at}))
	default:
		again = m.rescue(ctx, l, put, have)
	}
	if again != nil {
		again = joinUndo(again, m.deaden(ctx, l))
	}
	return joinUndo(err, again)
}

// joinUndo adds to an error that taking the change back failed too.
func joinUndo(err, undo error) error {
	if undo == nil {
		return err
	}
	return errors.Join(err, fmt.Errorf("taking it back: %w", undo))
}
