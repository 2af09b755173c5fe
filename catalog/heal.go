package catalog

import (
	"reflect"
	"slices"

	"github.com/google/uuid"
)

// Heal is the catalogs to write so that all drives of the set agree. It is empty when they do. Each list is the whole catalog
// of a drive, for Drive.Write.
//
// A drive gets the current record of every LUN with a plex on it. It may also keep the current record of a LUN that is
// deleted or has no plex on it. Such a record is a witness. It is needed while
//
//   - a present drive holds an older record, or lacks this one;
//   - a drive that any visible record names is absent, or there twice, and may return with an older record.
//
// Other records that are superseded or absorbed go. Heal leaves the records of LUNs that cannot be used as they are.
//
// The writes may be done in any order, and any of them may be missing: none of them changes the result of Merge. One round
// may leave witnesses that are no longer needed. Heal again until Heal is empty.
func (s Set) Heal() map[uuid.UUID][]LUN {
	changes := map[uuid.UUID][]LUN{}
	for id, d := range s.drives {
		want := s.healed(id)
		if d.Writable() == nil && !slices.EqualFunc(sortedLUNs(d.Catalog.LUNs), want, sameVersion) {
			changes[id] = want
		}
	}
	return changes
}

// sameVersion reports whether a and b say the same. Two records of one generation do not, if one of them is overruled.
func sameVersion(a, b LUN) bool {
	return a.ID == b.ID && a.Generation == b.Generation && (reflect.DeepEqual(a, b) || encodeRecord(a) == encodeRecord(b))
}

// healed is the records that the drive should hold.
func (s Set) healed(drive uuid.UUID) []LUN {
	var want []LUN
	for id, g := range s.groups {
		held, holds := g.records[drive]
		switch {
		case s.blocked[id] || s.blocked[s.absorbed[id].by] && s.isAbsorbed(g.winner):
			if holds {
				want = append(want, *held)
			}
		case !s.gone(g.winner) && g.winner.on(drive), holds && s.witness(g, *held):
			want = append(want, g.winner)
		}
	}
	return sortedLUNs(want)
}

// witness reports whether a drive that holds a record of the group has to keep the group's winner, which has no plex on it.
func (s Set) witness(g *group, held LUN) bool {
	if s.isAbsorbed(g.winner) {
		return false // the LUN that absorbed it has inherited its tombstones: see Next
	}
	return held.Generation == g.winner.Generation && s.behind(g) || s.away(g) || slices.ContainsFunc(g.winner.Absorbed, s.mayReturn)
}

// behind reports whether a present drive holds another record than the winner, older or overruled, or lacks the winner though it has
// a plex.
func (s Set) behind(g *group) bool {
	for _, l := range g.records {
		if !sameVersion(*l, g.winner) {
			return true
		}
	}
	return slices.ContainsFunc(claimsOf(&g.winner), func(c claim) bool {
		_, holds := g.records[c.extent.Drive]
		return s.present(c.extent.Drive) && !holds
	})
}

// away reports whether a drive that may hold a record of the LUN is absent or there twice.
func (s Set) away(g *group) bool {
	if s.onUnheard[g.winner.ID] {
		return true
	}
	missing := func(drives []uuid.UUID) bool {
		return slices.ContainsFunc(drives, func(d uuid.UUID) bool { return !s.present(d) })
	}
	for _, l := range g.records {
		if missing(l.Drives()) || missing(l.Former) {
			return true
		}
	}
	return false
}

// mayReturn reports whether a drive holds a record that the tombstone is for, or may hold one because it is there twice.
func (s Set) mayReturn(t Tombstone) bool {
	g, ok := s.groups[t.LUN]
	if !ok || s.onUnheard[t.LUN] {
		return s.onUnheard[t.LUN]
	}
	for _, l := range g.records {
		if l.Generation <= t.Generation {
			return true
		}
	}
	return false
}
