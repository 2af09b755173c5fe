package lun

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

var (
	lunA   = uuid.MustParse("aaaaaaaa-0000-4000-8000-000000000001")
	plex1  = uuid.MustParse("11111111-0000-4000-8000-000000000001")
	plex2  = uuid.MustParse("22222222-0000-4000-8000-000000000002")
	drive1 = uuid.MustParse("d1d1d1d1-0000-4000-8000-000000000001")
	drive2 = uuid.MustParse("d2d2d2d2-0000-4000-8000-000000000002")
)

const mibSectors = size.Sectors(2048)

// onDrive is a plex of n MiB at 5 MiB of a drive, its metadata at 4 MiB.
func onDrive(id, drive uuid.UUID, n size.Sectors) catalog.Plex {
	return catalog.Plex{
		ID: id, Slot: catalog.SlotA,
		Meta: catalog.Extent{Drive: drive, Start: 4 * mibSectors, Length: mibSectors},
		Data: []catalog.Extent{{Drive: drive, Start: 5 * mibSectors, Length: n * mibSectors}},
	}
}

func single() catalog.LUN {
	return catalog.LUN{ID: lunA, Name: "web1", Size: 64 * mibSectors, Generation: 3, Plexes: []catalog.Plex{onDrive(plex1, drive1, 64)}}
}

func mirrored() catalog.LUN {
	l := single()
	l.RegionSize = mibSectors
	l.Plexes = append(l.Plexes, onDrive(plex2, drive2, 80))
	return l
}

func here(catalog.Plex) bool { return false }

// second is the plex on drive2.
func second(p catalog.Plex) bool { return p.Meta.Drive == drive2 }

// lab is a machine of numbers: drives at 8:0 and 8:16, dm devices at 253:n in the order given.
func lab(nodes ...node) numbers {
	at := numbers{
		drives: map[uuid.UUID]devno.No{drive1: {Major: 8}, drive2: {Major: 8, Minor: 16}},
		nodes:  map[string]devno.No{},
	}
	for i, n := range nodes {
		at.nodes[n.uuid] = devno.No{Major: 253, Minor: uint32(i)}
	}
	return at
}

// running is the view of a kernel that runs nodes as wanted.
func running(at numbers, nodes ...node) view {
	v := view{}
	for _, n := range nodes {
		v[n.uuid] = observed{
			Info:  dm.Info{Device: dm.Device{Name: n.name, UUID: n.uuid, Dev: at.nodes[n.uuid]}, Live: true},
			table: n.table(at),
		}
	}
	return v
}

func texts(steps []step) []string {
	var all []string
	for _, s := range steps {
		all = append(all, s.String())
	}
	return all
}

func named(text string) step {
	return funcStep{text: text, do: func(context.Context, *machine) error { return nil }}
}

func TestLayoutOfOnePlexIsLinearOntoTheExtents(t *testing.T) {
	l := single()
	l.Plexes[0].Data = []catalog.Extent{
		{Drive: drive1, Start: 5 * mibSectors, Length: 40 * mibSectors},
		{Drive: drive2, Start: 7 * mibSectors, Length: 40 * mibSectors},
	}
	nodes := layout(l, here)
	if len(nodes) != 1 {
		t.Fatalf("layout has %d devices, want 1", len(nodes))
	}
	want := "0 81920 linear 8:0 10240\n81920 49152 linear 8:16 14336"
	if got := nodes[0].table(lab()).String(); got != want {
		t.Errorf("table:\n%s\nwant:\n%s", got, want)
	}
}

func TestLayoutOfAMirror(t *testing.T) {
	nodes := layout(mirrored(), here)
	at := lab(nodes...)
	got := map[string]string{}
	for _, n := range nodes {
		got[n.name] = n.table(at).String()
	}
	want := map[string]string{
		"plex-web1:11111111:meta-a": "0 1024 linear 8:0 8192",
		"plex-web1:11111111:data":   "0 131072 linear 8:0 10240",
		"plex-web1:22222222:meta-a": "0 1024 linear 8:16 8192",
		"plex-web1:22222222:data":   "0 131072 linear 8:16 10240",
		"plex-web1":                 "0 131072 raid raid1 5 0 region_size 2048 max_recovery_rate 2097152 2 253:0 253:1 253:2 253:3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	if top := nodes[len(nodes)-1]; top.name != "plex-web1" || top.uuid != "PLEX-"+lunA.String() {
		t.Errorf("the LUN's own device is not last: %v", top)
	}
}

func TestLayoutLeavesOutAMissingDrive(t *testing.T) {
	nodes := layout(mirrored(), second)
	top := nodes[len(nodes)-1]
	want := "0 131072 raid raid1 5 0 region_size 2048 max_recovery_rate 2097152 2 253:0 253:1 - -"
	if got := top.table(lab(nodes...)).String(); got != want {
		t.Errorf("table: %s\nwant:  %s", got, want)
	}
}

func TestPlan(t *testing.T) {
	one, two := layout(single(), here), layout(mirrored(), here)
	at := lab(two...)
	suspended := func(v view, id string, inactive bool) view {
		o := v[id]
		o.Suspended, o.Inactive = true, inactive
		v[id] = o
		return v
	}
	waiting := func(v view, id string) view {
		o := v[id]
		o.Inactive = true
		v[id] = o
		return v
	}
	top := lunUUID(lunA)
	tests := map[string]struct {
		c    change
		want []string
	}{
		"nothing to do": {change{want: two, have: running(at, two...), at: at}, nil},
		"nothing to do but commit": {
			change{want: one, have: running(at, one...), at: at, commit: named("COMMIT")}, []string{"COMMIT"},
		},
		"activate a linear LUN": {
			change{want: one, at: at, commit: named("COMMIT")},
			[]string{"COMMIT", "create device plex-web1", "load table of plex-web1", "activate plex-web1"},
		},
		"attach": {
			change{want: two, have: running(at, one...), at: lab(one...), prepare: named("METADATA"), commit: named("COMMIT")},
			[]string{
				"METADATA",
				"create device plex-web1:11111111:meta-a", "load table of plex-web1:11111111:meta-a", "activate plex-web1:11111111:meta-a",
				"create device plex-web1:11111111:data", "load table of plex-web1:11111111:data", "activate plex-web1:11111111:data",
				"create device plex-web1:22222222:meta-a", "load table of plex-web1:22222222:meta-a", "activate plex-web1:22222222:meta-a",
				"create device plex-web1:22222222:data", "load table of plex-web1:22222222:data", "activate plex-web1:22222222:data",
				"load table of plex-web1", "COMMIT", "activate plex-web1",
			},
		},
		"attach again after a crash before the commit": {
			change{
				want: two, have: waiting(running(at, append(two[:4:4], one...)...), top), at: at,
				prepare: named("METADATA"), commit: named("COMMIT"),
			},
			[]string{"clear the waiting table of plex-web1", "METADATA", "load table of plex-web1", "COMMIT", "activate plex-web1"},
		},
		"back to linear": {
			change{want: one, have: running(at, two...), at: at, commit: named("COMMIT")},
			[]string{
				"load table of plex-web1", "COMMIT", "activate plex-web1",
				"remove device plex-web1:11111111:data", "remove device plex-web1:11111111:meta-a",
				"remove device plex-web1:22222222:data", "remove device plex-web1:22222222:meta-a",
			},
		},
		"remains of a crash before the commit": {
			change{want: one, have: waiting(running(at, append(two[:4:4], one...)...), top), at: at},
			[]string{
				"clear the waiting table of plex-web1",
				"remove device plex-web1:11111111:data", "remove device plex-web1:11111111:meta-a",
				"remove device plex-web1:22222222:data", "remove device plex-web1:22222222:meta-a",
			},
		},
		"a suspended LUN goes on, with the table it has": {
			change{want: one, have: suspended(running(at, one...), top, true), at: at},
			[]string{"clear the waiting table of plex-web1", "activate plex-web1"},
		},
		"take down a mirror, own device first": {
			change{have: running(at, two...), at: at, commit: named("COMMIT")},
			[]string{
				"remove device plex-web1",
				"remove device plex-web1:11111111:data", "remove device plex-web1:11111111:meta-a",
				"remove device plex-web1:22222222:data", "remove device plex-web1:22222222:meta-a", "COMMIT",
			},
		},
		"take down a suspended mirror": {
			change{have: suspended(running(at, two...), top, true), at: at},
			[]string{
				"clear the waiting table of plex-web1", "remove device plex-web1",
				"remove device plex-web1:11111111:data", "remove device plex-web1:11111111:meta-a",
				"remove device plex-web1:22222222:data", "remove device plex-web1:22222222:meta-a",
			},
		},
		"a private device points elsewhere": {
			change{want: two, have: running(at, append([]node{{name: two[0].name, uuid: two[0].uuid, runs: one[0].runs}}, two[1:]...)...), at: at},
			[]string{"load table of plex-web1:11111111:meta-a", "activate plex-web1:11111111:meta-a"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, texts(plan(test.c))); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// A mirror that runs without a leg must not pass for the wanted one only because that leg's devices do not exist yet.
func TestPlanDoesNotTakeAnUnknownLegForAMissingOne(t *testing.T) {
	two := layout(mirrored(), here)
	degraded := layout(mirrored(), second)
	at := lab(degraded...)
	steps := texts(plan(change{want: two, have: running(at, degraded...), at: at}))
	if last := steps[len(steps)-1]; last != "activate plex-web1" {
		t.Errorf("the mirror is not reloaded: %q", steps)
	}
}

func TestOwnerOf(t *testing.T) {
	tests := map[string]struct {
		uuid string
		own  bool
	}{
		"lun":     {"PLEX-" + lunA.String(), true},
		"private": {"PLEX-" + lunA.String() + "-" + plex1.String() + "-data", true},
		"lvm":     {"LVM-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ01", false},
		"short":   {"PLEX-1234", false},
		"not hex": {"PLEX-zzzzzzzz-0000-4000-8000-000000000001", false},
		"empty":   {"", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			id, own := ownerOf(test.uuid)
			if own != test.own || own && id != lunA {
				t.Errorf("ownerOf(%q) = %v, %v; want own %v", test.uuid, id, own, test.own)
			}
		})
	}
}
