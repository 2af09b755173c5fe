package host

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Transaction is a set of records that become true together. The first catalog write that reaches a drive is the commit point.
// Records of one LUN are ranked by generation. So from then on every reader and every later process sees the new state, and
// brings it to the other drives.
type Transaction struct {
	Put   []catalog.LUN
	Back  []catalog.LUN // all LUNs of the transaction with their old records, which are committed when the change is taken back
	First []uuid.UUID   // drives to write before the others, in this order: those of the LUN that is absorbed or given back
	All   bool          // continue after a drive that cannot be written
	Each  bool          // the records have nothing to do with each other: a drive gets only those that concern it
	Need  []uuid.UUID   // drives that must be written for success; nil: those of all plexes that are not stale
	Begun bool          // a write was tried: only reading the drive again tells what is on it

	Absorbed uuid.UUID // the LUN in Back that becomes plexes of another one
	Ruined   bool      // Absorbed has lost its content, and must be wiped before reuse
}

// RecordOf is the record of a LUN that tx commits; l when tx has none for it.
func (tx *Transaction) RecordOf(l catalog.LUN) catalog.LUN {
	for _, put := range tx.Put {
		if put.ID == l.ID {
			return put
		}
	}
	return l
}

// Commit writes the records of tx to every drive of these LUNs that is present. On an error some drives may have them.
func (h *Host) Commit(ctx context.Context, tx *Transaction) error {
	need := tx.Need
	if need == nil {
		need = Needed(tx.Put...)
	}
	drives := h.concerned(tx)
	if len(drives) == 0 {
		for _, id := range h.Set.Involved(tx.Put...) {
			if d := h.Drives[id]; d.Unwritable() != nil {
				return d.Unwritable()
			}
		}
		return record.LUNFault(vds.ErrObjectStatusFailed, "commit", tx.Put[0].Name, "none of its drives is here", "attach one")
	}
	err := h.writeAll(ctx, tx, drives, need)
	h.merge()
	if err != nil {
		return err
	}
	if err := h.Heal(ctx); err != nil {
		h.Log.Warn("tidy catalogs", "error", err) // the records are committed; the next change repeats the clean-up
	}
	return nil
}

// writeAll writes the records of tx to drives. It fails when a needed drive, or every drive, has failed to take them.
func (h *Host) writeAll(ctx context.Context, tx *Transaction, drives, need []uuid.UUID) error {
	var failed, spared []error // spared: errors of drives that need not take it, as long as another one does
	reached := false
	for _, id := range drives {
		err := h.writeCatalog(ctx, id, tx.apply(h.Set, id))
		tx.Begun = tx.Begun || !untouched(err)
		if err == nil {
			reached = true
			continue
		}
		fault := &vds.Error{
			Code: vds.ErrDiskConfigurationNotSaved, Op: "commit", Object: record.DriveObject(id), Err: err,
			Hint: cmp.Or(vds.HintOf(err), "check the drive; `plexctl assemble` brings every LUN to its last committed state"),
		}
		if !slices.Contains(need, id) {
			h.Log.Warn("a drive does not learn of the change", "drive", id, "error", err)
			spared = append(spared, fault)
			continue
		}
		failed = append(failed, fault)
		if !tx.All {
			break
		}
	}
	if !reached {
		failed = append(failed, spared...)
	}
	return errors.Join(failed...)
}

// apply is the catalog of a drive with the records of tx.
func (tx *Transaction) apply(s catalog.Set, drive uuid.UUID) []catalog.LUN {
	if tx.Each {
		return s.ApplyEach(drive, tx.Put...)
	}
	return s.Apply(drive, tx.Put...)
}

// untouched reports whether a catalog write failed before it wrote anything. Then there is nothing to take back.
func untouched(err error) bool {
	reasons := []error{
		catalog.ErrHeadLost, catalog.ErrInvalid, catalog.ErrOverlap, catalog.ErrFull, catalog.ErrTooSmall, catalog.ErrReadOnlyFormat,
	}
	return slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) })
}

// Needed is the drives that must take these records: those of all plexes that are neither stale nor leaving. The drive of a failed
// plex must not block changes of its LUN. It gets the new record when it is back.
func Needed(luns ...catalog.LUN) []uuid.UUID {
	drives := []uuid.UUID{}
	for _, l := range luns {
		l.Departure = nil
		l.Plexes = slices.DeleteFunc(slices.Clone(l.Plexes), func(p catalog.Plex) bool { return p.Stale })
		drives = append(drives, l.Drives()...)
	}
	return drives
}

// concerned is the drives that get records of tx: those with a plex of the LUN's new or old record. The drives in First come
// first. A drive that plexctl must not write to gets them when that has changed, like one that is missing.
func (h *Host) concerned(tx *Transaction) []uuid.UUID {
	var unique []uuid.UUID
	for _, id := range append(slices.Clone(tx.First), h.Set.Involved(tx.Put...)...) {
		if d, here := h.Drives[id]; here && d.Unwritable() == nil && !slices.Contains(unique, id) {
			unique = append(unique, id)
		}
	}
	return unique
}

// TakeBack commits the old records again, with newer generations. It is for a change whose commit was begun.
func (h *Host) TakeBack(ctx context.Context, tx *Transaction) error {
	h.merge()
	back := slices.Clone(tx.Back)
	for i, l := range back {
		back[i].Wipe = l.Wipe || tx.Ruined && l.ID == tx.Absorbed
	}
	put := h.Set.TakeBack(tx.Put, back)
	for i := range put {
		put[i].Host = h.ID()
	}
	return h.Commit(ctx, &Transaction{Put: put, First: tx.First, All: true})
}

// Next is l with the LUN's next generation. It is newer than every record that a drive may hold. It is also newer than l,
// because a commit of l may have been tried, and may have reached a drive. It names this host. A new LUN begins its history with it.
func (h *Host) Next(l catalog.LUN) catalog.LUN {
	next := h.Set.Next(l).Above(l.Generation)
	next.BlockSize = h.blockSize(next)
	next.Host = h.ID()
	next.Devices = h.devices(next)
	if len(next.Histories) == 0 {
		next = record.Fork(next, l, uuid.New())
	}
	if len(next.Plexes) == 1 {
		next = record.Single(next)
	}
	return next
}

// devices is the devices of the drives of l: of those that are here as they are now, of the others as l has them. A record on one drive
// says nothing of it. It would be missing too. Neither does a record in a catalog with little room: it must not keep a failure from
// being recorded.
func (h *Host) devices(l catalog.LUN) []catalog.Device {
	ids := l.Drives()
	if len(ids) == 1 {
		return nil
	}
	var devices []catalog.Device
	for _, id := range ids[:min(len(ids), catalog.MaxDevices)] {
		device := l.DeviceOf(id)
		if d, here := h.Drives[id]; here {
			if !d.Store.Roomy() {
				return nil
			}
			device.Path, device.Model, device.Serial = catalog.DeviceText(d.Info.Path), catalog.DeviceText(d.Info.Model), catalog.DeviceText(d.Info.Serial)
		}
		if device.Path != "" {
			devices = append(devices, device)
		}
	}
	return devices
}

// writeCatalog writes a drive's catalog. A failed write of the copy at the end of the drive is no error: the change holds, and
// the next write tries again.
func (h *Host) writeCatalog(ctx context.Context, id uuid.UUID, luns []catalog.LUN) error {
	err := h.withDisk(ctx, id, func(disk blockdev.Disk) error {
		return h.Drives[id].Store.Write(disk, luns)
	})
	if e, ok := errors.AsType[*catalog.WriteError](err); ok && e.Committed {
		h.Log.Warn("catalog has no copy at the end of the drive", "drive", id, "error", err)
		return nil
	}
	return err
}

// merge makes h.Set of the catalogs of all drives, those that have no say included.
func (h *Host) merge() {
	stores := make([]catalog.Drive, 0, len(h.Drives)+len(h.Others))
	for _, d := range h.All() {
		stores = append(stores, d.Store)
	}
	h.Set = catalog.Merge(stores)
}

// Heal brings the catalog of every drive up to date: it adds records that a drive has missed, and drops superseded ones. It
// writes torn slots anew. It tries all drives and returns the errors of all.
func (h *Host) Heal(ctx context.Context) error {
	outdated := h.Set.Heal()
	for id, d := range h.Drives {
		if _, ok := outdated[id]; !ok && d.Store.SlotsDamaged() && !d.Store.HeadLost {
			outdated[id] = d.Store.Catalog.LUNs
		}
	}
	maps.DeleteFunc(outdated, func(id uuid.UUID, _ []catalog.LUN) bool { return h.Drives[id].Unwritable() != nil })
	if len(outdated) == 0 && len(h.Set.Problems) == 0 {
		return nil
	}
	if len(outdated) > 0 {
		if err := h.flushDrives(ctx); err != nil {
			return err
		}
	}
	for range healRounds {
		healed, err := h.healOnce(ctx, outdated)
		if err != nil || healed == 0 {
			return err
		}
		outdated = h.Set.Heal() // some records kept as witnesses may no longer be needed
	}
	return nil
}

// flushDrives makes durable what was read from all drives, because a killed process may not have flushed its writes. Until then
// no drive may drop a record that another drive's state depends on.
func (h *Host) flushDrives(ctx context.Context) error {
	var failed []error
	for id, d := range h.Drives {
		if d.Unwritable() == nil {
			failed = append(failed, h.Flush(ctx, id))
		}
	}
	return errors.Join(failed...)
}

// healRounds bounds healing. Two rounds are enough; a third finds nothing to do.
const healRounds = 4

// healOnce writes catalogs, and returns the number of drives it has written to.
func (h *Host) healOnce(ctx context.Context, outdated map[uuid.UUID][]catalog.LUN) (int, error) {
	var failed []error
	n := 0
	for id, luns := range outdated {
		if h.Drives[id].Unwritable() != nil {
			continue
		}
		n++
		h.Log.Info("heal catalog", "drive", id)
		damaged := h.Drives[id].Store.SlotsDamaged()
		failed = append(failed, h.writeCatalog(ctx, id, luns))
		if damaged { // each write is to one of two slots
			failed = append(failed, h.writeCatalog(ctx, id, luns))
		}
		h.Drives[id].Store.Problems = nil // a lost label stays so: see Repair
	}
	h.merge()
	return n, errors.Join(failed...)
}

// Claim writes this host's ID into the label of a drive that names no host and that a LUN uses. The LUN was started when this host
// had no ID yet. No other drive without a host is claimed. It counts as another host's, because anybody can plug one in.
func (h *Host) Claim(ctx context.Context) {
	if h.ID() == "" {
		return
	}
	for _, d := range h.Drives {
		if d.Store.Label.Host != "" {
			continue
		}
		if err := h.Relabel(ctx, d, h.OwnLabel(d)); err != nil {
			h.Log.WarnContext(ctx, "claim drive", "drive", d.ID(), "error", err)
		}
	}
}

// OwnLabel is the label of a drive as this host's, on the device where it is now.
func (h *Host) OwnLabel(d *Drive) catalog.Label {
	label := d.Store.Label
	label.Host, label.Hardware = h.ID(), string(d.Info.Identity)
	return label
}

// Relabel writes the label of a device anew. The host must be read anew afterwards.
func (h *Host) Relabel(ctx context.Context, d *Drive, to catalog.Label) error {
	h.Outdated = true
	return h.write(ctx, d, func(disk blockdev.Disk) error { return d.Store.Relabel(disk, to) })
}
