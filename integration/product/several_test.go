package product

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// TestSeveralAtOnce has LUNs of every kind started and taken down by one command, which does several of them at a time: each
// has its own content afterwards, its plexes are equal, and nothing is left over. One that cannot be taken down keeps no other.
// There are two mirrors, and one LUN of each other kind; with PLEXCTL_SWEEP two of each.
func TestSeveralAtOnce(t *testing.T) {
	const length = 4 * size.MiB
	r := lab.NewRig(t, 3, 128*size.MiB)
	plexes := map[string]int{}
	for i := range 2 {
		mirror := fmt.Sprintf("mirror%d", i)
		r.AddOn(r.Create(mirror, length, 0), 1)
		plexes[mirror] = 2
	}
	for i := range lab.Rounds(1, 2) {
		plain, tracked := fmt.Sprintf("plain%d", i), fmt.Sprintf("tracked%d", i)
		r.Create(plain, length, 0)
		r.Track = true
		r.Create(tracked, length, 2)
		r.Track = false
		plexes[plain], plexes[tracked] = 1, 1
	}
	for name := range plexes {
		lab.FillWith(t, "/dev/mapper/plex-"+name, name+" ", length)
	}
	all := func(step string) {
		t.Helper()
		r.Refresh()
		for name, n := range plexes {
			healthy(r, name)
			r.Whole(step, name, n)
			var content bytes.Buffer
			lab.CopyRange(t, &content, "/dev/mapper/plex-"+name, 0, size.MiB)
			if want := strings.Repeat(name+" ", int(size.MiB)); content.String() != want[:size.MiB] {
				t.Errorf("%s: the content of %s is not its own: %q", step, name, content.String()[:32])
			}
		}
	}
	none := func(step string) {
		t.Helper()
		if out := lab.RunTool(t, "dmsetup", "ls"); strings.Contains(out, "plex-") {
			t.Errorf("%s: there is\n%s", step, out)
		}
	}
	r.Run("deactivate")
	none("deactivated")
	r.Run("assemble")
	all("assembled")

	user, err := os.Open("/dev/mapper/plex-mirror1")
	lab.Must(t, err)
	r.Refuse(4, []string{"deactivate"}, "mirror1", "in use")
	lab.Must(t, user.Close())
	if out := lab.RunTool(t, "dmsetup", "ls"); !strings.Contains(out, "plex-mirror1\t") || strings.Contains(out, "plex-mirror0") || strings.Contains(out, "plex-plain") {
		t.Errorf("one was open, and there is\n%s", out)
	}
	r.Run("assemble")

	for name := range plexes {
		r.Crash(name)
	}
	none("after a crash")
	r.Run("assemble")
	all("assembled after a crash")
}
