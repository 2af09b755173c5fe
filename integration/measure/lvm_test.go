package measure

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// One power cut hits a mirror of plexctl and one of lvm2 side by side: the same load, drives of the same length and speed,
// defaults on both sides. What becomes of plexctl's is asserted, what becomes of lvm2's is told.

const (
	peerKernel = "6.12" // the one on which a gate compares

	lvmTargetSerial = "lvm-target"
	lvmSourceSerial = "lvm-source"
	lvmGroup        = "peer"
	lvmMirror       = "/dev/mapper/" + lvmGroup + "-web1"

	// peerChunk is the unit in which differences between legs are counted.
	peerChunk = 64 * size.KiB
	// peerThreads write at once to each mirror.
	peerThreads = 24
)

// TestHostPowerCutBesideLVM cuts the power under load on both mirrors, and tells what each has made of it after the boot.
//
//gate:kernels plain
//gate:when harness
func TestHostPowerCutBesideLVM(t *testing.T) {
	onPeerKernels(t, func(t *testing.T, machine vm.Machine) {
		for _, serial := range []string{cut.TargetSerial, cut.SourceSerial, lvmTargetSerial, lvmSourceSerial} {
			machine.Disks = append(machine.Disks, cut.NewDisk(t, serial, cut.MirrorDrive))
		}
		cut.Boot(t, machine, vm.ErrCut, "TestGuestBothUntilCut")
		t.Log(cut.ResultLines(cut.Boot(t, machine, nil, "TestGuestBothAreMadeEqual")))
	})
}

// TestGuestBothUntilCut makes both mirrors, lets them get in sync, and has the power cut when enough is written to both: one
// drive of each then holds up every write for a tenth of a second.
func TestGuestBothUntilCut(t *testing.T) {
	slow, lvmSlow := brittleDisk(t, cut.SourceSerial), brittleDisk(t, lvmSourceSerial)
	r := lab.RigOn(t, lab.DiskPath(t, cut.TargetSerial), slow.Path)
	l := r.Create("web1", cut.MirrorLength, 0)
	r.AddOn(l, 1)
	r.Run("deactivate") // which has the kernel note that the plexes are equal; it would else take its time
	r.Run("assemble")
	p := peer{t, []string{lab.DiskPath(t, lvmTargetSerial), lvmSlow.Path}}
	p.create()
	p.run("vgchange", "-an", lvmGroup)
	p.run("vgchange", "-ay", lvmGroup)
	slow.SlowDown(100 * time.Millisecond)
	lvmSlow.SlowDown(100 * time.Millisecond)
	underLoad(t, "/dev/mapper/plex-web1", cut.TargetSerial)
	underLoad(t, lvmMirror, lvmTargetSerial)
	vm.Cut()
}

// brittleDisk is a disk of the machine as a drive that can be made slow.
func brittleDisk(t *testing.T, serial string) *lab.Brittle {
	t.Helper()
	b := &lab.Brittle{T: t, Name: "lab-" + serial, Loop: lab.DiskPath(t, serial), Length: cut.MirrorDrive.Sectors()}
	b.Path = lab.NewMapping(t, serial, b.Linear())
	return b
}

// underLoad starts many writers on a mirror, and returns when they have written a good deal to the drive of its fast leg.
func underLoad(t *testing.T, mirror, serial string) {
	t.Helper()
	from := cut.Written(t, serial)
	for range peerThreads {
		go cut.MakeNoise(t, mirror)
	}
	lab.WaitFor(t, "writes to "+mirror, lab.SyncLimit, func() bool { return cut.Written(t, serial) > from+4*size.MiB })
}

// TestGuestBothAreMadeEqual starts both mirrors after the cut, waits until they are said to be in sync, and compares their
// legs.
func TestGuestBothAreMadeEqual(t *testing.T) {
	lab.NewLab(t)
	differ, copied := plexctlAfterCut(t)
	lvmDiffer, lvmCopied := lvmAfterCut(t)
	const chunks = cut.MirrorLength / peerChunk
	t.Logf("result: power cut under load, %v: plexctl %d of %d chunks differ, %v copied; lvm2 %d of %d differ, %v copied",
		cut.MirrorLength, differ, chunks, copied, lvmDiffer, chunks, lvmCopied)
}

// plexctlAfterCut is how many chunks of plexctl's mirror differ in the end, which must be none, and how much it copied. That
// the plexes differed to begin with is part of the test.
func plexctlAfterCut(t *testing.T) (differ int, copied size.Bytes) {
	t.Helper()
	r := lab.OpenRig(t, lab.DiskPath(t, cut.TargetSerial), lab.DiskPath(t, cut.SourceSerial))
	parted := differing(r, "web1")
	if parted == 0 {
		t.Error("the cut left both plexes equal: nothing is tested")
	}
	t.Logf("result: the cut left %d of %d chunks of plexctl's mirror different", parted, cut.MirrorLength/peerChunk)
	r.Run("assemble")
	lab.WaitFor(t, "the resync", lab.SyncLimit, func() bool {
		r.Refresh()
		l, err := r.Provider.LUN("web1")
		if err != nil {
			t.Fatal(err)
		}
		props, err := l.Properties(t.Context())
		return err == nil && props.Health == vds.HealthHealthy
	})
	copied = cut.Written(t, cut.TargetSerial) + cut.Written(t, cut.SourceSerial)
	if copied > cut.MostDirty {
		t.Errorf("%v were copied, more than the %v that can have been dirty", copied, cut.MostDirty)
	}
	r.Whole("after the cut", "web1", 2)
	if differ = differing(r, "web1"); differ != 0 {
		t.Errorf("%d chunks of plexctl's mirror differ", differ)
	}
	return differ, copied
}

// differing is how many chunks of a LUN with two plexes differ, read from the drives.
func differing(r *lab.Rig, name string) int {
	r.T.Helper()
	record := r.Record(name)
	if len(record.Plexes) != 2 {
		r.T.Fatalf("%s has %d plexes", name, len(record.Plexes))
	}
	return differingChunks(content(r, record.Plexes[0]), content(r, record.Plexes[1]))
}

// content is what a plex of one extent holds.
func content(r *lab.Rig, p catalog.Plex) []byte {
	r.T.Helper()
	if len(p.Data) != 1 {
		r.T.Fatalf("a plex of %d extents", len(p.Data))
	}
	drive, err := r.Provider.Drive(p.Data[0].Drive.String())
	if err != nil {
		r.T.Fatal(err)
	}
	return contentOf(r.T, drive.Info.Path, p.Data[0].Start.Bytes())
}

// contentOf is what a device holds from start on, over the length of the mirrors.
func contentOf(t testing.TB, device string, start size.Bytes) []byte {
	t.Helper()
	var content bytes.Buffer
	lab.CopyRange(t, &content, device, start, cut.MirrorLength)
	return content.Bytes()
}

// differingChunks is how many chunks of a and b, which are of the same length, differ.
func differingChunks(a, b []byte) int {
	n := 0
	for at := 0; at < len(a); at += int(peerChunk) {
		if !bytes.Equal(a[at:at+int(peerChunk)], b[at:at+int(peerChunk)]) {
			n++
		}
	}
	return n
}

// lvmAfterCut is how many chunks of lvm2's mirror differ once lvm2 says that it is in sync, and how much it copied.
func lvmAfterCut(t *testing.T) (differ int, copied size.Bytes) {
	t.Helper()
	p := peer{t, []string{lab.DiskPath(t, lvmTargetSerial), lab.DiskPath(t, lvmSourceSerial)}}
	p.run("vgchange", "-ay", lvmGroup)
	defer p.run("vgchange", "-an", lvmGroup)
	p.awaitSync()
	copied = cut.Written(t, lvmTargetSerial) + cut.Written(t, lvmSourceSerial)
	return differingChunks(contentOf(t, lvmMirror+"_rimage_0", 0), contentOf(t, lvmMirror+"_rimage_1", 0)), copied
}

// peer is lvm2 on two drives.
type peer struct {
	t       testing.TB
	devices []string
}

// run runs a command of lvm2 and returns what it printed.
func (p peer) run(command string, args ...string) string {
	p.t.Helper()
	return lab.RunTool(p.t, "lvm", p.line(command, args...)...)
}

// ask is what a command of lvm2 prints, which may fail.
func (p peer) ask(command string, args ...string) string {
	p.t.Helper()
	out, _ := lab.TryTool(p.t, "lvm", p.line(command, args...)...)
	return out
}

// line is the arguments of lvm for a command. It has no udevd and no daemon of its own here.
func (p peer) line(command string, args ...string) []string {
	const config = "activation{udev_sync=0 udev_rules=0 monitoring=0} backup{backup=0 archive=0}"
	return append([]string{command, "--config", config, "--devices", strings.Join(p.devices, ",")}, args...)
}

// create makes the mirror and waits until it is in sync.
func (p peer) create() {
	p.t.Helper()
	p.run("vgcreate", append([]string{lvmGroup}, p.devices...)...)
	p.run("lvcreate", "--yes", "--type", "raid1", "-m1", "-L", "64m", "-n", "web1", lvmGroup)
	p.awaitSync()
}

// awaitSync waits until the mirror is in sync.
func (p peer) awaitSync() {
	p.t.Helper()
	if !p.synced(lab.SyncLimit, 5) {
		p.t.Fatalf("waited %v for lvm2's mirror to be in sync", lab.SyncLimit)
	}
}

// synced waits until lvm2 has said so many times in a row that the mirror is in sync and that nothing is being done: a kernel that
// has something to do begins a moment after the activation. It reports whether that came to pass.
func (p peer) synced(limit time.Duration, times int) bool {
	p.t.Helper()
	calm := 0
	for deadline := time.Now().Add(limit); calm < times && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		said := strings.Fields(p.ask("lvs", "--noheadings", "-o", "copy_percent,raid_sync_action", lvmGroup+"/web1"))
		calm++
		if strings.Join(said, " ") != "100.00 idle" {
			calm = 0
		}
	}
	return calm >= times
}
