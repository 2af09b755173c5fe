package catalog

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"github.com/google/uuid"
)

// claim is one extent with its owner.
type claim struct {
	extent Extent
	lun    *LUN // not to be changed
	plex   uuid.UUID
}

// String names a claim in an error.
func (c claim) String() string {
	e := c.extent
	return fmt.Sprintf("%s: plex %s: sectors %d to %d of drive %s", c.lun.title(), c.plex, e.Start, e.End(), e.Drive)
}

// fits reports whether the extent lies in the usable space of the drive.
func (c claim) fits(drive Label) bool {
	return c.extent.Start >= FirstExtent.Sectors() && c.extent.End() <= TailStart(drive.Size).Sectors()
}

// claimsOf is every extent that l owns, metadata and plexes that are leaving included. A deleted LUN owns none.
func claimsOf(l *LUN) []claim {
	if l.Deleted {
		return nil
	}
	owned := l.owned()
	claims := make([]claim, 0, 2*len(owned))
	for _, p := range owned {
		for _, e := range p.extents() {
			claims = append(claims, claim{extent: e, lun: l, plex: p.ID})
		}
	}
	return claims
}

// extents is every extent of p, the metadata extent last.
func (p Plex) extents() []Extent {
	if p.Vacant {
		return nil
	}
	all := make([]Extent, 0, len(p.Data)+1)
	return append(append(all, p.Data...), p.Meta)
}

// on reports whether p has an extent on the drive.
func (p Plex) on(drive uuid.UUID) bool {
	return slices.ContainsFunc(p.extents(), func(e Extent) bool { return e.Drive == drive })
}

// overlaps finds claims on the same sectors, and sorts claims by drives and sectors. Each claim that overlaps any other is in at
// least one of the pairs, but not every pair is listed.
func overlaps(claims []claim) iter.Seq2[claim, claim] {
	slices.SortStableFunc(claims, compareClaims)
	return func(yield func(claim, claim) bool) {
		for i, reach := 1, 0; i < len(claims); i++ {
			last, c := claims[reach].extent, claims[i].extent
			if last.Drive == c.Drive && c.Start < last.End() && !yield(claims[reach], claims[i]) {
				return
			}
			if last.Drive != c.Drive || c.End() > last.End() {
				reach = i
			}
		}
	}
}

func compareClaims(a, b claim) int {
	if order := compareIDs(a.extent.Drive, b.extent.Drive); order != 0 {
		return order
	}
	if order := cmp.Compare(a.extent.Start, b.extent.Start); order != 0 {
		return order // as nearly always
	}
	if order := cmp.Or(cmp.Compare(a.extent.Length, b.extent.Length), compareIDs(a.plex, b.plex)); order != 0 {
		return order
	}
	return compareIDs(a.lun.ID, b.lun.ID)
}

// Drives is every drive that a plex of l lies on, or one that is leaving l, sorted.
func (l LUN) Drives() []uuid.UUID {
	var drives []uuid.UUID
	for _, p := range l.owned() {
		for _, e := range p.extents() {
			drives = append(drives, e.Drive)
		}
	}
	return sortedIDs(drives)
}

// Copies is the plexes of l that have extents: all except a vacant one.
func (l LUN) Copies() []Plex {
	return slices.DeleteFunc(slices.Clone(l.Plexes), func(p Plex) bool { return p.Vacant })
}

// Tracked reports whether l has had a vacant plex since its creation. Then a clear bit in the metadata of a complete
// plex says that its region was never written. The region reads as zeros from each such plex. Tracked is false during a
// scan, when bits mean something else.
func (l LUN) Tracked() bool { return l.vacant() && l.Scan == uuid.Nil }

func (l LUN) vacant() bool { return len(l.Copies()) < len(l.Plexes) }

// on reports whether l owns space on the drive.
func (l LUN) on(drive uuid.UUID) bool { return !l.Deleted && l.at(drive) }

// at reports whether l owns space on the drive, or did so until it was deleted.
func (l LUN) at(drive uuid.UUID) bool {
	return slices.ContainsFunc(l.owned(), func(p Plex) bool { return p.on(drive) })
}

// sortedIDs sorts ids in place and drops what is there twice.
func sortedIDs(ids []uuid.UUID) []uuid.UUID {
	slices.SortStableFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// Free is the unclaimed space of a drive of the set, in order. It is empty for a drive that is not in the set or has shrunk. Space is free
// only when no visible record claims it. Outdated records that Heal has not yet replaced still count, and so do records of
// LUNs that cannot be used.
func (s Set) Free(drive uuid.UUID) []Extent {
	d, ok := s.drives[drive]
	if !ok || d.Shrunk() {
		return nil
	}
	var free []Extent
	next, tail := FirstExtent.Sectors(), TailStart(d.Label.Size).Sectors()
	for _, e := range append(s.claimed(drive), Extent{Start: tail}) {
		if start := min(e.Start, tail); start > next {
			free = append(free, Extent{Drive: drive, Start: next, Length: start - next})
		}
		next = max(next, e.End())
	}
	return free
}

// claimed is every extent on the drive that any visible record claims, sorted.
func (s Set) claimed(drive uuid.UUID) []Extent {
	luns := slices.Clone(s.drives[drive].Catalog.LUNs)
	for _, g := range s.groups {
		if !g.mute && (!s.gone(g.winner) || s.blocked[g.winner.ID]) {
			for _, l := range g.conflicting {
				luns = append(luns, *l)
			}
			for _, l := range g.records {
				luns = append(luns, *l)
			}
		}
	}
	extents := make([]Extent, 0, 2*len(luns))
	for i := range luns {
		for _, c := range claimsOf(&luns[i]) {
			if c.extent.Drive == drive {
				extents = append(extents, c.extent)
			}
		}
	}
	slices.SortStableFunc(extents, func(a, b Extent) int { return cmp.Compare(a.Start, b.Start) })
	return extents
}
