package raid1

import (
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// A change that takes plexes away is committed before the swap of the tables, and again after it. In between the kernel may
// still run the table from before, and a plex that leaves may become the only one with all writes. Its metadata says so.

// Departs is the departure of the plexes that next is without, and to which the live mirror may still write. nil when there are
// none. A plex that the kernel has dropped never gets a write again. The metadata that counts is what the live mirror uses.
func Departs(before, next catalog.LUN, was LegState) *catalog.Departure {
	gone := func(p catalog.Plex) bool {
		return !p.Stale && record.Index(next, p.ID) < 0 && alive(was, p.ID)
	}
	if !was.Mirror || !slices.ContainsFunc(before.Copies(), gone) {
		return nil
	}
	d := &catalog.Departure{Plexes: slices.Clone(before.Plexes), Operation: before.Operation, Last: before.Last}
	for i, p := range d.Plexes {
		d.Plexes[i].Prior = false
		if slot, leg := was.Slots[p.ID]; leg && slot != p.Slot { // an earlier change was interrupted in front of its swap
			run := was.Meta[p.ID].Bitmap.Run
			d.Plexes[i].Slot, d.Plexes[i].Run = slot, catalog.Run{Number: run.Number, Nonce: run.Nonce}
		}
	}
	return d
}

// alive reports whether a plex is a leg of the live mirror that the kernel has not dropped.
func alive(was LegState, plex uuid.UUID) bool {
	health := was.Health[plex]
	return health == dm.LegInSync || health == dm.LegSyncing
}

// RunsBefore reports whether the kernel runs the table from before plexes began to leave l. was is the state of the legs by
// l.Before().
func RunsBefore(l catalog.LUN, was LegState) bool {
	return slices.ContainsFunc(l.Leaving(), func(p catalog.Plex) bool { _, leg := was.Health[p.ID]; return leg })
}

// OnlyLeaving reports whether the live mirror has dropped every plex that stays in l and that held the data when others began
// to leave. was is the state of the legs by l.Before().
func OnlyLeaving(l catalog.LUN, was LegState) bool {
	before := l.Before()
	for i, role := range record.RolesOf(before, record.AllHere) {
		p := before.Plexes[i]
		if role == record.Source && record.Index(l, p.ID) >= 0 && alive(was, p.ID) {
			return false
		}
	}
	return true
}

// Parting is what the metadata of a LUN that is not active tells about plexes that were leaving it.
type Parting int

// What may have become of plexes that were leaving.
const (
	Parted      Parting = iota // a plex that stays holds the data
	Rejoins                    // only plexes that were leaving hold the data: the kernel never let go of them
	PartUnknown                // a plex that stays is on a changed device: it is an earlier copy, or the only one with the newest data
	PartNone                   // no plex holds the data
)

// PartingOf says what became of plexes that were leaving l. roles and reads are those of l.Before().
func PartingOf(l catalog.LUN, roles record.Roles, reads []Read) Parting {
	stays, found := origin(l, roles, reads)
	unchanged := slices.Clone(reads)
	for i := range unchanged {
		unchanged[i].Changed = false
	}
	trusted, _ := origin(l, roles, unchanged)
	switch {
	case stays:
		return Parted
	case !found:
		return PartNone
	case trusted:
		return PartUnknown
	default:
		return Rejoins
	}
}

// origin reports whether a start of l.Before() would begin from a plex that stays in l, and whether it would find any.
func origin(l catalog.LUN, roles record.Roles, reads []Read) (stays, found bool) {
	before := l.Before()
	seen := Weigh(before, roles, reads)
	from, _ := Sources(before, roles, seen.Slots)
	if len(from) == 0 && seen.Unused {
		from = seen.candidates(roles)
	}
	stays = slices.ContainsFunc(from, func(i int) bool { return record.Index(l, before.Plexes[i].ID) >= 0 })
	return stays, len(from) > 0
}

// Used reports whether the kernel has used the current metadata of l since plexctl wrote it.
func Used(l catalog.LUN, roles record.Roles, reads []Read) bool {
	return len(l.Plexes) > 1 && used(Weigh(l, roles, reads).Slots)
}
