package product

import (
	"os"
	"testing"
	"time"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// The kernel compares the plexes of a LUN: nothing is rebuilt and nothing is degraded. What it finds is no health, until it is
// repaired. A plex that is added meanwhile to a LUN that is redundant is planned work.
//
//gate:kernels others
func TestCheckAndWhatItFinds(t *testing.T) {
	const length = 160 * size.MiB
	r := lab.NewRig(t, 3, length+32*size.MiB)
	m := r.Create("m", length, 0)
	lab.FillWith(t, "/dev/mapper/plex-m", "what is compared ", length)
	r.AddOn(m, 1)
	r.StatusSays(0, "all is healthy")

	check := func() {
		lab.RunTool(t, "dmsetup", "message", "plex-m", "0", "check")
		for seen := 0; r.RaidStatus("m").Action == dm.ActionCheck; seen++ {
			out, err := lab.TryTool(t, "plexctl", "status")
			if still := r.RaidStatus("m").Action == dm.ActionCheck; still && lab.ExitStatus(err) != 0 && seen == 0 {
				t.Errorf("status during a check: exit status %d\n%s", lab.ExitStatus(err), out)
			}
		}
	}
	check()
	r.StatusSays(0, "all is healthy")

	p := r.Record("m").Plexes[1]
	f, err := lab.OpenDirect(r.Drives[1], os.O_RDWR)
	lab.Must(t, err)
	b := lab.AlignedBuffer(size.MiB)
	for i := range b {
		b[i] = 0xA5
	}
	_, err = f.WriteAt(b, int64(p.Data[0].Start.Bytes()+length/2))
	lab.Must(t, err)
	lab.Must(t, f.Close())
	lab.RunTool(t, "dmsetup", "message", "plex-m", "0", "check")
	lab.WaitFor(t, "the check to end", lab.SyncLimit, func() bool { return r.RaidStatus("m").Action == dm.ActionIdle })
	t.Log(statusOf(r))
	r.StatusSays(20, "failing-redundancy", "differ in 2048 sectors")
	r.Refuse(20, []string{"status", "-o", "json"}, `"mismatchBytes":1048576`, `"health":"failing-redundancy"`)

	lab.RunTool(t, "dmsetup", "message", "plex-m", "0", "repair")
	lab.WaitFor(t, "the repair to end", lab.SyncLimit, func() bool { return r.RaidStatus("m").Action == dm.ActionIdle })
	r.StatusSays(0, "all is healthy")
	r.EqualLegs(r.Record("m"))

	op, err := m.AddNewPlex(t.Context(), r.Drives[2:], lun.AttachOptions{Rate: lun.Paused})
	lab.Must(t, err)
	lab.WaitFor(t, "the copy to begin", 20*time.Second, func() bool { return r.RaidStatus("m").Action == dm.ActionRecover })
	t.Log(statusOf(r))
	r.StatusSays(0, "rebuilding", "a plex is being added")
	r.Refuse(0, []string{"status", "-o", "json"}, `"summary":"working"`, `"redundant":true`)
	lab.Must(t, op.Cancel(t.Context()))
	r.StatusSays(0, "all is healthy")
}
