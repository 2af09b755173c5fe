package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/internal/sweep"
)

// TestHostKillPointsLVM kills lvm2's lvconvert after an effect, see effectOf, while a verified writer is at work, and then does
// what an administrator would. One kill; as many as there is time for in a sweep, on each.
//
//gate:kernels plain
//gate:when sweep
func TestHostKillPointsLVM(t *testing.T) {
	length, _ := sweep.Time(t)
	seed := sweep.Seed(t, 1)
	onPeerKernels(t, func(t *testing.T, machine vm.Machine) {
		ctx, cancel := context.WithTimeout(t.Context(), length+3*cut.BootLimit)
		defer cancel()
		machine.Output = t.Output()
		machine.Env = append(machine.Env, sweep.TimeVar+"="+os.Getenv(sweep.TimeVar), fmt.Sprintf("%s=%d", sweep.SeedVar, seed))
		lab.Must(t, machine.Run(ctx, vm.TestArgs("TestGuestKillPointsLVM")...))
	})
}

// lvmPoint is where to kill an operation.
type lvmPoint struct {
	op   lvmOp
	kill lab.Deadly
}

// TestGuestKillPointsLVM runs every operation without a kill, which must go well, and kills others.
func TestGuestKillPointsLVM(t *testing.T) {
	length, sweeping := sweep.Time(t)
	seed := sweep.Seed(t, 1)
	end := time.Now().Add(length)
	lab.NewLab(t)
	w := &lab.Writer{Stamps: lab.Stamps{Seed: seed, Length: cut.KillLength}}
	w.OnAck = func(uint64) { time.Sleep(3 * time.Millisecond) } // as in TestKillPoints
	k := newLVMRig(t, w, lab.NewLoop(t, cut.KillDrive, 512), lab.NewLoop(t, cut.KillDrive, 512))
	t.Cleanup(k.takeDown)
	k.beginAnew()
	defer k.tell()
	if !sweeping {
		k.killOnce()
		return
	}
	t.Logf("%s=%d", sweep.SeedVar, seed)
	k.killUntil(end, rand.New(rand.NewPCG(seed, 0)))
}

// tell tells what was counted.
func (k *lvmRig) tell() {
	k.t.Helper()
	k.t.Logf("SWEEP lvmkills kills=%d mismatches=%d suspended=%d leaked=%d violations=%d stall_us=%d",
		k.Kills, k.Mismatches, k.Suspended, k.Leaked, k.violations, k.Stall.Microseconds())
	if k.Kills == 0 {
		k.t.Error("nothing was killed")
	}
}

// killOnce has an attach go through what it goes through after a power cut, without one, and kills a removal as it begins.
func (k *lvmRig) killOnce() {
	k.t.Helper()
	ops := lvmOps()
	k.w.Stop()
	mismatches, leaks, err := k.afterCut(k.w.Acked.Load(), ops[0])
	if err != nil || len(mismatches)+len(leaks) > 0 {
		k.t.Errorf("nothing was cut off: %v, %q, %q", err, mismatches, leaks)
	}
	k.kill(lvmPoint{ops[1], lab.After(1)})
}

// killUntil kills operations after each of their effects, in a random order, over and over until the time is up, and at
// least once.
func (k *lvmRig) killUntil(end time.Time, draw *rand.Rand) {
	k.t.Helper()
	var points []lvmPoint
	for _, op := range lvmOps() {
		effects := k.unharmed(op)
		for n := range effects {
			points = append(points, lvmPoint{op, lab.After(n + 1)})
		}
		k.t.Logf("%s: %d effects", op.name, len(effects))
	}
	for {
		draw.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		for _, p := range points {
			k.point(p)
			if time.Now().After(end) {
				return
			}
		}
	}
}

// unharmed carries out an operation that is not killed, which must go well, and returns its effects.
func (k *lvmRig) unharmed(op lvmOp) []string {
	k.t.Helper()
	k.reach(op.from)
	got := k.traced(lvmPoint{op, lab.After(0)})
	if got.Status != 0 || got.Killed {
		k.t.Fatalf("%s: exit status %d\n%s", op.name, got.Status, got.Output)
	}
	if op.done == lvmMirrored && !k.synced(lvmSyncLimit, 2) {
		k.t.Fatalf("%s: not in sync", op.name)
	}
	if mismatches, leaks := k.verify(op.done, 0); len(mismatches)+len(leaks) > 0 {
		k.t.Fatalf("%s: %q, %q", op.name, mismatches, leaks)
	}
	k.w.GoOn(k.t)
	return got.Effects
}

func (k *lvmRig) traced(p lvmPoint) lab.Traced {
	k.t.Helper()
	return lab.TraceCommand(k.t, p.kill, "lvm", k.line("lvconvert", k.conversion(p.op)...)...)
}

// kill kills an operation and returns which, or "" when it ended before.
func (k *lvmRig) kill(p lvmPoint) string {
	k.t.Helper()
	got := k.traced(p)
	if !got.Killed {
		k.t.Logf("%s ended before it could be killed: exit status %d\n%s", p.op.name, got.Status, got.Output)
		return ""
	}
	k.Kills++
	what := fmt.Sprintf("lvconvert (%s) killed after effect %d, %s", p.op.name, len(got.Effects), got.Effects[len(got.Effects)-1])
	if names := k.staysSuspended(); len(names) > 0 {
		k.Suspended++
		k.t.Logf("%s: suspended %v later: %q", what, lvmGoesOnLimit, names)
	}
	return what
}

// point kills an operation, repairs what can be, and counts what is wrong then.
func (k *lvmRig) point(p lvmPoint) {
	k.t.Helper()
	k.reach(p.op.from)
	what := k.kill(p)
	if what == "" {
		k.beginAnew()
		return
	}
	told := k.try("vgchange", "-ay", lvmGroup)
	if err := k.repair(p.op); err != nil {
		k.violations++
		k.t.Logf("%s: not repaired: %v", what, errors.Join(err, told))
		k.beginAnew()
		return
	}
	mismatches, leaks := k.verify(p.op.done, 0)
	k.Mismatches += len(mismatches)
	k.Leaked += len(leaks)
	if wrong := slices.Concat(mismatches, leaks); len(wrong) > 0 {
		k.t.Logf("%s: repaired, but: %s", what, strings.Join(wrong, "; "))
		k.beginAnew()
		return
	}
	k.w.GoOn(k.t)
}

// reach makes the volumes what is wanted, from a state in which all is well.
func (k *lvmRig) reach(wanted string) {
	k.t.Helper()
	volumes := strings.Join(k.volumes(), ",")
	if volumes == lvmParted {
		k.run("lvremove", "--yes", lvmGroup+"/split")
		volumes = lvmLinear
	}
	if volumes == wanted {
		return
	}
	ops := lvmOps()
	i := slices.IndexFunc(ops, func(op lvmOp) bool { return op.done == wanted })
	err := k.convert(ops[i])
	if err != nil || wanted == lvmMirrored && !k.synced(lvmSyncLimit, 2) {
		k.t.Fatalf("make %s: %v, or not in sync", wanted, err)
	}
}
