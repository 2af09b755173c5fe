package catalog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
)

// names is the LUNs of a set that can be used, as name@generation, and those that cannot, with a "!" in front.
func names(s Set) []string {
	var out []string
	for _, l := range s.LUNs {
		mark := ""
		if !s.Usable(l.ID) {
			mark = "!"
		}
		out = append(out, fmt.Sprintf("%s%s@%d", mark, l.Name, l.Generation))
	}
	return out
}

// kinds is the problems of a set by sentinel.
func kinds(s Set) []error {
	var out []error
	for _, p := range s.Problems {
		out = append(out, p.Err)
	}
	return out
}

func TestMerge(t *testing.T) {
	one := testLUN(1, 1, testPlex(1, 1, 4, 8))
	two := testLUN(2, 1, testPlex(2, 2, 4, 8))
	mirror := testLUN(3, 4, testPlex(3, 1, 20, 8), testPlex(4, 2, 20, 8))
	version := func(l LUN, generation uint64) LUN { l.Generation = generation; return l }
	renamed := func(l LUN, name string) LUN { l.Name = name; return l }
	deleted := func(l LUN) LUN { l.Deleted = true; l.Generation++; return l }
	joined := attach(one, two)
	wider := testLUN(1, 2, testPlex(1, 1, 4, 8), testPlex(5, 2, 40, 8), testPlex(6, 4, 4, 8))
	witness := version(one, 3) // of a change that reached drive 2 alone, and was taken back
	witness.Behind = 1
	joinedDeleted := deleted(joined)
	joinedDeleted.Operation = nil
	back := version(two, 2)
	canceled := version(one, 3)

	tests := map[string]struct {
		drives   []Drive
		want     []string
		problems []error
	}{
		"no drive":                        {},
		"empty drive":                     {drives: []Drive{drive(1)}},
		"two luns, sorted by name":        {drives: []Drive{drive(2, renamed(two, "a")), drive(1, one)}, want: []string{"a@1", "lun1@1"}},
		"same record twice":               {drives: []Drive{drive(1, mirror), drive(2, mirror)}, want: []string{"lun3@4"}},
		"higher generation wins":          {drives: []Drive{drive(1, mirror), drive(2, version(mirror, 5))}, want: []string{"lun3@5"}},
		"witness wins":                    {drives: []Drive{drive(1, one), drive(2, version(one, 2))}, want: []string{"lun1@2"}},
		"witness of a change taken back":  {drives: []Drive{drive(1, renamed(version(one, 2), "a")), drive(2, witness)}, want: []string{"a@2"}},
		"witness of the same generation":  {drives: []Drive{drive(1, renamed(version(one, 3), "a")), drive(2, witness)}, want: []string{"a@3"}},
		"witness over the change itself":  {drives: []Drive{drive(1, version(wider, 2)), drive(2, witness), drive(4)}, want: []string{"lun1@3"}},
		"witness over what it has seen":   {drives: []Drive{drive(1, one), drive(2, witness)}, want: []string{"lun1@3"}},
		"witness, lent to that drive":     {drives: []Drive{drive(1, lent(version(one, 2), 2)), drive(2, witness)}, want: []string{"lun1@3"}},
		"witness against a witness":       {drives: []Drive{drive(2, witness), drive(3, renamed(version(one, 2), "a"))}, want: []string{"lun1@3"}},
		"two witnesses":                   {drives: []Drive{drive(1, renamed(version(one, 2), "a")), drive(2, witness), drive(3, witness)}, want: []string{"a@2"}},
		"conflict":                        {drives: []Drive{drive(1, mirror), drive(2, renamed(mirror, "other"))}, want: []string{"!lun3@4"}, problems: []error{ErrConflict}},
		"conflict, one deleted":           {drives: []Drive{drive(1, version(mirror, 5)), drive(2, deleted(mirror))}, want: []string{"!lun3@5"}, problems: []error{ErrConflict}},
		"conflict that is settled":        {drives: []Drive{drive(1, mirror), drive(2, renamed(mirror, "other")), drive(3, version(mirror, 5))}, want: []string{"lun3@5"}},
		"deleted":                         {drives: []Drive{drive(1, deleted(mirror)), drive(2, mirror)}},
		"deleted and made again":          {drives: []Drive{drive(1, deleted(mirror)), drive(2, version(mirror, 6))}, want: []string{"lun3@6"}},
		"absorbed":                        {drives: []Drive{drive(1, joined), drive(2, two)}, want: []string{"lun1@2"}},
		"absorbed, target older there":    {drives: []Drive{drive(1, one), drive(2, joined)}, want: []string{"lun1@2"}},
		"absorbed at a later generation":  {drives: []Drive{drive(1, joined), drive(2, version(two, 2))}, want: []string{"!lun1@2", "lun2@2"}, problems: []error{ErrInvalid, ErrOverlap}},
		"canceled":                        {drives: []Drive{drive(1, joined), drive(2, canceled, back)}, want: []string{"lun1@3", "lun2@2"}},
		"canceled, tombstone kept":        {drives: []Drive{drive(1, version(LUN{ID: one.ID, Name: "lun1", Size: one.Size, Plexes: one.Plexes, Absorbed: joined.Absorbed}, 3)), drive(2, back)}, want: []string{"lun1@3", "lun2@2"}},
		"absorber deleted":                {drives: []Drive{drive(1, joinedDeleted), drive(2, two)}},
		"absorber's record is older":      {drives: []Drive{drive(1, joined), drive(2, two, version(one, 3))}, want: []string{"lun1@3", "lun2@1"}},
		"absorbed both by each other":     {drives: []Drive{drive(1, buries(one, two)), drive(2, buries(two, one))}},
		"conflict whose rival absorbed":   {drives: []Drive{drive(1, lent(joined, 3)), drive(2, two), drive(3, version(renamed(one, "a"), 2))}, want: []string{"!a@2"}, problems: []error{ErrConflict}},
		"duplicate drive":                 {drives: []Drive{drive(1, one), drive(1, one), drive(2, two)}, want: []string{"!lun1@1", "lun2@1"}, problems: []error{ErrDuplicateDrive}},
		"duplicate drive, three":          {drives: []Drive{drive(1), drive(1), drive(1)}, problems: []error{ErrDuplicateDrive}},
		"two duplicate drives":            {drives: []Drive{drive(1, mirror), drive(2, mirror), drive(1, mirror), drive(2, mirror)}, want: []string{"!lun3@4"}, problems: []error{ErrDuplicateDrive, ErrDuplicateDrive}},
		"duplicate under a mirror":        {drives: []Drive{drive(1, mirror), drive(2, mirror), drive(2, mirror)}, want: []string{"!lun3@4"}, problems: []error{ErrDuplicateDrive}},
		"copy's deletion is not heard":    {drives: []Drive{drive(1, one), drive(2, deleted(one)), drive(2)}, want: []string{"lun1@1"}, problems: []error{ErrDuplicateDrive}},
		"copy's newer record not heard":   {drives: []Drive{drive(1, mirror), drive(2, version(mirror, 9)), drive(2, mirror)}, want: []string{"!lun3@4"}, problems: []error{ErrDuplicateDrive}},
		"deleted, a copy is newer":        {drives: []Drive{drive(1, deleted(one)), drive(2, version(one, 3)), drive(2)}, want: []string{"!lun1@3"}, problems: []error{ErrDuplicateDrive}},
		"deleted, a copy is older":        {drives: []Drive{drive(1, version(deleted(one), 4)), drive(2, version(one, 3)), drive(2)}, problems: []error{ErrDuplicateDrive}},
		"copies differ":                   {drives: []Drive{drive(1, one), drive(1, version(one, 2))}, want: []string{"!lun1@2"}, problems: []error{ErrDuplicateDrive}},
		"copy holds an absorbed lun":      {drives: []Drive{drive(1, joined), drive(2, two), drive(2, two)}, want: []string{"!lun1@2"}, problems: []error{ErrDuplicateDrive}},
		"copy holds a deleted lun":        {drives: []Drive{drive(1, deleted(one)), drive(1, deleted(one))}, problems: []error{ErrDuplicateDrive}},
		"overlap, both confirmed":         {drives: []Drive{drive(1, one, testLUN(5, 1, testPlex(5, 1, 8, 8)))}, want: []string{"!lun1@1", "!lun5@1"}, problems: []error{ErrOverlap}},
		"overlap on an absent drive":      {drives: []Drive{drive(2, testLUN(5, 1, testPlex(5, 9, 4, 8)), testLUN(6, 1, testPlex(6, 9, 8, 8)))}, want: []string{"!lun5@1", "!lun6@1"}, problems: []error{ErrOverlap}},
		"overlap with what came back":     {drives: []Drive{drive(1, one), drive(2, testLUN(5, 1, testPlex(5, 1, 8, 8), testPlex(6, 2, 4, 8)))}, want: []string{"lun1@1", "!lun5@1"}, problems: []error{ErrOverlap}},
		"overlap of two that came back":   {drives: []Drive{drive(1), drive(2, testLUN(5, 1, testPlex(5, 1, 8, 8)), testLUN(6, 1, testPlex(6, 1, 8, 8)))}, want: []string{"!lun5@1", "!lun6@1"}, problems: []error{ErrOverlap}},
		"metadata overlaps":               {drives: []Drive{drive(1, one, testLUN(5, 1, Plex{ID: plexID(5), Data: []Extent{mib(2, 4, 8)}, Meta: mib(1, 6, 1), Slot: SlotA}))}, want: []string{"!lun1@1", "!lun5@1"}, problems: []error{ErrOverlap}},
		"deleted lun's space is free":     {drives: []Drive{drive(1, deleted(one), testLUN(5, 1, testPlex(5, 1, 4, 8))), drive(2, one)}, want: []string{"lun5@1"}},
		"extent beyond a drive":           {drives: []Drive{drive(1), drive(2, testLUN(5, 1, testPlex(5, 1, 60, 8)))}, want: []string{"!lun5@1"}, problems: []error{ErrInvalid}},
		"extent beyond an absent drive":   {drives: []Drive{drive(2, testLUN(5, 1, testPlex(5, 1, 60, 8)))}, want: []string{"lun5@1"}},
		"plex of two luns":                {drives: []Drive{drive(1, one), drive(2, testLUN(5, 1, testPlex(1, 2, 4, 8)))}, want: []string{"!lun1@1", "!lun5@1"}, problems: []error{ErrInvalid}},
		"same name":                       {drives: []Drive{drive(1, one), drive(2, renamed(two, "lun1"))}, want: []string{"lun1@1", "lun1@1"}, problems: []error{ErrDuplicateName}},
		"same name as a deleted one":      {drives: []Drive{drive(1, deleted(one)), drive(2, renamed(two, "lun1"))}, want: []string{"lun1@1"}},
		"names that differ in case":       {drives: []Drive{drive(1, one), drive(2, renamed(two, "LUN1"))}, want: []string{"LUN1@1", "lun1@1"}},
		"two names, each twice":           {drives: []Drive{drive(1, one, renamed(version(testLUN(6, 1, testPlex(6, 1, 30, 8)), 1), "x")), drive(2, renamed(two, "lun1"), renamed(testLUN(7, 1, testPlex(7, 2, 30, 8)), "x"))}, want: []string{"lun1@1", "lun1@1", "x@1", "x@1"}, problems: []error{ErrDuplicateName, ErrDuplicateName}},
		"record on a drive without plex":  {drives: []Drive{drive(3, one)}, want: []string{"lun1@1"}},
		"not heard":                       {drives: []Drive{unheard(1, one), drive(2, two)}, want: []string{"!lun1@1", "lun2@1"}},
		"deletion not heard":              {drives: []Drive{drive(1, one), unheard(2, deleted(one))}, want: []string{"lun1@1"}},
		"newer record not heard":          {drives: []Drive{drive(1, mirror), unheard(2, version(mirror, 9))}, want: []string{"lun3@4"}},
		"conflict not heard":              {drives: []Drive{drive(1, mirror), unheard(2, renamed(mirror, "other"))}, want: []string{"lun3@4"}},
		"absorption not heard":            {drives: []Drive{unheard(1, joined), drive(2, two)}, want: []string{"!lun1@2", "lun2@1"}},
		"deleted, unheard is newer":       {drives: []Drive{drive(1, deleted(one)), unheard(2, version(one, 3))}, want: []string{"!lun1@3"}},
		"deleted, unheard is older":       {drives: []Drive{drive(1, version(deleted(one), 4)), unheard(2, version(one, 3))}},
		"name of one not heard":           {drives: []Drive{drive(1, one), unheard(2, renamed(two, "lun1"))}, want: []string{"lun1@1", "!lun1@1"}},
		"overlap with one not heard":      {drives: []Drive{drive(1, one), unheard(2, testLUN(5, 1, testPlex(5, 1, 8, 8)))}, want: []string{"lun1@1", "!lun5@1"}},
		"plex of one not heard":           {drives: []Drive{drive(1, one), unheard(2, testLUN(5, 1, testPlex(1, 2, 4, 8)))}, want: []string{"lun1@1", "!lun5@1"}},
		"two not heard, one newer":        {drives: []Drive{unheard(1, mirror), unheard(2, version(mirror, 5))}, want: []string{"!lun3@5"}},
		"not heard, twice":                {drives: []Drive{unheard(1, one), unheard(1, version(one, 2))}, want: []string{"!lun1@2"}},
		"copy of a drive that is heard":   {drives: []Drive{drive(1, one), unheard(1, version(one, 7), testLUN(5, 1, testPlex(5, 1, 20, 8)))}, want: []string{"lun1@1"}},
		"there twice, and not heard":      {drives: []Drive{drive(1, one), drive(1, one), unheard(2, version(one, 9))}, want: []string{"!lun1@1"}, problems: []error{ErrDuplicateDrive}},
		"duplicate drive, lun known also": {drives: []Drive{drive(1, one), drive(3, one), drive(1, one)}, want: []string{"!lun1@1"}, problems: []error{ErrDuplicateDrive}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := Merge(tt.drives)
			if diff := cmp.Diff(tt.want, names(s)); diff != "" {
				t.Errorf("luns (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, kinds(s), cmpopts.EquateErrors()); diff != "" {
				t.Errorf("problems (-want +got):\n%s\n%v", diff, s.Problems)
			}
			for range 20 {
				checkSame(t, s, Merge(shuffled(tt.drives)))
			}
			checkBlockedUntouched(t, s)
		})
	}
}

// unheard is a drive that has no say.
func unheard(n int, luns ...LUN) Drive {
	d := drive(n, luns...)
	d.Unheard = true
	return d
}

// buries is l with a tombstone for other.
func buries(l, other LUN) LUN {
	l.Absorbed = []Tombstone{{LUN: other.ID, Generation: other.Generation}}
	return l
}

func shuffled[T any](in []T) []T {
	out := slices.Clone(in)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// checkSame expects two sets to say the same.
func checkSame(t failer, want, got Set) {
	t.Helper()
	if diff := cmp.Diff(want.LUNs, got.LUNs); diff != "" {
		t.Errorf("luns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(fmt.Sprint(want.Problems), fmt.Sprint(got.Problems)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(names(want), names(got)); diff != "" {
		t.Errorf("usable (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Heal(), got.Heal()); diff != "" {
		t.Errorf("heal (-want +got):\n%s", diff)
	}
}

// checkBlockedUntouched expects Heal to leave every record of a LUN that cannot be used where it is, and no more.
func checkBlockedUntouched(t failer, s Set) {
	t.Helper()
	for id, luns := range s.Heal() {
		before, after := map[uuid.UUID]uint64{}, map[uuid.UUID]uint64{}
		for _, l := range s.drives[id].Catalog.LUNs {
			before[l.ID] = l.Generation
		}
		for _, l := range luns {
			after[l.ID] = l.Generation
		}
		for lun := range s.blocked {
			if before[lun] != after[lun] {
				t.Errorf("drive %s: record of unusable lun %s: generation %d becomes %d", id, lun, before[lun], after[lun])
			}
		}
	}
}

func TestProblemNamesAll(t *testing.T) {
	one, other := testLUN(1, 1, testPlex(1, 1, 4, 8)), testLUN(5, 1, testPlex(5, 1, 8, 8))
	s := Merge([]Drive{drive(1, one, other)})
	want := []Problem{{
		Err: ErrOverlap,
		Detail: fmt.Sprintf(`lun "lun1" (%s): plex %s: sectors 10240 to 26624 of drive %s and lun "lun5" (%s): plex %s: sectors 16384 to 18432 of drive %s`,
			lunID(1), plexID(1), driveID(1), lunID(5), plexID(5), driveID(1)),
		LUNs:   []uuid.UUID{lunID(1), lunID(5)},
		Drives: []uuid.UUID{driveID(1)},
		Unfit:  []uuid.UUID{lunID(1), lunID(5)},
	}}
	sentinels := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Err" }, cmpopts.EquateErrors())
	if diff := cmp.Diff(want, s.Problems, sentinels); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if !errors.Is(s.Problems[0], ErrOverlap) || !strings.Contains(s.Problems[0].Error(), "overlapping") {
		t.Errorf("error %v", s.Problems[0])
	}
}

func TestSetQueries(t *testing.T) {
	mirror := testLUN(3, 4, testPlex(3, 1, 20, 8), testPlex(4, 2, 20, 8), testPlex(5, 3, 20, 8))
	s := Merge([]Drive{drive(1, mirror), drive(3), drive(3), drive(4, mirror)})
	if diff := cmp.Diff([]uuid.UUID{driveID(2), driveID(3)}, mirror.MissingDrives(s)); diff != "" {
		t.Errorf("missing drives (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uuid.UUID{driveID(1), driveID(4)}, s.Holders(mirror.ID)); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
	if got := s.Holders(lunID(77)); got != nil {
		t.Errorf("holders of an unknown lun: %v", got)
	}
	if foreign := Merge([]Drive{unheard(1, mirror)}); !foreign.Unheard(mirror.ID) || foreign.Unheard(lunID(77)) || len(mirror.MissingDrives(foreign)) != 3 {
		t.Errorf("unheard: %v; missing %v", foreign.Unheard(mirror.ID), mirror.MissingDrives(foreign))
	}
	if s.Usable(lunID(77)) || s.Usable(mirror.ID) {
		t.Error("usable: an unknown lun, or one with a duplicate drive")
	}
	if diff := cmp.Diff([]uuid.UUID{driveID(1), driveID(2), driveID(3)}, mirror.Drives()); diff != "" {
		t.Errorf("drives (-want +got):\n%s", diff)
	}
}

func TestFree(t *testing.T) {
	old := testLUN(1, 1, testPlex(1, 1, 10, 8), testPlex(2, 2, 4, 8))
	now := testLUN(1, 2, testPlex(2, 2, 4, 8))
	dead := now
	dead.Deleted = true
	tests := map[string]struct {
		drives []Drive
		want   []Extent
	}{
		"absent drive":                  {drives: []Drive{drive(2)}},
		"duplicate drive":               {drives: []Drive{drive(1), drive(1)}},
		"empty drive":                   {drives: []Drive{drive(1)}, want: []Extent{mib(1, 4, 56)}},
		"hole at the start":             {drives: []Drive{drive(1, old)}, want: []Extent{mib(1, 4, 6), mib(1, 19, 41)}},
		"claimed by another drive":      {drives: []Drive{drive(1), drive(2, old)}, want: []Extent{mib(1, 4, 6), mib(1, 19, 41)}},
		"older record still there":      {drives: []Drive{drive(1, old), drive(2, now)}, want: []Extent{mib(1, 4, 6), mib(1, 19, 41)}},
		"deleted, older record there":   {drives: []Drive{drive(1, old), drive(2, dead)}, want: []Extent{mib(1, 4, 6), mib(1, 19, 41)}},
		"deleted, older record away":    {drives: []Drive{drive(1, dead), drive(2, old)}, want: []Extent{mib(1, 4, 56)}},
		"older record elsewhere":        {drives: []Drive{drive(1, now), drive(2, now), drive(3, old)}, want: []Extent{mib(1, 4, 6), mib(1, 19, 41)}},
		"lun that cannot be used":       {drives: []Drive{drive(1), drive(2, old), drive(2, old)}, want: []Extent{mib(1, 4, 6), mib(1, 19, 41)}},
		"full":                          {drives: []Drive{drive(1, testLUN(1, 1, testPlex(1, 1, 4, 55)))}},
		"claimed by an unheard drive":   {drives: []Drive{drive(1), unheard(2, old)}, want: []Extent{mib(1, 4, 56)}},
		"an unheard drive":              {drives: []Drive{unheard(1)}},
		"extents that touch":            {drives: []Drive{drive(1, testLUN(1, 1, testPlex(1, 1, 4, 8)), testLUN(2, 1, testPlex(2, 1, 13, 8)))}, want: []Extent{mib(1, 22, 38)}},
		"claims beyond the drive":       {drives: []Drive{drive(1), drive(2, testLUN(1, 1, testPlex(1, 1, 50, 50)))}, want: []Extent{mib(1, 4, 46)}},
		"claim wholly behind the drive": {drives: []Drive{drive(1), drive(2, testLUN(1, 1, testPlex(1, 1, 70, 8)))}, want: []Extent{mib(1, 4, 56)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Merge(tt.drives).Free(driveID(1))); diff != "" {
				t.Errorf("free space (-want +got):\n%s", diff)
			}
		})
	}
}

// A decision comes from both sides, also if they have been through more histories than a record can hold.
func TestReuniteComesFromBothSides(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	side := func(from LUN, generation uint64) LUN {
		from.Generation, from.Histories = generation, slices.Clone(from.Histories)
		if n := len(from.Histories); n > 0 {
			from.Histories[n-1].Last = generation - 1
		}
		from.Histories = append(from.Histories, History{ID: uuid.UUID{byte(random.Uint32()), byte(random.Uint32()), 15: byte(generation)}})
		from.Histories = from.Histories[max(0, len(from.Histories)-MaxHistories):]
		return from
	}
	l := testLUN(3, 1, testPlex(3, 1, 20, 8), testPlex(4, 2, 20, 8))
	for generation := uint64(2); generation < 200; generation += 5 {
		one, two := side(l, generation), side(l, generation+1)
		s := Merge([]Drive{drive(1, one), drive(2, two)})
		if diff := cmp.Diff([]error{ErrForked}, kinds(s), cmpopts.EquateErrors()); diff != "" {
			t.Fatalf("problems (-want +got):\n%s", diff)
		}
		l = s.Reunite(one, uuid.UUID{byte(random.Uint32()), 14: 1, 15: byte(generation)})
		for _, old := range []LUN{one, two} {
			if !l.comesFrom(old) || l.Generation <= old.Generation {
				t.Fatalf("generation %d with %+v does not come from %+v", l.Generation, l.Histories, old.Histories)
			}
		}
	}
}

// While nobody has decided, a change of one side leaves the record of the other side where it is.
func TestAChangeOfOneSideOfAFork(t *testing.T) {
	history := func(l LUN, generation uint64, id byte) LUN {
		l.Generation, l.Histories = generation, []History{{ID: opID(1), Last: 3}, {ID: opID(int(id))}}
		return l
	}
	mirror := testLUN(3, 4, testPlex(3, 1, 20, 8), testPlex(4, 2, 20, 8))
	one, two := history(mirror, 5, 2), history(mirror, 6, 3)
	s := Merge([]Drive{drive(1, one), drive(2, two)})
	for id, side := range map[uuid.UUID]LUN{driveID(1): one, driveID(2): two} {
		for _, put := range []LUN{s.Next(one), s.Next(two)} {
			got := s.Apply(id, put)[0]
			if want := max(side.Generation, put.Generation); put.comesFrom(side) != (got.Generation == want) {
				t.Errorf("drive %s has generation %d, got %d of %+v", id, side.Generation, got.Generation, put.Histories)
			}
		}
	}
}
