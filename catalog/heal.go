package catalog

import (
	"slices"

	"github.com/google/uuid"
)

// Heal is what has to be written to which drive so that all drives of the set agree; empty when they do. Each list is a
// whole catalog for Drive.Write.
//
// A drive gets the record in force of every LUN with a plex on it. A newer record of a LUN that has no plex on the
// drive, or that is deleted, stays while it is needed as a witness: while some present drive holds an older record or
// lacks this one, or a drive that any visible record names is away, or there twice, and may come back with an older one.
// Other records that are superseded or absorbed go. Nothing is changed about LUNs that cannot be used.
//
// The writes may be done in any order, and any of them may be missing: each alone leaves what Merge says as it was. One
// round may leave witnesses that are needed no longer; heal again until Heal is empty.
func (s Set) Heal() map[uuid.UUID][]LUN {
	changes := map[uuid.UUID][]LUN{}
	for id, d := range s.drives {
		want := s.healed(id)
		if !d.HeadLost && !slices.EqualFunc(sortedLUNs(d.Catalog.LUNs), want, sameVersion) {
			changes[id] = want
		}
	}
	return changes
}

func sameVersion(a, b LUN) bool { return a.ID == b.ID && a.Generation == b.Generation }

// healed is what the drive should hold.
func (s Set) healed(drive uuid.UUID) []LUN {
	var want []LUN
	for id, g := range s.groups {
		held, holds := g.records[drive]
		switch {
		case s.blocked[id] || s.blocked[s.absorbed[id].by] && s.buried(g.winner):
			if holds {
				want = append(want, *held)
			}
		case !s.gone(g.winner) && g.winner.on(drive), holds && s.witness(g, *held):
			want = append(want, g.winner)
		}
	}
	return sortedLUNs(want)
}

// witness reports whether a drive that holds a record of the group has to keep the group's winner though it has no plex on
// it.
func (s Set) witness(g *group, held LUN) bool {
	if s.buried(g.winner) {
		return false // the LUN that absorbed it has inherited its tombstones: see Next
	}
	return held.Generation == g.winner.Generation && s.behind(g) || s.away(g) || s.buries(g.winner)
}

// behind reports whether a present drive holds an older record than the winner, or lacks the winner though it has a plex.
func (s Set) behind(g *group) bool {
	for _, l := range g.records {
		if l.Generation < g.winner.Generation {
			return true
		}
	}
	return slices.ContainsFunc(claimsOf(g.winner), func(c claim) bool {
		_, holds := g.records[c.extent.Drive]
		return s.present(c.extent.Drive) && !holds
	})
}

// away reports whether a drive that may hold a record of the LUN is not there, or is not heard.
func (s Set) away(g *group) bool {
	if s.unheard[g.winner.ID] {
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

// buries reports whether l's tombstones keep a record on a present drive from coming back to life.
func (s Set) buries(l LUN) bool {
	return slices.ContainsFunc(l.Absorbed, s.haunted)
}

// haunted reports whether a present drive holds a record that the tombstone is for, or one that is not heard may.
func (s Set) haunted(t Tombstone) bool {
	g, ok := s.groups[t.LUN]
	if !ok || s.unheard[t.LUN] {
		return s.unheard[t.LUN]
	}
	for _, l := range g.records {
		if l.Generation <= t.Generation {
			return true
		}
	}
	return false
}
