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
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// TestHostPowerCutInMidCopy cuts the power while a source is being filled and the target is written to, and finds the
// mirror whole after the next boot.
//
//gate:kernels others
func TestHostPowerCutInMidCopy(t *testing.T) {
	cutAndCheck(t, "TestGuestAttachUntilCut", "TestGuestCopyGoesOn")
}

// TestHostPowerCutOfAMirror cuts the power under a finished mirror that is written to. Its plexes then differ, which the
// kernel by itself would not notice.
//
//gate:kernels others
func TestHostPowerCutOfAMirror(t *testing.T) {
	cutAndCheck(t, "TestGuestMirrorUntilCut", "TestGuestMirrorIsMadeEqual")
}

// cutAndCheck runs one scenario until the power is cut, and boots again for the other one.
func cutAndCheck(t *testing.T, first, second string) {
	t.Helper()
	cut.OnKernels(t, func(t *testing.T, machine vm.Machine) {
		machine.Disks = []vm.Disk{cut.NewDisk(t, cut.TargetSerial, cut.MirrorDrive), cut.NewDisk(t, cut.SourceSerial, cut.MirrorDrive)}
		doomed := machine
		doomed.CutOn = "cut the power at "
		printed := cut.Boot(t, doomed, vm.ErrCut, first)
		acked := strings.Fields(printed[strings.LastIndex(printed, doomed.CutOn)+len(doomed.CutOn):])[0]
		t.Logf("cut after %s writes", acked)
		t.Log(cut.ResultLines(cut.Boot(t, machine, nil, second, cut.AckedVar+"="+acked)))
	})
}

// delayedRig is the two disks of the machine as drives, each write to the second one held up.
func delayedRig(t *testing.T) *lab.Rig {
	t.Helper()
	source := lab.DiskPath(t, cut.SourceSerial)
	slow := lab.NewMapping(t, "slow", dm.Table{{Length: cut.MirrorDrive.Sectors(), Target: dm.Other{
		Name: "delay", Args: source + " 0 0 " + source + " 0 30",
	}}})
	return lab.RigOn(t, lab.DiskPath(t, cut.TargetSerial), slow)
}

// startPowerWriter starts the writer whose acknowledged writes must survive, and others that only make the plexes differ.
func startPowerWriter(t *testing.T) *lab.Writer {
	t.Helper()
	w := &lab.Writer{Path: "/dev/mapper/plex-web1", Stamps: cut.MirrorStamps(), Flags: unix.O_DSYNC}
	w.Start(t)
	for range 16 {
		go cut.MakeNoise(t, w.Path)
	}
	return w
}

// TestGuestAttachUntilCut attaches, and asks for the cut when part of the source is filled.
func TestGuestAttachUntilCut(t *testing.T) {
	r := delayedRig(t)
	web, spare := r.Create("web1", cut.MirrorLength, 0), r.Create("spare3", cut.MirrorLength, 1)
	w := startPowerWriter(t)
	op, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, "the middle of the copy", lab.SyncLimit, func() bool {
		st, err := op.QueryStatus(t.Context())
		if err != nil || !st.Pending() {
			t.Fatalf("status %+v, %v", st, err)
		}
		return st.Percent > 20 && w.Acked.Load() > 100
	})
	askForCut(w)
	t.Fatal("the power is still on")
}

// askForCut asks the host to cut the power, and gives it time to.
func askForCut(w *lab.Writer) {
	fmt.Println("cut the power at", w.Acked.Load())
	time.Sleep(time.Minute)
}

// TestGuestCopyGoesOn assembles after the cut: the acknowledged writes are there at once, the copy goes on to its end, and
// the plexes are equal.
func TestGuestCopyGoesOn(t *testing.T) {
	lab.NewLab(t)
	r := lab.OpenRig(t, lab.DiskPath(t, cut.TargetSerial), lab.DiskPath(t, cut.SourceSerial))
	r.Run("assemble")
	if err := cut.MirrorStamps().Check("/dev/mapper/plex-web1", cut.AckedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
	r.Run("op", "wait", "web1", "--timeout", lab.SyncLimit.String())
	r.EqualLegs(r.Record("web1"))
	if err := cut.MirrorStamps().Check("/dev/mapper/plex-web1", cut.AckedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
	t.Logf("result: %v copied to the source after the boot", cut.Written(t, cut.SourceSerial))
}

// TestGuestMirrorUntilCut makes a finished mirror and asks for the cut while it is written to.
func TestGuestMirrorUntilCut(t *testing.T) {
	r := delayedRig(t)
	web, spare := r.Create("web1", cut.MirrorLength, 0), r.Create("spare3", cut.MirrorLength, 1)
	op, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Wait(lab.Within(t, lab.SyncLimit)); err != nil {
		t.Fatal(err)
	}
	w := startPowerWriter(t)
	lab.WaitFor(t, "writes", lab.SyncLimit, func() bool { return w.Acked.Load() > 100 })
	askForCut(w)
	t.Fatal("the power is still on")
}

// TestGuestMirrorIsMadeEqual assembles after the cut and waits until the kernel has nothing left to do.
func TestGuestMirrorIsMadeEqual(t *testing.T) {
	lab.NewLab(t)
	r := lab.OpenRig(t, lab.DiskPath(t, cut.TargetSerial), lab.DiskPath(t, cut.SourceSerial))
	before := r.Legs(r.Record("web1"))
	r.Run("assemble")
	web, err := r.Provider.LUN("web1")
	if err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, "the resync", lab.SyncLimit, func() bool {
		props, err := web.Properties(t.Context())
		return err == nil && props.Health == vds.HealthHealthy
	})
	if err := cut.MirrorStamps().Check("/dev/mapper/plex-web1", cut.AckedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
	r.EqualLegs(r.Record("web1"))
	t.Logf("result: plexes differed after the cut: %v; %v copied to the source", before[0] != before[1], cut.Written(t, cut.SourceSerial))
}
