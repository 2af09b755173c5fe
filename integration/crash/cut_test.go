package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// thirdSerial is the third disk of the scenarios with up to three plexes. The second one takes its time for each write.
const thirdSerial = "third"

// hotStamps are the writes that must survive: they and those that nobody vouches for go to a part of the LUN only.
func hotStamps() lab.Stamps { return lab.Stamps{Seed: 3, Length: 4 * size.MiB} }

// TestHostPowerCutOfThreePlexes cuts the power under a mirror of three plexes, one of which gets what it missed; with
// PLEXCTL_SWEEP also under a finished one, while a plex is added, and while the rate is set.
//
//gate:kernels others
func TestHostPowerCutOfThreePlexes(t *testing.T) {
	scenarios := []string{"TestGuestRecoverUntilCut"}
	if sweep.On() {
		scenarios = append(scenarios, "TestGuestThreePlexesUntilCut", "TestGuestThirdPlexUntilCut", "TestGuestSetRateUntilCut")
	}
	for _, first := range scenarios {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(first, "TestGuest"), "UntilCut"), func(t *testing.T) {
			cut.OnKernels(t, func(t *testing.T, machine vm.Machine) {
				for _, serial := range []string{cut.TargetSerial, cut.SourceSerial, thirdSerial} {
					machine.Disks = append(machine.Disks, cut.NewDisk(t, serial, cut.MirrorDrive))
				}
				doomed := machine
				doomed.CutOn = "cut the power at "
				printed := cut.Boot(t, doomed, vm.ErrCut, first)
				acked := strings.Fields(printed[strings.LastIndex(printed, doomed.CutOn)+len(doomed.CutOn):])[0]
				t.Logf("cut after %s writes", acked)
				t.Log(cut.ResultLines(cut.Boot(t, machine, nil, "TestGuestPlexesAreMadeEqual", cut.AckedVar+"="+acked)))
			})
		})
	}
}

// cutRig is three drives, the second of which is slow, and a LUN with plexes on n of them, all equal and marked so.
func cutRig(t *testing.T, n int) (*lab.Rig, *lun.LUN) {
	t.Helper()
	r := delayedRig(t)
	third := lab.NewMapping(t, "third", dm.Table{{Length: cut.MirrorDrive.Sectors(), Target: dm.Other{Name: "linear", Args: lab.DiskPath(t, thirdSerial) + " 0"}}})
	r.Run("drive", "init", third, "--yes")
	r.Drives = append(r.Drives, third)
	r.Refresh()
	l := r.Create("web1", cut.MirrorLength, 0)
	for _, drive := range []int{2, 1}[:n-1] {
		r.AddOn(l, drive)
	}
	r.Run("deactivate")
	r.Run("assemble")
	return r, l
}

// startHotWriter starts the writer whose acknowledged writes must survive, and others that only make the plexes differ.
func startHotWriter(t *testing.T) *lab.Writer {
	t.Helper()
	w := &lab.Writer{Path: "/dev/mapper/plex-web1", Stamps: hotStamps(), Flags: unix.O_DSYNC}
	w.Start(t)
	for range 16 {
		go cut.MakeNoise(t, w.Path)
	}
	return w
}

// cutAfter asks for the cut when so many writes were acknowledged.
func cutAfter(t *testing.T, w *lab.Writer, writes uint64) {
	t.Helper()
	from := w.Acked.Load()
	lab.WaitFor(t, "writes", lab.SyncLimit, func() bool { return w.Acked.Load() > from+writes })
	askForCut(w)
	t.Fatal("the power is still on")
}

// TestGuestThreePlexesUntilCut has the power cut under a finished mirror.
func TestGuestThreePlexesUntilCut(t *testing.T) {
	cutRig(t, 3)
	cutAfter(t, startHotWriter(t), 100)
}

// TestGuestThirdPlexUntilCut has the power cut while a third plex is filled.
func TestGuestThirdPlexUntilCut(t *testing.T) {
	r, l := cutRig(t, 2)
	w := startHotWriter(t)
	op, err := l.AddNewPlex(t.Context(), []string{r.Drives[1]}, lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, "part of the copy", lab.SyncLimit, func() bool {
		st, err := op.QueryStatus(t.Context())
		return err == nil && st.Percent > 20
	})
	cutAfter(t, w, 1)
}

// TestGuestSetRateUntilCut has the power cut while the rate of a copy is set again and again.
func TestGuestSetRateUntilCut(t *testing.T) {
	r, l := cutRig(t, 2)
	w := startHotWriter(t)
	if _, err := l.AddNewPlex(t.Context(), []string{r.Drives[1]}, lun.AttachOptions{Rate: 4 * size.MiB}); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(3 * time.Second)
		fmt.Println("cut the power at", w.Acked.Load())
	}()
	for rate := 4 * size.MiB; ; rate += size.MiB {
		if err := l.SetRate(t.Context(), rate); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuestRecoverUntilCut has the power cut while a plex gets what it missed.
func TestGuestRecoverUntilCut(t *testing.T) {
	r, l := cutRig(t, 3)
	w := startHotWriter(t)
	third := &lab.Brittle{T: t, Name: "lab-third", Loop: lab.DiskPath(t, thirdSerial), Length: cut.MirrorDrive.Sectors()}
	third.WearOut()
	r.AwaitLoss("web1", 1)
	lab.WaitFor(t, "writes that the plex misses", lab.SyncLimit, func() bool { return w.Acked.Load() > 200 })
	third.SlowDown(30 * time.Millisecond)
	if _, err := l.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	cutAfter(t, w, 20)
}

// TestGuestPlexesAreMadeEqual assembles after the cut, and sees to it that every plex is whole in the end.
func TestGuestPlexesAreMadeEqual(t *testing.T) {
	lab.NewLab(t)
	r := lab.OpenRig(t, lab.DiskPath(t, cut.TargetSerial), lab.DiskPath(t, cut.SourceSerial), lab.DiskPath(t, thirdSerial))
	record := r.Record("web1")
	before := r.Legs(record)
	if len(record.Plexes) != 3 {
		t.Fatalf("%d plexes", len(record.Plexes))
	}
	finished := record.Operation == nil
	r.Run("assemble")
	if err := hotStamps().Check("/dev/mapper/plex-web1", cut.AckedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
	if now := r.Record("web1"); now.Operation != nil {
		if now.MaxRate != 0 {
			r.Run("op", "set-rate", "web1", "max")
		}
		r.Run("op", "wait", "web1", "--timeout", lab.SyncLimit.String())
	}
	r.Refresh()
	web, err := r.Provider.LUN("web1")
	if err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, "the resync", lab.SyncLimit, func() bool {
		props, err := web.Properties(t.Context())
		return err == nil && props.Health == vds.HealthHealthy
	})
	t.Logf("result: plexes before: %x; written to them: %v, %v, %v", before,
		cut.Written(t, cut.TargetSerial), cut.Written(t, cut.SourceSerial), cut.Written(t, thirdSerial))
	if finished && max(cut.Written(t, cut.SourceSerial), cut.Written(t, thirdSerial)) > cut.MostDirty {
		t.Errorf("more was copied than can have been dirty, %v", cut.MostDirty)
	}
	r.Whole("after the cut", "web1", 3)
	if err := hotStamps().Check("/dev/mapper/plex-web1", cut.AckedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
}
