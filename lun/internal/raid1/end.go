package raid1

import (
	"slices"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Decode is the status of l's mirror; false when status does not belong to a mirror of all its plexes.
func Decode(l catalog.LUN, status dm.Status) (dm.RaidStatus, bool, error) {
	if len(status.Targets) != 1 || status.Targets[0].Type != (dm.Raid1{}).Type() {
		return dm.RaidStatus{}, false, nil
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	if err != nil {
		return dm.RaidStatus{}, false, err
	}
	return raid, len(raid.Health) == len(l.Plexes), nil
}

// Claimed reports whether the kernel claims that every plex of l that takes part is a full copy. Plexes that the kernel has
// dropped do not count; it never drops the last one. A target must be a full copy, even when its drive is missing.
func Claimed(roles record.Roles, status dm.RaidStatus) bool {
	lost := Lost(roles, status)
	for i, role := range roles {
		if (role.IsTarget() || !role.Excluded()) && lost&(1<<i) == 0 && status.Health[i] != dm.LegInSync {
			return false
		}
	}
	return status.Done == status.Total && status.Action == dm.ActionIdle
}

// Scrubs reports whether the kernel compares plexes that are all in sync. It copies nothing that any of them lacks.
func Scrubs(status dm.RaidStatus) bool {
	return (status.Action == dm.ActionCheck || status.Action == dm.ActionRepair) && !slices.Contains(status.Health, dm.LegSyncing)
}

// Lost is the plexes that the kernel has dropped and that no operation fills, one bit for each.
func Lost(roles record.Roles, status dm.RaidStatus) uint64 {
	var lost uint64
	for i, role := range roles {
		if !role.IsTarget() && status.Health[i] == dm.LegFailed {
			lost |= 1 << i
		}
	}
	return lost
}

// NoteLosses is l with those plexes marked stale that the kernel has dropped, and which no leg in sync calls failed in its current
// metadata. false when there are none, or when no plex that holds the data by the record is left.
func NoteLosses(l catalog.LUN, roles record.Roles, status dm.RaidStatus, reads []Read) (catalog.LUN, bool) {
	unnoted, left := Lost(roles, status), false
	for i, role := range roles {
		if role == record.Source && status.Health[i] == dm.LegInSync {
			unnoted, left = unnoted&^reads[i].Slot.Super.FailedDevices, true
		}
	}
	l.Plexes = slices.Clone(l.Plexes)
	noted := false
	for i, p := range l.Plexes {
		if unnoted&(1<<i) != 0 && !p.Stale {
			l.Plexes[i].Stale, noted = true, true
		}
	}
	return l, left && noted
}

// FailedLeg is the first plex whose failure ends l's operation; -1 when there is none. It is a target. If the operation has no
// targets, it is a plex that takes part.
func FailedLeg(l catalog.LUN, roles record.Roles, status dm.RaidStatus) int {
	for i, role := range roles {
		concerned := role.IsTarget() || len(l.Operation.Plexes) == 0 && !role.Excluded()
		if concerned && (status.Health[i] == dm.LegFailed || status.Health[i] == dm.LegMissing) {
			return i
		}
	}
	return -1
}

// Asked is the plexes whose superblocks must prove that nothing is left to copy, and all others, one bit for each. false when
// one of the superblocks that matter cannot be read. lost is the plexes that the kernel has dropped.
func Asked(roles record.Roles, lost uint64) (asked []int, others uint64, ok bool) {
	others = lost
	for i, role := range roles {
		if role.Excluded() {
			others |= 1 << i
		} else if lost&(1<<i) == 0 {
			asked = append(asked, i)
		}
	}
	return asked, others, !roles.Has(record.AbsentTarget)
}

// Proves reports whether a superblock says that nothing is left to copy. It ignores the plexes in others. The status line alone
// does not prove it.
func Proves(super raidmeta.Super, others uint64) bool {
	return super.FailedDevices&^others == 0 && whole(super)
}

// AfterLosses is l, whose operation has ended, with the kernel's losses. After a success, a plex that the kernel has dropped is
// stale. Then its drive need not take the commit. After a failure, a target that is the only leg left in sync stays valid: its
// sources were lost only after it was complete.
func AfterLosses(l, before catalog.LUN, health []dm.LegHealth) catalog.LUN {
	l.Plexes = slices.Clone(l.Plexes)
	inSync := func(i int) bool { return i < len(health) && health[i] == dm.LegInSync }
	alone := true
	for i, p := range l.Plexes {
		alone = alone && (p.Stale || !inSync(i))
	}
	for i := range l.Plexes {
		switch {
		case alone && inSync(i):
			l.Plexes[i].Stale = before.Plexes[i].Stale
		case !l.Last.Result.Failed() && i < len(health) && health[i] == dm.LegFailed:
			l.Plexes[i].Stale = true
		}
	}
	return l
}

// ForeignTable is the error about a LUN whose live table plexctl did not load.
func ForeignTable(l catalog.LUN) error {
	return record.LUNFault(vds.ErrProviderCacheCorrupt, "change", l.Name, "the kernel has another table than the catalog", CacheHint)
}

// CacheHint is the remedy for vds.ErrProviderCacheCorrupt.
const CacheHint = "run `plexctl reenumerate`"
