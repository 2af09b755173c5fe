package record_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// staleOf is a letter for each plex of l: s for one that is stale.
func staleOf(l catalog.LUN) string {
	text := ""
	for _, p := range l.Plexes {
		text += map[bool]string{true: "s", false: "-"}[p.Stale]
	}
	return text
}

// A new record marks the plexes that have failed so far: the next table does not know of them.
func TestRecordsSayWhatHasFailed(t *testing.T) {
	now, failed := time.Unix(1e9, 0), fixture.Legs("ADA", fixture.AsTheyAre)
	linear := raid1.LegState{Live: true, Sole: fixture.Plex1}
	spare := fixture.Single()
	spare.ID, spare.Plexes = fixture.Plex3, []catalog.Plex{fixture.OnDrive(fixture.Plex3, fixture.Drive3, 64)}
	filling := fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex3)
	sole := func(l catalog.LUN, plex uuid.UUID) catalog.LUN {
		next, ok := record.SoleHolder(l, plex)
		if !ok {
			return catalog.LUN{}
		}
		return next
	}
	tests := map[string]struct {
		l    catalog.LUN
		want string
	}{
		"attach":                       {record.Attach(fixture.Mirrored(2), spare, failed.Lost, now), "-s-"},
		"attach to a linear LUN":       {record.Attach(fixture.Single(), spare, linear.Lost, now), "--"},
		"remove":                       {record.MarkLost(fixture.Mirrored(3), failed.Lost), "-s-"},
		"remove all but one":           {record.MarkLost(fixture.Mirrored(1), failed.Lost), "-"},
		"a copy has ended":             {record.Conclude(filling, vds.OK, now), "---"},
		"a copy has failed":            {record.Conclude(filling, vds.ErrIO, now), "--s"},
		"a copy was cancelled":         {record.Conclude(filling, vds.ErrOperationCanceled, now), "---"},
		"mapped onto one plex":         {sole(fixture.Mirrored(3), fixture.Plex2), "s-s"},
		"mapped onto one being filled": {sole(filling, fixture.Plex3), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := staleOf(test.l); got != test.want {
				t.Errorf("plexes %q, want %q", got, test.want)
			}
		})
	}
}

func TestRolesOf(t *testing.T) {
	stale, tracked := fixture.Mirrored(3), record.Track(fixture.Single())
	stale.Plexes[0].Stale = true
	filling := fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex2)
	second := func(id uuid.UUID) bool { return id == fixture.Drive2 }
	tests := map[string]struct {
		l      catalog.LUN
		absent func(uuid.UUID) bool
		want   record.Roles
	}{
		"all hold the data":             {fixture.Mirrored(3), record.AllHere, record.Roles{record.Source, record.Source, record.Source}},
		"one is filled":                 {filling, record.AllHere, record.Roles{record.Source, record.Target, record.Source}},
		"a drive is missing":            {fixture.Mirrored(3), second, record.Roles{record.Source, record.Missing, record.Source}},
		"the target's drive is missing": {filling, second, record.Roles{record.Source, record.AbsentTarget, record.Source}},
		"one is stale":                  {stale, second, record.Roles{record.Stale, record.Missing, record.Source}},
		"one is vacant":                 {tracked, record.AllHere, record.Roles{record.Source, record.Vacant}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := record.RolesOf(test.l, test.absent)
			for i, role := range got {
				if role != test.want[i] {
					t.Errorf("plex %d has role %d, want %d", i, role, test.want[i])
				}
			}
		})
	}
}

// The two metadata slots of a plex lie apart.
func TestSlotExtent(t *testing.T) {
	p := fixture.OnDrive(fixture.Plex1, fixture.Drive1, 64)
	a, b := record.SlotExtent(p, catalog.SlotA), record.SlotExtent(p, catalog.SlotB)
	if a.Start != p.Meta.Start || b.Start != a.End() || b.End() != p.Meta.End() {
		t.Errorf("slots at %+v and %+v of %+v", a, b, p.Meta)
	}
}
