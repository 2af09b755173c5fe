package raid1

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// LegState is the state of a LUN's legs in the kernel: its live table, and what status and metadata say about each plex.
type LegState struct {
	Live    bool
	Mirror  bool                        // the live table is a raid1
	Status  dm.RaidStatus               // of the mirror
	Health  map[uuid.UUID]dm.LegHealth  // by plex; only legs of the live table are in it
	Slots   map[uuid.UUID]catalog.Slot  // the metadata slots that the live table uses, by plex
	Sole    uuid.UUID                   // the plex that a live linear table maps; uuid.Nil when it maps none of the LUN
	Meta    map[uuid.UUID]raidmeta.Slot // the content of these slots
	Devices map[uuid.UUID]devno.No      // data device of each leg, by plex
	Stale   map[uuid.UUID]bool          // plexes that are stale by the record, legs or not
	Unread  bool                        // the metadata of a leg that the kernel has not dropped cannot be read
}

// NewLegState is the state of l's legs in the live table of view, without status and metadata. raid is that table if it is a
// mirror, otherwise nil.
func NewLegState(l catalog.LUN, have layout.View, at layout.Numbers) (st LegState, raid *dm.Raid1) {
	st = LegState{
		Health: map[uuid.UUID]dm.LegHealth{}, Slots: map[uuid.UUID]catalog.Slot{},
		Meta: map[uuid.UUID]raidmeta.Slot{}, Devices: map[uuid.UUID]devno.No{}, Stale: map[uuid.UUID]bool{},
	}
	for _, p := range l.Plexes {
		st.Stale[p.ID] = p.Stale
	}
	top := have.Own(l.ID)
	if st.Live = top.Live; !st.Live {
		return st, nil
	}
	target, ok := layout.SoleTarget[dm.Raid1](top.Table)
	if !ok {
		st.Sole = layout.PlexOf(l, top.Table, at)
		return st, nil
	}
	st.Mirror = true
	return st, &target
}

// LegPlex is the plex of l that a leg belongs to, and the metadata slot that the leg uses.
func LegPlex(l catalog.LUN, have layout.View, leg dm.Leg) (catalog.Plex, catalog.Slot, bool) {
	for _, p := range l.Plexes {
		if data, ok := have[layout.DataUUID(l, p)]; !ok || data.Dev != leg.Data {
			continue
		}
		for _, slot := range []catalog.Slot{catalog.SlotA, catalog.SlotB} {
			if meta, ok := have[layout.MetaUUID(l, p, slot)]; ok && meta.Dev == leg.Meta {
				return p, slot, true
			}
		}
	}
	return catalog.Plex{}, "", false
}

// Note adds the metadata of a leg, which is plex p in slot. The zero meta stands for metadata that cannot be read.
func (st *LegState) Note(p catalog.Plex, slot catalog.Slot, health dm.LegHealth, data devno.No, meta raidmeta.Slot) {
	st.Health[p.ID], st.Slots[p.ID], st.Devices[p.ID] = health, slot, data
	if meta.Super != (raidmeta.Super{}) {
		st.Meta[p.ID] = meta
	} else if health != dm.LegFailed && health != dm.LegMissing {
		st.Unread = true
	}
}

// Complete reports whether a plex holds all of the data, by the kernel's status and the metadata on the drives. While the
// metadata of another leg cannot be read, that leg may be newer. Until then a superblock alone does not prove a leg that the
// kernel shows as syncing.
func (st LegState) Complete(plex uuid.UUID) bool {
	if !st.Mirror {
		return st.Sole == plex
	}
	health, ok := st.Health[plex]
	if st.Unread && health == dm.LegSyncing {
		return false
	}
	return ok && health != dm.LegFailed && health != dm.LegMissing && st.inSync(plex)
}

// InUseUnread reports whether the kernel writes to a plex that the record does not call stale, and whose metadata cannot be read.
func (st LegState) InUseUnread(plex uuid.UUID) bool {
	health, leg := st.Health[plex]
	_, read := st.Meta[plex]
	return leg && !read && !st.Stale[plex] && health != dm.LegFailed && health != dm.LegMissing
}

// Lost reports whether the live mirror lacks some of the data in a plex.
func (st LegState) Lost(plex uuid.UUID) bool { return st.Mirror && !st.Complete(plex) }

// inSync reports whether the metadata of the live legs says that a plex is in sync.
func (st LegState) inSync(plex uuid.UUID) bool {
	newest, super := newestOf(slices.Collect(maps.Values(st.Meta))), st.Meta[plex].Super
	return super != (raidmeta.Super{}) && super.RecoveryOffset == raidmeta.InSync && !newest.CallsFailed(super)
}

// Resyncing reports whether the kernel resyncs the legs that are in sync: above an offset they may differ.
func (st LegState) Resyncing() bool {
	for id, slot := range st.Meta {
		if st.Mirror && st.Complete(id) && slot.Super.ResyncOffset != raidmeta.InSync {
			return true
		}
	}
	return false
}

// completeCount is how many plexes hold all of the data.
func (st LegState) completeCount() int {
	n := 0
	for id := range st.Health {
		if st.Complete(id) {
			n++
		}
	}
	return n
}

// filling reports whether the kernel fills a leg.
func (st LegState) filling() bool {
	for id, health := range st.Health {
		if health == dm.LegSyncing && !st.Complete(id) {
			return true
		}
	}
	return false
}

// oneLeft reports whether the kernel has dropped all legs but one. Then there is nothing to resync, whatever the counts say.
func (st LegState) oneLeft() bool {
	there := 0
	for _, health := range st.Status.Health {
		if health != dm.LegFailed && health != dm.LegMissing {
			there++
		}
	}
	return there < 2
}

// Busy reports whether the mirror copies anything, or is about to. It does when a plex is neither in sync nor failed, or while
// a resync of all plexes is not at its end. A plex that is stale by the record does not count. If the kernel cannot read the
// source, it leaves such a leg as it is and never continues (drivers/md/raid1.c, fix_sync_read_error).
func (st LegState) Busy() bool {
	if !st.Mirror || st.Status.Action == dm.ActionIdle && st.oneLeft() {
		return false
	}
	if st.Status.Action != dm.ActionIdle || st.Status.Done != st.Status.Total {
		return true
	}
	for id, health := range st.Health {
		slot, known := st.Meta[id]
		if !known || st.Stale[id] {
			continue // stale, or its drive is gone and the kernel has not noticed yet
		}
		if health == dm.LegSyncing || health == dm.LegInSync && !whole(slot.Super) {
			return true
		}
	}
	return false
}

// whole reports whether a superblock says that nothing is left to copy.
func whole(super raidmeta.Super) bool {
	return super.RecoveryOffset == raidmeta.InSync && super.ResyncOffset == raidmeta.InSync
}

// Clashes reports whether the live mirror uses a metadata slot that is current in l. plexctl must not write such a slot.
func Clashes(l catalog.LUN, roles record.Roles, was LegState) bool {
	return slices.ContainsFunc(roles.Plexes(l), func(p catalog.Plex) bool { return was.Slots[p.ID] == p.Slot })
}

// RolesBeside is roles with more plexes excluded: those that are no leg of the live mirror and are not filled. Such a plex may
// have missed writes that no metadata shows, so it waits for a recovery.
func RolesBeside(l catalog.LUN, roles record.Roles, was LegState) record.Roles {
	beside := slices.Clone(roles)
	for i, p := range l.Plexes {
		if _, leg := was.Health[p.ID]; was.Mirror && !leg && roles[i] == record.Source {
			beside[i] = record.Stale
		}
	}
	return beside
}

// dropped reports whether the kernel has dropped a plex that l's operation fills. A new table takes it in again.
func dropped(l catalog.LUN, was LegState) bool {
	for i, role := range record.RolesOf(l, record.AllHere) {
		if health, leg := was.Health[l.Plexes[i].ID]; role.IsTarget() && leg && health == dm.LegFailed {
			return true
		}
	}
	return false
}

// Knows reports whether the bitmaps of the live mirror tell what a plex lacks that is no leg of it, or has failed. meta is what is on
// the plex's drive. It must be of the run that the plex was last part of. And the mirror must not have cleared a bit since: the
// kernel clears none while a leg is away.
func (st LegState) Knows(p catalog.Plex, meta raidmeta.Slot) bool {
	run := meta.Bitmap.Run
	if meta.Super == (raidmeta.Super{}) || run.Number != p.Run.Number || run.Nonce != p.Run.Nonce {
		return false
	}
	for id, slot := range st.Meta {
		if st.Complete(id) && meta.Super.Events < slot.Bitmap.EventsCleared {
			return false
		}
	}
	return true
}
