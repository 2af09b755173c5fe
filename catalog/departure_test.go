package catalog

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/vds"
)

// depart is l while plexes are leaving it, of which made is made; nil: nothing.
func depart(l LUN, made *LUN, plexes ...uuid.UUID) LUN {
	out := without(l, plexes...)
	out.Departure = &Departure{Plexes: l.Plexes, Operation: l.Operation, Last: l.Last, Made: made}
	out.Operation = nil
	out.Last = &Outcome{ID: opID(6), Type: vds.AsyncRemoveLUNPlex, Started: testTime, Ended: testTime}
	return out
}

// leavingLUN is a mirror of which a plex is split off. cancelledLUN gives back the LUN that was being absorbed.
func leavingLUN() LUN {
	made := testLUN(8, 1, testPlex(6, 2, 40, 8))
	return depart(testLUN(6, 9, testPlex(5, 1, 40, 8), testPlex(6, 2, 40, 8), testPlex(7, 3, 40, 8)), &made, plexID(6))
}

func cancelledLUN() LUN {
	l := attach(testLUN(7, 7, testPlex(8, 1, 22, 8)), testLUN(9, 3, testPlex(9, 2, 22, 8)))
	made := *l.Operation.Source
	made.Wipe = true
	return depart(l, &made, plexID(9))
}

func TestDepartureValidate(t *testing.T) {
	tests := map[string]struct {
		change func(l *LUN)
		want   string
	}{
		"split":                {func(*LUN) {}, ""},
		"remove":               {func(l *LUN) { l.Departure.Made = nil }, ""},
		"cancel":               {func(l *LUN) { *l = cancelledLUN() }, ""},
		"the plex stale since": {func(l *LUN) { l.Plexes[0].Stale = true }, ""},
		"in other slots":       {func(l *LUN) { l.Plexes[0].Slot = SlotB }, ""},
		"an operation since":   {func(l *LUN) { *l = filling(*l, plexID(7)) }, ""},
		"no plex leaves":       {func(l *LUN) { l.Departure.Plexes = l.Plexes; l.Departure.Made = nil }, "departure of no plex"},
		"deleted":              {func(l *LUN) { l.Deleted = true }, "deleted"},
		"to be wiped":          {func(l *LUN) { l.Wipe = true }, "wiped"},
		"scanned": {func(l *LUN) {
			l.Scan = opID(3)
			l.RegionSize = 2048
			l.Plexes = append(l.Plexes[:1:1], Plex{ID: plexID(20), Slot: SlotA, Stale: true, Vacant: true})
		}, "a scan"},
		"a plex that was not": {func(l *LUN) { l.Plexes = append(l.Plexes, testPlex(30, 4, 4, 8)) }, "not as it was"},
		"other data":          {func(l *LUN) { l.Plexes[0] = testPlex(5, 1, 4, 8) }, "not as it was"},
		"none held the data": {func(l *LUN) {
			l.Departure.Plexes = []Plex{stale(testPlex(5, 1, 40, 8)), stale(testPlex(6, 2, 40, 8)), stale(testPlex(7, 3, 40, 8))}
		}, "no plex holds the data"},
		"unsound before": {func(l *LUN) { l.Departure.Plexes[1].Slot = "c" }, "before plexes leave"},
		"an operation of nothing": {func(l *LUN) {
			l.Departure.Operation = &Operation{ID: opID(1), Type: vds.AsyncRecoverLUN, Plexes: []uuid.UUID{plexID(40)}}
		}, "not of this lun"},
		"a source not buried":    {func(l *LUN) { *l = cancelledLUN(); l.Absorbed = nil }, "not among the absorbed"},
		"made of one that stays": {func(l *LUN) { l.Departure.Made.Plexes = []Plex{testPlex(5, 1, 40, 8)} }, "not one that leaves"},
		"made of other space":    {func(l *LUN) { l.Departure.Made.Plexes = []Plex{testPlex(6, 2, 4, 8)} }, "not one that leaves"},
		"made of itself":         {func(l *LUN) { l.Departure.Made.ID = l.ID }, "the lun that they leave"},
		"made and deleted":       {func(l *LUN) { l.Departure.Made.Deleted = true }, "deleted"},
		"made and busy":          {func(l *LUN) { *l.Departure.Made = filling(*l.Departure.Made) }, "busy"},
		"made unsound":           {func(l *LUN) { l.Departure.Made.Name = "" }, "name"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := leavingLUN()
			tt.change(&l)
			err := l.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// A LUN owns the space of the plexes that are leaving it, and their drives hold its record.
func TestALeavingPlexOwnsItsSpace(t *testing.T) {
	l := leavingLUN()
	if diff := cmp.Diff([]uuid.UUID{driveID(1), driveID(2), driveID(3)}, l.Drives()); diff != "" {
		t.Errorf("drives (-want +got):\n%s", diff)
	}
	s := Merge([]Drive{drive(1, l), drive(2, l), drive(3, l)})
	if len(s.Heal()) > 0 || len(s.Problems) > 0 {
		t.Errorf("to heal: %v, problems %v", s.Heal(), s.Problems)
	}
	for _, e := range s.Free(driveID(2)) {
		if e.Start < mib(2, 49, 1).Start && e.End() > mib(2, 40, 1).Start {
			t.Errorf("%+v is free", e)
		}
	}
	other := testLUN(10, 1, testPlex(10, 2, 45, 8))
	if err := (Catalog{Sequence: 1, LUNs: []LUN{l, other}}).Validate(testLabel(2)); !errors.Is(err, ErrOverlap) {
		t.Errorf("another LUN in the same space: %v", err)
	}
	twice := testLUN(10, 1, Plex{ID: plexID(6), Data: []Extent{mib(2, 5, 8)}, Meta: mib(2, 4, 1), Slot: SlotA})
	if err := (Catalog{Sequence: 1, LUNs: []LUN{l, twice}}).Validate(testLabel(2)); !errors.Is(err, ErrInvalid) {
		t.Errorf("another LUN with the same plex: %v", err)
	}
	gone := l
	gone.Departure = nil
	next := s.Next(gone)
	if diff := cmp.Diff([]uuid.UUID{driveID(2)}, next.Former); diff != "" {
		t.Errorf("former drives of the next record (-want +got):\n%s", diff)
	}
}

// Before is the record to which a departure is taken back. The tombstone of a LUN that was being absorbed stays until then.
func TestBefore(t *testing.T) {
	l := cancelledLUN()
	s := Merge([]Drive{drive(1, l), drive(2, l)})
	if next := s.Next(l); len(next.Absorbed) != 1 {
		t.Errorf("absorbed %v while the plexes of it are leaving", next.Absorbed)
	}
	before := l.Before()
	if before.Departure != nil || len(before.Plexes) != 2 || before.Operation == nil || before.Last != nil {
		t.Errorf("before: %+v", before)
	}
	if next := s.Next(before); next.Validate() != nil || next.Generation != l.Generation+1 {
		t.Errorf("taken back: %v, %+v", next.Validate(), next)
	}
	if diff := cmp.Diff(before, before.Before()); diff != "" {
		t.Errorf("before that (-want +got):\n%s", diff)
	}
}

func departing(l LUN) bool { return l.Departure != nil }

// depart lets a plex leave that ceases to exist, one of which a LUN is made, or those of an operation that is cancelled.
func (w *world) depart(t *rapid.T, s Set, luns []LUN) change {
	if l, ok := pick(t, luns, busy); ok && rapid.Bool().Draw(t, "cancel") {
		made := l.Operation.Source
		return change{name: "cancel, at first", put: []LUN{s.Next(depart(l, made, l.Operation.Plexes...))}}
	}
	l, plex, ok := pickPlex(t, luns, func(l LUN, p Plex) bool { return spare(l, p) && hasData(l, p) })
	if !ok {
		return change{}
	}
	var made *LUN
	if rapid.Bool().Draw(t, "split") {
		w.named++
		made = &split(s, l, w.named, plex)[1]
	}
	return change{name: "leave", put: []LUN{s.Next(depart(l, made, plex))}}
}

// part ends a departure.
func (w *world) part(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, departing)
	if !ok {
		return change{}
	}
	made := l.Departure.Made
	l.Departure = nil
	c := change{name: "part", put: []LUN{s.Next(l)}}
	if made != nil {
		c.put, c.first = append(c.put, s.Next(*made)), made.Drives()
	}
	return c
}

// rejoin takes a departure back.
func (w *world) rejoin(t *rapid.T, s Set, luns []LUN) change {
	l, ok := pick(t, luns, departing)
	if !ok {
		return change{}
	}
	return change{name: "rejoin", put: []LUN{s.Next(l.Before())}}
}
