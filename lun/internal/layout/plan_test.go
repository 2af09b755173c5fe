package layout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// named is a step that stands for one of another package.
type named string

func (s named) String() string { return string(s) }

// nodesOf is the layout of l where every drive is here.
func nodesOf(l catalog.LUN) []layout.Node { return layout.Of(l, fixture.Roles(l)) }

// withoutSecond is the layout of a mirror of two plexes whose second drive is missing.
func withoutSecond() []layout.Node {
	l := fixture.Mirrored(2)
	return layout.Of(l, record.RolesOf(l, func(id uuid.UUID) bool { return id == fixture.Drive2 }))
}

func TestLayoutOfOnePlexIsLinearOntoTheExtents(t *testing.T) {
	l := fixture.Single()
	l.Plexes[0].Data = []catalog.Extent{
		{Drive: fixture.Drive1, Start: 5 * fixture.MiB, Length: 40 * fixture.MiB},
		{Drive: fixture.Drive2, Start: 7 * fixture.MiB, Length: 40 * fixture.MiB},
	}
	nodes := nodesOf(l)
	if len(nodes) != 1 {
		t.Fatalf("layout has %d devices, want 1", len(nodes))
	}
	want := "0 81920 linear 8:0 10240\n81920 49152 linear 8:16 14336"
	if got := nodes[0].Table(fixture.At()).String(); got != want {
		t.Errorf("table:\n%s\nwant:\n%s", got, want)
	}
}

func TestLayoutOfAMirror(t *testing.T) {
	nodes := nodesOf(fixture.Mirrored(2))
	at := fixture.At(nodes...)
	got := map[string]string{}
	for _, n := range nodes {
		got[n.Name] = n.Table(at).String()
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
	if top := nodes[len(nodes)-1]; top.Name != "plex-web1" || top.UUID != "PLEX-"+fixture.LUN.String() {
		t.Errorf("the LUN's own device is not last: %v", top)
	}
}

func TestLayoutLeavesOutAMissingDrive(t *testing.T) {
	nodes := withoutSecond()
	top := nodes[len(nodes)-1]
	want := "0 131072 raid raid1 5 0 region_size 2048 max_recovery_rate 2097152 2 253:0 253:1 - -"
	if got := top.Table(fixture.At(nodes...)).String(); got != want {
		t.Errorf("table: %s\nWant:  %s", got, want)
	}
}

func TestPlan(t *testing.T) {
	one, two := nodesOf(fixture.Single()), nodesOf(fixture.Mirrored(2))
	at := fixture.At(two...)
	suspended := func(v layout.View, id string, inactive bool) layout.View {
		o := v[id]
		o.Suspended, o.Inactive = true, inactive
		v[id] = o
		return v
	}
	waiting := func(v layout.View, id string) layout.View {
		o := v[id]
		o.Inactive = true
		v[id] = o
		return v
	}
	top := layout.LUNUUID(fixture.LUN)
	tests := map[string]struct {
		c    layout.Change
		want []string
	}{
		"nothing to do": {layout.Change{Want: two, Have: fixture.Running(at, two...), At: at}, nil},
		"nothing to do but commit": {
			layout.Change{Want: one, Have: fixture.Running(at, one...), At: at, Commit: named("COMMIT")}, []string{"COMMIT"},
		},
		"activate a linear LUN": {
			layout.Change{Want: one, At: at, Commit: named("COMMIT")},
			[]string{"COMMIT", "create device plex-web1", "load table of plex-web1", "activate plex-web1"},
		},
		"activate a mirror": {
			layout.Change{Want: two, At: fixture.At(), Prepare: named("METADATA"), Commit: named("COMMIT"), Mark: named("MARK")},
			[]string{
				"METADATA", "COMMIT",
				"create device plex-web1:11111111:meta-a", "load table of plex-web1:11111111:meta-a", "activate plex-web1:11111111:meta-a",
				"create device plex-web1:11111111:data", "load table of plex-web1:11111111:data", "activate plex-web1:11111111:data",
				"create device plex-web1:22222222:meta-a", "load table of plex-web1:22222222:meta-a", "activate plex-web1:22222222:meta-a",
				"create device plex-web1:22222222:data", "load table of plex-web1:22222222:data", "activate plex-web1:22222222:data",
				"MARK", "create device plex-web1", "load table of plex-web1", "activate plex-web1",
			},
		},
		"attach": {
			layout.Change{Want: two, Have: fixture.Running(at, one...), At: fixture.At(one...), Prepare: named("METADATA"), Commit: named("COMMIT")},
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
			layout.Change{
				Want: two, Have: waiting(fixture.Running(at, append(two[:4:4], one...)...), top), At: at,
				Prepare: named("METADATA"), Commit: named("COMMIT"),
			},
			[]string{"clear the waiting table of plex-web1", "METADATA", "load table of plex-web1", "COMMIT", "activate plex-web1"},
		},
		"back to linear": {
			layout.Change{Want: one, Have: fixture.Running(at, two...), At: at, Commit: named("COMMIT")},
			[]string{
				"load table of plex-web1", "COMMIT", "activate plex-web1",
				"remove device plex-web1:11111111:data", "remove device plex-web1:11111111:meta-a",
				"remove device plex-web1:22222222:data", "remove device plex-web1:22222222:meta-a",
			},
		},
		"remains of a crash before the commit": {
			layout.Change{Want: one, Have: waiting(fixture.Running(at, append(two[:4:4], one...)...), top), At: at},
			[]string{
				"clear the waiting table of plex-web1",
				"remove device plex-web1:11111111:data", "remove device plex-web1:11111111:meta-a",
				"remove device plex-web1:22222222:data", "remove device plex-web1:22222222:meta-a",
			},
		},
		"a suspended LUN goes on, with the table it has": {
			layout.Change{Want: one, Have: suspended(fixture.Running(at, one...), top, true), At: at},
			[]string{"clear the waiting table of plex-web1", "activate plex-web1"},
		},
		"take down a mirror, own device first": {
			layout.Change{Have: fixture.Running(at, two...), At: at, Commit: named("COMMIT")},
			[]string{
				"remove device plex-web1",
				"remove device plex-web1:11111111:data", "remove device plex-web1:11111111:meta-a",
				"remove device plex-web1:22222222:data", "remove device plex-web1:22222222:meta-a", "COMMIT",
			},
		},
		"take down a suspended mirror": {
			layout.Change{Have: suspended(fixture.Running(at, two...), top, true), At: at},
			[]string{
				"clear the waiting table of plex-web1", "remove device plex-web1",
				"remove device plex-web1:11111111:data", "remove device plex-web1:11111111:meta-a",
				"remove device plex-web1:22222222:data", "remove device plex-web1:22222222:meta-a",
			},
		},
		"a private device points elsewhere": {
			layout.Change{Want: two, Have: fixture.Running(at, append([]layout.Node{{Name: two[0].Name, UUID: two[0].UUID, Runs: one[0].Runs}}, two[1:]...)...), At: at},
			[]string{"load table of plex-web1:11111111:meta-a", "activate plex-web1:11111111:meta-a"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, fixture.Texts(layout.Plan(test.c))); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// A mirror that runs without a leg must not pass for the wanted one only because that leg's devices do not exist yet.
func TestPlanDoesNotTakeAnUnknownLegForAMissingOne(t *testing.T) {
	two := nodesOf(fixture.Mirrored(2))
	degraded := withoutSecond()
	at := fixture.At(degraded...)
	steps := fixture.Texts(layout.Plan(layout.Change{Want: two, Have: fixture.Running(at, degraded...), At: at}))
	if last := steps[len(steps)-1]; last != "activate plex-web1" {
		t.Errorf("the mirror is not reloaded: %q", steps)
	}
}

func TestOwnerOf(t *testing.T) {
	tests := map[string]struct {
		uuid string
		own  bool
	}{
		"lun":     {"PLEX-" + fixture.LUN.String(), true},
		"private": {"PLEX-" + fixture.LUN.String() + "-" + fixture.Plex1.String() + "-data", true},
		"lvm":     {"LVM-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ01", false},
		"short":   {"PLEX-1234", false},
		"not hex": {"PLEX-zzzzzzzz-0000-4000-8000-000000000001", false},
		"empty":   {"", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			id, own := layout.OwnerOf(test.uuid)
			if own != test.own || own && id != fixture.LUN {
				t.Errorf("layout.OwnerOf(%q) = %v, %v; want own %v", test.uuid, id, own, test.own)
			}
		})
	}
}
