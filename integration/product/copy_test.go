package product

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
)

// A copy that was split off has the UUID of the file system that it was copied from. The link by that UUID stays with the original,
// whichever of the two starts first, and leads to the copy when the original is gone. udev's rules make these links.
func TestLinksStayWithTheOriginal(t *testing.T) {
	const id = "11111111-2222-3333-4444-555555555555"
	link := "/dev/disk/by-uuid/" + id
	r := lab.NewRig(t, 2, cut.FailDrive)
	web := r.Create("web1", cut.FailLength, 0)
	lab.RunTool(t, "mkfs.ext4", "-q", "-U", id, "/dev/mapper/plex-web1")
	r.AddOn(web, 1)
	r.Run("plex", "split", "web1", r.PlexOn(web, 1).String(), "--name", "copy")
	leads := func(when, name string) {
		t.Helper()
		lab.Settle(t)
		// udev's queue may be empty for a moment between two events of one change.
		lab.WaitFor(t, when+": the link by UUID to lead to "+name, 20*time.Second, func() bool {
			got, err := filepath.EvalSymlinks(link)
			want, wantErr := filepath.EvalSymlinks("/dev/mapper/plex-" + name)
			return err == nil && wantErr == nil && got == want
		})
	}
	leads("after the split", "web1")
	for _, order := range [][]string{{"copy", "web1"}, {"web1", "copy"}} {
		r.Run("deactivate")
		lab.Settle(t)
		for _, name := range order {
			r.Run("assemble", name)
			lab.Settle(t)
		}
		leads(order[0]+" was first", "web1")
	}
	lab.RunTool(t, "udevadm", "trigger", "--settle", "--subsystem-match=block", "--action=change")
	leads("after events for all devices", "web1")
	r.Run("deactivate", "web1")
	leads("without the original", "copy")
}
