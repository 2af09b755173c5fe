package ops

import (
	"context"
	"fmt"

	"github.com/plexctl/plexctl/catalog"
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
	seen.State = resync.Done
	if err := unreadableSource(ctx, h, l, have); err != nil {
		seen.State, seen.Err = resync.Failed, err
	}
	return seen, true, nil
}

// hasBegun is what the kernel has of l, and whether it runs the table for l's operation, not an older one.
func hasBegun(ctx context.Context, h *host.Host, l catalog.LUN) (layout.View, bool, error) {
	h = h.Fork()
	have, err := h.View(ctx, l.ID)
	return have, layout.UsesSlots(l, h.Roles(l), have.Own(l.ID).Table, h.At), err
}

// unreadableSource is the error about a sector of the source that the kernel could not read and has skipped.
func unreadableSource(ctx context.Context, h *host.Host, l catalog.LUN, have layout.View) error {
	roles := h.Roles(l)
	for i, p := range l.Plexes {
		data, there := have[layout.DataUUID(l, p)]
		if !there || roles[i].IsTarget() {
			continue
		}
		if sector, ok := h.Kernel.Unreadable(ctx, data.Dev, l.Operation.Started); ok {
			return record.LUNFault(vds.ErrIO, l.Operation.Type.String(), l.Name,
				fmt.Sprintf("sector %d of plex %s cannot be read, and was passed over", sector, p.ID),
				"write that sector anew (from a backup), then run `plexctl lun recover "+l.Name+"`, or give the new plex up with `plexctl plex remove`")
		}
	}
	return nil
}

func legFault(l catalog.LUN, i int) error {
	return record.LUNFault(vds.ErrObjectStatusFailed, l.Operation.Type.String(), l.Name,
		fmt.Sprintf("plex %s has failed or its drive is missing", l.Plexes[i].ID), "the data is safe on the other plexes; "+FailedHint(l))
}

// RecordEnd records the end of l's operation. It takes the result that the kernel shows, or result if that is a failure and the
// kernel has stopped copying. It does nothing while the operation runs. It returns the record that holds afterwards.
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
	case seen.State == resync.Running || result == vds.OK:
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
	if mirrored {
		next = raid1.AfterLosses(next, l, status.Health)
	}
	return s.Amend(ctx, "record the end of the operation of", l, next, l.Operation.Type.String()+" of "+l.Name+" has ended", nil)
}
