package crash

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/vds"
)

// killedNames are the mirrors of TestHostPowerCutAfterAKill.
var killedNames = []string{"committed", "guarded"}

// TestHostPowerCutAfterAKill kills plexctl between the commit and the swap of two mirrors that are written to, in front of the
// window and in it. The mirrors run on with their old tables. Then their first leg fails, they are written to, the power is cut,
// and the leg is back. The record says that all legs count, with metadata that no table has used. Only the old metadata knows that
// one has failed.
//
//gate:kernels others
func TestHostPowerCutAfterAKill(t *testing.T) {
	cut.OnKernels(t, func(t *testing.T, machine vm.Machine) {
		for _, serial := range []string{cut.TargetSerial, cut.SourceSerial, thirdSerial} {
			machine.Disks = append(machine.Disks, cut.NewDisk(t, serial, cut.MirrorDrive))
		}
		doomed := machine
		doomed.CutOn = "cut the power at "
		printed := cut.Boot(t, doomed, vm.ErrCut, "TestGuestKilledUntilCut")
		acked := strings.Fields(printed[strings.LastIndex(printed, doomed.CutOn)+len(doomed.CutOn):])[0]
		t.Logf("cut after %s writes", acked)
		t.Log(cut.ResultLines(cut.Boot(t, machine, nil, "TestGuestNewestAfterAKill", cut.AckedVar+"="+acked)))
	})
}

// killedStamps are the writes to a mirror that must survive.
func killedStamps(i int) lab.Stamps {
	return lab.Stamps{Seed: 10 + uint64(i), Length: cut.KillLength}
}

// TestGuestKilledUntilCut kills plexctl twice, loses a leg, and asks for the cut when more is written.
func TestGuestKilledUntilCut(t *testing.T) {
	lab.NewLab(t)
	weak := &lab.Brittle{T: t, Name: "lab-weak", Loop: lab.DiskPath(t, cut.TargetSerial), Length: cut.MirrorDrive.Sectors()}
	weak.Path = lab.NewMapping(t, "weak", weak.Linear())
	r := lab.RigOn(t, weak.Path, lab.DiskPath(t, cut.SourceSerial), lab.DiskPath(t, thirdSerial))
	var writers []*lab.Writer
	for i, name := range killedNames {
		r.AddOn(r.Create(name, cut.KillLength, 0), 1)
		w := &lab.Writer{Path: "/dev/mapper/plex-" + name, Stamps: killedStamps(i), Flags: unix.O_DSYNC, Rests: true}
		lab.FillWith(t, w.Path, "\x00", cut.KillLength)
		w.Start(t)
		writers = append(writers, w)
	}
	killTwice(r)
	weak.WearOut()
	acked := ""
	for i, w := range writers {
		r.AwaitLoss(killedNames[i], 1)
		live := &lab.Live{Rig: r, Writer: w}
		live.More(100)
		acked += fmt.Sprintf("%d,", w.Acked.Load())
	}
	if t.Failed() {
		return
	}
	fmt.Println("cut the power at", acked)
	time.Sleep(time.Minute)
	t.Error("the power is still on")
}

// killTwice kills plexctl in a window, and between a commit and its window. The point for the latter is what the same change of the
// other mirror has shown. The kernel has the tables from before, and the drives have the new records.
func killTwice(r *lab.Rig) {
	r.T.Helper()
	whole := lab.Trace(r.T, lab.After(0), "plex", "add", "guarded", "--drive", r.Drives[2], "--wait")
	suspend := slices.IndexFunc(whole.Effects, func(e string) bool { return strings.HasPrefix(e, "suspend ") })
	if whole.Status != 0 || suspend < 0 {
		r.T.Fatalf("exit status %d, %q\n%s", whole.Status, whole.Effects, whole.Output)
	}
	before := mirrorTables(r)
	killAt(r.T, lab.InWindow, "lun", "extend", "guarded", "--by", "1MiB")
	killAt(r.T, lab.After(suspend), "plex", "add", "committed", "--drive", r.Drives[2])
	lab.WaitFor(r.T, "the guard to resume the LUN", goesOnLimit, func() bool {
		info, err := r.Control.Info(r.T.Context(), "plex-guarded")
		return err == nil && !info.Suspended
	})
	if diff := cmp.Diff(before, mirrorTables(r)); diff != "" {
		r.T.Errorf("a table was swapped (-before +after):\n%s", diff)
	}
	if n, length := len(r.Record("committed").Plexes), r.Record("guarded").Size.Bytes(); n != 3 || length <= cut.KillLength {
		r.T.Errorf("a record was not committed: %d plexes, %v", n, length)
	}
}

// killAt kills plexctl at a point.
func killAt(t testing.TB, when lab.Deadly, args ...string) {
	t.Helper()
	if got := lab.Trace(t, when, args...); !got.Killed {
		t.Fatalf("plexctl %s ended with %d and was not killed: %q\n%s", strings.Join(args, " "), got.Status, got.Effects, got.Output)
	}
}

// mirrorTables is the tables of the mirrors.
func mirrorTables(r *lab.Rig) map[string]string {
	tables := r.Tables()
	for name := range tables {
		if strings.Contains(name, ":") { // a private device
			delete(tables, name)
		}
	}
	return tables
}

// TestGuestNewestAfterAKill assembles after the cut. All acknowledged writes are there at once, and when all plexes are filled
// again.
func TestGuestNewestAfterAKill(t *testing.T) {
	lab.NewLab(t)
	r := lab.OpenRig(t, lab.DiskPath(t, cut.TargetSerial), lab.DiskPath(t, cut.SourceSerial), lab.DiskPath(t, thirdSerial))
	r.Run("assemble")
	check := func(when string) {
		for i, name := range killedNames {
			acked, err := strconv.ParseUint(strings.Split(os.Getenv(cut.AckedVar), ",")[i], 10, 64)
			lab.Must(t, err)
			if err := killedStamps(i).Check("/dev/mapper/plex-"+name, acked, 1<<32); err != nil {
				t.Errorf("%s, %s: %d acknowledged writes: %v", name, when, acked, err)
			}
		}
	}
	check("at once")
	for _, name := range killedNames {
		if r.Record(name).Operation != nil {
			r.Run("op", "wait", name)
		}
		l, err := r.Provider.LUN(name)
		lab.Must(t, err)
		props, err := l.Properties(t.Context())
		lab.Must(t, err)
		t.Logf("result: %s is %s after the cut", name, props.Health)
		if props.Health != vds.HealthHealthy {
			r.Run("lun", "recover", name, "--wait")
		}
		r.Whole("in the end", name, 3)
	}
	check("in the end")
}
