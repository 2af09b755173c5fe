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
			if l.on(drive) || s.groups[l.ID].records == nil && holds(copies[drive], l.ID) {
				luns = append(luns, l.ID)
			}
		}
		detail := fmt.Sprintf("drive %s: on %d devices", drive, len(copies[drive]))
		s.problem(Problem{Err: ErrDuplicateDrive, Detail: detail, LUNs: sortedIDs(luns), Drives: []uuid.UUID{drive}, Blocks: true})
	}
}

// holds reports whether one of drives has a record of the LUN.
func holds(drives []Drive, lun uuid.UUID) bool {
	return slices.ContainsFunc(drives, func(d Drive) bool {
		return slices.ContainsFunc(d.Catalog.LUNs, func(l LUN) bool { return l.ID == lun })
	})
}

// checkExtents reports LUNs that claim what is not theirs: space that a drive does not have, another LUN's plex, another
// LUN's sectors.
func (s *Set) checkExtents() {
	var all []claim
	for _, l := range s.LUNs {
		for _, rival := range s.groups[l.ID].rivals {
			all = append(all, claimsOf(rival)...)
		}
	}
	owners := map[uuid.UUID]LUN{}
	for _, c := range all {
		if d, ok := s.drives[c.extent.Drive]; ok && !c.fits(d.Label) {
			s.invalid(fmt.Sprintf("%s lies outside the drive", c), c.lun.ID)
		}
		if owner, ok := owners[c.plex]; ok && owner.ID != c.lun.ID {
			s.invalid(fmt.Sprintf("plex %s is claimed by %s and %s", c.plex, owner.title(), c.lun.title()), owner.ID, c.lun.ID)
		}
		owners[c.plex] = c.lun
	}
	s.checkOverlaps(all)
}

// checkOverlaps looks first at claims that their drives vouch for, of which neither is right, then at the others.
func (s *Set) checkOverlaps(all []claim) {
	vouched := slices.DeleteFunc(slices.Clone(all), func(c claim) bool { return !s.vouched(c) })
	for _, pair := range overlaps(vouched) {
		s.overlap(pair, pair[:]...)
	}
	for _, pair := range overlaps(all) {
		wrong := slices.DeleteFunc(slices.Clone(pair[:]), s.vouched)
		s.overlap(pair, wrong...)
	}
}

// vouched reports whether the drive of the extent is there and knows the LUN.
func (s *Set) vouched(c claim) bool {
	_, ok := s.groups[c.lun.ID].records[c.extent.Drive]
	return ok
}

func (s *Set) invalid(detail string, luns ...uuid.UUID) {
	s.problem(Problem{Err: ErrInvalid, Detail: detail, LUNs: sortedIDs(luns), Blocks: true})
}

// overlap reports a pair for which wrong cannot be used. Rivals of one LUN may overlap; it is blocked already.
func (s *Set) overlap(pair [2]claim, wrong ...claim) {
	if len(wrong) == 0 || pair[0].lun.ID == pair[1].lun.ID {
		return
	}
	var luns []uuid.UUID
	for _, c := range wrong {
		luns = append(luns, c.lun.ID)
	}
	s.problem(Problem{
		Err:    ErrOverlap,
		Detail: fmt.Sprintf("%s and %s", pair[0], pair[1]),
		LUNs:   sortedIDs(luns),
		Drives: []uuid.UUID{pair[0].extent.Drive},
		Blocks: true,
	})
}

// checkNames reports LUNs of one name. LUNs is sorted by name.
func (s *Set) checkNames() {
	for i := 0; i < len(s.LUNs); {
		same := []uuid.UUID{}
		for _, l := range s.LUNs[i:] {
			if l.Name != s.LUNs[i].Name {
				break
			}
			same = append(same, l.ID)
		}
		if len(same) > 1 {
			detail := fmt.Sprintf("name %q: %d luns", s.LUNs[i].Name, len(same))
			s.problem(Problem{Err: ErrDuplicateName, Detail: detail, LUNs: same})
		}
		i += len(same)
	}
}
