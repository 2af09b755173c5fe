package ops

import (
	"context"
	"fmt"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// ObserveOperation observes l's operation with one status call to the kernel. If the status claims the end, it also reads the
// superblocks. false when the kernel does not run l's mirror.
func ObserveOperation(ctx context.Context, h *host.Host, l catalog.LUN) (resync.Observation, bool, error) {
	status, ok, err := h.RaidStatus(ctx, l)
	if !ok || err != nil {
		return resync.Observation{}, false, err
	}
	seen := resync.Observation{State: resync.Running, Done: status.Done, Total: status.Total}
	roles := h.Roles(l)
	if i := raid1.FailedLeg(l, roles, status); i >= 0 {
		seen.State, seen.Err = resync.Failed, legFault(l, i)
		_, begun, err := hasBegun(ctx, h, l)
		return seen, begun, err
	}
	if status.Action != dm.ActionIdle && status.Action != dm.ActionFrozen {
		return seen, true, nil
	}
	have, begun, err := hasBegun(ctx, h, l)
	if !begun || err != nil {
		return seen, false, err // the old table is idle or at its end; the table of the record is not live yet
	}
	seen.State = resync.Idle
	if !raid1.Claimed(roles, status) {
		seen.Done = 0 // the kernel shows N/N until the copy has begun
		return seen, true, nil
	}
	inSync, err := h.InSync(ctx, l, raid1.Lost(roles, status))
	if !inSync || err != nil {
		return seen, true, err
	}
	return proven(ctx, h, l, seen, status, have), true, nil
}

// hasBegun is what the kernel has of l, and whether it runs the table for l's operation, not an older one.
func hasBegun(ctx context.Context, h *host.Host, l catalog.LUN) (layout.View, bool, error) {
	h = h.Fork()
	have, err := h.View(ctx, l.ID)
	return have, layout.UsesSlots(l, h.Roles(l), have.Own(l.ID).Table, h.At), err
}

// proven is seen, of an operation that is complete by the metadata on the drives, after a look into the kernel's log. If the log
// does not know whether a sector of the source was passed over, the plexes have to be compared. A comparison is needless if none is
// filled, because all hold the data. It is impossible if no source is left.
func proven(ctx context.Context, h *host.Host, l catalog.LUN, seen resync.Observation, status dm.RaidStatus, have layout.View) resync.Observation {
	var read []devno.No
	here := false
	roles := h.Roles(l)
	for i, p := range l.Plexes {
		data, there := have[layout.DataUUID(l, p)]
		if there && !roles[i].IsTarget() {
			read = append(read, data.Dev)
			here = here || roles[i] == record.Source && status.Health[i] == dm.LegInSync
		}
	}
	passed := h.Kernel.Passed(ctx, l.Operation.ID.String(), read)
	switch {
	case passed.Found:
		seen.State, seen.Err = resync.Failed, passedOver(l, have, passed)
	case !passed.Known && here && len(l.Operation.Plexes) > 0:
		seen.State = resync.Checking
	default:
		seen.State = resync.Done
	}
	return seen
}

// passedOver is the error about a sector of the source that the kernel could not read and has skipped.
func passedOver(l catalog.LUN, have layout.View, passed dm.Passed) error {
	reason := fmt.Sprintf("sector %d of its source cannot be read, and was passed over", passed.Sector)
	for _, p := range l.Plexes {
		if have[layout.DataUUID(l, p)].Dev == passed.Leg {
			reason = fmt.Sprintf("sector %d of plex %s cannot be read, and was passed over", passed.Sector, p.ID)
		}
	}
	return record.LUNFault(vds.ErrIO, l.Operation.Type.String(), l.Name, reason,
		"write that sector anew (from a backup), then run `plexctl lun recover "+l.Name+"`, or give the new plex up with `plexctl plex remove`")
}

func legFault(l catalog.LUN, i int) error {
	return record.LUNFault(vds.ErrObjectStatusFailed, l.Operation.Type.String(), l.Name,
		fmt.Sprintf("plex %s has failed or its drive is missing", l.Plexes[i].ID), "the data is safe on the other plexes; "+FailedHint(l))
}

// RecordEnd records the end of l's operation. It takes the result that the kernel shows. It takes result if the kernel has
// stopped copying and result is a failure, or if result is that of a Comparison. It does nothing while the operation runs, and
// returns the record that holds afterwards. vds.ErrOperationPending as the result: the caller knows nothing.
func (s *Session) RecordEnd(ctx context.Context, l catalog.LUN, result vds.Code) (catalog.LUN, error) {
	if l.Operation == nil {
		return l, nil
	}
	seen, known, err := ObserveOperation(ctx, s.Host, l)
	if err != nil || !known {
		return l, err
	}
	switch {
	case seen.State == resync.Done:
		result = vds.OK
	case seen.State == resync.Failed:
		result = vds.CodeOf(seen.Err)
	case seen.State == resync.Running || result == vds.ErrOperationPending:
		return l, nil // the operation still runs, or only who has compared says that this is its end
	case seen.State != resync.Checking && result == vds.OK:
		return l, nil // the operation still runs
	}
	return s.recordEnd(ctx, l, result)
}

// recordEnd commits that l's operation has ended with result. The kernel keeps its table. The next change or Assemble removes a
// failed plex from the table.
func (s *Session) recordEnd(ctx context.Context, l catalog.LUN, result vds.Code) (catalog.LUN, error) {
	status, mirrored, err := s.RaidStatus(ctx, l)
	if err != nil {
		return l, err
	}
	next := record.Conclude(l, result, s.Now)
	if _, live, err := hasBegun(ctx, s.Host, l); err == nil && live {
		next = record.Swapped(next)
	}
	if mirrored {
		next = raid1.AfterLosses(next, l, status.Health)
	}
	return s.Amend(ctx, "record the end of the operation of", l, next, l.Operation.Type.String()+" of "+l.Name+" has ended", nil)
}
