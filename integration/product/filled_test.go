package product

import (
	"testing"
	"time"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
)

// A copy ends, and no plexctl looks. The source fails, so the new plex alone gets the writes. The source is back, and the kernel fills it
// from the new plex, when the devices go away without a stop. The LUN starts, with its newest data.
//
//gate:kernels others
func TestTheSourceIsFilledFromTheTarget(t *testing.T) {
	r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 1)
	r.Run("plex", "add", "web1", "--drive", r.Drives[1], "--yes")
	health := func(what, want string, action dm.Action) {
		t.Helper()
		lab.WaitFor(t, what, lab.SyncLimit, func() bool {
			st := r.RaidStatus("web1")
			got := ""
			for _, letter := range st.Health {
				got += string(letter)
			}
			return got == want && st.Action == action
		})
	}
	health("the copy to end", "AA", dm.ActionIdle)
	drives[0].WearOut()
	r.AwaitLoss("web1", 1)
	l.More(50)
	drives[0].SlowDown(2 * time.Second)
	lab.RunTool(t, "dmsetup", "suspend", "plex-web1")
	lab.RunTool(t, "dmsetup", "resume", "plex-web1")
	health("the source to be filled", "aA", dm.ActionRecover)
	l.Down(true)
	drives[0].Heal()
	r.Run("assemble")
	t.Log(statusOf(r))
	l.Writer.Verify(t, l.Writer.Path)
	l.Writer.GoOn(t)
	l.More(20)
	r.Run("op", "wait", "web1")
	l.Verify("the source is filled", 2)
}
