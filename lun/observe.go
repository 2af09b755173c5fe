package lun

import (
	"context"
	"fmt"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// observeOperation is how the kernel gets on with l's operation; false when the kernel does not run l's mirror.
func (m *machine) observeOperation(ctx context.Context, l catalog.LUN) (resync.Observation, bool, error) {
	status, ok, err := m.raidStatus(ctx, l)
	if !ok || err != nil {
		return resync.Observation{}, false, err
	}
	seen := resync.Observation{State: resync.Running, Done: status.Done, Total: status.Total}
	fills := filled(l)
	for i, p := range l.Plexes {
		concerned := fills[i] || len(l.Operation.Plexes) == 0 && !m.out(p)
		if concerned && (status.Health[i] == dm.LegFailed || status.Health[i] == dm.LegMissing) {
			seen.State, seen.Err = resync.Failed, legFault(l, i)
			begun, err := m.begun(ctx, l)
			return seen, begun, err
		}
	}
	if status.Action != dm.ActionIdle && status.Action != dm.ActionFrozen {
		return seen, true, nil
	}
	if begun, err := m.begun(ctx, l); !begun || err != nil {
		return seen, false, err // the table from before stands still, or is at its end; the one that the record wants is yet to come
	}
	seen.State = resync.Idle
	if !m.claimed(l, status) {
		seen.Done = 0 // until it has begun, the kernel shows N/N
		return seen, true, nil
	}
	proven, err := m.proven(ctx, l, lostLegs(l, status))
	if !proven || err != nil {
		return seen, true, err
	}
	seen.State = resync.Done
	if err := m.passedOver(ctx, l); err != nil {
		seen.State, seen.Err = resync.Failed, err
	}
	return seen, true, nil
}

// passedOver is the error about a sector of a plex that holds the data which the kernel could not read, and has passed over.
func (m *machine) passedOver(ctx context.Context, l catalog.LUN) error {
	m = m.fork()
	have, err := m.viewOf(ctx, l.ID)
	if err != nil {
		return err
	}
	fills := filled(l)
	for i, p := range l.Plexes {
		data, there := have[dataNode(l, p).uuid]
		if !there || fills[i] {
			continue
		}
		if sector, ok := m.kernel.Unreadable(ctx, data.Dev, l.Operation.Started); ok {
			return &vds.Error{
				Code: vds.ErrIO, Op: l.Operation.Type.String(), Object: lunObject(l.Name),
				Reason: fmt.Sprintf("sector %d of plex %s cannot be read, and was passed over", sector, p.ID),
				Hint:   "write that sector anew (from a backup), then run `plexctl lun recover " + l.Name + "`, or give the new plex up with `plexctl plex remove`",
			}
		}
	}
	return nil
}

// begun reports whether the kernel runs the table that l's operation wants, and not one from before it.
func (m *machine) begun(ctx context.Context, l catalog.LUN) (bool, error) {
	m = m.fork()
	have, err := m.viewOf(ctx, l.ID)
	return m.inForce(l, have[lunUUID(l.ID)].table), err
}

// claimed reports whether the kernel claims that every plex of l that is not out is a full copy, but for those that it has
// dropped: it never drops the last one. A plex that is being filled has to be one, its drive be here or not.
func (m *machine) claimed(l catalog.LUN, status dm.RaidStatus) bool {
	lost, fills := lostLegs(l, status), filled(l)
	for i, p := range l.Plexes {
		if (fills[i] || !m.out(p)) && lost&(1<<i) == 0 && status.Health[i] != dm.LegInSync {
			return false
		}
	}
	return status.Done == status.Total && status.Action == dm.ActionIdle
}

// lostLegs is the plexes of l, a bit for each, that the kernel has dropped and that no operation fills.
func lostLegs(l catalog.LUN, status dm.RaidStatus) uint64 {
	var lost uint64
	for i, fills := range filled(l) {
		if !fills && status.Health[i] == dm.LegFailed {
			lost |= 1 << i
		}
	}
	return lost
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
	return "see to its drive, then run `plexctl lun recover " + l.Name + "`, or give the plex up with `plexctl plex remove`"
}

// raidStatus is the decoded status of l's mirror; false when the kernel has no mirror for it.
func (m *machine) raidStatus(ctx context.Context, l catalog.LUN) (dm.RaidStatus, bool, error) {
	status, err := m.kernel.Status(ctx, lunName(l.Name))
	if isGone(err) || err == nil && status.UUID != lunUUID(l.ID) { // unless a rename was cut off, there is no device
		active, listErr := m.active(ctx)
		dev, ok := active[lunUUID(l.ID)]
		if !ok {
			return dm.RaidStatus{}, false, listErr
		}
		status, err = m.kernel.Status(ctx, dev.Name)
	}
	if isGone(err) {
		return dm.RaidStatus{}, false, nil
	}
	if err != nil {
		return dm.RaidStatus{}, false, fault("read status of", lunObject(l.Name), err)
	}
	return decodeRaid(l, status)
}

// status is the state of l's device; of a mirror, with the status of its legs.
func (m *machine) status(ctx context.Context, l catalog.LUN, device string) (dm.Status, error) {
	if len(l.Plexes) > 1 {
		return m.kernel.Status(ctx, device)
	}
	info, err := m.kernel.Info(ctx, device)
	return dm.Status{Info: info}, err
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
