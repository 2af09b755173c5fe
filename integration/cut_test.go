package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// thirdSerial is the third disk of the scenarios with up to three plexes. The second one takes its time for each write.
const thirdSerial = "third"

// hotStamps are the writes that must survive: they and those that nobody vouches for go to a part of the LUN only.
func hotStamps() stamps { return stamps{seed: 3, length: 4 * size.MiB} }

// mostDirty is how much may have to be copied to a plex after a cut when only what was being written is copied.
const mostDirty = 4*size.MiB + noiseLength + overhead

// TestHostPowerCutOfThreePlexes cuts the power under a mirror of three plexes, one of which gets what it missed; with
// PLEXCTL_SWEEP also under a finished one, while a plex is added, and while the rate is set.
func TestHostPowerCutOfThreePlexes(t *testing.T) {
	scenarios := []string{"TestGuestRecoverUntilCut"}
	if sweep.On() {
		scenarios = append(scenarios, "TestGuestThreePlexesUntilCut", "TestGuestThirdPlexUntilCut", "TestGuestSetRateUntilCut")
	}
	for _, first := range scenarios {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(first, "TestGuest"), "UntilCut"), func(t *testing.T) {
			onKernels(t, func(t *testing.T, machine vm.Machine) {
				for _, serial := range []string{targetSerial, sourceSerial, thirdSerial} {
					machine.Disks = append(machine.Disks, newDisk(t, serial, mirrorDrive))
				}
				cut := machine
				cut.CutOn = "cut the power at "
				printed := bootScenario(t, cut, vm.ErrCut, first)
				acked := strings.Fields(printed[strings.LastIndex(printed, cut.CutOn)+len(cut.CutOn):])[0]
				t.Logf("cut after %s writes", acked)
				t.Log(resultLines(bootScenario(t, machine, nil, "TestGuestPlexesAreMadeEqual", ackedVar+"="+acked)))
			})
		})
	}
}

// cutRig is three drives, the second of which is slow, and a LUN with plexes on n of them, all equal and marked so.
func cutRig(t *testing.T, n int) (*rig, *lun.LUN) {
	t.Helper()
	r := delayedRig(t)
	third := newMapping(t, "third", dm.Table{{Length: mirrorDrive.Sectors(), Target: dm.Other{Name: "linear", Args: diskPath(t, thirdSerial) + " 0"}}})
	r.run("drive", "init", third, "--yes")
	r.drives = append(r.drives, third)
	r.refresh()
	l := r.create("web1", mirrorLength, 0)
	for _, drive := range []int{2, 1}[:n-1] {
		r.addOn(l, drive)
	}
	r.run("deactivate")
	r.run("assemble")
	return r, l
}

// startHotWriter starts the writer whose acknowledged writes must survive, and others that only make the plexes differ.
func startHotWriter(t *testing.T) *writer {
	t.Helper()
	w := &writer{path: "/dev/mapper/plex-web1", stamps: hotStamps(), flags: unix.O_DSYNC}
	w.start(t)
	for range 16 {
		go makeNoise(t, w.path)
	}
	return w
}

// cutAfter asks for the cut when so many writes were acknowledged.
func cutAfter(t *testing.T, w *writer, writes uint64) {
	t.Helper()
	from := w.acked.Load()
	waitFor(t, "writes", syncLimit, func() bool { return w.acked.Load() > from+writes })
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
	op, err := l.AddNewPlex(t.Context(), []string{r.drives[1]}, lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "part of the copy", syncLimit, func() bool {
		st, err := op.QueryStatus(t.Context())
		return err == nil && st.Percent > 20
	})
	cutAfter(t, w, 1)
}

// TestGuestSetRateUntilCut has the power cut while the rate of a copy is set again and again.
func TestGuestSetRateUntilCut(t *testing.T) {
	r, l := cutRig(t, 2)
	w := startHotWriter(t)
	if _, err := l.AddNewPlex(t.Context(), []string{r.drives[1]}, lun.AttachOptions{Rate: 4 * size.MiB}); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(3 * time.Second)
		fmt.Println("cut the power at", w.acked.Load())
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
	third := &brittle{t: t, name: "lab-third", loop: diskPath(t, thirdSerial), length: mirrorDrive.Sectors()}
	third.wearOut()
	r.awaitLoss("web1", 1)
	waitFor(t, "writes that the plex misses", syncLimit, func() bool { return w.acked.Load() > 200 })
	third.slowDown(30 * time.Millisecond)
	if _, err := l.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	cutAfter(t, w, 20)
}

// TestGuestPlexesAreMadeEqual assembles after the cut, and sees to it that every plex is whole in the end.
func TestGuestPlexesAreMadeEqual(t *testing.T) {
	newLab(t)
	r := openRig(t, diskPath(t, targetSerial), diskPath(t, sourceSerial), diskPath(t, thirdSerial))
	record := r.record("web1")
	before := r.legs(record)
	if len(record.Plexes) != 3 {
		t.Fatalf("%d plexes", len(record.Plexes))
	}
	finished := record.Operation == nil
	r.run("assemble")
	if err := hotStamps().check("/dev/mapper/plex-web1", ackedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
	if now := r.record("web1"); now.Operation != nil {
		if now.MaxRate != 0 {
			r.run("op", "set-rate", "web1", "max")
		}
		r.run("op", "wait", "web1", "--timeout", syncLimit.String())
	}
	r.refresh()
	web, err := r.p.LUN("web1")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the resync", syncLimit, func() bool {
		props, err := web.Properties(t.Context())
		return err == nil && props.Health == vds.HealthHealthy
	})
	t.Logf("result: plexes before: %x; written to them: %v, %v, %v", before,
		written(t, targetSerial), written(t, sourceSerial), written(t, thirdSerial))
	if finished && max(written(t, sourceSerial), written(t, thirdSerial)) > mostDirty {
		t.Errorf("more was copied than can have been dirty, %v", mostDirty)
	}
	r.whole("after the cut", "web1", 3)
	if err := hotStamps().check("/dev/mapper/plex-web1", ackedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
}
