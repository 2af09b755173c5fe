package measure

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// manyCounts are how many volumes there are, all on one drive and none mirrored.
func manyCounts() []int { return []int{10, 100, 500} }

// manyVolumes measures what looking at many volumes, stopping and starting them takes. There is plexctl first, with the tool of
// device-mapper itself on its devices, then lvm2; both at once would only find each other's.
func (b *bench) manyVolumes() {
	b.t.Run("plexctl", func(t *testing.T) {
		b.blank()
		r := lab.RigOn(t, b.drives[0])
		first, err := r.Create("lun0", size.MiB, 0).Record()
		lab.Must(t, err)
		for _, count := range manyCounts() {
			r.Run("deactivate")
			writeRecords(t, b.drives[0], copiesOf(first, count))
			r.Run("assemble")
			b.lookAndStart(count, plexctlCommands())
		}
	})
	for _, c := range []*lvmContender{b.lvmTuned().(*lvmContender), b.lvmUsual().(*lvmContender)} { //nolint:errcheck // that is what they are
		b.t.Run(c.label, func(*testing.T) {
			b.blank()
			defer c.remove()
			c.run("vgcreate", "-s", "1m", lvmGroup, c.drives[0])
			empty := c.backup()
			for _, count := range manyCounts() {
				c.volumes(empty, count)
				b.lookAndStart(count, c.commands())
			}
		})
	}
}

// copiesOf is so many records, the first of which is the given one; the space of the others follows it.
func copiesOf(first catalog.LUN, count int) []catalog.LUN {
	luns := []catalog.LUN{first}
	plex := first.Plexes[0]
	room := plex.Data[0].Length + plex.Meta.Length
	for i := 1; i < count; i++ {
		l, p := first, plex
		l.ID, l.Name, p.ID = uuid.New(), fmt.Sprintf("lun%d", i), uuid.New()
		p.Data = slices.Clone(plex.Data)
		p.Data[0].Start += size.Sectors(i) * room
		p.Meta.Start += size.Sectors(i) * room
		l.Plexes = []catalog.Plex{p}
		luns = append(luns, l)
	}
	return luns
}

// writeRecords makes the records all that there are on a drive. LUNs that are created one at a time would take minutes.
func writeRecords(t *testing.T, device string, luns []catalog.LUN) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	lab.Must(t, err)
	defer f.Close()
	d, err := catalog.ReadDrive(f, benchDrive)
	lab.Must(t, err)
	lab.Must(t, d.Write(f, luns))
}

// manyCommand is a command that is measured: of which figure, and whose.
type manyCommand struct {
	figure, subject string
	line            []string
}

func plexctlCommands() []manyCommand {
	return []manyCommand{
		{"status", "plexctl", []string{"plexctl", "status"}},
		{"status-json", "plexctl", []string{"plexctl", "status", "-o", "json"}},
		{"status", "dmsetup", []string{"dmsetup", "status"}},
		{"deactivate", "plexctl", []string{"plexctl", "deactivate"}},
		{"activate", "plexctl", []string{"plexctl", "assemble"}},
	}
}

func (l *lvmContender) commands() []manyCommand {
	as := func(args ...string) []string { return append([]string{"lvm"}, l.line(args...)...) }
	return []manyCommand{
		{"status", l.label, as("lvs")},
		{"status-json", l.label, as("lvs", "--reportformat", "json")},
		{"deactivate", l.label, as("vgchange", "-an", lvmGroup)},
		{"activate", l.label, as("vgchange", "-ay", lvmGroup)},
	}
}

// lookAndStart runs the commands in order, and in the end once more to see how much memory each takes. The volumes are active
// before and after.
func (b *bench) lookAndStart(count int, commands []manyCommand) {
	b.t.Helper()
	for round := range b.rounds {
		for _, c := range commands {
			took := timed(func() { lab.RunTool(b.t, c.line[0], c.line[1:]...) })
			b.tellTime(figure{Figure: c.figure, Case: fmt.Sprintf("%d volumes", count), Subject: c.subject, Round: round}, took)
		}
	}
	for _, c := range commands {
		b.tellMemory(fmt.Sprintf("%s, %d volumes", c.figure, count), c.subject, c.line)
	}
}

// tellMemory runs a command, and tells how much memory it had at its peak. GNU time starts it, because the peak of what starts
// it counts as its own.
func (b *bench) tellMemory(what, subject string, line []string) {
	b.t.Helper()
	file := b.t.TempDir() + "/memory"
	cmd := exec.Command("time", append([]string{"-f", "%M", "-o", file}, line...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %v\n%s", line, err, out)
	}
	kib, err := strconv.ParseUint(readValue(b.t, file), 10, 64)
	lab.Must(b.t, err)
	b.tellBytes(figure{Figure: "memory", Case: what, Subject: subject}, size.Bytes(kib)*size.KiB)
}

// backup is the metadata of a group without volumes, as text.
func (l *lvmContender) backup() string {
	l.t.Helper()
	file := l.t.TempDir() + "/group"
	l.run("vgcfgbackup", "-f", file, lvmGroup)
	return readValue(l.t, file)
}

// volumes makes so many volumes of one extent each the only ones of the group, and activates them. One at a time, as
// lvcreate makes them, would take minutes.
func (l *lvmContender) volumes(empty string, count int) {
	l.t.Helper()
	var text strings.Builder
	end := strings.LastIndex(empty, "}")
	text.WriteString(empty[:end] + "logical_volumes {\n")
	for i := range count {
		fmt.Fprintf(&text, `lun%d { id = "plexct-benc-hvol-ume0-0000-0000-%06d" status = ["READ", "WRITE", "VISIBLE"] flags = [] segment_count = 1
			segment1 { start_extent = 0 extent_count = 1 type = "striped" stripe_count = 1 stripes = ["pv0", %d] } }
`, i, i, i)
	}
	text.WriteString("}\n" + empty[end:])
	file := l.t.TempDir() + "/group"
	lab.Must(l.t, os.WriteFile(file, []byte(text.String()), 0o600))
	l.run("vgchange", "-an", lvmGroup)
	l.run("vgcfgrestore", "-f", file, lvmGroup)
	l.run("vgchange", "-ay", lvmGroup)
}
