package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
)

// lvm2 goes through what plexctl goes through in TestKillPoints and TestHostPowerCuts: drives and volumes of the same length,
// the same writer. What becomes of its volumes is counted and told, not asserted; that the test works is: whatever is not killed
// ends well.

// lvmRig is lvm2 on two drives, and a volume web1 on them that a verified writer is at work on.
type lvmRig struct {
	peer
	control *dm.Control
	w       *lab.Writer
	cut.Tally
	violations int // what the commands of an administrator, see repair, have not made good
}

// Volumes that there are, as volumes returns them.
const (
	lvmLinear   = "web1 linear"
	lvmMirrored = "[web1_rimage_0] linear,[web1_rimage_1] linear,[web1_rmeta_0] linear,[web1_rmeta_1] linear,web1 raid1"
	lvmParted   = "split linear,web1 linear"
)

// lvmOp is an operation that is killed or cut off: a conversion of web1.
type lvmOp struct {
	name       string
	from, done string // volumes before and after
	args       []string
	first      bool // it takes the first leg away, of whatever drive that is
}

// lvmOps are the operations.
func lvmOps() []lvmOp {
	const web = lvmGroup + "/" + cut.WebName
	return []lvmOp{
		{"attach", lvmLinear, lvmMirrored, []string{"--type", "raid1", "-m1", web}, false},
		{"remove", lvmMirrored, lvmLinear, []string{"-m0", web}, false},
		{"remove of the first", lvmMirrored, lvmLinear, []string{"-m0", web}, true},
		{"split", lvmMirrored, lvmParted, []string{"--splitmirrors", "1", "--name", "split", web}, false},
	}
}

// Limits of waits for lvm2: a command that takes longer waits for a device that is suspended.
const (
	lvmCommandLimit = 30 * time.Second
	lvmSyncLimit    = 30 * time.Second
	lvmGoesOnLimit  = 5 * time.Second
)

// newLVMRig is a rig on drives that it leaves as they are. Its writer has not begun.
func newLVMRig(t *testing.T, w *lab.Writer, drives ...string) *lvmRig {
	t.Helper()
	control, err := dm.Open(dm.Options{})
	lab.Must(t, err)
	t.Cleanup(func() { lab.Must(t, control.Close()) })
	t.Setenv("DM_DISABLE_UDEV", "1") // for what TraceCommand runs, which cannot count asynchronous writes
	config := t.TempDir()
	lab.Must(t, os.WriteFile(filepath.Join(config, "lvm.conf"), []byte("global { use_aio = 0 }\n"), 0o600))
	t.Setenv("LVM_SYSTEM_DIR", config)
	w.Path, w.Flags = lvmMirror, unix.O_DSYNC
	return &lvmRig{peer: peer{t, drives}, control: control, w: w}
}

// beginAnew replaces whatever there is by a linear web1 on the first drive, which the writer begins to write to.
func (k *lvmRig) beginAnew() {
	k.t.Helper()
	k.takeDown()
	for _, d := range k.devices {
		lab.FillWith(k.t, d, "\x00", cut.KillDrive)
	}
	k.run("vgcreate", append([]string{lvmGroup}, k.devices...)...)
	k.run("lvcreate", "--yes", "-L", fmt.Sprintf("%db", cut.KillLength), "-n", cut.WebName, lvmGroup, k.devices[0])
	k.w.Acked.Store(0)
	k.w.Err = nil
	k.w.GoOn(k.t)
	if err := k.writes(); err != nil {
		k.t.Fatal(err)
	}
}

// TakeDown removes all devices of lvm2, in whatever state they are, and ends the writer.
func (k *lvmRig) takeDown() {
	k.t.Helper()
	k.w.Stopped.Store(true)
	for _, name := range k.suspendedNow() {
		_, _ = lab.TryTool(k.t, "dmsetup", "resume", name)
	}
	for _, info := range k.mapped() { // so that no I/O waits, and no device holds another
		_, _ = lab.TryTool(k.t, "dmsetup", "wipe_table", "--noflush", "--nolockfs", info.Name)
	}
	if k.w.Ended != nil {
		<-k.w.Ended
	}
	lab.WaitFor(k.t, "lvm2 to end", lab.ToolTimeout, func() bool { return len(lab.Processes(k.t, "lvm")) == 0 })
	for _, info := range k.mapped() {
		lab.RunTool(k.t, "dmsetup", "remove", "--retry", info.Name)
	}
	for _, path := range lab.Glob(k.t, "/dev/mapper/"+lvmGroup+"-*") {
		lab.Must(k.t, os.Remove(path))
	}
	lab.Must(k.t, os.RemoveAll("/dev/"+lvmGroup))
}

// mapped is the devices of lvm2, those under others first.
func (k *lvmRig) mapped() []dm.Info {
	k.t.Helper()
	list, err := k.control.List(context.Background()) // it is used when the test has ended, too
	lab.Must(k.t, err)
	var found []dm.Info
	for _, d := range list {
		if !strings.HasPrefix(d.UUID, "LVM-") {
			continue
		}
		if info, err := k.control.Info(context.Background(), d.Name); err == nil { // else it has just gone
			found = append(found, info)
		}
	}
	slices.SortFunc(found, func(a, b dm.Info) int { return len(b.Name) - len(a.Name) })
	return found
}

// suspendedNow is the names of the devices that are suspended.
func (k *lvmRig) suspendedNow() []string {
	k.t.Helper()
	var names []string
	for _, info := range k.mapped() {
		if info.Suspended && info.Live {
			names = append(names, info.Name)
		}
	}
	return names
}

// staysSuspended is the names of the devices that are suspended for five seconds.
func (k *lvmRig) staysSuspended() []string {
	k.t.Helper()
	for deadline := time.Now().Add(lvmGoesOnLimit); ; time.Sleep(20 * time.Millisecond) {
		names := k.suspendedNow()
		if len(names) == 0 || time.Now().After(deadline) {
			return names
		}
	}
}

// try runs a command of lvm2, and leaves it alone when it takes too long.
func (k *lvmRig) try(command string, args ...string) error {
	k.t.Helper()
	ended := make(chan error, 1)
	go func() {
		if out, err := lab.TryTool(k.t, "lvm", k.line(command, args...)...); err != nil {
			ended <- fmt.Errorf("%s: %w: %s", command, err, strings.Join(strings.Fields(out), " "))
			return
		}
		ended <- nil
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(lvmCommandLimit):
		return fmt.Errorf("%s: still running after %v", command, lvmCommandLimit)
	}
}

// volumes is what lvm2 says there is: each volume with its type, those it does not show people in brackets.
func (k *lvmRig) volumes() []string {
	k.t.Helper()
	var found []string
	for line := range strings.Lines(k.ask("lvs", "-a", "--noheadings", "-o", "lv_name,segtype", lvmGroup)) {
		if fields := strings.Fields(line); len(fields) == 2 {
			found = append(found, strings.Join(fields, " "))
		}
	}
	slices.Sort(found)
	return found
}

// has reports whether the wanted volumes are among all; there may be more.
func has(all []string, wanted string) bool {
	for volume := range strings.SplitSeq(wanted, ",") {
		if !slices.Contains(all, volume) {
			return false
		}
	}
	return true
}

// repair is what an administrator does after a conversion that was cut off, once all is activated: refresh, convert again. It
// returns what is still wrong then.
func (k *lvmRig) repair(op lvmOp) error {
	k.t.Helper()
	told := k.refresh()
	volumes := k.volumes()
	if !has(volumes, op.done) {
		told = errors.Join(told, k.convert(op))
		volumes = k.volumes()
	}
	if !has(volumes, op.done) {
		return errors.Join(fmt.Errorf("volumes are %q, want %q", volumes, op.done), told)
	}
	if names := k.suspendedNow(); len(names) > 0 {
		return errors.Join(fmt.Errorf("%q are suspended", names), told)
	}
	if op.done == lvmMirrored && !k.synced(lvmSyncLimit, 2) {
		return errors.Join(k.unsynced(), told)
	}
	return k.writes()
}

// refresh has lvm2 load and resume the devices of web1.
func (k *lvmRig) refresh() error {
	k.t.Helper()
	return k.try("lvchange", "--refresh", lvmGroup+"/"+cut.WebName)
}

// unsynced is the error that web1 has not become a mirror in sync.
func (k *lvmRig) unsynced() error {
	k.t.Helper()
	status := k.ask("lvs", "--noheadings", "-o", "copy_percent,raid_sync_action,lv_attr,lv_health_status", lvmGroup+"/"+cut.WebName)
	return fmt.Errorf("not in sync after %v: %s", lvmSyncLimit, strings.Join(strings.Fields(status), " "))
}

// convert carries out an operation.
func (k *lvmRig) convert(op lvmOp) error {
	k.t.Helper()
	return k.try("lvconvert", k.conversion(op)...)
}

// conversion is the arguments of lvconvert for an operation.
func (k *lvmRig) conversion(op lvmOp) []string {
	k.t.Helper()
	args := append([]string{"--yes"}, op.args...)
	if !op.first {
		return args
	}
	leg := k.ask("lvs", "-a", "--noheadings", "-o", "devices", lvmGroup+"/"+cut.WebName+"_rimage_0")
	drive, _, _ := strings.Cut(leg, "(") // an extent is /dev/loop0(1)
	return append(args, strings.TrimSpace(drive))
}

// writes sees the writer write, or be told that it cannot, which is looked at elsewhere.
func (k *lvmRig) writes() error {
	from := k.w.Acked.Load()
	for deadline := time.Now().Add(lvmSyncLimit); k.w.Acked.Load() < from+5 && !k.w.Failed(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("a write takes longer than %v", lvmSyncLimit)
		}
	}
	return nil
}

// verify stops the writer and returns what is wrong with the data, and what is there that should not be, once lvm2 says that all
// is well. Of the writes that were not acknowledged, inFlight may be there.
func (k *lvmRig) verify(wanted string, inFlight uint64) (mismatches, leaks []string) {
	k.t.Helper()
	k.w.Stop()
	k.Stall = max(k.Stall, lab.LatencyOf(k.w.Waits).Max)
	k.w.Waits = nil
	if k.w.Err != nil {
		mismatches = append(mismatches, fmt.Sprintf("writer: %v", k.w.Err))
	}
	return append(mismatches, k.wrongData(wanted, k.w.Acked.Load(), inFlight)...), k.leaks(wanted)
}

// wrongData says what is wrong with the data of web1: acknowledged writes that are not there, legs that differ.
func (k *lvmRig) wrongData(wanted string, acked, inFlight uint64) []string {
	k.t.Helper()
	var found []string
	if err := k.w.Check(lvmMirror, acked, inFlight); err != nil {
		found = append(found, fmt.Sprintf("%d acknowledged writes: %v", acked, err))
	}
	if wanted != lvmMirrored {
		return found
	}
	var sums []uint64
	for _, leg := range []string{"_rimage_0", "_rimage_1"} {
		sum := lab.NewChecksum()
		lab.CopyRange(k.t, sum, lvmMirror+leg, 0, cut.KillLength)
		sums = append(sums, sum.Sum64())
	}
	if sums[0] != sums[1] {
		found = append(found, "the legs differ")
	}
	return found
}

// leaks are volumes that are not wanted, devices of no volume, and devices that are missing or have a table waiting.
func (k *lvmRig) leaks(wanted string) []string {
	k.t.Helper()
	var found []string
	ofVolume := map[string]bool{} // name of a device: whether it must be there
	for _, volume := range k.volumes() {
		name, _, _ := strings.Cut(volume, " ")
		isWanted := slices.Contains(strings.Split(wanted, ","), volume)
		ofVolume[lvmGroup+"-"+strings.Trim(name, "[]")] = isWanted
		if !isWanted {
			found = append(found, "volume "+volume)
		}
	}
	for _, info := range k.mapped() {
		if _, ok := ofVolume[info.Name]; !ok || !info.Live || info.Inactive {
			found = append(found, fmt.Sprintf("device %s, live %v, a table waits %v", info.Name, info.Live, info.Inactive))
		}
		delete(ofVolume, info.Name)
	}
	for name, missing := range ofVolume {
		if missing {
			found = append(found, "no device "+name)
		}
	}
	return found
}

// onPeerKernels runs a test on the host for each kernel, with a machine that has lvm2.
func onPeerKernels(t *testing.T, test func(t *testing.T, machine vm.Machine)) {
	t.Helper()
	cut.OnKernels(t, func(t *testing.T, machine vm.Machine) {
		if machine.Udev {
			t.Fatal("lvm2 makes its nodes itself here: with udevd beside it, it warns in every answer")
		}
		machine.Tools = append(machine.Tools, "lvm")
		test(t, machine)
	})
}
