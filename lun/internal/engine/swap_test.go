package engine

import (
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/layout"
)

// A change of a mirror never leaves those metadata slots current that the live table uses: what is written there would be
// overwritten when that table goes. A LUN of one plex has no current metadata.
func TestAChangeSwitchesTheSlots(t *testing.T) {
	for name, test := range map[string]struct {
		plexes int
		used   catalog.Slot
		want   string
	}{
		"the current slots are used": {2, catalog.SlotA, "bb"},
		"the others are used":        {2, catalog.SlotB, "aa"},
		"one plex is left":           {1, catalog.SlotA, "a"},
	} {
		l := fixture.Mirrored(3)
		nodes := layout.Of(l, fixture.Roles(l))
		h, _ := fixture.Host(t, l, nil)
		h.At = fixture.At(nodes...)
		legs := fixture.Legs("AAA", fixture.AsTheyAre)
		legs.Slots = map[uuid.UUID]catalog.Slot{fixture.Plex1: test.used, fixture.Plex2: test.used, fixture.Plex3: test.used}
		s := Swap{
			Before: l, Next: fixture.Mirrored(test.plexes), Commit: "plexes are gone",
			Have: State{View: fixture.Running(h.At, nodes...), Legs: legs},
		}
		steps, tx, err := (&Engine{Host: h}).planSwap(&s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		written := map[string]string{"next": slotsOf(s.Next), "commit": slotsOf(tx.RecordOf(l))}
		for _, step := range steps {
			if meta, ok := step.(WriteMeta); ok {
				written["metadata"] = slotsOf(meta.LUN)
			}
		}
		for what, got := range written {
			if got != test.want {
				t.Errorf("%s: %s has slots %q, want %q", name, what, got, test.want)
			}
		}
		if _, ok := written["metadata"]; ok != (test.plexes > 1) {
			t.Errorf("%s: metadata is written: %v", name, ok)
		}
	}
}

// slotsOf is the current slot of each plex of l.
func slotsOf(l catalog.LUN) string {
	text := ""
	for _, p := range l.Plexes {
		text += string(p.Slot)
	}
	return text
}
