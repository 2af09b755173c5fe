package lab

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Rig is drives on which a test makes LUNs, through the library and through the command.
type Rig struct {
	T        testing.TB
	Drives   []string // paths of devices with a label
	Control  *dm.Control
	Provider *lun.Provider
	Track    bool // LUNs that are made are tracked
}

// NewRig makes n loop devices of the given length drives.
func NewRig(t testing.TB, n int, length size.Bytes) *Rig {
	t.Helper()
	NewLab(t)
	var devices []string
	for range n {
		devices = append(devices, NewLoop(t, length, 512))
	}
	return RigOn(t, devices...)
}

// RigOn makes the devices drives. When the test ends their LUNs are taken down.
func RigOn(t testing.TB, devices ...string) *Rig {
	t.Helper()
	r := OpenRig(t, devices...)
	for _, d := range devices {
		if _, err := r.Provider.InitDrive(t.Context(), d, lun.InitOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// OpenRig is a rig on devices as they are.
func OpenRig(t testing.TB, devices ...string) *Rig {
	t.Helper()
	Settle(t)
	control, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Close(); err != nil {
			t.Error(err)
		}
	})
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := lun.Open(t.Context(), lun.Options{Kernel: control, Logger: log, Guard: lun.Unguarded})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	r := &Rig{T: t, Drives: devices, Control: control, Provider: p}
	t.Cleanup(r.TakeDown)
	return r
}

// TakeDown deactivates everything, so that only what plexctl itself leaves behind is left. It waits for udevd, which reads a LUN
// that was written to: on a busy machine longer than plexctl waits for it.
func (r *Rig) TakeDown() {
	Settle(r.T)
	results, err := r.Provider.Deactivate(context.Background())
	if err != nil {
		r.T.Errorf("deactivate: %v", err)
	}
	for _, result := range results {
		if result.Err != nil {
			r.T.Errorf("deactivate: %v", result.Err)
		}
	}
}

// Run runs plexctl, which must succeed, and returns what it printed.
func (r *Rig) Run(args ...string) string {
	r.T.Helper()
	return RunTool(r.T, "plexctl", args...)
}

// Refuse runs plexctl, which must end with the exit status and say every one of the texts. With -v it names the code.
func (r *Rig) Refuse(status int, args []string, says ...string) {
	r.T.Helper()
	out, err := TryTool(r.T, "plexctl", append([]string{"-v"}, args...)...)
	if got := ExitStatus(err); got != status {
		r.T.Errorf("plexctl %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, status, out)
	}
	for _, text := range says {
		if !strings.Contains(out, text) {
			r.T.Errorf("plexctl %s does not say %q:\n%s", strings.Join(args, " "), text, out)
		}
	}
}

// Refresh has the Provider look at the drives again.
func (r *Rig) Refresh() {
	r.T.Helper()
	if err := r.Provider.Refresh(r.T.Context()); err != nil {
		r.T.Fatal(err)
	}
}

// Create makes a LUN on one of the drives.
func (r *Rig) Create(name string, length size.Bytes, drive int) *lun.LUN {
	r.T.Helper()
	l, err := r.Provider.CreateLUN(r.T.Context(), lun.Spec{Name: name, Size: length, Drives: []string{r.Drives[drive]}, Track: r.Track})
	if err != nil {
		r.T.Fatal(err)
	}
	return l
}

// Record is a LUN's record as the drives have it now.
func (r *Rig) Record(name string) catalog.LUN {
	r.T.Helper()
	r.Refresh()
	l, err := r.Provider.LUN(name)
	if err != nil {
		r.T.Fatal(err)
	}
	record, err := l.Record()
	if err != nil {
		r.T.Fatal(err)
	}
	return record
}

// Legs is a checksum of each plex of a LUN over the LUN's length, read from the drives past every cache.
func (r *Rig) Legs(l catalog.LUN) []uint64 {
	r.T.Helper()
	paths := map[string]string{}
	for _, d := range r.Provider.Drives() {
		paths[d.ID.String()] = d.Info.Path
	}
	var sums []uint64
	for _, p := range l.Copies() {
		sum, left := NewChecksum(), l.Size
		for _, e := range p.Data {
			n := min(e.Length, left)
			CopyRange(r.T, sum, paths[e.Drive.String()], e.Start.Bytes(), n.Bytes())
			left -= n
		}
		sums = append(sums, sum.Sum64())
	}
	return sums
}

// EqualLegs fails the test unless all plexes of the LUN are byte for byte the same.
func (r *Rig) EqualLegs(l catalog.LUN) {
	r.T.Helper()
	if len(l.Copies()) < 2 {
		r.T.Fatalf("%s has %d plexes", l.Name, len(l.Copies()))
	}
	sums := r.Legs(l)
	for i, sum := range sums {
		if sum != sums[0] {
			r.T.Errorf("plex %d of %s differs from plex 0", i, l.Name)
		}
	}
}

// Tables is every plexctl device with its live table.
func (r *Rig) Tables() map[string]string {
	r.T.Helper()
	list, err := r.Control.List(r.T.Context())
	if err != nil {
		r.T.Fatal(err)
	}
	tables := map[string]string{}
	for _, d := range list {
		if !strings.HasPrefix(d.UUID, "PLEX-") {
			continue
		}
		table, err := r.Control.Table(r.T.Context(), d.Name)
		if err != nil {
			r.T.Fatal(err)
		}
		tables[d.Name] = table.String()
	}
	return tables
}

// Assemble starts LUNs, which must succeed.
func (r *Rig) Assemble(names ...string) {
	r.T.Helper()
	results, err := r.Provider.Assemble(r.T.Context(), lun.AssembleOptions{LUNs: names})
	r.Worked("assemble", results, err)
}

// Worked fails the test unless a call on several LUNs succeeded for each of them.
func (r *Rig) Worked(what string, results []lun.Result, err error) {
	r.T.Helper()
	if err != nil {
		r.T.Fatalf("%s: %v", what, err)
	}
	for _, result := range results {
		if result.Err != nil {
			r.T.Fatalf("%s: %v", what, result.Err)
		}
	}
}

// Succeeded fails the test unless an operation ends with S_OK: for the library, for the command, and whenever asked.
func (r *Rig) Succeeded(op *resync.Async, err error) {
	r.T.Helper()
	for range 2 {
		r.End(op, err)
	}
	if st, err := op.QueryStatus(r.T.Context()); err != nil || st.Result != vds.OK || st.Percent != 100 {
		r.T.Errorf("status %+v, %v, want S_OK at 100 %%", st, err)
	}
}

// GaveBack fails the test unless LUNs and tables are what they were.
func (r *Rig) GaveBack(luns any, tables map[string]string) {
	r.T.Helper()
	if diff := cmp.Diff(luns, any(r.LUNs())); diff != "" {
		r.T.Errorf("LUNs (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(tables, r.Tables()); diff != "" {
		r.T.Errorf("tables (-before +after):\n%s", diff)
	}
}

// LUNs is what every LUN is made of.
func (r *Rig) LUNs() map[string][]uuid.UUID {
	r.T.Helper()
	r.Refresh()
	made := map[string][]uuid.UUID{}
	for _, l := range r.Provider.LUNs() {
		record, err := l.Record()
		if err != nil {
			r.T.Fatal(err)
		}
		made[l.Name()] = []uuid.UUID{l.ID()}
		for _, p := range record.Plexes {
			made[l.Name()] = append(made[l.Name()], p.ID)
		}
	}
	return made
}
