package catalog

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// TestTakenBack takes each change back behind each of its writes. Whether the last of them has reached its drive nobody
// knows, and that drive may be one that cannot be written any more. From the first write of the taking back on all is as
// it was before.
func TestTakenBack(t *testing.T) {
	for name, sc := range scenarios() {
		t.Run(name, func(t *testing.T) {
			s := Merge(sc.drives)
			put := sc.put(s)
			for _, order := range orders(sc, s, put) {
				for n := range len(order) {
					for _, reached := range []bool{false, true} {
						takeBack(t, sc, put, order, n, reached)
					}
				}
			}
		})
	}
}

// takeBack writes n drives of a change, and one more of which only this function knows whether it was reached. Then it takes
// the change back, with that drive or without it.
func takeBack(t *testing.T, sc scenario, put []LUN, order []uuid.UUID, n int, reached bool) {
	t.Helper()
	s := Merge(sc.drives)
	known := slices.Clone(sc.drives)
	at := func(drives []Drive, id uuid.UUID) *Drive {
		return &drives[slices.IndexFunc(drives, func(d Drive) bool { return d.Label.Drive == id })]
	}
	for _, id := range order[:n] {
		at(known, id).Catalog.LUNs = s.Apply(id, put...)
	}
	actual := slices.Clone(known)
	if reached {
		at(actual, order[n]).Catalog.LUNs = s.Apply(order[n], put...)
	}
	now := Merge(known)
	back := now.TakeBack(put, Merge(sc.drives).LUNs)
	for _, lost := range []bool{false, true} {
		drives, written := slices.Clone(actual), 0
		for _, id := range now.Involved(append(slices.Clone(back), put...)...) {
			if lost && id == order[n] {
				continue
			}
			at(drives, id).Catalog.LUNs = now.Apply(id, back...)
			written++
			where := fmt.Sprintf("order %v, known %d, reached %t, lost %t, back on %d", numbersOf(order), n, reached, lost, written)
			if err := at(drives, id).Catalog.Validate(at(drives, id).Label); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			checkAsBefore(t, where, sc, drives)
		}
	}
}

// checkAsBefore expects the LUNs to be as they were before the change, but for what Next sees to.
func checkAsBefore(t *testing.T, at string, sc scenario, drives []Drive) {
	t.Helper()
	s := Merge(drives)
	want := slices.Clone(Merge(sc.drives).LUNs)
	for i, l := range s.LUNs {
		if i < len(want) {
			want[i].Generation, want[i].Behind, want[i].Absorbed, want[i].Former = l.Generation, l.Behind, l.Absorbed, l.Former
		}
	}
	if diff := cmp.Diff(want, s.LUNs); diff != "" || len(s.Problems) > 0 {
		t.Fatalf("%s: %v, luns (-want +got):\n%s", at, s.Problems, diff)
	}
	checkAtHome(t, at, settled(t, at, drives))
}

// TestTakenBackFromADriveThatVanishes takes a new plex back while its drive vanishes, which was reached nevertheless. When the
// drive is back, the LUN that has been deleted since stays deleted.
func TestTakenBackFromADriveThatVanishes(t *testing.T) {
	l := testLUN(1, 4, testPlex(1, 1, 4, 8))
	s := Merge([]Drive{drive(1, l), drive(2)})
	mirror := s.Next(testLUN(1, 4, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8)))
	second := drive(2, s.Apply(driveID(2), mirror)...)
	back := s.TakeBack([]LUN{mirror}, []LUN{l})
	if diff := cmp.Diff([]uuid.UUID{driveID(2)}, back[0].Former); diff != "" {
		t.Errorf("former drives (-want +got):\n%s", diff)
	}
	alone := settled(t, "taken back", []Drive{drive(1, s.Apply(driveID(1), back...)...)})
	s = Merge(alone)
	dead := s.LUNs[0]
	dead.Deleted = true
	alone[0].Catalog.LUNs = s.Apply(driveID(1), s.Next(dead))
	all := settled(t, "back", append(settled(t, "deleted", alone), second))
	if s := Merge(all); len(s.LUNs) > 0 || len(s.Problems) > 0 {
		t.Errorf("%v, luns %v", s.Problems, names(s))
	}
	checkAtHome(t, "back", all)
}

// TestNextKeepsNewTombstones has callers bury LUNs themselves: what they add holds for at least one version, what was there
// goes when nothing needs it.
func TestNextKeepsNewTombstones(t *testing.T) {
	stone := func(n int, generation uint64) Tombstone { return Tombstone{LUN: lunID(n), Generation: generation} }
	l := testLUN(1, 3, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8))
	l.Absorbed = []Tombstone{stone(5, 2)}
	tests := map[string]struct{ asked, want []Tombstone }{
		"nothing new":                 {asked: []Tombstone{stone(5, 2)}},
		"one is new":                  {asked: []Tombstone{stone(5, 2), stone(9, 1)}, want: []Tombstone{stone(9, 1)}},
		"new, of a later generation":  {asked: []Tombstone{stone(5, 3)}, want: []Tombstone{stone(5, 3)}},
		"both, older one said before": {asked: []Tombstone{stone(5, 2), stone(5, 3)}, want: []Tombstone{stone(5, 3)}},
		"of itself":                   {asked: []Tombstone{stone(1, 2)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			next := l
			next.Absorbed = tt.asked
			got := Merge([]Drive{drive(1, l), drive(2, l)}).Next(next)
			if diff := cmp.Diff(tt.want, got.Absorbed, equateEmpty); diff != "" {
				t.Errorf("tombstones (-want +got):\n%s", diff)
			}
			again := Merge([]Drive{drive(1, got), drive(2, got)}).Next(got)
			if len(again.Absorbed) > 0 {
				t.Errorf("the version after it still has %v", again.Absorbed)
			}
		})
	}
}

// TestSplitOrder writes the split to one of the drives, the plex's or the other: nowhere are the plex's extents of nobody.
func TestSplitOrder(t *testing.T) {
	l := testLUN(1, 4, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8))
	before := []Drive{drive(1, l), drive(2, l)}
	s := Merge(before)
	put := split(s, l, 9, plexID(2))
	for i := range before {
		drives := slices.Clone(before)
		drives[i].Catalog.LUNs = s.Apply(driveID(i+1), put...)
		if diff := cmp.Diff([]string{"lun1@5", "lun9@1"}, names(Merge(drives))); diff != "" {
			t.Errorf("drive %d first (-want +got):\n%s", i+1, diff)
		}
	}
}

// TestSplitSeenByOldRecord brings back a drive that was away for longer than any witness has stayed: it claims for the old
// LUN the plex that the split has given away. The drive of the plex knows the new LUN alone.
func TestSplitSeenByOldRecord(t *testing.T) {
	old := testLUN(1, 4, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8), testPlex(3, 3, 4, 8))
	now := without(old, plexID(2))
	now.Generation = 5
	part := testLUN(9, 1, testPlex(2, 2, 4, 8))
	changed := spoil(old, plexID(2), true)
	changed.Generation = 6
	tests := map[string]struct {
		drives   []Drive
		want     []string
		problems []error
	}{
		"the old record's word only":       {[]Drive{drive(2, part), drive(3, old)}, []string{"!lun1@4", "lun9@1"}, []error{ErrInvalid, ErrOverlap}},
		"a witness is there":               {[]Drive{drive(2, part, now), drive(3, old)}, []string{"lun1@5", "lun9@1"}, nil},
		"another drive knows":              {[]Drive{drive(1, now), drive(2, part), drive(3, old)}, []string{"lun1@5", "lun9@1"}, nil},
		"the plex's drive is away":         {[]Drive{drive(1, now), drive(3, old)}, []string{"lun1@5"}, nil},
		"both went on, each with the plex": {[]Drive{drive(1, changed), drive(2, part, now)}, []string{"!lun1@6", "!lun9@1"}, []error{ErrInvalid, ErrOverlap}},
		"nobody knows better":              {[]Drive{drive(2), drive(3, old), drive(4, part)}, []string{"!lun1@4", "!lun9@1"}, []error{ErrInvalid, ErrOverlap}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := Merge(tt.drives)
			if diff := cmp.Diff(tt.want, names(s)); diff != "" {
				t.Errorf("luns (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, kinds(s), equateErrors); diff != "" {
				t.Errorf("%v (-want +got):\n%s", s.Problems, diff)
			}
			for range 5 {
				checkSame(t, s, Merge(shuffled(tt.drives)))
			}
			checkUsableApart(t, s)
			checkBlockedUntouched(t, s)
			if free := Merge(tt.drives).Free(driveID(2)); len(free) > 0 && slices.ContainsFunc(free, func(e Extent) bool { return e.Start < mib(2, 13, 0).Start }) {
				t.Errorf("space of the plex is free: %v", free)
			}
		})
	}
}

// TestRenameAway brings a drive back with the record of a name that another LUN has now.
func TestRenameAway(t *testing.T) {
	old := testLUN(1, 4, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8))
	now := named(old, "new")
	now.Generation = 5
	heir := named(testLUN(3, 1, testPlex(3, 3, 4, 8)), "lun1")
	s := Merge([]Drive{drive(1, now), drive(2, old), drive(3, heir)})
	if diff := cmp.Diff([]string{"lun1@1", "new@5"}, names(s)); diff != "" || len(s.Problems) > 0 {
		t.Errorf("%v, luns (-want +got):\n%s", s.Problems, diff)
	}
	alone := Merge([]Drive{drive(2, old), drive(3, heir)})
	if diff := cmp.Diff([]error{ErrDuplicateName}, kinds(alone), equateErrors); diff != "" {
		t.Errorf("without the drive that knows (-want +got):\n%s", diff)
	}
	if !alone.Usable(old.ID) || !alone.Usable(heir.ID) {
		t.Error("both can be used, by GUID")
	}
}

// TestNothingHeldComesFree removes a plex while a drive is away, and a LUN then takes the room. When the old record is
// back it claims nothing.
func TestNothingHeldComesFree(t *testing.T) {
	old := testLUN(1, 4, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8), testPlex(3, 3, 4, 8))
	s := Merge([]Drive{drive(1, old), drive(2, old)}) // 3 is away
	now := s.Next(without(old, plexID(2)))
	first, second := drive(1, s.Apply(driveID(1), now)...), drive(2, s.Apply(driveID(2), now)...)
	if diff := cmp.Diff([]uuid.UUID{driveID(2)}, now.Former); diff != "" {
		t.Errorf("former drives (-want +got):\n%s", diff)
	}
	half := Merge([]Drive{first, drive(2, old)})
	if diff := cmp.Diff([]Extent{mib(2, 13, 47)}, half.Free(driveID(2))); diff != "" {
		t.Errorf("free before the plex's drive knows (-want +got):\n%s", diff)
	}
	both := Merge([]Drive{first, second})
	if diff := cmp.Diff([]Extent{mib(2, 4, 56)}, both.Free(driveID(2))); diff != "" {
		t.Errorf("free once it knows (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int][]string{}, healing(both)); diff != "" {
		t.Errorf("the witness stays while a drive is away (-want +got):\n%s", diff)
	}
	tenant := both.Next(testLUN(7, 0, testPlex(7, 2, 4, 8)))
	second.Catalog.LUNs = both.Apply(driveID(2), tenant)
	for name, drives := range map[string][]Drive{"all": {first, second, drive(3, old)}, "without the first": {second, drive(3, old)}} {
		s := Merge(drives)
		if diff := cmp.Diff([]string{"lun1@5", "lun7@1"}, names(s)); diff != "" || len(s.Problems) > 0 {
			t.Errorf("%s: %v, luns (-want +got):\n%s", name, s.Problems, diff)
		}
	}
}

// TestGivenBackWhileAway gives a mirrored source back while one of its drives is away, and then has only that drive and the
// target's: the source is known, and no space of it is free.
func TestGivenBackWhileAway(t *testing.T) {
	source := testLUN(2, 7, testPlex(5, 3, 4, 8), testPlex(6, 4, 4, 8))
	joined := attach(testLUN(1, 4, testPlex(1, 1, 4, 8)), source)
	s := Merge([]Drive{drive(1, joined), drive(3, joined)}) // 4 is away
	put := giveBack(s, joined)
	target := drive(1, s.Apply(driveID(1), put...)...)
	if diff := cmp.Diff([]string{"lun1@6", "lun2@8"}, held(target.Catalog.LUNs)); diff != "" {
		t.Errorf("the target's drive (-want +got):\n%s", diff)
	}
	later := Merge([]Drive{target, drive(4, joined)}) // 3 has gone, 4 is back
	if diff := cmp.Diff([]string{"lun1@6", "lun2@8"}, names(later)); diff != "" {
		t.Errorf("luns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Extent{mib(4, 13, 47)}, later.Free(driveID(4))); diff != "" {
		t.Errorf("free space (-want +got):\n%s", diff)
	}
	all := settled(t, "all back", []Drive{target, drive(3, s.Apply(driveID(3), put...)...), drive(4, joined)})
	checkAtHome(t, "all back", all)
}

// TestCopyStaysDead deletes a LUN while a drive is away that holds a copy of its record, from the split that made it. When
// the drive is back the LUN stays deleted.
func TestCopyStaysDead(t *testing.T) {
	l := testLUN(1, 4, testPlex(1, 1, 4, 8), testPlex(2, 2, 4, 8))
	s := Merge([]Drive{drive(1, l), drive(2, l)})
	put := split(s, l, 9, plexID(2))
	first, second := drive(1, s.Apply(driveID(1), put...)...), drive(2, s.Apply(driveID(2), put...)...)

	alone := settled(t, "alone", []Drive{second})
	s = Merge(alone)
	made := s.LUNs[1]
	made.Deleted = true
	alone[0].Catalog.LUNs = s.Apply(driveID(2), s.Next(made))
	alone = settled(t, "deleted", alone)
	all := settled(t, "all back", []Drive{first, alone[0]})
	if diff := cmp.Diff([]string{"lun1@5"}, names(Merge(all))); diff != "" {
		t.Errorf("luns (-want +got):\n%s", diff)
	}
	checkAtHome(t, "all back", all)
}
