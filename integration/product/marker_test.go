package product

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// logs writes a line into the kernel's log. Each opener may write only a few.
func logs(t *testing.T, line string) {
	t.Helper()
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	lab.Must(t, err)
	_, err = f.WriteString("<6>" + line + "\n")
	lab.Must(t, err)
	lab.Must(t, f.Close())
}

// floods writes so many lines that nothing else is left in the kernel's log.
func floods(t *testing.T) {
	t.Helper()
	line := strings.Repeat("another program has much to say ", 28)
	for range 6000 { // 5 MiB
		logs(t, line)
	}
}

// pausedCopy is a LUN with a copy that has not got far, and the data device that it reads from.
func pausedCopy(r *lab.Rig) (*lun.LUN, *resync.Async, dm.Device) {
	r.T.Helper()
	l := r.CreateFull("web1", 0)
	op, err := l.AddNewPlex(r.T.Context(), r.Drives[1:], lun.AttachOptions{Rate: lun.Paused})
	lab.Must(r.T, err)
	name := "plex-web1:" + r.PlexOn(l, 0).String()[:8] + ":data"
	info, err := r.Control.Info(r.T.Context(), name)
	lab.Must(r.T, err)
	return l, op, info.Device
}

// The kernel's log tells how a copy went, from the marker on. What is before it, and the clock, do not matter. If the log does
// not tell, the plexes are compared.
//
//gate:kernels others
func TestTheKernelLogTellsHowACopyWent(t *testing.T) {
	const passed = "md/raid1:mdX: dm-%d: unrecoverable I/O read error for block 40960"
	t.Run("nothing was passed over", func(t *testing.T) {
		r := lab.NewSmallRig(t, 2)
		logs(t, fmt.Sprintf(passed, 1))
		l, op, source := pausedCopy(r)
		log := r.Control.Passed(t.Context(), op.ID.String(), []devno.No{source.Dev})
		if !log.Known || log.Found {
			t.Errorf("the log says %+v about the copy from %v", log, source)
		}
		lab.Must(t, l.SetRate(t.Context(), lun.Unlimited))
		r.End(op, nil)
		r.EqualLegs(r.Record("web1"))
	})
	t.Run("a sector was passed over", func(t *testing.T) {
		r := lab.NewSmallRig(t, 2)
		l, op, source := pausedCopy(r)
		logs(t, fmt.Sprintf(passed, source.Dev.Minor))
		lab.Must(t, l.SetRate(t.Context(), lun.Unlimited))
		err := op.Wait(lab.Within(t, lab.SyncLimit))
		lab.FailsWith(t, "the operation", err, vds.ErrIO)
		if err == nil || !strings.Contains(err.Error(), "sector 40960") {
			t.Errorf("wait: %v", err)
		}
		r.StatusSays(20, "failed-redundancy")
		r.End(l.Recover(t.Context()))
		r.EqualLegs(r.Record("web1"))
	})
	t.Run("it was overwritten", func(t *testing.T) {
		r := lab.NewSmallRig(t, 2)
		l, op, _ := pausedCopy(r)
		floods(t)
		if log := r.Control.Passed(t.Context(), op.ID.String(), nil); log.Known {
			t.Fatalf("the log says %+v", log)
		}
		lab.Must(t, l.SetRate(t.Context(), lun.Unlimited))
		r.End(op, nil)
		r.EqualLegs(r.Record("web1"))
	})
}

// The log was overwritten, and a sector of the source cannot be read: the comparison finds it.
//
//gate:kernels others
func TestAnUnreadableSectorThatNoLogTellsOf(t *testing.T) {
	lab.NewLab(t)
	f := lab.NewBrittle(t, "fragile", lab.SmallDrive)
	r := lab.Labelled(t, f.Path, lab.NewLoop(t, lab.SmallDrive, 512))
	l, op, _ := pausedCopy(r)
	r.Provider.Close() // nobody looks at the operation
	floods(t)
	lab.Must(t, l.SetRate(t.Context(), lun.Unlimited))
	lab.WaitFor(t, "the copy", lab.SyncLimit, func() bool {
		status := r.RaidStatus("web1")
		return status.Action == dm.ActionIdle && slices.Equal(status.Health, []dm.LegHealth{dm.LegInSync, dm.LegInSync})
	})
	f.Unreadable(r.Record("web1").Plexes[0].Data[0].Start.Bytes()+3*size.MiB, 4*size.KiB)
	r.Refuse(lab.ExitStatuses[vds.ErrIO], []string{"op", "wait", op.ID.String()}, "VDS_E_IO_ERROR", "cannot be read")
	r.StatusSays(20, "failed-redundancy")
	f.Heal()
	r.Run("lun", "recover", "web1", "--wait")
	r.Refresh()
	r.EqualLegs(r.Record("web1"))
}
