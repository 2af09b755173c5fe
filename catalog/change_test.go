package catalog

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/vds"
)

// scenario is one change of LUNs, which TestChanges cuts at every place.
type scenario struct {
	drives []Drive                 // before
	put    func(s Set) []LUN       // the change
	first  func([]LUN) []uuid.UUID // drives written before the others; nil: no order
	must   []int                   // drives without which the change is refused
	want   []string                // the LUNs after it
}

// without is l without the plexes.
func without(l LUN, plexes ...uuid.UUID) LUN {
	l.Plexes = slices.DeleteFunc(slices.Clone(l.Plexes), func(p Plex) bool { return slices.Contains(plexes, p.ID) })
	return l
}

// split is l and, as a LUN of its own, its plex.
func split(s Set, l LUN, number int, plex uuid.UUID) []LUN {
	p, _ := l.plex(plex)
	return []LUN{s.Next(without(l, plex)), s.Next(LUN{ID: lunID(number), Name: fmt.Sprintf("lun%d", number), Size: l.Size, Plexes: []Plex{p}})}
}

// giveBack is l and the source of its operation after a cancel.
func giveBack(s Set, l LUN) []LUN {
	source := s.Next(*l.Operation.Source)
	back := without(l, l.Operation.Plexes...)
	back.Operation = nil
	return []LUN{s.Next(back), source}
}

// filling is l under an operation that fills plexes and has no source.
func filling(l LUN, plexes ...uuid.UUID) LUN {
	l.Operation = &Operation{ID: opID(1), Type: vds.AsyncAddLUNPlex, Started: testTime, Plexes: plexes}
	return l
}

// spoil is l with a plex that has become stale, or is no more.
func spoil(l LUN, plex uuid.UUID, stale bool) LUN {
	l.Plexes = slices.Clone(l.Plexes)
	l.Plexes[slices.IndexFunc(l.Plexes, func(p Plex) bool { return p.ID == plex })].Stale = stale
	return l
}

func named(l LUN, name string) LUN { l.Name = name; return l }

// drivesOf is the drives of one of the LUNs of a change.
func drivesOf(i int) func([]LUN) []uuid.UUID {
	return func(put []LUN) []uuid.UUID { return put[i].Drives() }
}

func onDrives(numbers ...int) func([]LUN) []uuid.UUID {
	return func([]LUN) []uuid.UUID {
		var ids []uuid.UUID
		for _, n := range numbers {
			ids = append(ids, driveID(n))
		}
		return ids
	}
}

func scenarios() map[string]scenario {
	two := testLUN(1, 4, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8))
	three := testLUN(1, 4, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8), testPlex(3, 3, 4, 8))
	spanning := testLUN(1, 4, testPlex(1, 1, 4, 8), Plex{ID: plexID(2), Meta: mib(2, 4, 1), Data: []Extent{mib(2, 5, 4), mib(3, 4, 4)}, Slot: SlotB})
	source := testLUN(2, 7, testPlex(5, 3, 20, 8), testPlex(6, 4, 20, 8))
	pair := testLUN(2, 7, testPlex(5, 3, 4, 8), testPlex(6, 4, 4, 8))
	joined := attach(two, pair)
	joined.Plexes[2].Slot, joined.Plexes[3].Slot = SlotB, SlotB
	adding := filling(three, plexID(3))
	broken := spoil(three, plexID(3), true)
	wideLUN := func(number, plex, start int) LUN {
		return testLUN(number, 2, testPlex(plex, 1, start, 8), testPlex(plex+1, 2, start, 8), testPlex(plex+2, 3, start, 8), testPlex(plex+3, 4, start, 8))
	}
	everywhere := func(luns ...LUN) []Drive {
		var drives []Drive
		for n := 1; n <= 4; n++ {
			drives = append(drives, drive(n, slices.DeleteFunc(slices.Clone(luns), func(l LUN) bool { return !l.on(driveID(n)) })...))
		}
		return drives
	}
	one := func(l LUN) func(Set) []LUN { return func(s Set) []LUN { return []LUN{s.Next(l)} } }

	return map[string]scenario{
		"split of two plexes": {
			drives: everywhere(two), must: []int{2}, want: []string{"lun1@5", "lun9@1"},
			put: func(s Set) []LUN { return split(s, two, 9, plexID(2)) }, first: drivesOf(1),
		},
		"split of three": {
			drives: everywhere(three), must: []int{2}, want: []string{"lun1@5", "lun9@1"},
			put: func(s Set) []LUN { return split(s, three, 9, plexID(2)) }, first: drivesOf(1),
		},
		"split of the first plex": {
			drives: everywhere(three), must: []int{1}, want: []string{"lun1@5", "lun9@1"},
			put: func(s Set) []LUN { return split(s, three, 9, plexID(1)) }, first: drivesOf(1),
		},
		"split of a plex on two drives": {
			drives: everywhere(spanning), must: []int{2, 3}, want: []string{"lun1@5", "lun9@1"},
			put: func(s Set) []LUN { return split(s, spanning, 9, plexID(2)) }, first: drivesOf(1),
		},
		"plex removed": {drives: everywhere(three), want: []string{"lun1@5"}, put: one(without(three, plexID(2)))},
		"plex removed, one is left": {
			drives: everywhere(two), want: []string{"lun1@5"}, put: one(without(two, plexID(1))), must: []int{2},
		},
		"plex on two drives removed": {drives: everywhere(spanning), want: []string{"lun1@5"}, put: one(without(spanning, plexID(2)))},
		"stale plex removed":         {drives: everywhere(broken), want: []string{"lun1@5"}, put: one(without(broken, plexID(3)))},
		"mirrored source attached": {
			drives: everywhere(two, source), want: []string{"lun1@5"}, first: onDrives(3, 4),
			put: func(s Set) []LUN {
				l := attach(two, source)
				l.Absorbed = nil // Next adds the source
				return []LUN{s.Next(l)}
			},
		},
		"attached, eight plexes": {
			drives: everywhere(wideLUN(1, 10, 4), wideLUN(2, 20, 20)), want: []string{"lun1@3"}, first: onDrives(1, 2, 3, 4),
			put: func(s Set) []LUN {
				l := attach(wideLUN(1, 10, 4), wideLUN(2, 20, 20))
				l.Absorbed = nil
				return []LUN{s.Next(l)}
			},
		},
		"mirrored source given back": {
			drives: everywhere(joined), want: []string{"lun1@6", "lun2@8"}, first: onDrives(3, 4), must: []int{3, 4},
			put: func(s Set) []LUN { return giveBack(s, joined) },
		},
		"operation has failed": {
			drives: everywhere(adding), want: []string{"lun1@5"},
			put: one(spoil(func(l LUN) LUN { l.Operation = nil; return l }(adding), plexID(3), true)),
		},
		"stale plex recovered": {
			drives: everywhere(broken), want: []string{"lun1@5"}, put: one(filling(spoil(broken, plexID(3), false), plexID(3))),
		},
		"started without a plex": {drives: everywhere(three), want: []string{"lun1@5"}, put: one(spoil(three, plexID(2), true))},
		"new plex": {
			drives: everywhere(two), want: []string{"lun1@5"}, must: []int{1}, first: onDrives(1, 2),
			put: one(filling(three, plexID(3))),
		},
		"new plex, its drive first": {
			drives: everywhere(two), want: []string{"lun1@5"}, must: []int{3}, first: onDrives(3),
			put: one(filling(three, plexID(3))),
		},
		"new plex taken back": {
			drives: everywhere(adding), want: []string{"lun1@5"},
			put: one(func(l LUN) LUN { l.Operation = nil; return l }(without(adding, plexID(3)))),
		},
		"extended": {
			drives: everywhere(two), want: []string{"lun1@5"}, first: onDrives(1, 2),
			put: one(extended(two, mib(1, 13, 4), mib(2, 13, 4))),
		},
		"extended to new drives": {
			drives: everywhere(two), want: []string{"lun1@5"}, first: onDrives(1, 2), must: []int{1, 2},
			put: one(extended(two, mib(3, 30, 4), mib(4, 40, 4))),
		},
		"extended to new drives, these first": {
			drives: everywhere(two), want: []string{"lun1@5"}, first: onDrives(3, 4), must: []int{3, 4},
			put: one(extended(two, mib(3, 30, 4), mib(4, 40, 4))),
		},
		"renamed": {drives: everywhere(three), want: []string{"new@5"}, put: one(named(three, "new"))},
	}
}

// extended is l made larger by 4 MiB: its plexes by one extent each.
func extended(l LUN, more ...Extent) LUN {
	l.Plexes = slices.Clone(l.Plexes)
	l.Size += mib(1, 0, 4).Length
	for i, e := range more {
		l.Plexes[i].Data = append(slices.Clone(l.Plexes[i].Data), e)
	}
	l.Operation = &Operation{ID: opID(1), Type: vds.AsyncExtendLUN, Started: testTime}
	return l
}

// TestChanges makes each change with any of its drives away, cuts it behind each drive written, in two orders, and then
// looks at any of the drives. What is seen is the state before as long as no drive that was written is among them, else the
// state after, and nothing that contradicts itself. Whatever is then healed, with all drives back Merge shows the change
// from the first write on.
func TestChanges(t *testing.T) {
	for name, sc := range scenarios() {
		t.Run(name, func(t *testing.T) {
			for away := range 1 << len(sc.drives) {
				here := subset(sc.drives, ^away)
				s := Merge(here)
				put := sc.put(s)
				if !sc.possible(away, put) {
					continue
				}
				for _, order := range orders(sc, s, put) {
					cutChange(t, sc, away, order, put)
				}
			}
		})
	}
}

// possible reports whether the change can be made with these drives away: not without those that it must have, nor when no
// drive knows a LUN that it is about.
func (sc scenario) possible(away int, put []LUN) bool {
	unseen := func(l LUN) bool { return !slices.Contains(sc.want, fmt.Sprintf("%s@%d", l.Name, l.Generation)) }
	needed := func(n int) bool { return away&(1<<(n-1)) != 0 }
	return !slices.ContainsFunc(sc.must, needed) && !slices.ContainsFunc(put, unseen)
}

// subset is the drives of a mask.
func subset(drives []Drive, mask int) []Drive {
	var out []Drive
	for i, d := range drives {
		if mask&(1<<i) != 0 {
			out = append(out, d)
		}
	}
	return out
}

// orders is two of the orders in which a change may be written: those to be written first, and the others, each forward and
// backward.
func orders(sc scenario, s Set, put []LUN) [][]uuid.UUID {
	all := s.Involved(put...)
	var early []uuid.UUID
	if sc.first != nil {
		early = sc.first(put)
	}
	first := slices.DeleteFunc(slices.Clone(all), func(d uuid.UUID) bool { return !slices.Contains(early, d) })
	rest := slices.DeleteFunc(slices.Clone(all), func(d uuid.UUID) bool { return slices.Contains(early, d) })
	forward := slices.Concat(first, rest)
	slices.Reverse(first)
	slices.Reverse(rest)
	return [][]uuid.UUID{forward, slices.Concat(first, rest)}
}

// cutChange writes one drive after the other, and looks after each.
func cutChange(t *testing.T, sc scenario, away int, order []uuid.UUID, put []LUN) {
	t.Helper()
	drives := slices.Clone(sc.drives)
	s := Merge(subset(drives, ^away))
	for n := range len(order) + 1 {
		for seen := 1; seen < 1<<len(drives); seen++ {
			at := fmt.Sprintf("away %04b, written %d of %v, seen %04b", away, n, numbersOf(order), seen)
			checkSeen(t, at, sc, drives, order[:n], seen)
		}
		checkFree(t, fmt.Sprintf("away %04b, written %d of %v", away, n, numbersOf(order)), drives)
		if n < len(order) {
			i := slices.IndexFunc(drives, func(d Drive) bool { return d.Label.Drive == order[n] })
			drives[i].Catalog.LUNs = s.Apply(order[n], put...)
			if err := drives[i].Catalog.Validate(drives[i].Label); err != nil {
				t.Fatalf("drive %d: %v", i+1, err)
			}
		}
	}
}

func numbersOf(ids []uuid.UUID) []int {
	var out []int
	for _, id := range ids {
		out = append(out, int(id[15]))
	}
	return out
}

// checkSeen looks at some of the drives, heals them, and then looks at all.
func checkSeen(t *testing.T, at string, sc scenario, drives []Drive, written []uuid.UUID, seen int) {
	t.Helper()
	before := names(Merge(sc.drives))
	truth, now := before, before
	if len(written) > 0 {
		truth = sc.want
	}
	view := subset(drives, seen)
	if slices.ContainsFunc(view, func(d Drive) bool { return slices.Contains(written, d.Label.Drive) }) {
		now = sc.want
	}
	s := Merge(view)
	if len(s.Problems) > 0 {
		t.Fatalf("%s: %v", at, s.Problems)
	}
	for _, name := range names(s) {
		if !slices.Contains(now, name) {
			t.Fatalf("%s: %v, want of %v", at, names(s), now)
		}
	}
	healed := settled(t, at, view)
	for _, d := range drives {
		if !slices.ContainsFunc(healed, func(h Drive) bool { return h.Label.Drive == d.Label.Drive }) {
			healed = append(healed, d)
		}
	}
	all := settled(t, at, healed)
	if diff := cmp.Diff(truth, names(Merge(all))); diff != "" || len(Merge(healed).Problems) > 0 {
		t.Fatalf("%s, all back: %v (-want +got):\n%s", at, Merge(healed).Problems, diff)
	}
	checkAtHome(t, at, all)
}

// settled heals drives until there is nothing left to do. Merge says the same after each write.
func settled(t *testing.T, at string, drives []Drive) []Drive {
	t.Helper()
	drives = slices.Clone(drives)
	want := names(Merge(drives))
	for range 4 {
		changes := Merge(drives).Heal()
		if len(changes) == 0 {
			return drives
		}
		for _, id := range shuffled(slices.Collect(maps.Keys(changes))) {
			i := slices.IndexFunc(drives, func(d Drive) bool { return d.Label.Drive == id })
			drives[i].Catalog.LUNs = changes[id]
			if diff := cmp.Diff(want, names(Merge(drives))); diff != "" {
				t.Fatalf("%s: healed drive %s (-want +got):\n%s", at, id, diff)
			}
		}
	}
	t.Fatalf("%s: healing has no end", at)
	return nil
}

// checkAtHome expects each record on the drives of its plexes and nowhere else, and all other space to be free.
func checkAtHome(t *testing.T, at string, drives []Drive) {
	t.Helper()
	s := Merge(drives)
	for _, d := range drives {
		id := d.Label.Drive
		for _, l := range d.Catalog.LUNs {
			if !l.on(id) {
				t.Fatalf("%s: drive %s keeps %s", at, id, l.title())
			}
		}
		room := (TailStart(d.Label.Size) - FirstExtent).Sectors()
		for _, e := range s.Free(id) {
			room -= e.Length
		}
		for _, l := range s.LUNs {
			for _, c := range claimsOf(&l) {
				if c.extent.Drive == id {
					room -= c.extent.Length
				}
			}
		}
		if room != 0 {
			t.Fatalf("%s: %d sectors of drive %s are neither free nor of a LUN", at, int64(room), id)
		}
	}
}

// checkFree expects no space to be free that a record on any drive claims, the one in force or one that it supersedes.
func checkFree(t *testing.T, at string, drives []Drive) {
	t.Helper()
	s := Merge(drives)
	var claims []claim
	for _, d := range drives {
		for _, e := range s.Free(d.Label.Drive) {
			claims = append(claims, claim{extent: e, plex: uuid.Max})
		}
	}
	free := len(claims)
	for _, d := range drives {
		for _, l := range d.Catalog.LUNs {
			for _, c := range claimsOf(&l) {
				for range overlaps(append(claims[:free:free], c)) {
					t.Fatalf("%s: %s is free", at, c)
				}
			}
		}
	}
}
