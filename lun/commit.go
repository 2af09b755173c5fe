package lun

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/vds"
)

// transaction is a set of records that become true together. The first catalog write that reaches a drive is the commit
// point: records of one LUN are ranked by generation, so from then on every reader and every later process sees the new
// state and carries it to the other drives.
type transaction struct {
	put   []catalog.LUN
	back  []catalog.LUN // every LUN that it is about, as it was: what is committed when the change is taken back
	first []uuid.UUID   // drives to write before the others, in this order: those of the LUN that is absorbed or given back
	all   bool          // go on after a drive that cannot be written
	need  []uuid.UUID   // drives that have to be written for success; nil: those of all plexes that are not out of date
	begun bool          // a write was tried: what is on that drive is not known before it is read again
	// ruined says of a LUN in back that its content is lost: it is wiped before it is used again. nil: of none.
	ruined func(l catalog.LUN) bool
}

// recordOf is the record of a LUN that tx puts; l when it puts none.
func (tx *transaction) recordOf(l catalog.LUN) catalog.LUN {
	for _, put := range tx.put {
		if put.ID == l.ID {
			return put
		}
	}
	return l
}

// step is the transaction as a step of a plan.
func (tx *transaction) step(text string) step {
	return funcStep{
		text: text, undo: "commit the records before as newer versions", commit: true,
		do: func(ctx context.Context, m *machine) error { return m.commit(ctx, tx) },
	}
}

// carryOut executes the steps of a change. When one fails the change is taken back: first on the drives, if its commit was
// begun, then in the kernel, whose devices of the LUNs in up go back to what the records before want.
func (m *machine) carryOut(ctx context.Context, op, name string, steps []step, tx *transaction, up ...catalog.LUN) error {
	err := m.execute(ctx, steps)
	if err == nil {
		return nil
	}
	failed := []error{fault(op, lunObject(name), err)}
	if tx.begun {
		m.remerge()
		back := slices.Clone(tx.back)
		for i, l := range back {
			back[i].Wipe = l.Wipe || tx.ruined != nil && tx.ruined(l)
		}
		undo := &transaction{put: m.set.TakeBack(tx.put, back), first: tx.first, all: true}
		failed = append(failed, m.commit(ctx, undo))
		up = m.latest(up)
	}
	for _, l := range up {
		failed = append(failed, m.restore(ctx, l, tx.recordOf(l)))
	}
	return joinUndo(failed[0], errors.Join(failed[1:]...))
}

// latest is these LUNs as they are recorded now; those that are not are left out.
func (m *machine) latest(luns []catalog.LUN) []catalog.LUN {
	var now []catalog.LUN
	for _, l := range luns {
		if record, ok := m.record(l.ID); ok {
			now = append(now, record)
		}
	}
	return now
}

// commit writes the records of tx to every drive they concern that is here. On an error some drives may have them.
func (m *machine) commit(ctx context.Context, tx *transaction) error {
	var failed, spared []error // spared: of drives that need not take it, as long as another one does
	reached := false
	need := tx.needed()
	for _, id := range need {
		if d, here := m.drives[id]; here && d.foreign {
			return foreignDriveFault(d) // it is not written to
		}
	}
	drives := m.concerned(tx)
	if len(drives) == 0 {
		return &vds.Error{
			Code: vds.ErrObjectStatusFailed, Op: "commit", Object: lunObject(tx.put[0].Name), Reason: "none of its drives is here",
			Hint: "attach one",
		}
	}
	for _, id := range drives {
		err := m.writeCatalog(ctx, id, m.set.Apply(id, tx.put...))
		tx.begun = tx.begun || !untouched(err)
		if err == nil {
			reached = true
			continue
		}
		fault := &vds.Error{
			Code: vds.ErrDiskConfigurationNotSaved, Op: "commit", Object: driveObject(id), Err: err,
			Hint: "check the drive; `plexctl assemble` brings every LUN to its last committed state",
		}
		if !slices.Contains(need, id) {
			m.log.Warn("a drive does not learn of the change", "drive", id, "error", err)
			spared = append(spared, fault)
			continue
		}
		failed = append(failed, fault)
		if !tx.all {
			break
		}
	}
	if !reached {
		failed = append(failed, spared...)
	}
	m.remerge()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if err := m.heal(ctx); err != nil {
		m.log.Warn("tidy catalogs", "error", err) // the records are committed; the next change tidies again
	}
	return nil
}

// untouched reports whether a catalog write has failed before anything was written: there is nothing to take back.
func untouched(err error) bool {
	return slices.ContainsFunc([]error{catalog.ErrHeadLost, catalog.ErrInvalid, catalog.ErrOverlap, catalog.ErrFull}, func(reason error) bool {
		return errors.Is(err, reason)
	})
}

// needed is the drives without which tx does not count as committed. A drive that has failed, under a plex that has, must not
// keep its LUN from being changed: it learns of the change when it is back.
func (tx *transaction) needed() []uuid.UUID {
	if tx.need != nil {
		return tx.need
	}
	var drives []uuid.UUID
	for _, l := range tx.put {
		l.Plexes = slices.DeleteFunc(slices.Clone(l.Plexes), func(p catalog.Plex) bool { return p.Stale })
		drives = append(drives, l.Drives()...)
	}
	return drives
}

// concerned is the drives that get records of tx: those with a plex of a new or an older version, first ones first.
func (m *machine) concerned(tx *transaction) []uuid.UUID {
	var unique []uuid.UUID
	for _, id := range append(slices.Clone(tx.first), m.set.Involved(tx.put...)...) {
		if d, ok := m.drives[id]; ok && !d.foreign && !slices.Contains(unique, id) {
			unique = append(unique, id)
		}
	}
	return unique
}

// next is l as the next version of its LUN: newer than every record that a drive may hold, and than l itself, which may
// have been tried and not be known to have reached a drive.
func (m *machine) next(l catalog.LUN) catalog.LUN {
	next := m.set.Next(l)
	next.Generation = max(next.Generation, l.Generation+1)
	return next
}

// writeCatalog writes a drive's catalog. That its copy at the end of the drive could not be written is no failure: the
// change holds, and the next write tries again.
func (m *machine) writeCatalog(ctx context.Context, id uuid.UUID, luns []catalog.LUN) error {
	err := m.withDisk(ctx, id, func(disk blockdev.Disk) error {
		return m.drives[id].store.Write(disk, luns)
	})
	if e, ok := errors.AsType[*catalog.WriteError](err); ok && e.Committed {
		m.log.Warn("catalog has no copy at the end of the drive", "drive", id, "error", err)
		return nil
	}
	return err
}

func (m *machine) remerge() {
	stores := make([]catalog.Drive, 0, len(m.drives))
	for _, d := range m.drives {
		stores = append(stores, d.store)
	}
	m.set = catalog.Merge(stores)
}

// heal brings every drive to what it should hold: records that a crash or an absence kept from it, and nothing that is
// superseded. A slot that a crash has torn is written anew. It tries all drives and returns the errors of all.
func (m *machine) heal(ctx context.Context) error {
	stale := m.set.Heal()
	for id, d := range m.drives {
		if _, ok := stale[id]; !ok && len(d.store.Problems) > 0 && !d.store.HeadLost {
			stale[id] = d.store.Catalog.LUNs
		}
	}
	if len(stale) == 0 && len(m.set.Problems) == 0 {
		return nil
	}
	if len(stale) > 0 {
		if err := m.flushDrives(ctx); err != nil {
			return err
		}
	}
	for range healRounds {
		healed, err := m.healOnce(ctx, stale)
		if err != nil || healed == 0 {
			return err
		}
		stale = m.set.Heal() // a witness that was needed may be needed no longer
	}
	return nil
}

// flushDrives makes durable what has been read of all drives: a process that was killed may not have come to it. Until then
// no drive may drop the record that makes another one's true.
func (m *machine) flushDrives(ctx context.Context) error {
	var failed []error
	for id, d := range m.drives {
		if !d.foreign {
			failed = append(failed, m.withDisk(ctx, id, func(blockdev.Disk) error { return nil }))
		}
	}
	return errors.Join(failed...)
}

// healRounds bounds healing. Two rounds do, a third finds nothing.
const healRounds = 4

// healOnce writes catalogs, and returns to how many drives.
func (m *machine) healOnce(ctx context.Context, stale map[uuid.UUID][]catalog.LUN) (int, error) {
	var failed []error
	n := 0
	for id, luns := range stale {
		if m.drives[id].foreign {
			continue
		}
		n++
		m.log.Info("heal catalog", "drive", id)
		failed = append(failed, m.writeCatalog(ctx, id, luns))
		m.drives[id].store.Problems = nil
	}
	m.remerge()
	return n, errors.Join(failed...)
}
