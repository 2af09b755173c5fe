package lun

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/vds"
)

// rescue lets a suspended mirror go on that can neither use its live table, which a change to put has loaded, nor be brought to
// its record l, as when a drive has failed in the swap. Nothing has been written since, so that it is started like one that is
// not active, with those plexes alone that hold all of the data by put and by their metadata and can be written. What the live
// table has been made of is given up first, because its end may empty the bitmaps (see settled).
func (m *machine) rescue(ctx context.Context, l, put catalog.LUN, have view) error {
	top := have[lunUUID(l.ID)]
	next, err := m.withoutDead(ctx, l, put)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool { return m.slotInUse(l, p, top.table) }) {
		if err := m.execute(ctx, []step{spoil(next)}); err != nil {
			return err
		}
	}
	top.Live = false
	have[lunUUID(l.ID)] = top
	return m.execute(ctx, plan(change{want: m.wants(next), have: have, at: m.at, prepare: restart(next)}))
}

// withoutDead commits l with those plexes out of date that cannot be written, or do not hold all of the data by put and by their
// metadata, and returns that record. It fails when no plex is left.
func (m *machine) withoutDead(ctx context.Context, l, put catalog.LUN) (catalog.LUN, error) {
	slots, err := m.readSlots(ctx, l)
	if err != nil {
		return l, err
	}
	holding, _ := m.roles(l, slots)
	next := l
	next.Plexes = slices.Clone(l.Plexes)
	left, fills := false, filled(l)
	for i, p := range next.Copies() {
		err := m.writable(ctx, p)
		if err != nil {
			m.log.WarnContext(ctx, "goes on without a plex", "lun", l.Name, "plex", p.ID, "error", err)
		}
		holds := m.holdsBy(put, p.ID) && slices.Contains(holding, i)
		left = left || holds && err == nil
		if err != nil || !holds && !fills[i] {
			next.Plexes[i].Stale = true
		}
	}
	if !left {
		return l, &vds.Error{
			Code: vds.ErrObjectStatusFailed, Op: "restore", Object: lunObject(l.Name),
			Reason: "no plex that can be written holds all of its data", Hint: "see to its drives, then run `plexctl assemble " + l.Name + "`",
		}
	}
	next = m.next(next)
	return next, m.commit(ctx, &transaction{put: []catalog.LUN{next}, all: true})
}

// holdsBy reports whether a plex holds all of the data by a record.
func (m *machine) holdsBy(l catalog.LUN, plex uuid.UUID) bool {
	fills := filled(l)
	for i, p := range l.Plexes {
		if p.ID == plex {
			return !m.out(p) && !fills[i]
		}
	}
	return false
}

// writable writes back what the first block of a plex's metadata in force holds, which no table uses.
func (m *machine) writable(ctx context.Context, p catalog.Plex) error {
	at := slotExtent(p, p.Slot)
	block := make([]byte, blockdev.Align)
	if err := m.readExtent(ctx, at, block); err != nil {
		return err
	}
	return m.withDisk(ctx, at.Drive, func(disk blockdev.Disk) error {
		_, err := disk.WriteAt(block, int64(at.Start.Bytes()))
		return err
	})
}

// deaden fails all I/O of a LUN that is still suspended: nobody waits for ever, and nothing is written of which no metadata
// knows. Assemble starts it like one that is not active. Where the table that goes uses metadata in force, those devices fail
// first: its end may empty the bitmaps (see settled).
func (m *machine) deaden(ctx context.Context, l catalog.LUN) error {
	have, err := m.viewOf(ctx, l.ID)
	top := have[lunUUID(l.ID)]
	if err != nil || !top.Suspended {
		return err
	}
	steps := change{have: have}.clear(node{name: top.Name, uuid: top.UUID})
	for _, p := range l.Plexes {
		if meta, ok := have[metaNode(l, p).uuid]; ok && m.slotInUse(l, p, top.table) {
			steps = append(steps, fail(meta, dm.Private))
		}
	}
	return m.execute(ctx, append(steps, fail(top, dm.Public)))
}

// fail is the step that makes all I/O of a device fail.
func fail(o observed, v dm.Visibility) step {
	return funcStep{text: "fail all I/O of " + o.Name, do: func(ctx context.Context, m *machine) error {
		dead := dm.Table{{Length: o.table.Size(), Target: dm.Other{Name: deadTarget}}}
		if err := m.kernel.Load(ctx, o.Name, dead); err != nil {
			return err
		}
		return m.kernel.Resume(ctx, o.Name, v)
	}}
}

// deadTarget is the device-mapper target that fails all I/O.
const deadTarget = "error"

// isDead reports whether a table fails all I/O; see deaden.
func isDead(t dm.Table) bool {
	other, ok := soleTarget[dm.Other](t)
	return ok && other.Name == deadTarget
}
