package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Set is what several drives say together. Merge makes it; it is not changed afterwards.
type Set struct {
	// LUNs has the record in force of every LUN that exists, sorted by name and GUID, also of those that cannot be used:
	// ask Usable before touching one.
	LUNs     []LUN
	Problems []Problem

	drives   map[uuid.UUID]Drive // present, not duplicated
	groups   map[uuid.UUID]*group
	absorbed map[uuid.UUID]burial
	blocked  map[uuid.UUID]bool // LUNs that cannot be used and that Heal leaves alone
	unheard  map[uuid.UUID]bool // LUNs of which a drive that is there twice has a record
}

// group is every visible record of one LUN.
type group struct {
	winner  LUN                // the record in force
	rivals  []LUN              // different records of the highest generation; the winner is the first
	records map[uuid.UUID]*LUN // by drive
	stray   bool               // the winner is of a drive that is there twice
}

// burial says who absorbed a LUN, and up to which generation.
type burial struct {
	generation uint64
	by         uuid.UUID
}

// Problem is a contradiction between drives. Err is ErrConflict, ErrDuplicateDrive, ErrOverlap, ErrDuplicateName or
// ErrInvalid.
type Problem struct {
	Err    error
	Detail string
	LUNs   []uuid.UUID // concerned, sorted
	Drives []uuid.UUID // concerned, sorted
	Unfit  []uuid.UUID // those of LUNs that cannot be used because of it, sorted
}

// Error is the problem on one line.
func (p Problem) Error() string { return p.Detail + ": " + p.Err.Error() }

// Unwrap is Err.
func (p Problem) Unwrap() error { return p.Err }

// Merge decides which record of each LUN is in force. It does no I/O, and the order of drives does not matter.
//
//   - Of the records of one LUN the highest generation wins. Different records of the same, highest generation are
//     ErrConflict.
//   - A LUN whose record says that it is deleted, or that another LUN's record in force says to be absorbed at its
//     generation or a later one, does not exist.
//   - Two drives with one GUID are ErrDuplicateDrive. Neither is used: what they say about LUNs of other drives is not
//     heard, and a LUN with an extent on them cannot be used.
//   - Two LUNs on the same sectors are ErrOverlap, two LUNs with one plex ErrInvalid. A LUN of which the drive concerned holds a record is in its right
//     against one of which it holds none, which is what a drive that was away for long brings back. Otherwise neither can
//     be used.
//   - Two LUNs of one name are ErrDuplicateName; both can be used, by GUID.
func Merge(drives []Drive) Set {
	s := Set{
		drives:   make(map[uuid.UUID]Drive, len(drives)),
		groups:   map[uuid.UUID]*group{},
		absorbed: map[uuid.UUID]burial{},
		blocked:  map[uuid.UUID]bool{},
		unheard:  map[uuid.UUID]bool{},
	}
	copies := s.addDrives(drives)
	s.elect()
	s.bury()
	s.addStrays(copies)
	s.list()
	s.checkCopies(copies)
	s.checkExtents()
	s.checkNames()
	return s
}

// Usable reports whether a LUN exists and no Problem keeps it from being used.
func (s Set) Usable(lun uuid.UUID) bool {
	g, ok := s.groups[lun]
	return ok && !s.gone(g.winner) && !s.blocked[lun]
}

// LUN is the record in force of a LUN that exists; false when there is none.
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

// MissingDrives is every drive that a plex of l lies on and that is not in the set, sorted. A drive that is there twice
// is missing too.
func (l LUN) MissingDrives(s Set) []uuid.UUID {
	return slices.DeleteFunc(l.Drives(), s.present)
}

func (s Set) present(drive uuid.UUID) bool {
	_, ok := s.drives[drive]
	return ok
}

// gone reports whether l, the winner of its group, does not exist any more.
func (s Set) gone(l LUN) bool { return l.Deleted || s.buried(l) }

// buried reports whether l is absorbed.
func (s Set) buried(l LUN) bool { return l.Generation <= s.absorbed[l.ID].generation }

// addDrives fills drives and groups, and returns the drives whose GUID is there more than once.
func (s *Set) addDrives(drives []Drive) map[uuid.UUID][]Drive {
	byID := make(map[uuid.UUID][]Drive, len(drives))
	for _, d := range drives {
		byID[d.Label.Drive] = append(byID[d.Label.Drive], d)
	}
	for id, same := range byID {
		if len(same) > 1 {
			continue
		}
		s.drives[id] = same[0]
		delete(byID, id)
		luns := same[0].Catalog.LUNs
		for i := range luns {
			s.add(id, &luns[i])
		}
	}
	return byID
}

// add enters a record that the drive holds.
func (s *Set) add(drive uuid.UUID, l *LUN) {
	g, ok := s.groups[l.ID]
	if !ok {
		g = &group{records: map[uuid.UUID]*LUN{}}
		s.groups[l.ID] = g
	}
	g.records[drive] = l
}

// elect finds the winner of each group, and conflicts.
func (s *Set) elect() {
	for _, id := range s.ids() {
		g := s.groups[id]
		var winners []LUN
		for _, l := range g.records {
			if len(winners) > 0 && l.Generation > winners[0].Generation {
				winners = nil
			}
			if len(winners) == 0 || l.Generation == winners[0].Generation {
				winners = append(winners, *l)
			}
		}
		g.rivals = distinct(winners)
		g.winner = g.rivals[0]
		if len(g.rivals) > 1 {
			detail := fmt.Sprintf("%s: %d different records of generation %d", g.winner.title(), len(g.rivals), g.winner.Generation)
			luns := []uuid.UUID{id}
			s.problem(Problem{Err: ErrConflict, Detail: detail, LUNs: luns, Drives: s.Holders(id), Unfit: luns})
		}
	}
}

// distinct drops records that say the same, and sorts the others in an order that depends on nothing but them, deleted
// ones last.
func distinct(luns []LUN) []LUN {
	luns = slices.CompactFunc(luns, func(a, b LUN) bool { return reflect.DeepEqual(a, b) })
	if len(luns) == 1 {
		return luns // as nearly always; below, what was read and what was built may say the same in other words
	}
	texts := make(map[string]LUN, 1)
	for _, l := range luns {
		texts[encodeRecord(l)] = l
	}
	var alive, deleted []LUN
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		if l := texts[text]; l.Deleted {
			deleted = append(deleted, l)
		} else {
			alive = append(alive, l)
		}
	}
	return append(alive, deleted...)
}

// bury notes what every winner has absorbed. The tombstone of a LUN that is itself gone still counts, and that of each
// rival too: what it says happened.
func (s *Set) bury() {
	for _, id := range s.ids() {
		for _, l := range s.groups[id].rivals {
			for _, t := range l.Absorbed {
				if t.Generation > s.absorbed[t.LUN].generation {
					s.absorbed[t.LUN] = burial{generation: t.Generation, by: id}
				}
			}
		}
	}
}

// addStrays enters LUNs that only drives with copies know, or know to exist still, so that they are listed, and notes what
// such drives know.
func (s *Set) addStrays(copies map[uuid.UUID][]Drive) {
	strays := map[uuid.UUID][]LUN{}
	for _, same := range copies {
		for _, d := range same {
			for _, l := range d.Catalog.LUNs {
				s.unheard[l.ID] = true
				if s.stray(l) {
					strays[l.ID] = append(strays[l.ID], l)
				}
			}
		}
	}
	for id, luns := range strays {
		newest := slices.MaxFunc(distinct(luns), func(a, b LUN) int { return cmp.Compare(a.Generation, b.Generation) })
		g, known := s.groups[id]
		if !known {
			g = &group{}
			s.groups[id] = g
		}
		g.winner, g.rivals, g.stray = newest, []LUN{newest}, true
		s.blocked[id] = true
	}
}

// stray reports whether l, of a drive that is there twice, is of a LUN that the other drives do not know, or know to be
// gone in an older version.
func (s *Set) stray(l LUN) bool {
	g, known := s.groups[l.ID]
	return !s.gone(l) && (!known || s.gone(g.winner) && l.Generation > g.winner.Generation)
}

// list fills LUNs.
func (s *Set) list() {
	for _, g := range s.groups {
		if !s.gone(g.winner) {
			s.LUNs = append(s.LUNs, g.winner)
		}
	}
	slices.SortFunc(s.LUNs, func(a, b LUN) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), compareIDs(a.ID, b.ID))
	})
}

// problem notes p, once, and blocks the LUNs that it makes unfit.
func (s *Set) problem(p Problem) {
	for _, id := range p.Unfit {
		s.blocked[id] = true
	}
	known := slices.ContainsFunc(s.Problems, func(have Problem) bool {
		return errors.Is(have.Err, p.Err) && slices.Equal(have.LUNs, p.LUNs) && slices.Equal(have.Drives, p.Drives)
	})
	if !known {
		s.Problems = append(s.Problems, p)
	}
}

// ids is the GUID of every group, sorted.
func (s *Set) ids() []uuid.UUID {
	return slices.SortedFunc(maps.Keys(s.groups), compareIDs)
}
