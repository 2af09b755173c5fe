package catalog

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Set is the catalogs of several drives, merged. Merge makes it; it is not changed afterwards.
type Set struct {
	// LUNs has the current record of every LUN that exists, sorted by name and GUID. Some of them cannot be used: ask Usable
	// before you touch one.
	LUNs     []LUN
	Problems []Problem

	drives    map[uuid.UUID]Drive // present, heard, not duplicated
	groups    map[uuid.UUID]*group
	absorbed  map[uuid.UUID]absorption
	blocked   map[uuid.UUID]bool // LUNs that cannot be used and that Heal leaves alone
	onUnheard map[uuid.UUID]bool // LUNs that a drive has a record of that is not heard, or there twice
	noted     *noted             // while Merge looks for problems, and the reasons that it has found
}

// group is every visible record of one LUN.
type group struct {
	winner      LUN                // the current record
	conflicting []*LUN             // different records of the highest generation; the winner is the first
	records     map[uuid.UUID]*LUN // by drive
	newest      uint64             // the highest generation, overruled records included
	unheard     bool               // the winner is from a drive that is not heard, or there twice
	mute        bool               // the winner is from a drive that is not heard, and from none that is there twice
}

// absorption says who absorbed a LUN, and up to which generation.
type absorption struct {
	generation uint64
	by         uuid.UUID
}

// Merge decides which record of each LUN is the current one. It does no I/O, and the order of drives does not matter.
//
//   - The record of a LUN with the highest generation wins. If there are different ones, that is ErrConflict. It is ErrForked if
//     it does not come from every other record, whatever the generations: the copies were changed without each other.
//   - A record that is on a drive where the LUN has no plex by it does not count if it is overruled; see there.
//   - A LUN does not exist if its record says that it is deleted. Neither does it exist if the current record of another
//     LUN has a tombstone for its generation or a later one.
//   - Two drives with one GUID are ErrDuplicateDrive. Neither is used: their records of LUNs on other drives do not count,
//     and a LUN with an extent on them cannot be used.
//   - A drive that is Unheard counts as absent. Its records win over none, and claim no space. A LUN that only such drives know
//     is in LUNs, and cannot be used; see Set.Unheard. If another drive of the same GUID is heard, the LUNs of the unheard one are
//     not in LUNs: it is a copy.
//   - Two LUNs on the same sectors are ErrOverlap, two LUNs with one plex ErrInvalid. The LUN whose record is on the disputed
//     drive wins: the other came back with a drive that had been absent. If that drive has records of both or of neither,
//     neither LUN can be used.
//   - Two LUNs of one name are ErrDuplicateName; both can be used, by GUID. LUNs of drives that are not heard do not count.
func Merge(drives []Drive) Set {
	s := Set{
		drives:    make(map[uuid.UUID]Drive, len(drives)),
		groups:    map[uuid.UUID]*group{},
		absorbed:  map[uuid.UUID]absorption{},
		blocked:   map[uuid.UUID]bool{},
		onUnheard: map[uuid.UUID]bool{},
		noted:     &noted{known: map[string]bool{}, count: map[kind]int{}, reasons: map[uuid.UUID]Problem{}},
	}
	copies, unheard := s.addDrives(drives)
	s.elect()
	s.noteAbsorbed()
	s.addUnheard(slices.Concat(slices.Collect(maps.Values(copies))...), false)
	s.addUnheard(unheard, true)
	s.list()
	s.checkCopies(copies)
	s.checkExtents()
	s.checkNames()
	s.countProblems()
	return s
}

// Usable reports whether a LUN exists and no Problem keeps it from being used.
func (s Set) Usable(lun uuid.UUID) bool {
	_, exists := s.LUN(lun)
	return exists && !s.blocked[lun]
}

// Blocked reports whether the records of a LUN that any drive has cannot be used.
func (s Set) Blocked(lun uuid.UUID) bool { return s.blocked[lun] }

// Unheard reports whether a LUN is known only by records that do not count. So there is no telling what has become of it.
func (s Set) Unheard(lun uuid.UUID) bool {
	g, ok := s.groups[lun]
	return ok && g.unheard
}

// LUN is the current record of a LUN that exists. It reports false when there is none.
func (s Set) LUN(id uuid.UUID) (LUN, bool) {
	g, ok := s.groups[id]
	if !ok || s.gone(g.winner) {
		return LUN{}, false
	}
	return g.winner, true
}

// Holders is every drive with a record of the LUN, of whatever generation, sorted.
func (s Set) Holders(lun uuid.UUID) []uuid.UUID {
	g, ok := s.groups[lun]
	if !ok {
		return nil
	}
	return slices.SortedFunc(maps.Keys(g.records), compareIDs)
}

// MissingDrives is every drive that a plex of l lies on and that is not in the set, sorted. A drive that is not heard or there
// twice counts as missing.
func (l LUN) MissingDrives(s Set) []uuid.UUID {
	return slices.DeleteFunc(l.Drives(), s.present)
}

func (s Set) present(drive uuid.UUID) bool {
	_, ok := s.drives[drive]
	return ok
}

// gone reports whether l, the winner of its group, does not exist any more.
func (s Set) gone(l LUN) bool { return l.Deleted || s.isAbsorbed(l) }

// isAbsorbed reports whether l is absorbed.
func (s Set) isAbsorbed(l LUN) bool { return l.Generation <= s.absorbed[l.ID].generation }

// addDrives fills drives and groups. It returns the drives whose GUID is there more than once, and those that are not heard.
func (s *Set) addDrives(drives []Drive) (copies map[uuid.UUID][]Drive, unheard []Drive) {
	byID := make(map[uuid.UUID][]Drive, len(drives))
	for _, d := range drives {
		if d.Unheard {
			unheard = append(unheard, d)
		} else {
			byID[d.Label.Drive] = append(byID[d.Label.Drive], d)
		}
	}
	for id, same := range byID {
		if len(same) > 1 {
			continue
		}
		s.drives[id] = same[0]
		delete(byID, id)
		luns := same[0].Catalog.LUNs
		for i := range luns {
			s.group(luns[i].ID).records[id] = &luns[i]
		}
	}
	return byID, unheard
}

// group is the group of a LUN, new if there was none.
func (s *Set) group(lun uuid.UUID) *group {
	if s.groups[lun] == nil {
		s.groups[lun] = &group{records: map[uuid.UUID]*LUN{}}
	}
	return s.groups[lun]
}

// Side is the record of a LUN that a drive holds; false when it holds none. It is one side of a fork or of a conflict.
func (s Set) Side(lun, drive uuid.UUID) (LUN, bool) {
	g, ok := s.groups[lun]
	if !ok || g.records[drive] == nil {
		return LUN{}, false
	}
	return *g.records[drive], true
}

// Reunite is l, one side of a fork, as the record that ends the fork: newer than every side, and coming from each. from is the GUID of
// the history that begins with it.
func (s Set) Reunite(l LUN, from uuid.UUID) LUN {
	next := s.Next(l)
	var sides []LUN
	for _, side := range s.groups[l.ID].conflicting {
		sides = append(sides, *side)
	}
	next.Former = s.former(next, sides)
	last := map[uuid.UUID]uint64{}
	for _, side := range sides {
		next = next.Above(side.Generation)
		for _, h := range side.Histories {
			if h.Last == 0 {
				h.Last = side.Generation
			}
			last[h.ID] = max(last[h.ID], h.Last)
		}
	}
	next.Histories = nil
	oldest := func(a, b uuid.UUID) int { return cmp.Or(cmp.Compare(last[a], last[b]), compareIDs(a, b)) } // are forgotten first
	for _, id := range slices.SortedFunc(maps.Keys(last), oldest) {
		next.Histories = append(next.Histories, History{ID: id, Last: last[id]})
	}
	next.Histories = append(next.Histories[max(0, len(next.Histories)-(MaxHistories-1)):], History{ID: from})
	return next
}

// noteAbsorbed notes the LUNs that every winner has absorbed. The tombstones of a LUN that is itself gone count too, and so do
// those of each conflicting record: the absorption has happened.
func (s *Set) noteAbsorbed() {
	for _, id := range s.ids() {
		for _, l := range s.groups[id].conflicting {
			for _, t := range l.Absorbed {
				if t.Generation > s.absorbed[t.LUN].generation {
					s.absorbed[t.LUN] = absorption{generation: t.Generation, by: id}
				}
			}
		}
	}
}

// addUnheard adds LUNs that exist only by the records on drives, which do not count, so that they are listed. It also notes every
// LUN that such drives have a record of. mute says that they claim nothing either.
func (s *Set) addUnheard(drives []Drive, mute bool) {
	found := map[uuid.UUID][]*LUN{}
	for _, d := range drives {
		for i := range d.Catalog.LUNs {
			l := &d.Catalog.LUNs[i]
			s.onUnheard[l.ID] = true
			if !s.present(d.Label.Drive) && s.isUnknown(*l) {
				found[l.ID] = append(found[l.ID], l)
			}
		}
	}
	for id, luns := range found {
		newest := slices.MaxFunc(distinct(luns), func(a, b *LUN) int { return cmp.Compare(a.Generation, b.Generation) })
		g := s.group(id)
		g.winner, g.conflicting, g.unheard, g.mute = *newest, []*LUN{newest}, true, mute
		s.blocked[id] = true
	}
}

// isUnknown reports whether l, found on a drive that does not count, is a LUN that exists by such records only. The other drives
// do not know the LUN, or record it as gone at an older generation.
func (s *Set) isUnknown(l LUN) bool {
	g, known := s.groups[l.ID]
	return !s.gone(l) && (!known || s.gone(g.winner) && l.Generation > g.winner.Generation)
}

// isMute reports whether l claims nothing: no name, no plex and no space.
func (s *Set) isMute(l LUN) bool { return s.groups[l.ID].mute }

// list fills LUNs.
func (s *Set) list() {
	s.LUNs = make([]LUN, 0, len(s.groups))
	for _, g := range s.groups {
		if !s.gone(g.winner) {
			s.LUNs = append(s.LUNs, g.winner)
		}
	}
	slices.SortStableFunc(s.LUNs, func(a, b LUN) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), compareIDs(a.ID, b.ID))
	})
}

// ids is the GUID of every group, sorted.
func (s *Set) ids() []uuid.UUID {
	return slices.SortedFunc(maps.Keys(s.groups), compareIDs)
}
