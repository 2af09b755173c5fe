package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
)

// The order of calls in a window, and what happens when the LUN cannot be changed. The bits are carried by writes to the first
// plex.
func TestWindow(t *testing.T) {
	tests := map[string]struct {
		letters, fail string
		want          string
		bad           bool
		overtaken     bool
	}{
		"all is well":                 {"AAA", "", "suspend table status carry resume table", false, false},
		"a leg that does not count":   {"AAD", "", "suspend table status carry resume table", false, false},
		"the old table is still live": {"AAA", "", "suspend table status carry resume table", true, true},
		"a leg has failed":            {"ADA", "", "suspend table status clear resume", true, false},
		"a leg is away":               {"-AA", "", "suspend table status clear resume", true, false},
		"it cannot be suspended":      {"AAA", "suspend", "suspend clear resume", true, false},
		"the table cannot be read":    {"AAA", "table", "suspend table clear resume", true, false},
		"the status cannot be read":   {"AAA", "status", "suspend table status clear resume", true, false},
		"the bits cannot be written":  {"AAA", "carry", "suspend table status carry clear resume", true, false},
		"the table cannot be cleared": {"DAA", "clear", "suspend table status clear", true, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := fixture.Mirrored(3)
			h, mem := fixture.Host(t, l, []raidmeta.Slot{fixture.Slot(0, 1), fixture.Slot(1, 1), fixture.Slot(2, 1)})
			k := &fixture.Kernel{Letters: test.letters, Fail: test.fail}
			h.Kernel, h.At = k, fixture.At()
			for i, p := range l.Plexes {
				if !test.overtaken {
					h.At.Nodes[layout.MetaUUID(l, p, p.Slot)] = devno.No{Major: 252, Minor: uint32(i)}
				}
			}
			mem.OnEffect = func(e blocktest.Effect) error {
				if e.Kind == "write" && e.Object == "/dev/d1" {
					return k.Note("carry")
				}
				return nil
			}
			was := fixture.Legs("AAD", fixture.AsTheyAre)
			was.Slots = nil
			conv, err := raid1.Convert(l, fixture.Roles(l), was)
			if err != nil {
				t.Fatal(err)
			}
			fill := &ZeroFill{Conv: conv, Zeros: host.NoZeros{}, zeroed: raid1.NoRegions(l)}
			w := Window{Conv: conv, Fill: fill}
			err = w.run(t.Context(), &Engine{Host: h})
			if got := strings.Join(k.Asked, " "); got != test.want || (err != nil) != test.bad {
				t.Errorf("calls %q, %v; want %q, an error: %v", got, err, test.want, test.bad)
			}
		})
	}
}

// On Linux 6.1 the end of a waiting table empties the bitmaps of its slots. If these are current, they are invalidated first.
func TestWaitingMetadataIsInvalidatedFirst(t *testing.T) {
	l := fixture.Mirrored(3)
	nodes := layout.Of(l, fixture.Roles(l))
	at := fixture.At(nodes...)
	k := &fixture.Kernel{Waits: nodes[len(nodes)-1].Table(at), Devices: map[string]dm.Device{}}
	for _, n := range nodes {
		k.Devices[n.Name] = dm.Device{Name: n.Name, UUID: n.UUID, Dev: at.Nodes[n.UUID]}
	}
	for name, test := range map[string]struct {
		l    catalog.LUN
		want []string
	}{
		"current": {l, []string{"give up the metadata of web1 that no table has used", "clear the waiting table of plex-web1"}},
		"the other slots are current": {
			raid1.SwitchSlots(l, fixture.Roles(l), raid1.LegState{}), []string{"clear the waiting table of plex-web1"},
		},
	} {
		h, _ := fixture.Host(t, l, nil)
		h.Kernel, h.At = k, layout.Numbers{Nodes: map[string]devno.No{}}
		state, err := (&Engine{Host: h}).AfterCleanup(t.Context(), test.l)
		if diff := cmp.Diff(test.want, fixture.Texts(state.Cleanup)); err != nil || diff != "" {
			t.Errorf("%s: %v, steps (-want +got):\n%s", name, err, diff)
		}
	}
}

// A mirror that is suspended, because its first resume has failed, is never resumed again: it would run without its bitmap.
func TestASuspendedMirrorGetsANewTable(t *testing.T) {
	l := fixture.Mirrored(3)
	nodes := layout.Of(l, fixture.Roles(l))
	at := fixture.At(nodes...)
	for suspended, want := range map[bool]raid1.Need{true: raid1.NeedSwap, false: raid1.NeedNothing} {
		h, _ := fixture.Host(t, l, []raidmeta.Slot{fixture.Slot(0), fixture.Slot(1), fixture.Slot(2)})
		h.At = at
		view := fixture.Running(at, nodes...)
		top := view.Own(l.ID)
		top.Suspended = suspended
		view[layout.LUNUUID(l.ID)] = top
		state := State{View: view}
		if got, _, err := (&Engine{Host: h}).needed(t.Context(), l, &state); err != nil || got != want {
			t.Errorf("suspended %v: %v, needs %d, want %d", suspended, err, got, want)
		}
	}
}

// No table is loaded while the number of a device is unknown: the kernel would take its leg for a missing one.
func TestAnUnresolvedTableIsNotLoaded(t *testing.T) {
	l := fixture.Mirrored(2)
	nodes := layout.Of(l, fixture.Roles(l))
	h, _ := fixture.Host(t, l, nil)
	h.At = fixture.At(nodes[1:]...) // without the metadata of the first plex
	err := (&Engine{Host: h}).Run(t.Context(), []layout.Step{layout.Load{Node: nodes[len(nodes)-1]}})
	if err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("%v; want that a device is missing", err)
	}
}

// Steps are recorded in the order in which they would be carried out, and nothing is done.
func TestDryRunDoesNothing(t *testing.T) {
	h, mem := fixture.Host(t, fixture.Single(), nil)
	effects := 0
	mem.OnEffect = func(blocktest.Effect) error { effects++; return errors.New("an effect") }
	k := &fixture.Kernel{}
	h.Kernel = k
	e := &Engine{Host: h, Dry: NewRecorder()}
	l := fixture.Single()
	tx := &host.Transaction{Put: []catalog.LUN{l}}
	steps := []layout.Step{Wipe{l}, Commit{Tx: tx, Text: "web1 is wiped"}, Activate{l, []layout.Step{layout.Clear{Name: "plex-web1"}}}}
	if err := e.Run(t.Context(), steps); err != nil || effects > 0 || len(k.Asked) > 0 {
		t.Errorf("%v, %d effects, calls %q", err, effects, k.Asked)
	}
	var texts []string
	for _, s := range e.Dry.Steps() {
		texts = append(texts, s.Text)
	}
	want := []string{"zero the first and the last MiB of web1", "commit: web1 is wiped", "clear the waiting table of plex-web1"}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
