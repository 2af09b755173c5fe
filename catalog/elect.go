package catalog

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/google/uuid"
)

// elect finds the winner of each group, and conflicts.
func (s *Set) elect() {
	for _, id := range s.ids() {
		g := s.groups[id]
		g.conflicting = distinct(g.winners())
		g.winner = *g.conflicting[0]
		if forked := s.findForks(id, g); !forked && len(g.conflicting) > 1 {
			detail := fmt.Sprintf("%s: %d different records of generation %d", g.winner.title(), len(g.conflicting), g.winner.Generation)
			luns := []uuid.UUID{id}
			s.problem(Problem{Err: ErrConflict, Detail: detail, LUNs: luns, Drives: s.Holders(id), Unfit: luns})
		}
	}
}

// winners is the records of the highest generation that are not overruled.
func (g *group) winners() []*LUN {
	var winners []*LUN
	for drive, l := range g.records {
		g.newest = max(g.newest, l.Generation)
		if g.overruled(drive, *l) {
			continue
		}
		if len(winners) > 0 && l.Generation > winners[0].Generation {
			winners = nil
		}
		if len(winners) == 0 || l.Generation == winners[0].Generation {
			winners = append(winners, l)
		}
	}
	return winners
}

// overruled reports whether l, which is on a drive, does not count. A failed change and its taking back may both have reached one
// drive only, on which the LUN has no plex by then. While that drive was away, the LUN may have been changed again, from an older
// generation. What the drive holds must not override this later change.
//
// So a record on a drive of the LUN overrules l if it is not newer, and was not known when l was made. Such a record
// is newer than what l says the LUN's own drives had. It does not name the drive, as a record of the failed change would.
func (g *group) overruled(drive uuid.UUID, l LUN) bool {
	if l.at(drive) {
		return false
	}
	known := l.Generation - 1 - l.Behind
	for other, by := range g.records {
		if known < by.Generation && by.Generation <= l.Generation && by.at(other) && !by.at(drive) && !slices.Contains(by.Former, drive) {
			return true
		}
	}
	return false
}

// findForks finds records that the winner of a group does not come from. It reports whether there are any.
func (s *Set) findForks(id uuid.UUID, g *group) bool {
	var forks []*LUN
	sides := fmt.Sprintf("generation %d of host %q", g.winner.Generation, g.winner.Host)
	for _, drive := range s.Holders(id) {
		l := g.records[drive]
		if g.winner.comesFrom(*l) {
			continue
		}
		forks = append(forks, l)
		sides += fmt.Sprintf(" and, on drive %s, generation %d of host %q", drive, l.Generation, l.Host)
	}
	if len(forks) == 0 {
		return false
	}
	forks = distinct(forks)
	g.conflicting = append(g.conflicting, forks...)
	if g.winner.Deleted { // not on the other side
		g.winner = *forks[0]
	}
	luns := []uuid.UUID{id}
	detail := fmt.Sprintf("%s: its copies were used without each other: %s", g.winner.title(), sides)
	s.problem(Problem{Err: ErrForked, Detail: detail, LUNs: luns, Drives: s.Holders(id), Unfit: luns})
	return true
}

// comesFrom reports whether l is a later version of the record old, or old itself.
func (l LUN) comesFrom(old LUN) bool {
	if len(old.Histories) == 0 {
		return true
	}
	last := old.Histories[len(old.Histories)-1].ID
	i := slices.IndexFunc(l.Histories, func(h History) bool { return h.ID == last })
	return i >= 0 && (l.Histories[i].Last == 0 || old.Generation <= l.Histories[i].Last)
}

// distinct drops records that say the same. It sorts the others in an order that depends on nothing but them, deleted ones
// last.
func distinct(luns []*LUN) []*LUN {
	luns = slices.CompactFunc(luns, func(a, b *LUN) bool { return reflect.DeepEqual(a, b) })
	if len(luns) == 1 {
		return luns // as nearly always; a record that was read may differ in memory from an equal one that was built
	}
	texts := make(map[string]*LUN, 1)
	for _, l := range luns {
		texts[encodeRecord(*l)] = l
	}
	var alive, deleted []*LUN
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		if l := texts[text]; l.Deleted {
			deleted = append(deleted, l)
		} else {
			alive = append(alive, l)
		}
	}
	return append(alive, deleted...)
}
