package raid1_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/vds"
)

// The decisions about data, without a host around them: which plexes hold the data, which regions are copied, and in which
// order a table is swapped. TestCrash and TestFaults run the same code. But where two precautions protect the same data, they
// do not notice that one is missing.

// needsAnother reports whether a LUN needs another table although the live one matches.
func needsAnother(l catalog.LUN, was raid1.LegState) bool {
	return raid1.Needed(l, raid1.Running{Live: true, Matches: true, Legs: &was}) != raid1.NeedNothing
}

// decision is what Convert makes of a record and a kernel.
type decision struct {
	InSync               string // a letter for each plex: y or n
	Level, Fresh, Window bool
}

func TestConvert(t *testing.T) {
	stale := func(st *raid1.LegState, _ []raidmeta.Slot) { st.Stale[fixture.Plex2] = true }
	recovered := fixture.Under(fixture.Mirrored(3), vds.AsyncRecoverLUN, fixture.Plex2)
	whole := fixture.Under(fixture.Mirrored(3), vds.AsyncRecoverLUN, fixture.Plex2)
	whole.Operation.Whole = true
	tests := map[string]struct {
		l    catalog.LUN
		was  raid1.LegState
		want decision
	}{
		"a linear LUN gets a plex": {
			fixture.Under(fixture.Mirrored(2), vds.AsyncAddLUNPlex, fixture.Plex2), raid1.LegState{Live: true, Sole: fixture.Plex1}, decision{InSync: "yn", Fresh: true},
		},
		"a mirror gets a plex": {
			fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex3), fixture.Legs("AA", fixture.AsTheyAre), decision{InSync: "yyn", Fresh: true, Window: true},
		},
		"a plex goes":                   {fixture.Mirrored(2), fixture.Legs("AAA", fixture.AsTheyAre), decision{InSync: "yy", Level: true, Window: true}},
		"only one plex is left":         {fixture.Mirrored(1), fixture.Legs("AAA", fixture.AsTheyAre), decision{InSync: "y", Level: true, Window: true}},
		"one is left, that alone held":  {fixture.Mirrored(1), fixture.Legs("AD", fixture.AsTheyAre), decision{InSync: "y", Level: true}},
		"the kernel has dropped a plex": {fixture.Mirrored(3), fixture.Legs("ADA", fixture.AsTheyAre), decision{InSync: "yny", Window: true}},
		"the drives say that one failed": {
			fixture.Mirrored(3), fixture.Legs("AAA", func(_ *raid1.LegState, slots []raidmeta.Slot) {
				slots[0].Super.Events, slots[0].Super.FailedDevices = 10, 2
			}),
			decision{InSync: "yny", Window: true},
		},
		"one is filled in part": {
			fixture.Mirrored(3), fixture.Legs("AAA", func(_ *raid1.LegState, slots []raidmeta.Slot) { slots[2].Super.RecoveryOffset = 4096 }),
			decision{InSync: "yyn", Window: true},
		},
		"a plex is filled that calls itself whole":   {recovered, fixture.Legs("AAA", fixture.AsTheyAre), decision{InSync: "yny", Window: true}},
		"a plex is recovered by the bits":            {recovered, fixture.Legs("ADA", stale), decision{InSync: "yny", Window: true}},
		"a plex is recovered that was never whole":   {whole, fixture.Legs("ADA", stale), decision{InSync: "yny", Fresh: true, Window: true}},
		"it is filled whole, and the kernel uses it": {whole, fixture.Legs("AAA", stale), decision{InSync: "yny", Fresh: true, Window: true}},
		"made equal while one is filled": {
			fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex3),
			fixture.Legs("AA", func(_ *raid1.LegState, slots []raidmeta.Slot) {
				slots[0].Super.ResyncOffset, slots[1].Super.ResyncOffset = 64, 64
			}),
			decision{InSync: "ynn", Fresh: true, Window: true},
		},
		"made equal": {
			fixture.Mirrored(3), fixture.Legs("AAA", func(_ *raid1.LegState, slots []raidmeta.Slot) { slots[0].Super.ResyncOffset = 64 }),
			decision{InSync: "yyy", Level: true, Window: true},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := raid1.Convert(test.l, fixture.Roles(test.l), test.was)
			if err != nil {
				t.Fatal(err)
			}
			got := decision{Level: c.AllInSync, Fresh: c.FullCopy, Window: c.NeedsWindow(false)}
			for _, is := range c.InSync {
				got.InSync += map[bool]string{true: "y", false: "n"}[is]
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
	for name, was := range map[string]raid1.LegState{"none holds the data": fixture.Legs("DDD", fixture.AsTheyAre), "another's table": {Live: true}} {
		if _, err := raid1.Convert(fixture.Mirrored(3), fixture.Roles(fixture.Mirrored(3)), was); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What is left to copy when a table goes.
func TestLeft(t *testing.T) {
	all := strings.Repeat("ff", 8)
	legLags := func(_ *raid1.LegState, slots []raidmeta.Slot) {
		slots[2].Super.RecoveryOffset = 16 * uint64(fixture.MiB)
	}
	tests := map[string]struct {
		letters string
		bits    [2][]byte // of the legs that hold the data
		edit    func(st *raid1.LegState, slots []raidmeta.Slot)
		want    string // hex; empty: all
	}{
		"what either has":                 {"AAD", [2][]byte{{1}, {2, 0, 0, 4}}, fixture.AsTheyAre, "0300000400000000"},
		"one bitmap could not be written": {"AAD", [2][]byte{{1}, {2}}, func(_ *raid1.LegState, slots []raidmeta.Slot) { slots[0].Bitmap.Stale = true }, "0200000000000000"},
		"none tells": {"AAD", [2][]byte{}, func(_ *raid1.LegState, slots []raidmeta.Slot) {
			slots[0].Bitmap.Stale, slots[1].Bitmap.Events = true, 8
		}, ""},
		"regions of another size": {"AAD", [2][]byte{}, func(_ *raid1.LegState, slots []raidmeta.Slot) {
			slots[0].Bitmap.RegionSize, slots[1].Bitmap.RegionSize = 4096, 4096
		}, ""},
		"a leg failed that calls itself whole":  {"AAD", [2][]byte{{255}, {255}}, fixture.AsTheyAre, "ff00000000000000"},
		"a leg is away that calls itself whole": {"AA-", [2][]byte{{255}, {255}}, fixture.AsTheyAre, "ff00000000000000"},
		"a leg is filled up to a place":         {"AAa", [2][]byte{{255, 255, 255}, {}}, legLags, "0000ff0000000000"},
		"made equal up to a place": {"AAA", [2][]byte{{255, 255}, {}}, func(_ *raid1.LegState, slots []raidmeta.Slot) {
			slots[0].Super.ResyncOffset = 8 * uint64(fixture.MiB)
		}, "00ff000000000000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			was := fixture.Legs(test.letters, func(st *raid1.LegState, slots []raidmeta.Slot) {
				slots[0], slots[1] = fixture.Slot(0, test.bits[0]...), fixture.Slot(1, test.bits[1]...)
				test.edit(st, slots)
			})
			c := raid1.Conversion{LUN: fixture.Mirrored(3), Was: was, InSync: []bool{true, true, false}}
			seen := map[devno.No]dm.LegHealth{}
			for i := range test.letters {
				seen[fixture.Part(i)] = dm.LegHealth(test.letters[i])
			}
			if got := hex(c.Left(was.Meta, seen)); got != test.want {
				t.Errorf("left = %q, want %q", got, test.want)
			}
		})
	}
	grown := raid1.Conversion{LUN: fixture.Mirrored(2), Was: fixture.Legs("AA", fixture.AsTheyAre), InSync: []bool{true, true}, AllInSync: true}
	grown.LUN.Size = 72 * fixture.MiB
	if got, want := hex(grown.Left(nil, nil)), strings.Repeat("00", 8)+all[:2]; got != want {
		t.Errorf("of a mirror that grows: %q, want %q", got, want)
	}
}

func hex(b raidmeta.Bits) string {
	var text strings.Builder
	for _, v := range b {
		text.WriteString(string("0123456789abcdef"[v>>4]) + string("0123456789abcdef"[v&15]))
	}
	return text.String()
}

// A window relies on every plex that holds the data, and on no other.
func TestWindowCountsOnWhatHoldsTheData(t *testing.T) {
	c, err := raid1.Convert(fixture.Mirrored(3), fixture.Roles(fixture.Mirrored(3)), fixture.Legs("AAD", fixture.AsTheyAre))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]devno.No{fixture.Part(0), fixture.Part(1)}, c.Counted()); diff != "" || !c.Carries() {
		t.Errorf("carries %v, counted (-want +got):\n%s", c.Carries(), diff)
	}
}

// A plex that the kernel has dropped while it was filled needs a new table. Another does not.
func TestDropped(t *testing.T) {
	filling := fixture.Under(fixture.Mirrored(3), vds.AsyncAddLUNPlex, fixture.Plex3)
	for letters, want := range map[string]bool{"AAa": false, "AAD": true, "ADa": false, "AA": false} {
		if got := needsAnother(filling, fixture.Legs(letters, fixture.AsTheyAre)); got != want {
			t.Errorf("legs %q: swapped: %v, want %v", letters, got, want)
		}
	}
}

// A plex that the live table lacks stays out, unless it is filled: it may have missed writes.
func TestAPlexThatCameBackStaysOut(t *testing.T) {
	was := fixture.Legs("AAA", fixture.AsTheyAre)
	delete(was.Health, fixture.Plex2)
	stale := fixture.Mirrored(3)
	stale.Plexes[0].Stale = true
	for name, test := range map[string]struct {
		l    catalog.LUN
		was  raid1.LegState
		want string
	}{
		"it came back":         {fixture.Mirrored(3), was, "-o-"},
		"it is filled":         {fixture.Under(fixture.Mirrored(3), vds.AsyncRecoverLUN, fixture.Plex2), was, "---"},
		"it is stale":          {stale, fixture.Legs("AAA", fixture.AsTheyAre), "o--"},
		"nothing is a leg yet": {fixture.Mirrored(3), raid1.LegState{Live: true, Sole: fixture.Plex1}, "---"},
	} {
		got := ""
		for _, role := range raid1.RolesBeside(test.l, fixture.Roles(test.l), test.was) {
			got += map[bool]string{true: "o", false: "-"}[role.Excluded()]
		}
		if got != test.want {
			t.Errorf("%s: out of the table %q, want %q", name, got, test.want)
		}
	}
}

// A change of a live mirror makes the slots current that the live table does not use.
func TestSwitchSlots(t *testing.T) {
	legs := func(slot catalog.Slot) raid1.LegState {
		st := fixture.Legs("AAA", fixture.AsTheyAre)
		st.Slots = map[uuid.UUID]catalog.Slot{fixture.Plex1: slot}
		return st
	}
	three, roles := fixture.Mirrored(3), fixture.Roles(fixture.Mirrored(3))
	if !raid1.Clashes(three, roles, legs(catalog.SlotA)) || raid1.Clashes(three, roles, legs(catalog.SlotB)) {
		t.Error("the live table uses slot A of the first plex, and not slot B")
	}
	for name, test := range map[string]struct {
		was  raid1.LegState
		want string
	}{
		"used":              {legs(catalog.SlotA), "bbb"},
		"not used":          {legs(catalog.SlotB), "abb"},
		"the LUN is linear": {raid1.LegState{Live: true, Sole: fixture.Plex1}, "bbb"},
	} {
		got := ""
		for _, p := range raid1.SwitchSlots(three, roles, test.was).Plexes {
			got += string(p.Slot)
		}
		if got != test.want {
			t.Errorf("%s: slots %q, want %q", name, got, test.want)
		}
	}
}
