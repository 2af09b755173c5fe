package raid1_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// A change leaves something to settle only if the live mirror may still write to a plex that goes.
func TestDeparts(t *testing.T) {
	three := fixture.Mirrored(3)
	tests := map[string]struct {
		letters string
		edit    func(l *catalog.LUN, was *raid1.LegState)
		without []uuid.UUID
		want    bool
	}{
		"in sync":                   {"AAA", nil, []uuid.UUID{fixture.Plex3}, true},
		"being filled":              {"AAa", nil, []uuid.UUID{fixture.Plex3}, true},
		"two":                       {"ADA", nil, []uuid.UUID{fixture.Plex2, fixture.Plex3}, true},
		"dropped":                   {"AAD", nil, []uuid.UUID{fixture.Plex3}, false},
		"not there":                 {"AA-", nil, []uuid.UUID{fixture.Plex3}, false},
		"no leg":                    {"AA", nil, []uuid.UUID{fixture.Plex3}, false},
		"none goes":                 {"AAA", nil, nil, false},
		"it was out of date":        {"AAA", func(l *catalog.LUN, _ *raid1.LegState) { l.Plexes[2].Stale = true }, []uuid.UUID{fixture.Plex3}, false},
		"no mirror":                 {"AAA", func(_ *catalog.LUN, was *raid1.LegState) { was.Mirror = false }, []uuid.UUID{fixture.Plex3}, false},
		"the place of no plex":      {"AAA", func(l *catalog.LUN, _ *raid1.LegState) { l.Plexes[2].Vacant = true }, []uuid.UUID{fixture.Plex3}, false},
		"in a slot of no record":    {"AAA", otherSlots, []uuid.UUID{fixture.Plex3}, true},
		"with metadata from before": {"AAA", func(l *catalog.LUN, _ *raid1.LegState) { l.Plexes[0].Prior = true }, []uuid.UUID{fixture.Plex3}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := fixture.Under(three, vds.AsyncAddLUNPlex)
			before.Plexes = append([]catalog.Plex{}, three.Plexes...)
			was := fixture.Legs(test.letters, fixture.AsTheyAre)
			if test.edit != nil {
				test.edit(&before, &was)
			}
			got := raid1.Departs(before, record.Without(before, test.without...), was)
			if (got != nil) != test.want {
				t.Fatalf("departure %+v", got)
			}
			if got == nil {
				return
			}
			want := before
			if name == "in a slot of no record" {
				for i := range want.Plexes {
					want.Plexes[i].Slot, want.Plexes[i].Run = catalog.SlotB, catalog.Run{Number: 5, Nonce: 6}
				}
			}
			want.Plexes[0].Prior = false
			if diff := cmp.Diff(&catalog.Departure{Plexes: want.Plexes, Operation: want.Operation}, got); diff != "" {
				t.Errorf("departure (-want +got):\n%s", diff)
			}
		})
	}
}

// otherSlots has the live mirror use the slots that are not current, of an earlier run.
func otherSlots(_ *catalog.LUN, was *raid1.LegState) {
	was.Slots = map[uuid.UUID]catalog.Slot{}
	for id, meta := range was.Meta {
		meta.Bitmap.Run = raidmeta.Run{Number: 5, Nonce: 6}
		was.Slots[id], was.Meta[id] = catalog.SlotB, meta
	}
}

// departing is the mirror of three without the plexes that are leaving it.
func departing(plexes ...uuid.UUID) catalog.LUN {
	before := fixture.Mirrored(3)
	for i := range before.Plexes {
		before.Plexes[i].Run = catalog.Run{Number: 4, Nonce: 77}
	}
	l := record.Without(before, plexes...)
	l.Departure = &catalog.Departure{Plexes: before.Plexes}
	return l
}

// While the kernel runs the table from before, the plexes that stay may all be lost.
func TestOnlyLeaving(t *testing.T) {
	tests := map[string]struct {
		l             catalog.LUN
		letters       string
		before, alone bool
	}{
		"all are there":             {departing(fixture.Plex3), "AAA", true, false},
		"one that stays has failed": {departing(fixture.Plex3), "DAA", true, false},
		"all that stay have failed": {departing(fixture.Plex3), "DDA", true, true},
		"the only one is away":      {departing(fixture.Plex2, fixture.Plex3), "-AA", true, true},
		"it is being filled":        {departing(fixture.Plex2, fixture.Plex3), "aAA", true, false},
		"the new table":             {departing(fixture.Plex3), "AA", false, false},
	}
	for name, test := range tests {
		was := fixture.Legs(test.letters, fixture.AsTheyAre)
		before, alone := raid1.RunsBefore(test.l, was), raid1.OnlyLeaving(test.l, was)
		if before != test.before || alone != test.alone {
			t.Errorf("%s: the table from before: %v, only plexes that leave: %v", name, before, alone)
		}
	}
}

// What the metadata of three plexes tells about those that were leaving.
func TestPartingOf(t *testing.T) {
	lost := func(r []raid1.Read, by int, failed uint64) { // the leg by has noted that others failed, and has gone on
		r[by].Slot.Super.FailedDevices, r[by].Slot.Super.Events = failed, 20
	}
	target := func(l catalog.LUN) catalog.LUN { // the third was being filled
		l.Departure.Operation = &catalog.Operation{ID: fixture.LUN, Type: vds.AsyncAddLUNPlex, Plexes: []uuid.UUID{fixture.Plex3}}
		return l
	}
	tests := map[string]struct {
		l    catalog.LUN
		edit func(r []raid1.Read)
		want raid1.Parting
	}{
		"as it was left":                 {departing(fixture.Plex3), func([]raid1.Read) {}, raid1.Parted},
		"one that stays has failed":      {departing(fixture.Plex3), func(r []raid1.Read) { lost(r, 2, 1); lost(r, 1, 1) }, raid1.Parted},
		"all that stay have failed":      {departing(fixture.Plex3), func(r []raid1.Read) { lost(r, 2, 3) }, raid1.Rejoins},
		"one after the other":            {departing(fixture.Plex3), func(r []raid1.Read) { lost(r, 2, 3); r[1].Slot.Super.FailedDevices, r[1].Slot.Super.Events = 1, 15 }, raid1.Rejoins},
		"the only one has failed":        {departing(fixture.Plex2, fixture.Plex3), func(r []raid1.Read) { lost(r, 1, 1); lost(r, 2, 1) }, raid1.Rejoins},
		"the one that leaves has failed": {departing(fixture.Plex3), func(r []raid1.Read) { lost(r, 0, 4); lost(r, 1, 4) }, raid1.Parted},
		"an older image of the one":      {departing(fixture.Plex2, fixture.Plex3), func(r []raid1.Read) { r[0].Slot.Bitmap.Run.Number = 2 }, raid1.Rejoins},
		"on a changed device":            {departing(fixture.Plex2, fixture.Plex3), func(r []raid1.Read) { r[0].Changed = true }, raid1.PartUnknown},
		"failed, on a changed device":    {departing(fixture.Plex2, fixture.Plex3), func(r []raid1.Read) { r[0].Changed = true; lost(r, 1, 1) }, raid1.Rejoins},
		"all on changed devices":         {departing(fixture.Plex3), func(r []raid1.Read) { r[0].Changed, r[1].Changed, r[2].Changed = true, true, true }, raid1.Parted},
		"no metadata":                    {departing(fixture.Plex3), func(r []raid1.Read) { none(r, 0, 1, 2) }, raid1.Parted},
		"nobody holds the data": {departing(fixture.Plex3), func(r []raid1.Read) {
			r[0].Slot.Bitmap.Run.Nonce, r[1].Slot.Bitmap.Run.Nonce, r[2].Slot.Bitmap.Run.Nonce = 1, 2, 3
		}, raid1.PartNone},
		"in mid-copy":                     {target(departing(fixture.Plex3)), func(r []raid1.Read) { r[2].Slot.Super.RecoveryOffset = 64 }, raid1.Parted},
		"copied, and then the only one":   {target(departing(fixture.Plex3)), func(r []raid1.Read) { lost(r, 2, 3) }, raid1.Rejoins},
		"copied, and a source is in sync": {target(departing(fixture.Plex3)), func(r []raid1.Read) { lost(r, 2, 1); lost(r, 1, 1) }, raid1.Parted},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := test.l.Before()
			r := reads(before, []raidmeta.Slot{fixture.Slot(0), fixture.Slot(1), fixture.Slot(2)})
			test.edit(r)
			if got := raid1.PartingOf(test.l, fixture.Roles(before), r); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

// New metadata that the kernel has used shows that it has let go of the others.
func TestUsed(t *testing.T) {
	l := departing(fixture.Plex3)
	r := reads(l, []raidmeta.Slot{fixture.Slot(0), fixture.Slot(1)})
	if raid1.Used(l, fixture.Roles(l), r) {
		t.Error("metadata as plexctl wrote it counts as used")
	}
	r[1].Slot.Super.Events++
	if !raid1.Used(l, fixture.Roles(l), r) {
		t.Error("metadata that the kernel has written counts as unused")
	}
	one := departing(fixture.Plex2, fixture.Plex3)
	if raid1.Used(one, fixture.Roles(one), r[1:]) {
		t.Error("a LUN with one plex has no metadata, and it counts as used")
	}
}
