package catalog

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// held is what a list of records is about, as name@generation, with a "-" in front of what is deleted.
func held(luns []LUN) []string {
	out := []string{}
	for _, l := range luns {
		mark := ""
		if l.Deleted {
			mark = "-"
		}
		out = append(out, fmt.Sprintf("%s%s@%d", mark, l.Name, l.Generation))
	}
	return out
}

// healing is Heal by drive number.
func healing(s Set) map[int][]string {
	out := map[int][]string{}
	for id, luns := range s.Heal() {
		out[int(id[15])] = held(luns)
	}
	return out
}

func TestHeal(t *testing.T) {
	one := testLUN(1, 1, testPlex(1, 1, 4, 8))
	two := testLUN(2, 1, testPlex(2, 2, 4, 8))
	mirror := testLUN(3, 4, testPlex(3, 1, 20, 8), testPlex(4, 2, 20, 8))
	version := func(l LUN, generation uint64) LUN { l.Generation = generation; return l }
	deleted := func(l LUN) LUN { l.Deleted = true; l.Generation++; return l }
	shorter := func(l LUN, former ...int) LUN {
		l.Plexes, l.Generation = l.Plexes[:1], l.Generation+1
		for _, d := range former {
			l.Former = append(l.Former, driveID(d))
		}
		return l
	}
	joined := attach(one, two)
	settled := joined
	settled.Operation = nil
	lost := drive(2, mirror)
	lost.HeadLost = true

	tests := map[string]struct {
		drives []Drive
		want   map[int][]string
	}{
		"nothing to do":                      {drives: []Drive{drive(1, one, mirror), drive(2, two, mirror), drive(3)}},
		"one behind":                         {drives: []Drive{drive(1, mirror), drive(2, version(mirror, 5))}, want: map[int][]string{1: {"lun3@5"}}},
		"one without":                        {drives: []Drive{drive(1, one, mirror), drive(2, two)}, want: map[int][]string{2: {"lun2@1", "lun3@4"}}},
		"known to a third only":              {drives: []Drive{drive(1), drive(2), drive(3, mirror)}, want: map[int][]string{1: {"lun3@4"}, 2: {"lun3@4"}}},
		"witness not needed":                 {drives: []Drive{drive(1, one), drive(3, one)}, want: map[int][]string{3: {}}},
		"witness older":                      {drives: []Drive{drive(1, version(one, 2)), drive(3, one)}, want: map[int][]string{3: {}}},
		"witness needed, owner behind":       {drives: []Drive{drive(1, one), drive(3, version(one, 2))}, want: map[int][]string{1: {"lun1@2"}}},
		"witness needed, owner without":      {drives: []Drive{drive(1), drive(3, one)}, want: map[int][]string{1: {"lun1@1"}}},
		"witness needed, a third behind":     {drives: []Drive{drive(1, version(one, 2)), drive(3, version(one, 2)), drive(4, one)}, want: map[int][]string{4: {}}},
		"witness needed, owner away":         {drives: []Drive{drive(3, one)}},
		"witness needed, one owner away":     {drives: []Drive{drive(1, mirror), drive(3, mirror)}},
		"witness needed, former away":        {drives: []Drive{drive(1, shorter(mirror, 9)), drive(3, shorter(mirror, 9))}},
		"witness older, former away":         {drives: []Drive{drive(1, shorter(mirror, 9)), drive(2, mirror)}, want: map[int][]string{2: {"lun3@5"}}},
		"plex removed":                       {drives: []Drive{drive(1, shorter(mirror)), drive(2, mirror)}, want: map[int][]string{2: {}}},
		"plex removed, both know":            {drives: []Drive{drive(1, shorter(mirror)), drive(2, shorter(mirror))}, want: map[int][]string{2: {}}},
		"deleted, all know":                  {drives: []Drive{drive(1, deleted(mirror)), drive(2, deleted(mirror))}, want: map[int][]string{1: {}, 2: {}}},
		"deleted, one does not know":         {drives: []Drive{drive(1, deleted(mirror)), drive(2, mirror)}, want: map[int][]string{2: {}}},
		"deleted, one is clean":              {drives: []Drive{drive(1, deleted(mirror)), drive(2)}, want: map[int][]string{1: {}}},
		"deleted, one is away":               {drives: []Drive{drive(1, deleted(mirror))}},
		"deleted, former is away":            {drives: []Drive{drive(1, deleted(shorter(mirror, 9))), drive(2)}},
		"deleted, one away, one behind":      {drives: []Drive{drive(1, deleted(mirror)), drive(3, mirror)}, want: map[int][]string{3: {"-lun3@5"}}},
		"deleted, one is copied":             {drives: []Drive{drive(1, deleted(mirror)), drive(2), drive(2)}},
		"absorbed, source behind":            {drives: []Drive{drive(1, joined), drive(2, two)}, want: map[int][]string{2: {"lun1@2"}}},
		"absorbed, target behind":            {drives: []Drive{drive(1, one), drive(2, joined)}, want: map[int][]string{1: {"lun1@2"}}},
		"absorbed, on a third drive":         {drives: []Drive{drive(1, joined), drive(2, joined), drive(3, two)}, want: map[int][]string{3: {}}},
		"canceled on the source only":        {drives: []Drive{drive(1, joined), drive(2, version(one, 3), version(two, 2))}, want: map[int][]string{1: {"lun1@3"}}},
		"canceled everywhere":                {drives: []Drive{drive(1, version(one, 3)), drive(2, version(one, 3), version(two, 2))}, want: map[int][]string{2: {"lun2@2"}}},
		"canceled, target half away":         {drives: []Drive{drive(2, version(one, 3), version(two, 2))}},
		"absorber deleted, source haunts":    {drives: []Drive{drive(1, deleted(settled)), drive(2, deleted(settled)), drive(3, two)}, want: map[int][]string{3: {}}},
		"absorber absorbed, source haunts":   {drives: []Drive{drive(1, joined), drive(2, two), drive(3, inherits(buries(testLUN(5, 1, testPlex(5, 3, 4, 8)), joined), joined))}, want: map[int][]string{1: {}, 2: {}}},
		"absorber cannot be used":            {drives: []Drive{drive(1, joined, testLUN(5, 1, testPlex(5, 1, 8, 8))), drive(2, two)}},
		"cannot be used, one behind":         {drives: []Drive{drive(1, mirror, testLUN(5, 1, testPlex(5, 1, 21, 8))), drive(2, version(mirror, 3))}},
		"conflict":                           {drives: []Drive{drive(1, mirror), drive(2, version(one, 4), version(mirror, 4)), drive(3, testLUN(3, 4, testPlex(7, 3, 20, 8)))}, want: map[int][]string{1: {"lun1@4", "lun3@4"}}},
		"drive without its first label":      {drives: []Drive{drive(1, version(mirror, 5)), lost}},
		"deleted, drive without first label": {drives: []Drive{drive(1, deleted(mirror)), lost}},
		"duplicate drive":                    {drives: []Drive{drive(1, mirror), drive(2, version(mirror, 3)), drive(2, mirror)}},
		"deletion that is not heard":         {drives: []Drive{drive(1, mirror), unheard(2, deleted(mirror))}},
		"one not heard is behind":            {drives: []Drive{drive(1, mirror), unheard(2, version(mirror, 3))}},
		"deleted, one that is not heard":     {drives: []Drive{drive(1, deleted(one)), unheard(3, one)}},
		"newest of a copy":                   {drives: []Drive{drive(1, mirror), drive(2, version(mirror, 3)), unheard(2, version(mirror, 9))}, want: map[int][]string{2: {"lun3@4"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := Merge(tt.drives)
			want := tt.want
			if want == nil {
				want = map[int][]string{}
			}
			if diff := cmp.Diff(want, healing(s)); diff != "" {
				t.Errorf("heal (-want +got):\n%s", diff)
			}
			checkConverges(t, tt.drives, shuffled)
		})
	}
}

// inherits is l with the tombstones of a LUN that it has absorbed.
func inherits(l, absorbed LUN) LUN {
	l.Absorbed = slices.Concat(l.Absorbed, absorbed.Absorbed)
	return l
}

// checkConverges heals until there is nothing left to do. After every single write, in any order, Merge says the same,
// and it takes at most three rounds.
func checkConverges(t failer, drives []Drive, shuffle func([]uuid.UUID) []uuid.UUID) {
	t.Helper()
	drives = slices.Clone(drives)
	want := names(Merge(drives))
	for round := 0; ; round++ {
		changes := Merge(drives).Heal()
		if len(changes) == 0 {
			return
		}
		if round == 3 {
			t.Fatalf("after %d rounds there is still %v", round, changes)
		}
		for _, id := range shuffle(slices.SortedFunc(maps.Keys(changes), compareIDs)) {
			i := slices.IndexFunc(drives, func(d Drive) bool { return d.Label.Drive == id })
			drives[i].Catalog.LUNs = changes[id]
			if diff := cmp.Diff(want, names(Merge(drives))); diff != "" {
				t.Fatalf("round %d, after drive %s (-want +got):\n%s", round, id, diff)
			}
		}
	}
}

// TestHealTwice follows a deletion to its end: the drive that did not know first, then the tombstones.
func TestHealTwice(t *testing.T) {
	mirror := testLUN(3, 4, testPlex(3, 1, 20, 8), testPlex(4, 2, 20, 8))
	dead := mirror
	dead.Deleted, dead.Generation = true, 5
	drives := []Drive{drive(1, dead), drive(2, mirror)}
	rounds := []map[int][]string{{2: {}}, {1: {}}, {}}
	for _, want := range rounds {
		s := Merge(drives)
		if diff := cmp.Diff(want, healing(s)); diff != "" {
			t.Fatalf("heal (-want +got):\n%s", diff)
		}
		for i := range drives {
			if luns, ok := s.Heal()[drives[i].Label.Drive]; ok {
				drives[i].Catalog.LUNs = luns
			}
		}
	}
}

func TestApply(t *testing.T) {
	one := testLUN(1, 1, testPlex(1, 1, 4, 8))
	two := testLUN(2, 1, testPlex(2, 2, 4, 8))
	joined := attach(one, two)
	version := func(l LUN, generation uint64) LUN { l.Generation = generation; return l }
	dead := version(one, 2)
	dead.Deleted = true
	tests := map[string]struct {
		drive Drive
		put   []LUN
		want  []string
	}{
		"nothing":                          {drive: drive(1, one), want: []string{"lun1@1"}},
		"new lun":                          {drive: drive(1), put: []LUN{one}, want: []string{"lun1@1"}},
		"new lun, sorted":                  {drive: drive(2, testLUN(9, 1, testPlex(9, 2, 30, 8))), put: []LUN{two}, want: []string{"lun2@1", "lun9@1"}},
		"lun of another drive":             {drive: drive(1), put: []LUN{two}, want: []string{}},
		"newer":                            {drive: drive(1, one), put: []LUN{version(one, 2)}, want: []string{"lun1@2"}},
		"older":                            {drive: drive(1, version(one, 2)), put: []LUN{one}, want: []string{"lun1@2"}},
		"newer of another drive":           {drive: drive(3, one), put: []LUN{version(one, 2)}, want: []string{"lun1@2"}},
		"deleted":                          {drive: drive(1, one), put: []LUN{dead}, want: []string{"-lun1@2"}},
		"deleted, not known here":          {drive: drive(1), put: []LUN{dead}, want: []string{}},
		"attach on the source":             {drive: drive(2, two), put: []LUN{joined}, want: []string{"lun1@2"}},
		"attach on the target":             {drive: drive(1, one), put: []LUN{joined}, want: []string{"lun1@2"}},
		"attach, source changed meanwhile": {drive: drive(2, version(two, 2)), put: []LUN{joined}, want: []string{"lun1@2", "lun2@2"}},
		"attach, source on a third drive":  {drive: drive(3, two), put: []LUN{joined}, want: []string{"lun1@2"}},
		"cancel on the source":             {drive: drive(2, joined), put: []LUN{version(one, 3), version(two, 2)}, want: []string{"lun1@3", "lun2@2"}},
		"cancel, other order":              {drive: drive(2, joined), put: []LUN{version(two, 2), version(one, 3)}, want: []string{"lun1@3", "lun2@2"}},
		"cancel, tombstone kept":           {drive: drive(2, joined), put: []LUN{buries(version(one, 3), two), version(two, 2)}, want: []string{"lun1@3", "lun2@2"}},
		"cancel on the target":             {drive: drive(1, joined), put: []LUN{version(one, 3), version(two, 2)}, want: []string{"lun1@3", "lun2@2"}},
		"split on the other drive":         {drive: drive(1, joined), put: []LUN{version(one, 3), version(testLUN(9, 1, testPlex(2, 2, 4, 8)), 1)}, want: []string{"lun1@3", "lun9@1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := held(tt.drive.Catalog.LUNs)
			for range 5 {
				got := Merge([]Drive{tt.drive}).Apply(tt.drive.Label.Drive, shuffled(tt.put)...)
				if diff := cmp.Diff(tt.want, held(got)); diff != "" {
					t.Errorf("catalog (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(before, held(tt.drive.Catalog.LUNs)); diff != "" {
				t.Errorf("the drive itself changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvolved(t *testing.T) {
	one := testLUN(1, 1, testPlex(1, 1, 4, 8))
	two := testLUN(2, 1, testPlex(2, 2, 4, 8), testPlex(3, 9, 4, 8))
	s := Merge([]Drive{drive(1, one), drive(2, two), drive(3, two), drive(4), drive(5, one)})
	dead := one
	dead.Deleted, dead.Generation = true, 2
	tests := map[string]struct {
		put  []LUN
		want []uuid.UUID
	}{
		"nothing":           {},
		"what is there":     {put: []LUN{one}, want: []uuid.UUID{driveID(1)}},
		"new lun":           {put: []LUN{testLUN(6, 1, testPlex(6, 4, 4, 8))}, want: []uuid.UUID{driveID(4)}},
		"new, absent drive": {put: []LUN{testLUN(6, 1, testPlex(6, 9, 4, 8))}},
		"deletion":          {put: []LUN{dead}, want: []uuid.UUID{driveID(1), driveID(5)}},
		"attach":            {put: []LUN{attach(one, two)}, want: []uuid.UUID{driveID(1), driveID(2), driveID(3), driveID(5)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, s.Involved(tt.put...)); diff != "" {
				t.Errorf("drives (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNext(t *testing.T) {
	one := testLUN(1, 3, testPlex(1, 1, 4, 8), testPlex(4, 5, 4, 8))
	two := testLUN(2, 7, testPlex(2, 2, 4, 8))
	two.Former = []uuid.UUID{driveID(8)}
	two.Absorbed = []Tombstone{{LUN: lunID(6), Generation: 2}}
	asked := one
	asked.Plexes = slices.Concat(one.Plexes, two.Plexes)
	asked.Operation = &Operation{ID: opID(1), Source: &two, Plexes: []uuid.UUID{plexID(2)}}
	joined := asked
	joined.Generation = 4
	joined.Former = []uuid.UUID{driveID(8)}
	joined.Absorbed = []Tombstone{{LUN: lunID(2), Generation: 7}, {LUN: lunID(6), Generation: 2}}
	fewer := one
	fewer.Plexes = one.Plexes[:1]
	gone := joined
	gone.Plexes = one.Plexes
	gone.Operation = nil
	done := joined
	done.Operation = nil

	type fields struct {
		Generation uint64
		Absorbed   []Tombstone
		Former     []uuid.UUID
	}
	tests := map[string]struct {
		drives []Drive
		change LUN
		want   fields
	}{
		"new":                          {drives: []Drive{drive(1)}, change: LUN{ID: lunID(9)}, want: fields{Generation: 1}},
		"simple change":                {drives: []Drive{drive(1, one), drive(5, one)}, change: one, want: fields{Generation: 4}},
		"of an older copy":             {drives: []Drive{drive(1, one), drive(5, joined)}, change: one, want: fields{5, joined.Absorbed, []uuid.UUID{driveID(2), driveID(8)}}},
		"plex removed":                 {drives: []Drive{drive(1, one), drive(5, one)}, change: fewer, want: fields{Generation: 4, Former: []uuid.UUID{driveID(5)}}},
		"plex of an absent drive":      {drives: []Drive{drive(1, one)}, change: fewer, want: fields{Generation: 4, Former: []uuid.UUID{driveID(5)}}},
		"plex removed, drive clean":    {drives: []Drive{drive(1, one), drive(5)}, change: fewer, want: fields{Generation: 4}},
		"former drive is back":         {drives: []Drive{drive(1, one), drive(5, one), drive(9, two)}, change: LUN{ID: one.ID, Plexes: one.Plexes, Former: []uuid.UUID{driveID(9)}}, want: fields{Generation: 4}},
		"former drive has old record":  {drives: []Drive{drive(1, one), drive(5, one), drive(9, one)}, change: LUN{ID: one.ID, Plexes: one.Plexes, Former: []uuid.UUID{driveID(9)}}, want: fields{Generation: 4, Former: []uuid.UUID{driveID(9)}}},
		"former drive has a plex":      {drives: []Drive{drive(1, one), drive(5, one)}, change: LUN{ID: one.ID, Plexes: one.Plexes, Former: []uuid.UUID{driveID(1)}}, want: fields{Generation: 4}},
		"attach":                       {drives: []Drive{drive(1, one), drive(2, two), drive(5, one)}, change: asked, want: fields{4, joined.Absorbed, joined.Former}},
		"attach, all drives there":     {drives: []Drive{drive(1, one), drive(2, two), drive(5, one), drive(8)}, change: asked, want: fields{4, joined.Absorbed[:1], nil}},
		"cancel, target":               {drives: []Drive{drive(1, joined), drive(2, joined), drive(5, joined)}, change: gone, want: fields{5, joined.Absorbed, []uuid.UUID{driveID(2), driveID(8)}}},
		"cancel, source":               {drives: []Drive{drive(1, joined), drive(2, joined), drive(5, joined)}, change: two, want: fields{Generation: 8, Former: two.Former, Absorbed: two.Absorbed}},
		"under way, nothing can haunt": {drives: []Drive{drive(1, joined), drive(2, joined), drive(5, joined), drive(8)}, change: joined, want: fields{Generation: 5, Absorbed: joined.Absorbed[:1]}},
		"complete, nothing can haunt":  {drives: []Drive{drive(1, joined), drive(2, joined), drive(5, joined), drive(8)}, change: done, want: fields{Generation: 5, Absorbed: []Tombstone{}}},
		"complete, source still there": {drives: []Drive{drive(1, joined), drive(2, two), drive(5, joined), drive(8)}, change: done, want: fields{Generation: 5, Absorbed: joined.Absorbed[:1]}},
		"complete, one plex away":      {drives: []Drive{drive(1, joined), drive(2, joined), drive(8)}, change: done, want: fields{Generation: 5, Absorbed: joined.Absorbed}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			next := Merge(tt.drives).Next(tt.change)
			got := fields{next.Generation, next.Absorbed, next.Former}
			if diff := cmp.Diff(tt.want, got, equateEmpty); diff != "" {
				t.Errorf("next (-want +got):\n%s", diff)
			}
			next.Generation, next.Absorbed, next.Former = tt.change.Generation, tt.change.Absorbed, tt.change.Former
			if diff := cmp.Diff(tt.change, next); diff != "" {
				t.Errorf("other fields (-want +got):\n%s", diff)
			}
		})
	}
}
