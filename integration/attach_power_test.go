package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// What the scenarios of the power cuts under a mirror agree on.
const (
	mirrorDrive  = 96 * size.MiB
	mirrorLength = 64 * size.MiB
	targetSerial = "target"
	sourceSerial = "source"
)

func mirrorStamps() stamps { return stamps{seed: 2, length: mirrorLength - noiseLength} }

// noiseLength is the end of the LUN, where writes are made that nobody vouches for.
const noiseLength = 16 * size.MiB

// TestHostPowerCutInMidCopy cuts the power while a source is being filled and the target is written to, and finds the
// mirror whole after the next boot.
func TestHostPowerCutInMidCopy(t *testing.T) {
	cutAndCheck(t, "TestGuestAttachUntilCut", "TestGuestCopyGoesOn")
}

// TestHostPowerCutOfAMirror cuts the power under a finished mirror that is written to. Its plexes then differ, which the
// kernel by itself would not notice.
func TestHostPowerCutOfAMirror(t *testing.T) {
	cutAndCheck(t, "TestGuestMirrorUntilCut", "TestGuestMirrorIsMadeEqual")
}

// cutAndCheck runs one scenario until the power is cut, and boots again for the other one.
func cutAndCheck(t *testing.T, first, second string) {
	t.Helper()
	onKernels(t, func(t *testing.T, machine vm.Machine) {
		machine.Disks = []vm.Disk{newDisk(t, targetSerial, mirrorDrive), newDisk(t, sourceSerial, mirrorDrive)}
		cut := machine
		cut.CutOn = "cut the power at "
		printed := bootScenario(t, cut, vm.ErrCut, first)
		acked := strings.Fields(printed[strings.LastIndex(printed, cut.CutOn)+len(cut.CutOn):])[0]
		t.Logf("cut after %s writes", acked)
		t.Log(resultLines(bootScenario(t, machine, nil, second, ackedVar+"="+acked)))
	})
}

// resultLines is what a scenario has to tell.
func resultLines(output string) string {
	var told []string
	for line := range strings.Lines(output) {
		if strings.Contains(line, "result:") {
			told = append(told, strings.TrimSpace(line))
		}
	}
	return strings.Join(told, "\n")
}

// delayedRig is the two disks of the machine as drives, each write to the second one held up.
func delayedRig(t *testing.T) *rig {
	t.Helper()
	source := diskPath(t, sourceSerial)
	slow := newMapping(t, "slow", dm.Table{{Length: mirrorDrive.Sectors(), Target: dm.Other{
		Name: "delay", Args: source + " 0 0 " + source + " 0 30",
	}}})
	return rigOn(t, diskPath(t, targetSerial), slow)
}

// startPowerWriter starts the writer whose acknowledged writes must survive, and others that only make the plexes differ.
func startPowerWriter(t *testing.T) *writer {
	t.Helper()
	w := &writer{path: "/dev/mapper/plex-web1", stamps: mirrorStamps(), flags: unix.O_DSYNC}
	w.start(t)
	for range 16 {
		go makeNoise(t, w.path)
	}
	return w
}

// makeNoise writes at random places of the end of a device until the power is cut, so that at any moment some write has
// reached one plex and not the other.
func makeNoise(t *testing.T, path string) {
	f, err := openDirect(path, os.O_RDWR)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	p := alignedBuffer(4 * blockSize)
	for n := uint64(1); ; n++ {
		mirrorStamps().fill(p[:blockSize], n)
		at := mirrorLength - noiseLength + size.Bytes(rand.Uint64N(uint64(noiseLength/size.Bytes(len(p)))))*size.Bytes(len(p))
		if _, err := f.WriteAt(p, int64(at)); err != nil {
			return // the device goes when the test fails
		}
	}
}

// TestGuestAttachUntilCut attaches, and asks for the cut when part of the source is filled.
func TestGuestAttachUntilCut(t *testing.T) {
	r := delayedRig(t)
	web, spare := r.create("web1", mirrorLength, 0), r.create("spare3", mirrorLength, 1)
	w := startPowerWriter(t)
	op, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the middle of the copy", syncLimit, func() bool {
		st, err := op.QueryStatus(t.Context())
		if err != nil || !st.Pending() {
			t.Fatalf("status %+v, %v", st, err)
		}
		return st.Percent > 20 && w.acked.Load() > 100
	})
	askForCut(w)
	t.Fatal("the power is still on")
}

// askForCut asks the host to cut the power, and gives it time to.
func askForCut(w *writer) {
	fmt.Println("cut the power at", w.acked.Load())
	time.Sleep(time.Minute)
}

// ackedWrites is how many writes the scenario before the cut told were acknowledged.
func ackedWrites(t *testing.T) uint64 {
	t.Helper()
	acked, err := strconv.ParseUint(os.Getenv(ackedVar), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return acked
}

// TestGuestCopyGoesOn assembles after the cut: the acknowledged writes are there at once, the copy goes on to its end, and
// the plexes are equal.
func TestGuestCopyGoesOn(t *testing.T) {
	newLab(t)
	r := openRig(t, diskPath(t, targetSerial), diskPath(t, sourceSerial))
	r.run("assemble")
	if err := mirrorStamps().check("/dev/mapper/plex-web1", ackedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
	r.run("op", "wait", "web1", "--timeout", syncLimit.String())
	r.equalLegs(r.record("web1"))
	if err := mirrorStamps().check("/dev/mapper/plex-web1", ackedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
	t.Logf("result: %v copied to the source after the boot", written(t, sourceSerial))
}

// TestGuestMirrorUntilCut makes a finished mirror and asks for the cut while it is written to.
func TestGuestMirrorUntilCut(t *testing.T) {
	r := delayedRig(t)
	web, spare := r.create("web1", mirrorLength, 0), r.create("spare3", mirrorLength, 1)
	op, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Wait(within(t, syncLimit)); err != nil {
		t.Fatal(err)
	}
	w := startPowerWriter(t)
	waitFor(t, "writes", syncLimit, func() bool { return w.acked.Load() > 100 })
	askForCut(w)
	t.Fatal("the power is still on")
}

// TestGuestMirrorIsMadeEqual assembles after the cut and waits until the kernel has nothing left to do.
func TestGuestMirrorIsMadeEqual(t *testing.T) {
	newLab(t)
	r := openRig(t, diskPath(t, targetSerial), diskPath(t, sourceSerial))
	before := r.legs(r.record("web1"))
	r.run("assemble")
	web, err := r.p.LUN("web1")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the resync", syncLimit, func() bool {
		props, err := web.Properties(t.Context())
		return err == nil && props.Health == vds.HealthHealthy
	})
	if err := mirrorStamps().check("/dev/mapper/plex-web1", ackedWrites(t), 1<<32); err != nil {
		t.Error(err)
	}
	r.equalLegs(r.record("web1"))
	t.Logf("result: plexes differed after the cut: %v; %v copied to the source", before[0] != before[1], written(t, sourceSerial))
}

// written is how much has been written to a disk since the boot.
func written(t *testing.T, serial string) size.Bytes {
	t.Helper()
	name := diskPath(t, serial)
	text, err := os.ReadFile("/sys/class/block/" + name[strings.LastIndex(name, "/")+1:] + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	sectors, err := strconv.ParseUint(fields[6], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return size.Sectors(sectors).Bytes()
}
