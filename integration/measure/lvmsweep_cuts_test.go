package measure

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/internal/sweep"
)

// Lines that the guest of TestHostPowerCutsLVM begins with these are counted by the host.
const (
	lvmMismatch  = "lvm2 mismatch: "
	lvmLeak      = "lvm2 leak: "
	lvmViolation = "lvm2 violation: "
)

// TestHostPowerCutsLVM cuts the power at random moments while lvm2 converts a volume to a mirror and back and a verified writer
// is at work. Each boot begins with what an administrator would do, and a look at what the cut has left. As many cuts as there is
// time for, on each kernel. It runs in a sweep only; TestHostKillPointsLVM shows that the look works.
//
//gate:kernels plain
//gate:when sweep
func TestHostPowerCutsLVM(t *testing.T) {
	length, sweeping := sweep.Time(t)
	if !sweeping {
		t.Fatalf("the power is cut where %s is set", sweep.TimeVar)
	}
	seed := sweep.Seed(t, 1)
	onPeerKernels(t, func(t *testing.T, machine vm.Machine) {
		for i := range 2 {
			machine.Disks = append(machine.Disks, cut.NewDisk(t, cut.Serial(i), cut.KillDrive))
		}
		end, draw := time.Now().Add(length), rand.New(rand.NewPCG(seed, 0))
		var state cut.State
		var cuts int
		found := map[string]int{}
		defer func() {
			t.Logf("SWEEP lvmcuts cuts=%d mismatches=%d leaked=%d violations=%d", cuts, found[lvmMismatch], found[lvmLeak], found[lvmViolation])
		}()
		t.Logf("%s=%d", sweep.SeedVar, seed)
		for ; cuts == 0 || time.Now().Before(end); cuts++ {
			doomed := machine
			doomed.CutOn, doomed.CutAfter = cut.Ready, time.Duration(1+draw.Int64N(int64(cut.Limit)))
			printed := cut.Boot(t, doomed, vm.ErrCut, "TestGuestConvertUntilCut", env(state, draw.Uint64())...)
			state = state.After(t, printed)
			tellLVM(t, printed, found)
		}
		tellLVM(t, cut.Boot(t, machine, nil, "TestGuestConvertUntilCut", append(env(state, 0), cut.LastVar+"=1")...), found)
	})
}

// env is what the next guest has to know.
func env(s cut.State, seed uint64) []string {
	return []string{fmt.Sprintf("%s=%d", cut.AckedVar, s.Acked), cut.LayoutsVar + "=" + s.Layouts, fmt.Sprintf("%s=%d", sweep.SeedVar, seed)}
}

// tellLVM tells and counts what a guest found.
func tellLVM(t *testing.T, printed string, found map[string]int) {
	t.Helper()
	for line := range strings.Lines(printed) {
		for _, kind := range []string{lvmMismatch, lvmLeak, lvmViolation} {
			if strings.HasPrefix(line, kind) {
				found[kind]++
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

// TestGuestConvertUntilCut looks at what the cut before has left, and converts until the next one. At the first boot it makes a
// mirror, which must go well.
func TestGuestConvertUntilCut(t *testing.T) {
	w := &lab.Writer{Stamps: lab.Stamps{Seed: 5, Length: cut.KillLength - cut.Scribbled}}
	w.OnAck = func(n uint64) { fmt.Println(cut.AckedLine + strconv.FormatUint(n, 10)) }
	k := newLVMRig(t, w, lab.DiskPath(t, cut.Serial(0)), lab.DiskPath(t, cut.Serial(1)))
	ops := lvmOps()
	begun := slices.IndexFunc(ops, func(op lvmOp) bool { return op.name == os.Getenv(cut.LayoutsVar) })
	if begun < 0 {
		k.firstMirror()
	} else if !k.wholeAfterCut(cut.AckedWrites(t), ops[begun]) {
		k.beginAnew()
	}
	if os.Getenv(cut.LastVar) != "" {
		k.takeDown()
		return
	}
	if w.Stopped.Load() {
		w.GoOn(t)
	}
	cut.Scribble(t, lvmMirror)
	k.convertForEver(rand.New(rand.NewPCG(sweep.Seed(t, 1), 0)))
}

// firstMirror makes the volume a mirror on blank disks.
func (k *lvmRig) firstMirror() {
	k.t.Helper()
	k.beginAnew()
	k.reach(lvmMirrored)
	if mismatches, leaks := k.verify(lvmMirrored, 0); len(mismatches)+len(leaks) > 0 {
		k.t.Fatalf("nothing was cut off yet: %q, %q", mismatches, leaks)
	}
}

// wholeAfterCut activates, verifies and repairs what a cut has left, and reports whether all is well then. The last operation
// that had begun is op.
func (k *lvmRig) wholeAfterCut(acked uint64, op lvmOp) bool {
	k.t.Helper()
	mismatches, leaks, err := k.afterCut(acked, op)
	if err != nil {
		tellHost(lvmViolation, op, err.Error())
	}
	tellHost(lvmMismatch, op, mismatches...)
	tellHost(lvmLeak, op, leaks...)
	return err == nil && len(mismatches)+len(leaks) == 0
}

// tellHost prints what tellLVM counts, a line each.
func tellHost(kind string, op lvmOp, all ...string) {
	for _, text := range all {
		fmt.Printf("%safter %s: %s\n", kind, op.name, strings.Join(strings.Fields(text), " "))
	}
}

// anyWrite is how many of the writes after those that were acknowledged may be there after a cut.
const anyWrite = 1 << 32

// afterCut returns what is wrong with the data, what is there that should not be, and what cannot be repaired. It ends with the
// first that it finds.
func (k *lvmRig) afterCut(acked uint64, op lvmOp) (mismatches, leaks []string, err error) {
	k.t.Helper()
	if err := k.try("vgchange", "-ay", lvmGroup); err != nil {
		return nil, nil, err
	}
	if mismatches = k.wrongData(lvmLinear, acked, anyWrite); len(mismatches) > 0 { // before anything is copied
		return mismatches, nil, nil
	}
	if has(k.volumes(), lvmMirrored) {
		if !k.synced(lvmSyncLimit, 5) && (k.refresh() != nil || !k.synced(lvmSyncLimit, 5)) {
			return nil, nil, k.unsynced()
		}
		if mismatches = k.wrongData(lvmMirrored, acked, anyWrite); len(mismatches) > 0 {
			return mismatches, nil, nil
		}
	}
	k.w.Acked.Store(acked)
	k.w.GoOn(k.t)
	if err := k.repair(op); err != nil {
		return nil, nil, err
	}
	mismatches, leaks = k.verify(op.done, anyWrite)
	return mismatches, leaks, nil
}

// convertForEver makes the volume a mirror and linear again, over and over, and lets the mirror be for a while.
func (k *lvmRig) convertForEver(draw *rand.Rand) {
	k.t.Helper()
	ops := lvmOps()
	attach, removals := ops[0], ops[1:3]
	last := removals[0]
	if has(k.volumes(), lvmMirrored) {
		last = attach
	}
	fmt.Println(cut.LayoutLine + last.name)
	fmt.Println(cut.Ready)
	for {
		op := attach
		if last.done == lvmMirrored {
			time.Sleep(time.Duration(draw.Int64N(int64(time.Second))))
			if !k.synced(lvmSyncLimit, 1) {
				tellHost(lvmViolation, last, "not in sync, without a cut")
			}
			op = removals[draw.IntN(len(removals))]
		}
		fmt.Println(cut.LayoutLine + op.name)
		if err := k.convert(op); err != nil {
			k.t.Fatalf("%s, without a cut: %v", op.name, err)
		}
		last = op
	}
}
