package lun

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// metaLength is the room for a plex's two metadata slots.
const metaLength = size.Sectors(2 * raidmeta.SlotSize / size.Sector)

// free is the unused runs of a drive, in order. Every record on the drive counts, usable or not.
func (m *machine) free(id uuid.UUID) []catalog.Extent {
	d := m.drives[id]
	used := m.used(id)
	slices.SortFunc(used, func(a, b catalog.Extent) int { return cmp.Compare(a.Start, b.Start) })
	at := catalog.FirstExtent.Sectors()
	end := catalog.TailStart(d.store.Label.Size).Sectors()
	var runs []catalog.Extent
	for _, e := range append(used, catalog.Extent{Start: end}) {
		if e.Start > at {
			runs = append(runs, catalog.Extent{Drive: id, Start: at, Length: e.Start - at})
		}
		at = max(at, e.End())
	}
	return runs
}

// used is every extent of a drive that any record on any drive claims, also for what a cancel would give back.
func (m *machine) used(id uuid.UUID) []catalog.Extent {
	var used []catalog.Extent
	for _, d := range m.drives {
		for _, l := range d.store.Catalog.LUNs {
			if !l.Deleted {
				used = append(used, extentsOn(l, id)...)
			}
		}
	}
	return used
}

// extentsOn is the extents of l on a drive, those of the source of a running operation included.
func extentsOn(l catalog.LUN, id uuid.UUID) []catalog.Extent {
	var on []catalog.Extent
	for _, p := range l.Plexes {
		for _, e := range append([]catalog.Extent{p.Meta}, p.Data...) {
			if e.Drive == id {
				on = append(on, e)
			}
		}
	}
	if l.Operation != nil && l.Operation.Source != nil {
		on = append(on, extentsOn(*l.Operation.Source, id)...)
	}
	return on
}

// room is the free space of a drive in bytes.
func (m *machine) room(id uuid.UUID) size.Sectors {
	var sum size.Sectors
	for _, e := range m.free(id) {
		sum += e.Length
	}
	return sum
}

// allocate finds room for a plex of length sectors: on the drives named, each used up before the next (as VDS CreateLun
// does), or on the one drive with the most room when none is named.
func (m *machine) allocate(length size.Sectors, drives []uuid.UUID) (catalog.Plex, error) {
	if len(drives) == 0 {
		drives = m.roomiest()
	}
	plex := catalog.Plex{ID: uuid.New(), Slot: catalog.SlotA}
	need := length
	for _, id := range drives {
		for _, run := range m.free(id) {
			if plex.Meta.Length == 0 {
				plex.Meta = catalog.Extent{Drive: id, Start: run.Start, Length: metaLength}
				run.Start, run.Length = run.Start+metaLength, run.Length-metaLength
			}
			if n := min(need, run.Length); n > 0 {
				plex.Data = append(plex.Data, catalog.Extent{Drive: id, Start: run.Start, Length: n})
				need -= n
			}
		}
	}
	if need > 0 || len(plex.Data) > catalog.MaxExtents {
		return catalog.Plex{}, m.noSpace(length, drives)
	}
	return plex, nil
}

// roomiest is the drive with the most room, alone in a list, or an empty list without drives.
func (m *machine) roomiest() []uuid.UUID {
	var best []uuid.UUID
	var most size.Sectors
	for id := range m.drives {
		if room := m.room(id); room > most || (room == most && len(best) == 1 && id.String() < best[0].String()) {
			best, most = []uuid.UUID{id}, room
		}
	}
	return best
}

func (m *machine) noSpace(length size.Sectors, drives []uuid.UUID) error {
	var most size.Sectors
	for _, id := range drives {
		most += max(m.room(id), metaLength) - metaLength
	}
	err := &vds.Error{Code: vds.ErrNotEnoughSpace, Op: "allocate", Object: length.String()}
	switch {
	case len(m.drives) == 0:
		err.Code, err.Reason, err.Hint = vds.ErrNotEnoughDrive, "there is no drive", "make one with `plexctl drive init DEVICE`"
	case len(drives) > 1:
		err.Reason = "the named drives have room for " + most.String() + " together"
	default:
		err.Reason = "the drive with the most room has room for " + most.String()
		err.Hint = "name several drives to span them, or add one with `plexctl drive init DEVICE`"
	}
	return err
}
