package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// AttachOptions say how to fill a new plex.
type AttachOptions struct {
	Rate size.Bytes // see lun.LUN.SetRate
	Now  bool       // copy at once, although another LUN is being rebuilt on one of the drives
}

// Attach makes the LUN source a plex of the target.
func Attach(source uuid.UUID, opts AttachOptions) Verb {
	return func(ctx context.Context, s *Session, target catalog.LUN) (catalog.LUN, error) {
		from, err := sourceOf(s, "add plex", source)
		if err != nil {
			return target, err
		}
		return attach(ctx, s, target, from, opts)
	}
}

// AttachRoom allocates space for a plex on drives and adds the plex to the target.
func AttachRoom(drives []string, opts AttachOptions) Verb {
	return func(ctx context.Context, s *Session, target catalog.LUN) (catalog.LUN, error) {
		room, err := roomFor(s, target, drives)
		if err != nil {
			return target, err
		}
		return attach(ctx, s, target, room, opts)
	}
}

// attachment is the state before an attach: two LUNs, and what the kernel has of them.
type attachment struct {
	target, source catalog.LUN // a source without an ID is space that was allocated for the plex
	have, from     engine.State
}

// attach checks everything that can be checked and carries the attach out. These are its steps, with the state after a crash:
//
//	take the source down          the source is a LUN without a device; nothing is lost
//	write metadata, other slots   nothing uses them
//	make private devices          left over, removed by the next plan
//	load the mirror table         waits in the inactive slot, cleared by the next plan
//	COMMIT                        source's drives first: from the first write on the target is the mirror
//	swap                          the next plan does it
func attach(ctx context.Context, s *Session, target, source catalog.LUN, opts AttachOptions) (catalog.LUN, error) {
	a, err := prepareAttach(ctx, s, target, source)
	if err != nil {
		return target, err
	}
	rate, err := record.RateKiB(opts.Rate)
	if err != nil {
		return target, err
	}
	next := worthTracking(ctx, s, record.Attach(a.target, a.source, a.have.Legs.Lost, s.Now))
	next.MaxRate = rate
	next.Operation.Queued = !opts.Now && len(conflictingCopies(s.Host, next)) > 0
	if err := refuseTaken(ctx, s, next, a.source.ID); err != nil {
		return target, err
	}
	swap := engine.Swap{
		Op: "add plex to", Before: a.target, Next: next, Have: a.have, SwitchSlots: true,
		Commit: fmt.Sprintf("%s has the plexes of %s", a.target.Name, a.source.Name),
		Zeros:  zerosFor(ctx, s, a),
		First:  layout.Plan(layout.Change{Have: a.from.View, Cleanup: a.from.Cleanup, At: s.At}),
		Tx:     host.Transaction{First: a.target.Drives()}, // free space belongs to no LUN before
	}
	if a.source.ID != uuid.Nil {
		swap.Tx = host.Transaction{
			First: a.source.Drives(), Back: []catalog.LUN{a.source}, Absorbed: a.source.ID,
		}
	}
	if a.from.Active() {
		swap.Up = []catalog.LUN{a.source}
	}
	if swap.Zeros != nil {
		defer swap.Zeros.Close()
	}
	return s.Swap(ctx, swap)
}

// zerosFor is what is known to be zero on the source of the new plexes; nil when nothing is.
func zerosFor(ctx context.Context, s *Session, a attachment) host.ZeroMap {
	if a.target.Scan != uuid.Nil {
		return s.Scanned(ctx, a.target, a.have.Legs)
	}
	return s.Unallocated(ctx, a.target, a.have.Legs, a.source)
}

// worthTracking is next, which gets new plexes. If their drives cannot zero them, it is without its vacant plex, so that the
// LUN is no longer tracked. The kernel copies everything then, and would count it as written from then on.
func worthTracking(ctx context.Context, s *Session, next catalog.LUN) catalog.LUN {
	if !next.Tracked() {
		return next
	}
	for i, role := range s.Roles(next) {
		for _, id := range record.PlexDrives(next.Plexes[i]) {
			if !role.IsTarget() {
				continue
			}
			if err := s.CanZero(ctx, id); err != nil {
				s.Log.WarnContext(ctx, "everything is copied, and what is written is tracked no more", "lun", next.Name, "error", err)
				return record.Untrack(next)
			}
		}
	}
	return next
}

// sourceOf is the record of a LUN that is to become a plex.
func sourceOf(s *Session, op string, id uuid.UUID) (catalog.LUN, error) {
	from, ok := s.Record(id)
	if !ok {
		return from, record.Fault(vds.ErrObjectNotFound, op, "lun "+id.String(),
			"no LUN has this GUID", "`plexctl lun list` shows all")
	}
	return from, nil
}

// roomFor allocates space for a plex of l, on the first of the drives that has room for all of it. A plex of a mirror does not span
// drives. Without names roomFor takes the drive with the most free space of those that l does not lie on.
// The result is a LUN without an ID.
func roomFor(s *Session, l catalog.LUN, drives []string) (catalog.LUN, error) {
	room := catalog.LUN{ID: uuid.Nil, Name: "the new plex", Size: l.Size}
	ids, err := s.DriveIDs(drives)
	if err != nil {
		return room, err
	}
	if len(ids) == 0 {
		ids = s.DriveWithMostFree(l.Drives()...)
	}
	if len(ids) == 0 {
		return room, record.LUNFault(vds.ErrNotEnoughDrive, "add plex to", l.Name,
			"it has a plex on every drive that can be used", "make another one with `plexctl drive init DEVICE`")
	}
	plex, err := s.AllocateOnOne(l.Size, ids)
	room.Plexes = []catalog.Plex{plex}
	return room, err
}

// prepareAttach reads what the kernel has of both LUNs and checks them.
func prepareAttach(ctx context.Context, s *Session, target, source catalog.LUN) (attachment, error) {
	a := attachment{target: target, source: source}
	var err error
	if a.source.ID != uuid.Nil {
		if a.source, err = s.conclude(ctx, a.source, parting{activate: true}); err != nil {
			return a, err
		}
		if a.from, err = s.Inspect(ctx, a.source); err != nil {
			return a, err
		}
	}
	if a.have, err = s.Inspect(ctx, a.target); err != nil {
		return a, err
	}
	return a, checkAttach(ctx, s, a)
}

// checkAttach returns all reasons against an attach.
func checkAttach(ctx context.Context, s *Session, a attachment) error {
	t, from := a.target, a.source
	why := fault.Reasons{Op: "add plex to", Object: record.LUNObject(t.Name)}
	if t.ID == from.ID {
		why.Add(vds.ErrInvalidOperation, "name another LUN as the source", "a LUN cannot be a plex of itself")
		return why.Err()
	}
	checkTarget(s, t, a.have, &why)
	checkRelease(s, &why)
	if from.ID != uuid.Nil {
		checkSource(s, from, a.from, &why)
	}
	checkShape(t, from, &why)
	checkDrives(s, t, from, &why)
	checkMirror(ctx, s, a.have, &why)
	return s.RefuseOpen(ctx, from, &why)
}

// checkTarget checks the LUN that gets plexes. It may have lost some: a new plex repairs it.
func checkTarget(s *Session, t catalog.LUN, have engine.State, why *fault.Reasons) {
	checkRecords(s, t, why)
	checkIdle(t, why)
	checkRunning(s, t, have, why)
	if have.Active() && !slices.ContainsFunc(t.Plexes, func(p catalog.Plex) bool { return have.Legs.Complete(p.ID) }) {
		why.Add(vds.ErrObjectStatusFailed, "see `plexctl status`", "%s: no plex of it holds all of the data", record.LUNObject(t.Name))
	}
}

// checkSource checks the LUN that is absorbed.
func checkSource(s *Session, from catalog.LUN, have engine.State, why *fault.Reasons) {
	checkUsable(s, from, why)
	checkIdle(from, why)
	checkScan(from, why)
	checkKernel(s, from, have, why)
	for id, health := range have.Legs.Health {
		if health == dm.LegFailed {
			why.Add(vds.ErrObjectStatusFailed, "see to its drive", "%s: plex %s has failed", record.LUNObject(from.Name), id)
		}
	}
}

// checkShape compares sizes, counts and places.
func checkShape(t, from catalog.LUN, why *fault.Reasons) {
	if from.Size < t.Size {
		why.Add(vds.ErrInvalidOperation, "the source must be at least as large as the target",
			"%s has %s, less than the %s of %s", record.LUNObject(from.Name), from.Size, t.Size, record.LUNObject(t.Name))
	}
	if n := len(t.Plexes) + len(from.Copies()); n > catalog.MaxPlexes {
		why.Add(vds.ErrInvalidOperation, "", "%d plexes, at most %d are possible", n, catalog.MaxPlexes)
	}
	for _, id := range from.Drives() {
		if slices.Contains(t.Drives(), id) {
			why.Add(vds.ErrInvalidOperation, "a plex on the same drive protects from nothing; use a source on another drive",
				"%s and %s share %s", record.LUNObject(t.Name), record.LUNObject(from.Name), record.DriveObject(id))
		}
	}
}

// checkMirror adds a reason when the kernel cannot run a mirror. A LUN that is one already proves that it can.
func checkMirror(ctx context.Context, s *Session, have engine.State, why *fault.Reasons) {
	if have.Legs.Mirror {
		return
	}
	if err, lacks := errors.AsType[*vds.Error](fault.Of("", "", s.Kernel.CanMirror(ctx))); lacks {
		why.AddError(err)
	}
}

// checkDrives refuses drives that the raid target cannot use, because the kernel would find out too late or not at all.
func checkDrives(s *Session, t, from catalog.LUN, why *fault.Reasons) {
	checkBlocks(s, from, s.BlockSize(t), why)
	for _, l := range []catalog.LUN{t, from} {
		roles := s.Roles(l)
		for i, p := range l.Plexes {
			if roles[i].Excluded() && (roles.Has(record.Source) || l.ID == from.ID) {
				continue // the new plex repairs that; of the source it is a reason already
			}
			if record.PlexType(p) == vds.TypeSpan {
				why.Add(vds.ErrNotSupported, "use LUNs of which each lies on one drive",
					"a plex of %s spans drives: the kernel flushes only one of them before it forgets what it copied", record.LUNObject(l.Name))
			}
			for _, id := range record.PlexDrives(p) {
				if d, ok := s.Drives[id]; ok {
					checkKind(d.Info, why)
				}
			}
		}
	}
}
