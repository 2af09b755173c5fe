package catalog

import (
	"cmp"
	"slices"

	"github.com/google/uuid"
)

// Apply is the catalog of a drive of the set after a change, for Drive.Write: what Heal wants it to be, in which each record
// of put that concerns the drive is added or takes the place of an older one, and from which go the records that one of
// put has absorbed. A record with a plex on a drive that is away is added to every drive of the change: the one that is away
// may not know of the LUN, and when it is back whoever is there has to know what space is taken.
//
// A change is one list put, the same for every drive concerned (Set.Involved). Written to each drive with one Drive.Write
// it takes effect with the first of these writes; Heal completes what a crash cuts off. The order matters where a LUN
// gives its extents to another: first the drives of the LUN that is absorbed (Set.Holders), or that is given back or split
// off (LUN.Drives), then the others, so that no drive alone shows a state in which sectors belong to two LUNs or to none.
// Where a LUN takes free space, for a new plex or because it grows, the drives that it lay on before come first: should one
// that was written be away after a crash, the LUN is seen to lack a plex, rather than to be as it was before.
func (s Set) Apply(drive uuid.UUID, put ...LUN) []LUN {
	d := s.drives[drive]
	luns := s.healed(drive)
	for _, l := range put {
		i := slices.IndexFunc(luns, func(have LUN) bool { return have.ID == l.ID })
		switch {
		case i >= 0 && l.Generation > luns[i].Generation:
			luns[i] = l
		case i < 0 && (l.concerns(d) || len(l.MissingDrives(s)) > 0):
			luns = append(luns, l)
		}
	}
	luns = slices.DeleteFunc(luns, func(l LUN) bool {
		return slices.ContainsFunc(put, func(by LUN) bool { return by.absorbs(l) })
	})
	return sortedLUNs(luns)
}

// absorbs reports whether l says that the record other is dead.
func (l LUN) absorbs(other LUN) bool {
	return slices.ContainsFunc(l.Absorbed, func(t Tombstone) bool {
		return t.LUN == other.ID && other.Generation <= t.Generation
	})
}

// Involved is every present drive that has to be written for the change put, sorted: those that a plex of it lies on, and
// those with a record that it supersedes or absorbs.
func (s Set) Involved(put ...LUN) []uuid.UUID {
	var drives []uuid.UUID
	for id, d := range s.drives {
		concerned := slices.ContainsFunc(put, func(l LUN) bool { return l.concerns(d) })
		if concerned {
			drives = append(drives, id)
		}
	}
	return sortedIDs(drives)
}

// concerns reports whether d has to hold l, or holds what l supersedes or absorbs.
func (l LUN) concerns(d Drive) bool {
	if l.on(d.Label.Drive) {
		return true
	}
	return slices.ContainsFunc(d.Catalog.LUNs, func(have LUN) bool {
		return have.ID == l.ID && have.Generation < l.Generation || l.absorbs(have)
	})
}

// Next is l as the next version of its LUN: l is the record in force with the caller's changes, or a LUN that is new or
// given back by the one that absorbed it. Next fills what only the set knows:
//
//   - Generation: one above every generation of the LUN, the dead ones included.
//   - Absorbed: the source of a running operation and what that had absorbed are added. A tombstone goes once no drive
//     that it is for can come back; that of the source stays while the operation runs, and one that the caller has
//     added stays in this version. The latter is how a split is taken back: the LUN buries the one that was made of its
//     plex, of which nobody may know whether it has reached a drive.
//   - Former: drives on which the LUN, or a source, had a plex and has none now are added; one that is present and holds
//     no record of them goes. It keeps the record of a deleted LUN alive until the last such drive has learnt of it.
func (s Set) Next(l LUN) LUN {
	old := s.groups[l.ID]
	generation := s.absorbed[l.ID].generation
	var before []LUN
	if old != nil {
		generation = max(generation, old.winner.Generation)
		before = append(before, old.winner)
	}
	if l.Operation != nil && l.Operation.Source != nil {
		before = append(before, *l.Operation.Source)
	}
	next := l
	next.Generation = generation + 1
	next.Absorbed = s.tombstones(l, before)
	next.Former = s.former(next, before)
	next.Absorbed = s.neededTombstones(next, func(t Tombstone) bool {
		isNew := slices.Contains(l.Absorbed, t) && (old == nil || !slices.Contains(old.winner.Absorbed, t))
		return isNew || l.Operation != nil && l.Operation.Source != nil && l.Operation.Source.ID == t.LUN
	})
	return next
}

// tombstones is what l has absorbed, directly or with what it absorbed.
func (s Set) tombstones(l LUN, before []LUN) []Tombstone {
	dead := slices.Clone(l.Absorbed)
	for _, b := range before {
		if b.ID != l.ID {
			dead = append(dead, Tombstone{LUN: b.ID, Generation: b.Generation})
		}
		dead = append(dead, b.Absorbed...)
	}
	slices.SortFunc(dead, func(a, b Tombstone) int {
		return cmp.Or(compareIDs(a.LUN, b.LUN), cmp.Compare(b.Generation, a.Generation))
	})
	dead = slices.CompactFunc(dead, func(a, b Tombstone) bool { return a.LUN == b.LUN })
	return slices.DeleteFunc(dead, func(t Tombstone) bool { return t.LUN == l.ID })
}

// former is every drive without a plex of l that may still hold a record that l supersedes.
func (s Set) former(l LUN, before []LUN) []uuid.UUID {
	drives := slices.Clone(l.Former)
	for _, b := range before {
		drives = append(drives, b.Former...)
		drives = append(drives, b.Drives()...)
	}
	mine := l.Drives()
	return slices.DeleteFunc(sortedIDs(drives), func(d uuid.UUID) bool {
		present, ok := s.drives[d]
		return slices.Contains(mine, d) || ok && !l.concerns(present)
	})
}

// neededTombstones drops the tombstones of l that no record can come back against, but for those to keep.
func (s Set) neededTombstones(l LUN, keep func(Tombstone) bool) []Tombstone {
	away := len(l.MissingDrives(s)) > 0 || slices.ContainsFunc(l.Former, func(d uuid.UUID) bool { return !s.present(d) })
	return slices.DeleteFunc(slices.Clone(l.Absorbed), func(t Tombstone) bool {
		return !away && !s.haunted(t) && !keep(t)
	})
}
