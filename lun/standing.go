package lun

import (
	"context"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/vds"
)

// standing is what the kernel does with the plexes of a LUN: its live table, read as legs.
type standing struct {
	live   bool
	mirror bool                        // the live table is a raid1
	status dm.RaidStatus               // of the mirror
	health map[uuid.UUID]dm.LegHealth  // by plex; a plex that is no leg of the live table is not in it
	slots  map[uuid.UUID]catalog.Slot  // the metadata slot that the live table uses, by plex
	sole   uuid.UUID                   // the plex that a live linear table is; Nil when it is none of l's
	meta   map[uuid.UUID]raidmeta.Slot // what these slots hold
	parts  map[uuid.UUID]devno.No      // data device of each leg, by plex
	stale  map[uuid.UUID]bool          // plexes that are out of date by the record, legs or not
	unread bool                        // the metadata of a leg that the kernel has not given up cannot be read
}

// stand reads how the kernel stands to l's plexes.
func (m *machine) stand(ctx context.Context, l catalog.LUN, have view) (standing, error) {
	st := standing{
		health: map[uuid.UUID]dm.LegHealth{}, slots: map[uuid.UUID]catalog.Slot{},
		meta: map[uuid.UUID]raidmeta.Slot{}, parts: map[uuid.UUID]devno.No{}, stale: map[uuid.UUID]bool{},
	}
	for _, p := range l.Plexes {
		st.stale[p.ID] = p.Stale
	}
	top := have[lunUUID(l.ID)]
	if st.live = top.Live; !st.live {
		return st, nil
	}
	raid, ok := soleTarget[dm.Raid1](top.table)
	if !ok {
		st.sole = m.plexOf(l, top.table)
		return st, nil
	}
	st.mirror = true
	return st, m.readLegs(ctx, l, have, raid, &st)
}

// soleTarget is the target of a table that has one segment.
func soleTarget[T dm.Target](t dm.Table) (T, bool) {
	var none T
	if len(t) != 1 {
		return none, false
	}
	target, ok := t[0].Target.(T)
	return target, ok
}

// plexOf is the plex of l that a linear table maps; Nil when it maps none.
func (m *machine) plexOf(l catalog.LUN, table dm.Table) uuid.UUID {
	for _, p := range l.Copies() {
		alone := catalog.LUN{ID: l.ID, Name: l.Name, Size: table.Size(), Plexes: []catalog.Plex{p}}
		n := layout(alone, m.out)[0]
		if n.resolved(m.at) && equalTables(n.table(m.at), table) {
			return p.ID
		}
	}
	return uuid.Nil
}

// readLegs finds which plexes the legs of the live mirror are, how the kernel holds them, and what their metadata says.
func (m *machine) readLegs(ctx context.Context, l catalog.LUN, have view, raid dm.Raid1, st *standing) error {
	status, err := m.kernel.Status(ctx, have[lunUUID(l.ID)].Name)
	if err != nil {
		return fault("read status of", lunObject(l.Name), err)
	}
	if st.status, err = raidStatusOf(l, status); err != nil {
		return err
	}
	for i, leg := range raid.Legs {
		p, slot, ok := legPlex(l, have, leg)
		if !ok || i >= len(st.status.Health) {
			continue // a plex that l has no more
		}
		st.health[p.ID], st.slots[p.ID], st.parts[p.ID] = st.status.Health[i], slot, leg.Data
		p.Slot = slot
		read, err := m.readSlot(ctx, p)
		if err != nil {
			m.log.Debug("read metadata", "lun", l.Name, "plex", p.ID, "error", err)
		}
		if read.Super != (raidmeta.Super{}) {
			st.meta[p.ID] = read
		} else if letter := st.health[p.ID]; letter != dm.LegFailed && letter != dm.LegMissing {
			st.unread = true
		}
	}
	return ctx.Err()
}

// raidStatusOf is the decoded status of a LUN whose live table is a mirror.
func raidStatusOf(l catalog.LUN, status dm.Status) (dm.RaidStatus, error) {
	if len(status.Targets) != 1 {
		return dm.RaidStatus{}, &vds.Error{
			Code: vds.ErrProviderCacheCorrupt, Op: "read status of", Object: lunObject(l.Name),
			Reason: "its table has changed meanwhile", Hint: cacheHint,
		}
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	return raid, fault("read status of", lunObject(l.Name), err)
}

// legPlex is the plex of l that a leg is, and the metadata slot that the leg uses.
func legPlex(l catalog.LUN, have view, leg dm.Leg) (catalog.Plex, catalog.Slot, bool) {
	for _, p := range l.Plexes {
		if data, ok := have[dataNode(l, p).uuid]; !ok || data.Dev != leg.Data {
			continue
		}
		for _, slot := range []catalog.Slot{catalog.SlotA, catalog.SlotB} {
			p.Slot = slot
			if meta, ok := have[metaNode(l, p).uuid]; ok && meta.Dev == leg.Meta {
				return p, slot, true
			}
		}
	}
	return catalog.Plex{}, "", false
}

// holds reports whether a plex holds all of the data, as far as the kernel and its metadata on the drives go. One that the kernel
// does not call in sync may only seem to by its own metadata while that of another leg, which may be newer, cannot be read.
func (st standing) holds(plex uuid.UUID) bool {
	if !st.mirror {
		return st.sole == plex
	}
	letter, ok := st.health[plex]
	if st.unread && letter == dm.LegSyncing {
		return false
	}
	return ok && letter != dm.LegFailed && letter != dm.LegMissing && st.inSync(plex)
}

// inSync reports whether the metadata of the live legs calls a plex in sync.
func (st standing) inSync(plex uuid.UUID) bool {
	var freshest raidmeta.Super
	for _, slot := range st.meta {
		if slot.Super.Events > freshest.Events {
			freshest = slot.Super
		}
	}
	super := st.meta[plex].Super
	return super != (raidmeta.Super{}) && super.RecoveryOffset == raidmeta.InSync && !freshest.CallsFailed(super)
}

// leveling reports whether the mirror is in the middle of being made equal: its legs in sync differ above an offset.
func (st standing) leveling() bool {
	for id, slot := range st.meta {
		if st.mirror && st.holds(id) && slot.Super.ResyncOffset != raidmeta.InSync {
			return true
		}
	}
	return false
}

// holders is how many plexes hold all of the data.
func (st standing) holders() int {
	n := 0
	for id := range st.health {
		if st.holds(id) {
			n++
		}
	}
	return n
}

// alone reports whether the kernel has given up all legs but one: there is nothing to make equal, whatever the counts say.
func (st standing) alone() bool {
	there := 0
	for _, letter := range st.status.Health {
		if letter != dm.LegFailed && letter != dm.LegMissing {
			there++
		}
	}
	return there < 2
}

// busy reports whether the mirror copies anything, or is about to: a plex is neither in sync nor failed, or a resync of
// all plexes is not at its end. A plex that the record has given up does not count: when the kernel cannot read what it
// copies, it leaves the leg as it is, and never goes on (drivers/md/raid1.c, fix_sync_read_error).
func (st standing) busy() bool {
	if !st.mirror || st.status.Action == dm.ActionIdle && st.alone() {
		return false
	}
	if st.status.Action != dm.ActionIdle || st.status.Done != st.status.Total {
		return true
	}
	for id, letter := range st.health {
		slot, known := st.meta[id]
		if !known || st.stale[id] {
			continue // its drive is gone, and the kernel has not noticed yet; or it is being given up
		}
		super := slot.Super
		if letter == dm.LegSyncing || letter == dm.LegInSync && (super.RecoveryOffset != raidmeta.InSync || super.ResyncOffset != raidmeta.InSync) {
			return true
		}
	}
	return false
}
