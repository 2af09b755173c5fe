package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// checkCopies reports drives that are there more than once, with every LUN that touches them.
func (s *Set) checkCopies(copies map[uuid.UUID][]Drive) {
	for _, drive := range slices.SortedFunc(maps.Keys(copies), compareIDs) {
		var luns []uuid.UUID
		for _, l := range s.LUNs {
			if l.on(drive) || s.groups[l.ID].unheard && holds(copies[drive], l.ID) {
				luns = append(luns, l.ID)
			}
		}
		detail := fmt.Sprintf("drive %s: on %d devices", drive, len(copies[drive]))
		luns = sortedIDs(luns)
		s.problem(Problem{Err: ErrDuplicateDrive, Detail: detail, LUNs: luns, Drives: []uuid.UUID{drive}, Unfit: luns})
	}
}

// holds reports whether one of drives has a record of the LUN.
func holds(drives []Drive, lun uuid.UUID) bool {
	return slices.ContainsFunc(drives, func(d Drive) bool {
		return slices.ContainsFunc(d.Catalog.LUNs, func(l LUN) bool { return l.ID == lun })
	})
}

// checkExtents reports LUNs that claim space outside of a drive, another LUN's plex, or another LUN's sectors. The claims of a LUN
// that is not heard do not count.
func (s *Set) checkExtents() {
	all := make([]claim, 0, 2*len(s.LUNs))
	for _, l := range s.LUNs {
		if s.isMute(l) {
			continue
		}
		for _, record := range s.groups[l.ID].conflicting {
			all = append(all, claimsOf(record)...)
		}
	}
	owners := make(map[uuid.UUID]*claim, len(all))
	for i, c := range all {
		if d, ok := s.drives[c.extent.Drive]; ok && !c.fits(d.Label) {
			s.clash(ErrInvalid, []claim{c}, []claim{c}, "%s lies outside the drive", c)
		}
		if owner, ok := owners[c.plex]; ok && owner.lun.ID != c.lun.ID {
			s.twoOwners(*owner, c)
		}
		owners[c.plex] = &all[i]
	}
	s.checkOverlaps(all)
}

// twoOwners reports a plex that two LUNs claim, as after a split, when a drive returns that was absent. The plex belongs to
// the LUN that its drive has a record of. If the drive has records of both or of neither, neither can be used.
func (s *Set) twoOwners(a, b claim) {
	pair := []claim{a, b}
	wrong := slices.DeleteFunc(slices.Clone(pair), s.recorded)
	if len(wrong) == 0 {
		wrong = pair
	}
	s.clash(ErrInvalid, pair, wrong, "plex %s is claimed by %s and %s", a.plex, titled{a.lun}, titled{b.lun})
}

// checkOverlaps reports overlapping claims. Of two LUNs the one is right that the drive has a record of. If the drive has
// records of both, neither is. So it compares the recorded claims with each other first.
func (s *Set) checkOverlaps(all []claim) {
	recorded := slices.DeleteFunc(slices.Clone(all), func(c claim) bool { return !s.recorded(c) })
	for a, b := range overlaps(recorded) {
		s.overlap(a, b, a, b)
	}
	if len(recorded) == len(all) {
		return
	}
	for a, b := range overlaps(all) {
		s.overlap(a, b, slices.DeleteFunc([]claim{a, b}, s.recorded)...)
	}
}

// recorded reports whether the drive of the extent is present and has a record of the LUN.
func (s *Set) recorded(c claim) bool {
	_, ok := s.groups[c.lun.ID].records[c.extent.Drive]
	return ok
}

// titled is a LUN that is named when it is printed.
type titled struct{ *LUN }

func (l titled) String() string { return l.title() }

// clash reports a contradiction between claims that makes the LUNs of wrong unfit. There may be very many: only those that are listed
// get a text of their own.
func (s *Set) clash(err error, claims, wrong []claim, format string, args ...any) {
	var drives []uuid.UUID
	for _, c := range claims {
		drives = append(drives, c.extent.Drive)
	}
	p := Problem{Err: err, Detail: "its records contradict others", LUNs: lunsOf(claims), Drives: sortedIDs(drives), Unfit: lunsOf(wrong)}
	if s.noted.count[p.kind()] < mostProblems {
		p.Detail = fmt.Sprintf(format, args...)
	}
	s.problem(p)
}

// lunsOf is the LUNs of claims, sorted.
func lunsOf(claims []claim) []uuid.UUID {
	var ids []uuid.UUID
	for _, c := range claims {
		ids = append(ids, c.lun.ID)
	}
	return sortedIDs(ids)
}

// overlap reports two claims on the same sectors, which makes the LUNs of wrong unfit. Conflicting records of one LUN may overlap: that LUN
// is blocked already.
func (s *Set) overlap(a, b claim, wrong ...claim) {
	if len(wrong) > 0 && a.lun.ID != b.lun.ID {
		s.clash(ErrOverlap, []claim{a, b}, wrong, "%s and %s", a, b)
	}
}

// checkNames reports LUNs of one name. LUNs is sorted by name.
func (s *Set) checkNames() {
	heard := slices.DeleteFunc(slices.Clone(s.LUNs), s.isMute)
	for i := 0; i < len(heard); {
		same := []uuid.UUID{}
		for _, l := range heard[i:] {
			if l.Name != heard[i].Name {
				break
			}
			same = append(same, l.ID)
		}
		if len(same) > 1 {
			detail := fmt.Sprintf("name %q: %d luns", heard[i].Name, len(same))
			s.problem(Problem{Err: ErrDuplicateName, Detail: detail, LUNs: same})
		}
		i += len(same)
	}
}
