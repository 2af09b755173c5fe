package product

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
)

// The file system on a LUN is frozen, as by a backup program, when a plex is split off. An old kernel refuses that. plexctl says
// that it is frozen, and the LUN stays as it was. A newer kernel does it. In both cases the copy is clean after the thaw.
//
//gate:kernels releases
func TestSplitWhileFrozen(t *testing.T) {
	r := lab.NewRig(t, 2, cut.FailDrive)
	web := r.Create("web1", cut.FailLength, 0)
	dir := lab.MountNew(t, "/dev/mapper/plex-web1")
	lab.Must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("before"), 0o600))
	r.AddOn(web, 1)
	plex := r.PlexOn(web, 1).String()
	lab.RunTool(t, "busybox", "fsfreeze", "--freeze", dir)
	out, err := lab.TryTool(t, "plexctl", "plex", "split", "web1", plex, "--name", "copy")
	lab.RunTool(t, "busybox", "fsfreeze", "--unfreeze", dir)
	if err != nil {
		t.Logf("this kernel refuses: %s", out)
		if lab.ExitStatus(err) != 4 || !strings.Contains(out, "is frozen already") {
			t.Errorf("split: %v: %s", err, out)
		}
		r.Refresh()
		r.Whole("refused", "web1", 2)
		r.Run("plex", "split", "web1", plex, "--name", "copy")
	}
	lab.RunTool(t, "e2fsck", "-fn", "/dev/mapper/plex-copy")
	lab.Must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("after"), 0o600))
	lab.Unmount(t, dir)
	lab.RunTool(t, "e2fsck", "-fn", "/dev/mapper/plex-web1")
}
