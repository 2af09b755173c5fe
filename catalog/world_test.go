package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// world is a machine whose catalogs are changed by the commit protocol, with what should come of it.
type world struct {
	drives map[uuid.UUID]Drive
	away   map[uuid.UUID]bool
	truth  map[uuid.UUID]LUN // the LUNs that exist
	named  int
	plexes int
}

const worldLUNSize = size.MiB

func newWorld(drives int) *world {
	w := &world{drives: map[uuid.UUID]Drive{}, away: map[uuid.UUID]bool{}, truth: map[uuid.UUID]LUN{}}
	for n := range drives {
		w.drives[driveID(n+1)] = drive(n + 1)
	}
	return w
}

// set is what the drives that are there say.
func (w *world) set() Set {
	var there []Drive
	for id, d := range w.drives {
		if !w.away[id] {
			there = append(there, d)
		}
	}
	return Merge(there)
}

// write is Drive.Write without the device: the list has to be one that Write takes.
func (w *world) write(t *rapid.T, id uuid.UUID, luns []LUN) {
	d := w.drives[id]
	d.Catalog = Catalog{Sequence: d.Catalog.Sequence + 1, LUNs: luns}
	if err := d.Catalog.Validate(d.Label); err != nil {
		t.Fatalf("drive %s: %v", id, err)
	}
	w.drives[id] = d
}

// change is one transaction: records, and the drives to be written before the others.
type change struct {
	name  string
	put   []LUN
	first []uuid.UUID
}

// order is the drives of a change in the order in which they are written.
func (c change) order(s Set) []uuid.UUID {
	all := s.Involved(c.put...)
	slices.SortStableFunc(all, func(a, b uuid.UUID) int {
		return cmp.Compare(btoi(!slices.Contains(c.first, a)), btoi(!slices.Contains(c.first, b)))
	})
	return all
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// commit notes what has to be true once the first drive is written.
func (w *world) commit(c change) {
	for _, l := range c.put {
		for _, t := range l.Absorbed {
			if have, ok := w.truth[t.LUN]; ok && have.Generation <= t.Generation {
				delete(w.truth, t.LUN)
			}
		}
	}
	for _, l := range c.put {
		w.truth[l.ID] = l
		if l.Deleted {
			delete(w.truth, l.ID)
		}
	}
}

// expected is the truth in the order of Set.LUNs.
func (w *world) expected() []LUN {
	return slices.SortedFunc(maps.Values(w.truth), func(a, b LUN) int { return strings.Compare(a.Name, b.Name) })
}

// check expects Merge to show the truth and nothing else.
func (w *world) check(t *rapid.T, at string) {
	s := w.set()
	if diff := gocmp.Diff(w.expected(), s.LUNs, equateEmpty); diff != "" {
		t.Fatalf("%s: luns (-want +got):\n%s", at, diff)
	}
	if len(s.Problems) > 0 {
		t.Fatalf("%s: problems %v", at, s.Problems)
	}
}

// actions are the changes that a user can make to LUNs of the set. Each returns no change when there is nothing it fits.
var actions = []func(*world, *rapid.T, Set, []LUN) change{
	(*world).create, (*world).create, (*world).attach, (*world).attach, (*world).cancel, (*world).complete,
	(*world).removePlex, (*world).remove, (*world).split, (*world).extend, (*world).rename, (*world).addNew, (*world).fail,
	(*world).recover, (*world).depart, (*world).depart, (*world).part, (*world).rejoin,
}

func (w *world) create(t *rapid.T, s Set, _ []LUN) change {
	w.named++
	l := LUN{ID: lunID(w.named), Name: fmt.Sprintf("lun%d", w.named), Size: worldLUNSize.Sectors()}
	if len(s.drives) == 0 {
		return change{}
	}
	ids := rapid.Permutation(slices.SortedFunc(maps.Keys(s.drives), compareIDs)).Draw(t, "drives")
	for _, id := range ids[:rapid.IntRange(1, min(2, len(ids))).Draw(t, "plexes")] {
		p, ok := room(t, s, id, l.Size)
		if !ok {
			return change{}
		}
		p.ID = w.plexID()
		l.Plexes = append(l.Plexes, p)
	}
	return change{name: "create", put: []LUN{s.Next(l)}}
}

// pick draws a LUN that fits.
func pick(t *rapid.T, luns []LUN, fits func(LUN) bool) (LUN, bool) {
	fitting := slices.DeleteFunc(slices.Clone(luns), func(l LUN) bool { return !fits(l) })
	if len(fitting) == 0 {
		return LUN{}, false
	}
	return rapid.SampledFrom(fitting).Draw(t, "lun"), true
}

func idle(l LUN) bool { return l.Operation == nil && l.Departure == nil }
func busy(l LUN) bool { return l.Operation != nil }

func (w *world) attach(t *rapid.T, s Set, luns []LUN) change {
	target, ok := pick(t, luns, idle)
	if !ok {
		return change{}
	}
	source, ok := pick(t, luns, func(l LUN) bool {
		return idle(l) && l.ID != target.ID && l.Size >= target.Size && len(l.Plexes)+len(target.Plexes) <= MaxPlexes
	})
	if !ok {
		return change{}
	}
	joined := attach(target, source)
	joined.Absorbed = target.Absorbed // Next adds the source
	return change{name: "attach", put: []LUN{s.Next(joined)}, first: s.Holders(source.ID)}
}

func (w *world) cancel(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, busy)
	if !ok {
		return change{}
	}
	if l.Operation.Source == nil {
		return w.cancelNew(s, l)
	}
	put := giveBack(s, l)
	return change{name: "cancel", put: put, first: put[1].Drives()}
}

func (w *world) complete(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, busy)
	if !ok {
		return change{}
	}
	l.Last = &Outcome{ID: l.Operation.ID, Type: vds.AsyncAddLUNPlex, Started: testTime, Ended: testTime}
	l.Operation = nil
	return change{name: "complete", put: []LUN{s.Next(l)}}
}

func (w *world) removePlex(t *rapid.T, s Set, luns []LUN) change {
	l, plex, ok := pickPlex(t, luns, spare)
	if !ok {
		return change{}
	}
	return change{name: "remove plex", put: []LUN{s.Next(without(l, plex))}}
}

func (w *world) remove(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, idle)
	if !ok {
		return change{}
	}
	l.Deleted = true
	return change{name: "delete", put: []LUN{s.Next(l)}}
}

// heal writes at most limit drives of what Heal asks for, in any order, and reports whether there was nothing to do.
func (w *world) heal(t *rapid.T, limit int, check func(at string)) bool {
	changes := w.set().Heal()
	ids := rapid.Permutation(slices.SortedFunc(maps.Keys(changes), compareIDs)).Draw(t, "heal")
	for _, id := range ids[:min(limit, len(ids))] {
		w.write(t, id, changes[id])
		check("healed drive " + id.String())
	}
	return len(changes) == 0
}

// settle heals until nothing is left to do and expects every record to be where a plex of it is, and nowhere else.
func (w *world) settle(t *rapid.T) {
	for round := 0; !w.heal(t, len(w.drives), func(at string) { w.check(t, at) }); round++ {
		if round == 4 {
			t.Fatalf("still to heal after %d rounds", round)
		}
	}
	for id, d := range w.drives {
		for _, l := range d.Catalog.LUNs {
			if !l.on(id) {
				t.Fatalf("drive %s keeps %s for ever (deleted: %t)", id, l.title(), l.Deleted)
			}
		}
	}
}

// TestCommitProtocolCut cuts transactions and healing after any single drive write. Merge always shows each LUN as it was
// before, or once the first drive is written as it is after; no sectors belong to two LUNs; nothing heals wrongly.
func TestCommitProtocolCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(1, 5).Draw(t, "drives"))
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			s := w.set()
			c := rapid.SampledFrom(actions).Draw(t, "action")(w, t, s, s.LUNs)
			c.put = s.shared(c.put)
			order := c.order(s)
			for i, id := range order[:rapid.IntRange(0, len(order)).Draw(t, "writes")] {
				w.write(t, id, s.Apply(id, c.put...))
				if i == 0 {
					w.commit(c)
				}
				w.check(t, fmt.Sprintf("%s, drive %d of %d", c.name, i+1, len(order)))
			}
			w.heal(t, rapid.IntRange(0, len(w.drives)).Draw(t, "healed"), func(at string) { w.check(t, at) })
		}
		w.settle(t)
	})
}

// TestAwayDrives takes drives away and brings them back between transactions. A transaction is made only where what the
// present drives say of its LUNs is true, which is what an administrator has to see to; LUNs that are seen as they were
// are left alone. With all drives back Merge shows the truth, and nothing that was deleted or absorbed comes to life.
func TestAwayDrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(2, 5).Draw(t, "drives"))
		ids := slices.SortedFunc(maps.Keys(w.drives), compareIDs)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			for _, id := range ids {
				w.away[id] = rapid.IntRange(0, 3).Draw(t, "away") == 0
			}
			s := w.set()
			current := slices.DeleteFunc(slices.Clone(s.LUNs), func(l LUN) bool {
				return !s.Usable(l.ID) || w.truth[l.ID].Generation != l.Generation
			})
			c := rapid.SampledFrom(actions).Draw(t, "action")(w, t, s, current)
			c.put = s.shared(c.put)
			if w.outOfSight(c, s) {
				continue
			}
			for i, id := range c.order(s) {
				w.write(t, id, s.Apply(id, c.put...))
				if i == 0 {
					w.commit(c)
				}
			}
			w.heal(t, rapid.IntRange(0, len(ids)).Draw(t, "healed"), func(string) {})
		}
		clear(w.away)
		w.check(t, "all drives back")
		w.settle(t)
	})
}

// outOfSight reports whether none of the drives of a LUN would be written, as when its last present plex is removed.
func (w *world) outOfSight(c change, s Set) bool {
	for _, l := range c.put {
		if !l.Deleted && len(l.MissingDrives(s)) == len(l.Drives()) {
			return true
		}
	}
	return false
}
