package product

import (
	"strings"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// A drive on a device of device-mapper is called by the name that people know, and never by the device below it. Its name may change.
//
//gate:kernels releases
func TestADriveIsCalledByItsName(t *testing.T) {
	below := lab.NewLoop(t, 96*size.MiB, 512)
	r := lab.NewRig(t, 1, 96*size.MiB)
	table := "0 196608 linear " + below + " 0"
	name := strings.TrimPrefix(lab.NewDevice(t, "named", table), "/dev/mapper/")
	drive := "/dev/mapper/" + name
	r.Run("drive", "init", drive, "--yes")
	r.Create("web1", 32*size.MiB, 0)
	for _, args := range []string{"drive list", "plex add web1 --drive " + drive + " --wait", "plex list web1", "status", "drive show " + drive} {
		out := r.Run(strings.Fields(args)...)
		if strings.Contains(out, "/dev/dm-") || strings.Contains(out, below) {
			t.Errorf("plexctl %s shows another name than %s:\n%s", args, drive, out)
		}
		if !strings.HasPrefix(args, "plex add") && !strings.Contains(out, drive) {
			t.Errorf("plexctl %s does not show %s:\n%s", args, drive, out)
		}
	}
	lab.RunTool(t, "dmsetup", "rename", name, name+"2")
	lab.Settle(t)
	r.StatusSays(0, drive+"2", "all is healthy")
	lab.RunTool(t, "dmsetup", "rename", name+"2", name)
	lab.Settle(t)
	r.Run("plex", "remove", "web1", drive, "--yes")
	r.Run("drive", "remove", drive, "--yes")
}
