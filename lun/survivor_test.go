package lun

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// What decides about data, without a machine around it: which plexes hold the data, which regions are copied, and in which
// order a table is swapped. TestCrash and TestFaults run the same code; where several precautions stand behind each other,
// they see none of them missing.

var (
	plex3  = uuid.MustParse("33333333-0000-4000-8000-000000000003")
	drive3 = uuid.MustParse("d3d3d3d3-0000-4000-8000-000000000003")
)

// triple is a mirror of three plexes; n of them.
func triple(n int) catalog.LUN {
	l := mirrored()
	l.Plexes = append(l.Plexes, onDrive(plex3, drive3, 64))[:n]
	return l
}

// under is l under an operation that fills plexes.
func under(l catalog.LUN, kind vds.AsyncType, plexes ...uuid.UUID) catalog.LUN {
	l.Operation = &catalog.Operation{ID: lunA, Type: kind, Plexes: plexes}
	return l
}

// super is what a leg in sync says.
func super(i int) raidmeta.Super {
	return raidmeta.Super{
		NumDevices: 3, ArrayPosition: uint32(i), Events: 9, RecoveryOffset: raidmeta.InSync, ResyncOffset: raidmeta.InSync,
		ArraySize: 64 * mibSectors, LegSize: 64 * mibSectors,
	}
}

// slotWith is the metadata of a leg in sync, with these bits.
func slotWith(i int, bits ...byte) raidmeta.Slot {
	all := raidmeta.NewBits(64, false)
	copy(all, bits)
	return raidmeta.Slot{Super: super(i), Bitmap: raidmeta.Bitmap{
		Events: 9, EventsCleared: 1, ArraySize: 64 * mibSectors, RegionSize: mibSectors, Bits: all,
	}}
}

// part is the data device of the i-th leg.
func part(i int) devno.No { return devno.No{Major: 253, Minor: uint32(i)} }

// legs is a live mirror of triple's plexes, a letter each, whose metadata says that all are in sync but for what edit does.
func legs(letters string, edit func(st *standing, slots []raidmeta.Slot)) standing {
	st := standing{
		live: true, mirror: true, health: map[uuid.UUID]dm.LegHealth{}, meta: map[uuid.UUID]raidmeta.Slot{},
		parts: map[uuid.UUID]devno.No{}, stale: map[uuid.UUID]bool{},
	}
	slots := []raidmeta.Slot{slotWith(0), slotWith(1), slotWith(2)}
	edit(&st, slots)
	for i, p := range triple(3).Plexes[:len(letters)] {
		st.health[p.ID], st.meta[p.ID], st.parts[p.ID] = dm.LegHealth(letters[i]), slots[i], part(i)
	}
	return st
}

func asTheyAre(*standing, []raidmeta.Slot) {}

// decision is what convert makes of a record and a kernel.
type decision struct {
	InSync               string // a letter for each plex: y or n
	Level, Fresh, Window bool
}

func TestConvert(t *testing.T) {
	stale := func(st *standing, _ []raidmeta.Slot) { st.stale[plex2] = true }
	recovered := under(triple(3), vds.AsyncRecoverLUN, plex2)
	whole := under(triple(3), vds.AsyncRecoverLUN, plex2)
	whole.Operation.Whole = true
	tests := map[string]struct {
		l    catalog.LUN
		was  standing
		want decision
	}{
		"a linear LUN gets a plex": {
			under(triple(2), vds.AsyncAddLUNPlex, plex2), standing{live: true, sole: plex1}, decision{InSync: "yn", Fresh: true},
		},
		"a mirror gets a plex": {
			under(triple(3), vds.AsyncAddLUNPlex, plex3), legs("AA", asTheyAre), decision{InSync: "yyn", Fresh: true, Window: true},
		},
		"a plex goes":                   {triple(2), legs("AAA", asTheyAre), decision{InSync: "yy", Level: true, Window: true}},
		"only one plex is left":         {triple(1), legs("AAA", asTheyAre), decision{InSync: "y", Level: true, Window: true}},
		"one is left, that alone held":  {triple(1), legs("AD", asTheyAre), decision{InSync: "y", Level: true}},
		"the kernel has dropped a plex": {triple(3), legs("ADA", asTheyAre), decision{InSync: "yny", Window: true}},
		"the drives say that one failed": {
			triple(3), legs("AAA", func(_ *standing, slots []raidmeta.Slot) { slots[0].Super.Events, slots[0].Super.FailedDevices = 10, 2 }),
			decision{InSync: "yny", Window: true},
		},
		"one is filled in part": {
			triple(3), legs("AAA", func(_ *standing, slots []raidmeta.Slot) { slots[2].Super.RecoveryOffset = 4096 }),
			decision{InSync: "yyn", Window: true},
		},
		"a plex is filled that calls itself whole": {recovered, legs("AAA", asTheyAre), decision{InSync: "yny", Window: true}},
		"a plex is recovered by the bits":          {recovered, legs("ADA", stale), decision{InSync: "yny", Window: true}},
		"a plex is recovered that was never whole": {whole, legs("ADA", stale), decision{InSync: "yny", Fresh: true, Window: true}},
		"made equal while one is filled": {
			under(triple(3), vds.AsyncAddLUNPlex, plex3),
			legs("AA", func(_ *standing, slots []raidmeta.Slot) {
				slots[0].Super.ResyncOffset, slots[1].Super.ResyncOffset = 64, 64
			}),
			decision{InSync: "ynn", Fresh: true, Window: true},
		},
		"made equal": {
			triple(3), legs("AAA", func(_ *standing, slots []raidmeta.Slot) { slots[0].Super.ResyncOffset = 64 }),
			decision{InSync: "yyy", Level: true, Window: true},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := convert(test.l, test.was, here)
			if err != nil {
				t.Fatal(err)
			}
			got := decision{Level: c.level, Fresh: c.fresh, Window: c.window(false) != nil}
			for _, is := range c.inSync {
				got.InSync += map[bool]string{true: "y", false: "n"}[is]
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
	for name, was := range map[string]standing{"none holds the data": legs("DDD", asTheyAre), "another's table": {live: true}} {
		if _, err := convert(triple(3), was, here); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What is left to copy when a table goes.
func TestLeft(t *testing.T) {
	all := strings.Repeat("ff", 8)
	legLags := func(_ *standing, slots []raidmeta.Slot) { slots[2].Super.RecoveryOffset = 16 * uint64(mibSectors) }
	tests := map[string]struct {
		letters string
		bits    [2][]byte // of the legs that hold the data
		edit    func(st *standing, slots []raidmeta.Slot)
		want    string // hex; empty: all
	}{
		"what either has":                 {"AAD", [2][]byte{{1}, {2, 0, 0, 4}}, asTheyAre, "0300000400000000"},
		"one bitmap could not be written": {"AAD", [2][]byte{{1}, {2}}, func(_ *standing, slots []raidmeta.Slot) { slots[0].Bitmap.Stale = true }, "0200000000000000"},
		"none tells": {"AAD", [2][]byte{}, func(_ *standing, slots []raidmeta.Slot) {
			slots[0].Bitmap.Stale, slots[1].Bitmap.Events = true, 8
		}, ""},
		"regions of another size": {"AAD", [2][]byte{}, func(_ *standing, slots []raidmeta.Slot) {
			slots[0].Bitmap.RegionSize, slots[1].Bitmap.RegionSize = 4096, 4096
		}, ""},
		"a leg failed that calls itself whole":  {"AAD", [2][]byte{{255}, {255}}, asTheyAre, "ff00000000000000"},
		"a leg is away that calls itself whole": {"AA-", [2][]byte{{255}, {255}}, asTheyAre, "ff00000000000000"},
		"a leg is filled up to a place":         {"AAa", [2][]byte{{255, 255, 255}, {}}, legLags, "0000ff0000000000"},
		"made equal up to a place": {"AAA", [2][]byte{{255, 255}, {}}, func(_ *standing, slots []raidmeta.Slot) {
			slots[0].Super.ResyncOffset = 8 * uint64(mibSectors)
		}, "00ff000000000000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			was := legs(test.letters, func(st *standing, slots []raidmeta.Slot) {
				slots[0], slots[1] = slotWith(0, test.bits[0]...), slotWith(1, test.bits[1]...)
				test.edit(st, slots)
			})
			c := conversion{l: triple(3), was: was, inSync: []bool{true, true, false}}
			seen := map[devno.No]dm.LegHealth{}
			for i := range test.letters {
				seen[part(i)] = dm.LegHealth(test.letters[i])
			}
			if got := hex(c.left(was.meta, seen)); got != test.want {
				t.Errorf("left = %q, want %q", got, test.want)
			}
		})
	}
	grown := conversion{l: triple(2), was: legs("AA", asTheyAre), inSync: []bool{true, true}, level: true}
	grown.l.Size = 72 * mibSectors
	if got, want := hex(grown.left(nil, nil)), strings.Repeat("00", 8)+all[:2]; got != want {
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

// scripted is a kernel that notes what it is asked, and answers as told.
type scripted struct {
	Kernel
	asked   []string
	letters string
	fail    string               // the call that fails
	devices map[string]dm.Device // by name
}

func (k *scripted) note(call string) error {
	if k.asked = append(k.asked, call); call == k.fail {
		return errors.New(call)
	}
	return nil
}

func (k *scripted) Suspend(context.Context, string, bool) error         { return k.note("suspend") }
func (k *scripted) Resume(context.Context, string, dm.Visibility) error { return k.note("resume") }
func (k *scripted) Clear(context.Context, string) error                 { return k.note("clear") }
func (k *scripted) List(context.Context) ([]dm.Device, error) {
	return slices.Collect(maps.Values(k.devices)), nil
}

func (k *scripted) Info(_ context.Context, name string) (dm.Info, error) {
	return dm.Info{Device: k.devices[name], Live: true}, nil
}

func (k *scripted) Table(context.Context, string) (dm.Table, error) {
	raid := dm.Raid1{RegionSize: mibSectors}
	for i := range k.letters {
		raid.Legs = append(raid.Legs, dm.Leg{Meta: devno.No{Major: 252, Minor: uint32(i)}, Data: part(i)})
	}
	return dm.Table{{Length: 64 * mibSectors, Target: raid}}, k.note("table")
}

func (k *scripted) Observe(ctx context.Context, name string) (dm.Info, dm.Table, error) {
	table, err := k.Table(ctx, name)
	return dm.Info{Device: k.devices[name], Live: true}, table, err
}

func (k *scripted) Status(context.Context, string) (dm.Status, error) {
	line := "raid1 3 " + k.letters + " 131072/131072 idle 0 0 -"
	own := dm.Info{Device: dm.Device{UUID: lunUUID(triple(3).ID)}}
	return dm.Status{Info: own, Targets: []dm.TargetStatus{{Length: 64 * mibSectors, Type: "raid", Line: line}}}, k.note("status")
}

// The order of a window, and how a LUN gets out of it that cannot be changed.
func TestWindow(t *testing.T) {
	tests := map[string]struct {
		letters, fail string
		want          string
		bad           bool
	}{
		"all is well":                 {"AAA", "", "suspend table status carry resume", false},
		"a leg that does not count":   {"AAD", "", "suspend table status carry resume", false},
		"a leg has failed":            {"ADA", "", "suspend table status clear resume", true},
		"a leg is away":               {"-AA", "", "suspend table status clear resume", true},
		"it cannot be suspended":      {"AAA", "suspend", "suspend clear resume", true},
		"the table cannot be read":    {"AAA", "table", "suspend table clear resume", true},
		"the status cannot be read":   {"AAA", "status", "suspend table status clear resume", true},
		"the bits cannot be written":  {"AAA", "carry", "suspend table status carry clear resume", true},
		"the table cannot be cleared": {"DAA", "clear", "suspend table status clear resume", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := &scripted{letters: test.letters, fail: test.fail}
			w := windowStep{l: triple(3), counted: []devno.No{part(0), part(1)}}
			w.inside = func(context.Context, *machine, map[devno.No]dm.LegHealth) error { return k.note("carry") }
			err := w.run(t.Context(), &machine{kernel: k})
			if got := strings.Join(k.asked, " "); got != test.want || (err != nil) != test.bad {
				t.Errorf("calls %q, %v; want %q, an error: %v", got, err, test.want, test.bad)
			}
		})
	}
}

// A window counts on every plex that holds the data, and on no other.
func TestWindowCountsOnWhatHoldsTheData(t *testing.T) {
	c, err := convert(triple(3), legs("AAD", asTheyAre), here)
	if err != nil {
		t.Fatal(err)
	}
	w := c.window(false)
	if diff := cmp.Diff([]devno.No{part(0), part(1)}, w.counted); diff != "" || w.inside == nil {
		t.Errorf("carries %v, counted (-want +got):\n%s", w.inside != nil, diff)
	}
}

// shelf is a machine with triple's three drives, on which slots are in force.
func shelf(t *testing.T, l catalog.LUN, slots []raidmeta.Slot) (*machine, *blocktest.Mem) {
	t.Helper()
	mem := blocktest.New()
	top := dm.Device{Name: lunName(l.Name), UUID: lunUUID(l.ID), Dev: devno.No{Major: 251}}
	kernel := &scripted{letters: "AAA"[:len(l.Plexes)], devices: map[string]dm.Device{top.Name: top}}
	for i, p := range l.Plexes {
		n := metaNode(l, p)
		kernel.devices[n.name] = dm.Device{Name: n.name, UUID: n.uuid, Dev: devno.No{Major: 252, Minor: uint32(i)}}
	}
	m := &machine{
		kernel: kernel, devices: mem, log: slog.New(slog.DiscardHandler), drives: map[uuid.UUID]*drive{},
		at: numbers{nodes: map[string]devno.No{}},
	}
	for _, id := range []uuid.UUID{drive1, drive2, drive3} {
		info := blockdev.Info{Path: "/dev/" + id.String()[:2], Size: 128 * size.MiB}
		mem.AddDisk(info)
		m.drives[id] = &drive{info: info}
	}
	if err := m.writeSlots(t.Context(), l, slots); err != nil {
		t.Fatal(err)
	}
	return m, mem
}

// empty is the metadata of n plexes that have none.
func empty(n int) []raidmeta.Slot { return make([]raidmeta.Slot, n) }

// What the metadata says before a mirror is started: "=" a resync of all, "<" a source, ">" to be filled.
func TestRestart(t *testing.T) {
	bits := func() []raidmeta.Slot { return []raidmeta.Slot{slotWith(0, 1), slotWith(1, 2), slotWith(2, 4)} }
	outdated := triple(3)
	outdated.Plexes[1].Stale = true
	tests := map[string]struct {
		l     catalog.LUN
		slots []raidmeta.Slot
		edit  func(slots []raidmeta.Slot)
		want  string
	}{
		"all hold the data":         {triple(3), bits(), func([]raidmeta.Slot) {}, "=== 07"},
		"one is being filled":       {under(triple(3), vds.AsyncAddLUNPlex, plex3), bits(), func([]raidmeta.Slot) {}, "<>> 03"},
		"the first is being filled": {under(triple(3), vds.AsyncRecoverLUN, plex1), bits(), func([]raidmeta.Slot) {}, "><> 06"},
		"one is called failed": {triple(3), bits(), func(s []raidmeta.Slot) {
			s[0].Super.Events, s[0].Super.FailedDevices, s[0].Bitmap.Events = 10, 2, 10
		}, "<>> 05"},
		"one is filled in part":  {triple(3), bits(), func(s []raidmeta.Slot) { s[1].Super.RecoveryOffset = 64 }, "<>> 05"},
		"one is out of date":     {outdated, bits(), func([]raidmeta.Slot) {}, "<>> 05"},
		"metadata was given up":  {under(triple(3), vds.AsyncAddLUNPlex, plex3), empty(3), nil, "<>> ff"},
		"all of it was given up": {triple(3), empty(3), nil, "=== ff"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.edit != nil {
				test.edit(test.slots)
			}
			m, _ := shelf(t, test.l, test.slots)
			if test.edit == nil {
				if err := spoil(test.l).run(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			slots, err := m.restartSlots(t.Context(), test.l)
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
	m, _ := shelf(t, triple(2), []raidmeta.Slot{slotWith(0), slotWith(1)})
	if _, err := m.restartSlots(t.Context(), under(triple(2), vds.AsyncRecoverLUN, plex1, plex2)); err == nil {
		t.Error("a mirror is started of which every plex is being filled")
	}
}

// The kernel's word alone ends no operation.
func TestTheEndIsProven(t *testing.T) {
	tests := map[string]struct {
		edit func(s *raidmeta.Super)
		want bool
	}{
		"all in sync":        {func(*raidmeta.Super) {}, true},
		"one called failed":  {func(s *raidmeta.Super) { s.FailedDevices = 4 }, false},
		"filled in part":     {func(s *raidmeta.Super) { s.RecoveryOffset = 64 }, false},
		"made equal in part": {func(s *raidmeta.Super) { s.ResyncOffset = 64 }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := under(triple(3), vds.AsyncAddLUNPlex, plex3)
			slots := []raidmeta.Slot{slotWith(0), slotWith(1), slotWith(2)}
			test.edit(&slots[1].Super)
			m, _ := shelf(t, l, slots)
			seen, known, err := m.observeOperation(t.Context(), l)
			if done := seen.State == "done"; err != nil || !known || done != test.want {
				t.Errorf("state %q, %v; want done: %v", seen.State, err, test.want)
			}
		})
	}
}
