package raid1_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// reads is what reading the slots of l gave; the zero Slot was invalidated.
func reads(l catalog.LUN, slots []raidmeta.Slot) []raid1.Read {
	all := make([]raid1.Read, len(slots))
	raid1.Stamp(l, slots)
	for _, i := range fixture.Roles(l).Taking() {
		all[i].Slot = slots[i]
		if slots[i].Super == (raidmeta.Super{}) {
			all[i].Err = raidmeta.ErrNoMagic
		}
	}
	return all
}

// What the metadata says before a mirror is started: "=" a resync of all, "<" a source, ">" to be filled.
func TestStart(t *testing.T) {
	bits := func() []raidmeta.Slot {
		return []raidmeta.Slot{fixture.Slot(0, 1), fixture.Slot(1, 2), fixture.Slot(2, 4)}
	}
	outdated := fixture.Mirrored(3)
	outdated.Plexes[1].Stale = true
	tests := map[string]struct {
		l     catalog.LUN
		slots []raidmeta.Slot
		edit  func(slots []raidmeta.Slot)
		want  string
	}{
		"all hold the data":         {fixture.Mirrored(3), bits(), func([]raidmeta.Slot) {}, "=== 07"},
		"one is being filled":       {fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex3), bits(), func([]raidmeta.Slot) {}, "<>> 03"},
		"the first is being filled": {fixture.Under(fixture.Mirrored(3), vds.AsyncRecoverLUN, fixture.Plex1), bits(), func([]raidmeta.Slot) {}, "><> 06"},
		"one is called failed": {fixture.Mirrored(3), bits(), func(s []raidmeta.Slot) {
			s[0].Super.Events, s[0].Super.FailedDevices, s[0].Bitmap.Events = 10, 2, 10
		}, "<>> 05"},
		"the source is filled from the target": {
			fixture.Under(fixture.Mirrored(2), vds.AsyncAddLUNPlex, fixture.Plex2), bits()[:2], func(s []raidmeta.Slot) {
				s[0].Super.Events, s[1].Super.Events, s[0].Bitmap.Events, s[1].Bitmap.Events = 10, 10, 10, 10
				s[0].Super.RecoveryOffset = 0
			}, ">< 02",
		},
		"one is filled in part":  {fixture.Mirrored(3), bits(), func(s []raidmeta.Slot) { s[1].Super.RecoveryOffset = 64 }, "<>> 05"},
		"one is out of date":     {outdated, bits(), func([]raidmeta.Slot) {}, "<>> 05"},
		"metadata was given up":  {fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex3), make([]raidmeta.Slot, 3), nil, "<>> ff"},
		"all of it was given up": {fixture.Mirrored(3), make([]raidmeta.Slot, 3), nil, "=== ff"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.edit != nil {
				test.edit(test.slots)
			}
			slots, err := raid1.Start(test.l, fixture.Roles(test.l), reads(test.l, test.slots))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, s := range slots {
				switch {
				case s.Super.ResyncOffset == 0:
					got += "="
				case s.Super.RecoveryOffset == raidmeta.InSync:
					got += "<"
				default:
					got += ">"
				}
			}
			if got += " " + hex(slots[0].Bitmap.Bits)[:2]; got != test.want {
				t.Errorf("metadata %q, want %q", got, test.want)
			}
		})
	}
	none := fixture.Under(fixture.Mirrored(2), vds.AsyncRecoverLUN, fixture.Plex1, fixture.Plex2)
	all := reads(none, []raidmeta.Slot{fixture.Slot(0), fixture.Slot(1)})
	if _, err := raid1.Start(none, fixture.Roles(none), all); err == nil {
		t.Error("a mirror is started of which every plex is being filled")
	}
}

// A plex whose metadata cannot be read may be newer than the others, unless one of these calls it failed.
func TestAPlexThatCannotBeReadMayBeNewer(t *testing.T) {
	unreadable := errors.New("input/output error")
	for name, test := range map[string]struct {
		failed  uint64
		err     error
		refused bool
	}{
		"unreadable":                {0, unreadable, true},
		"unreadable, called failed": {2, unreadable, false},
		"damaged":                   {0, raidmeta.ErrInvalid, false},
	} {
		all := reads(fixture.Mirrored(3), []raidmeta.Slot{fixture.Slot(0), {}, fixture.Slot(2)})
		all[0].Slot.Super.FailedDevices, all[1].Err = test.failed, test.err
		l := fixture.Mirrored(3)
		if _, err := raid1.Start(l, fixture.Roles(l), all); errors.Is(err, vds.ErrObjectStatusFailed) != test.refused {
			t.Errorf("%s: %v, want refused: %v", name, err, test.refused)
		}
	}
}

// Whether a plex that is missing may be newer than the first one, whose metadata is given.
func TestMaybeNewer(t *testing.T) {
	const began = 5 // events when the run began
	filling := fixture.Under(fixture.Mirrored(2), vds.AsyncAddLUNPlex, fixture.Plex2)
	outdated := fixture.Mirrored(2)
	outdated.Plexes[1].Stale = true
	tests := map[string]struct {
		l       catalog.LUN
		cleared uint64
		failed  uint64
		want    bool
	}{
		"it held the data":             {fixture.Mirrored(2), 1, 0, true},
		"it has failed":                {fixture.Mirrored(2), 1, 2, false},
		"it is out of date":            {outdated, began + 1, 0, false},
		"it was being filled":          {filling, 1, 0, false},
		"it was to be filled":          {filling, began, 0, false},
		"it was filled":                {filling, began + 1, 0, true},
		"it was filled and has failed": {filling, began + 1, 2, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			roles := record.RolesOf(test.l, func(drive uuid.UUID) bool { return drive == fixture.Drive2 })
			slots := []raidmeta.Slot{fixture.Slot(0, 1), {}}
			slots[0].Super.FailedDevices = test.failed
			slots[0].Bitmap.EventsCleared, slots[0].Bitmap.Run.Events = test.cleared, began
			if got := raid1.MaybeNewer(roles, slots); got != test.want {
				t.Errorf("may be newer: %v, want %v", got, test.want)
			}
		})
	}
}

// The metadata of a plex that was being filled cannot be read. Once it was filled, it may be the newest.
func TestStartWithoutTheMetadataOfATarget(t *testing.T) {
	l := fixture.Under(fixture.Mirrored(2), vds.AsyncAddLUNPlex, fixture.Plex2)
	for cleared, refused := range map[uint64]bool{1: false, 10: true} {
		slots := []raidmeta.Slot{fixture.Slot(0, 1), {}}
		slots[0].Bitmap.EventsCleared = cleared
		all := reads(l, slots)
		all[1].Err = errors.New("input/output error")
		_, err := raid1.Start(l, fixture.Roles(l), all)
		if got := errors.Is(err, vds.ErrObjectStatusFailed); got != refused || !refused && err != nil {
			t.Errorf("cleared at %d: %v", cleared, err)
		}
	}
}
