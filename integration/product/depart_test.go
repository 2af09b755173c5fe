package product

import (
	"testing"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/vds"
)

// plexctl is killed while a plex is leaving a mirror of two, and the LUN runs on with the table from before. The plex that stays
// fails, so that only the other one gets the writes. The devices go away without a stop. Then the drive is back, and the LUN has
// its newest data: the plex has not left.
//
//gate:kernels others
func TestOnlyALeavingPlexIsLeft(t *testing.T) {
	r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	leaving := r.PlexOn(l.LUN, 1).String()
	killed := lab.Trace(t, lab.InWindow, "plex", "remove", "web1", leaving, "--yes")
	if !killed.Killed {
		t.Fatalf("it was not killed: %+v", killed)
	}
	l.More(10) // the guard has resumed it
	r.StatusSays(20, "plex "+leaving+" is leaving it", "run `plexctl assemble`")
	drives[0].WearOut()
	r.AwaitLoss("web1", 1)
	l.More(20)
	l.Down(true)
	drives[0].Heal()
	r.Run("assemble")
	l.Writer.Verify(t, l.Writer.Path)
	l.Writer.GoOn(t)
	lab.WaitFor(t, "web1 to be healthy", lab.SyncLimit, func() bool {
		r.Refresh()
		props, err := l.LUN.Properties(t.Context())
		return err == nil && props.Health == vds.HealthHealthy
	})
	l.Verify("the plex has not left", 2)
	r.Run("plex", "remove", "web1", leaving, "--yes")
	l.Verify("now it has", 1)
}
