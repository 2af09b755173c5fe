package catalog

import (
	"cmp"
	"slices"

	"github.com/google/uuid"
)

// Apply is the catalog of a drive of the set after a change, for Drive.Write. It starts from the catalog that Heal wants. Each
// record of put is added to it, or replaces an older one. Records that one of put has absorbed are removed.
//
// A change is one list put, the same for every drive concerned (Set.Involved). Write it to each drive with one Drive.Write. It
// takes effect with the first of these writes, and Heal completes the others after a crash. So each drive gets the whole
// change. If a plex moves from one LUN to another, the first write must show both. A drive that gets a
// record only for the time being is among the former drives of that record. Heal removes the record from it once every
// drive has the new version.
//
// The order of the drives decides which LUNs a drive shows by itself, when the others are absent. Write first the drives of
// the LUN that is absorbed (Set.Holders), or that is restored or split off (LUN.Drives). If a LUN takes free space, for a new
// plex or to grow, write the drives first that it lay on before. If one of these is absent after a crash, the LUN then
// shows a missing plex, and not its former state.
func (s Set) Apply(drive uuid.UUID, put ...LUN) []LUN {
	return s.apply(drive, s.shared(put), len(put) > 1)
}

// ApplyEach is Apply of several changes that have nothing to do with each other, one record each. A drive gets those that it
// concerns.
func (s Set) ApplyEach(drive uuid.UUID, put ...LUN) []LUN { return s.apply(drive, put, false) }

// apply is the catalog of a drive after a change. everywhere says that the drive gets also what does not concern it.
func (s Set) apply(drive uuid.UUID, put []LUN, everywhere bool) []LUN {
	luns := s.healed(drive)
	for _, l := range put {
		i := slices.IndexFunc(luns, func(have LUN) bool { return have.ID == l.ID })
		switch {
		case i >= 0 && !l.comesFrom(luns[i]): // the other side of a fork stays, until somebody decides
		case i >= 0 && l.Generation > luns[i].Generation:
			luns[i] = l
		case i < 0 && (everywhere || l.concerns(s.drives[drive])):
			luns = append(luns, l)
		}
	}
	luns = slices.DeleteFunc(luns, func(l LUN) bool {
		return slices.ContainsFunc(put, func(by LUN) bool { return by.absorbs(l) })
	})
	return sortedLUNs(luns)
}

// shared is put, in which each record names as former drives those that get a copy of it for the time being.
func (s Set) shared(put []LUN) []LUN {
	if len(put) < 2 {
		return put
	}
	involved := s.Involved(put...)
	put = slices.Clone(put)
	for i, l := range put {
		mine := l.Drives()
		others := slices.DeleteFunc(slices.Clone(involved), func(d uuid.UUID) bool { return slices.Contains(mine, d) })
		put[i].Former = sortedIDs(append(others, l.Former...))
	}
	return put
}

// TakeBack is the records that take a change back when it is not known which drives the change has reached. put is the
// change; back is every LUN that it was about, as it was before. The records are newer than those of put. A LUN that put has
// made or restored gets a tombstone in the LUN that has its plexes again. The drives of put are former drives of these LUNs.
func (s Set) TakeBack(put, back []LUN) []LUN {
	var records []LUN
	for _, l := range back {
		generation := l.Generation
		for _, p := range put {
			is := func(b LUN) bool { return b.ID == p.ID }
			switch {
			case is(l):
				generation = p.Generation
				l.Histories = p.Histories // a drive may know of them already
			case !slices.ContainsFunc(back, is) && l.sharesPlex(p):
				l.Absorbed = append(slices.Clone(l.Absorbed), Tombstone{LUN: p.ID, Generation: p.Generation})
			}
		}
		next := s.Next(l)
		next = next.Above(generation)
		next.Former = next.reached(put)
		records = append(records, next)
	}
	return records
}

// reached is the former drives of l, and those that may hold a record of l from the change put. What such a drive held before
// does not matter: a write that has failed may have reached it.
func (l LUN) reached(put []LUN) []uuid.UUID {
	drives := slices.Clone(l.Former)
	for _, p := range put {
		drives = append(drives, p.Drives()...)
	}
	mine := l.Drives()
	return slices.DeleteFunc(sortedIDs(drives), func(d uuid.UUID) bool { return slices.Contains(mine, d) })
}

// sharesPlex reports whether a plex of l is also one of other.
func (l LUN) sharesPlex(other LUN) bool {
	return slices.ContainsFunc(other.Copies(), func(p Plex) bool { _, ok := l.plex(p.ID); return ok })
}

// absorbs reports whether l says that the record other is dead.
func (l LUN) absorbs(other LUN) bool {
	return slices.ContainsFunc(l.Absorbed, func(t Tombstone) bool {
		return t.LUN == other.ID && other.Generation <= t.Generation
	})
}

// Involved is every present drive that has to be written for the change put, sorted. These are the drives with a plex of it,
// and those with a record that it supersedes or absorbs.
func (s Set) Involved(put ...LUN) []uuid.UUID {
	var drives []uuid.UUID
	for id, d := range s.drives {
		if slices.ContainsFunc(put, func(l LUN) bool { return l.concerns(d) }) {
			drives = append(drives, id)
		}
	}
	return sortedIDs(drives)
}

// concerns reports whether d has to hold l, or holds a record that l supersedes or absorbs.
func (l LUN) concerns(d Drive) bool {
	if l.on(d.Label.Drive) {
		return true
	}
	return slices.ContainsFunc(d.Catalog.LUNs, func(have LUN) bool {
		return have.ID == l.ID && have.Generation < l.Generation || l.absorbs(have)
	})
}

// Next is l as the next version of its LUN. l is the current record with the caller's changes, or a LUN that is new, or one
// that the LUN that absorbed it restores. Next sets the fields that only the set knows:
//
//   - Generation: one above every generation of the LUN, the dead and overruled ones included. Behind goes with it.
//   - Absorbed: Next adds the source of a running operation, and the LUNs that the source had absorbed. It removes a
//     tombstone once no drive that it is for can return. The tombstone of the source stays while the operation runs,
//     and while its plexes leave. One that the caller has added stays in this version (see TakeBack).
//   - Former: Next adds drives on which the LUN, or a source, had a plex and has none now. It removes those that are present
//     and hold no record of them. So the record of a deleted LUN stays until the last such drive has the deletion.
func (s Set) Next(l LUN) LUN {
	old := s.groups[l.ID]
	generation := s.absorbed[l.ID].generation
	var before []LUN
	if old != nil {
		generation = max(generation, old.newest, old.winner.Generation)
		before = append(before, old.winner)
	}
	if l.Operation != nil && l.Operation.Source != nil {
		before = append(before, *l.Operation.Source)
	}
	next := l
	next.Generation = generation + 1
	next.Behind = s.behindBy(next)
	next.Absorbed = s.tombstones(l, before)
	next.Former = s.former(next, before)
	next.Absorbed = s.neededTombstones(next, func(t Tombstone) bool {
		isNew := slices.Contains(l.Absorbed, t) && (old == nil || !slices.Contains(old.winner.Absorbed, t))
		return isNew || l.mayRestore(t.LUN)
	})
	return next
}

// Above is l with a generation above another one, if it is not above already.
func (l LUN) Above(generation uint64) LUN {
	if l.Generation <= generation {
		l.Behind += generation + 1 - l.Generation
		l.Generation = generation + 1
	}
	return l
}

// behindBy is Behind of l, a record that is about to be made. It is 0 when no drive of l has a record of it.
func (s Set) behindBy(l LUN) uint64 {
	newest := uint64(0)
	if g := s.groups[l.ID]; g != nil {
		for drive, have := range g.records {
			if l.at(drive) {
				newest = max(newest, have.Generation)
			}
		}
	}
	if newest == 0 {
		return 0
	}
	return l.Generation - 1 - newest
}

// tombstones is the LUNs that l has absorbed, directly or with another one.
func (s Set) tombstones(l LUN, before []LUN) []Tombstone {
	dead := slices.Clone(l.Absorbed)
	for _, b := range before {
		if b.ID != l.ID {
			dead = append(dead, Tombstone{LUN: b.ID, Generation: b.Generation})
		}
		dead = append(dead, b.Absorbed...)
	}
	slices.SortStableFunc(dead, func(a, b Tombstone) int {
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

// neededTombstones drops the tombstones of l for which no record can return, except those to keep.
func (s Set) neededTombstones(l LUN, keep func(Tombstone) bool) []Tombstone {
	away := len(l.MissingDrives(s)) > 0 || slices.ContainsFunc(l.Former, func(d uuid.UUID) bool { return !s.present(d) })
	return slices.DeleteFunc(slices.Clone(l.Absorbed), func(t Tombstone) bool {
		return !away && !s.mayReturn(t) && !keep(t)
	})
}
