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
	first []uuid.UUID // drives to write before the others, in this order
	begun bool        // a write was tried: what is on that drive is not known before it is read again
}

// step is the transaction as a step of a plan.
func (tx *transaction) step(text string) step {
	return funcStep{text, func(ctx context.Context, m *machine) error { return m.commit(ctx, tx) }}
}

// commit writes the records of tx to every drive they concern that is here. On an error some drives may have them.
func (m *machine) commit(ctx context.Context, tx *transaction) error {
	for _, id := range m.concerned(tx) {
		tx.begun = true
		if err := m.writeCatalog(ctx, id, catalog.Apply(m.drives[id].store.Catalog.LUNs, tx.put...)); err != nil {
			return &vds.Error{
				Code: vds.ErrDiskConfigurationNotSaved, Op: "commit", Object: driveObject(id), Err: err,
				Hint: "check the drive; `plexctl assemble` brings every LUN to its last committed state",
			}
		}
	}
	m.remerge()
	if err := m.heal(ctx); err != nil {
		m.log.Warn("tidy catalogs", "error", err) // the records are committed; the next change tidies again
	}
	return nil
}

// concerned is the drives that get records of tx: those with a plex of a new or an older version, first ones first.
func (m *machine) concerned(tx *transaction) []uuid.UUID {
	ids := slices.Clone(tx.first)
	for _, l := range tx.put {
		ids = append(ids, drivesOf(l)...)
	}
	for id, d := range m.drives {
		if slices.ContainsFunc(d.store.Catalog.LUNs, func(l catalog.LUN) bool { return concerns(tx.put, l.ID) }) {
			ids = append(ids, id)
		}
	}
	var unique []uuid.UUID
	for _, id := range ids {
		if !m.absent(id) && !slices.Contains(unique, id) {
			unique = append(unique, id)
		}
	}
	return unique
}

func concerns(put []catalog.LUN, id uuid.UUID) bool {
	return slices.ContainsFunc(put, func(l catalog.LUN) bool { return l.ID == id })
}

func (m *machine) writeCatalog(ctx context.Context, id uuid.UUID, luns []catalog.LUN) error {
	return m.withDisk(ctx, id, func(disk blockdev.Disk) error {
		return m.drives[id].store.Write(disk, luns)
	})
}

func (m *machine) remerge() {
	stores := make([]catalog.Drive, 0, len(m.drives))
	for _, d := range m.drives {
		stores = append(stores, d.store)
	}
	m.set = catalog.Merge(stores)
}

// heal brings every drive to what it should hold: records that a crash or an absence kept from it, and nothing that is
// superseded. It tries all drives and returns the errors of all.
func (m *machine) heal(ctx context.Context) error {
	var failed []error
	for id, luns := range m.set.Heal() {
		m.log.Info("heal catalog", "drive", id)
		failed = append(failed, m.writeCatalog(ctx, id, luns))
	}
	m.remerge()
	return errors.Join(failed...)
}
