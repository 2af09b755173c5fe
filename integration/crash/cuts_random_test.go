package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/internal/sweep"
)

// TestHostPowerCuts cuts the power at random moments while plexctl carries out one operation after the other and a
// verified writer is at work. Each boot begins with a look at what the cut before it has left: all acknowledged writes, on all
// plexes; the operation that was cut off done or not begun, those before it done; nothing left over. 2 cuts on one kernel; as many
// as there is time for in a sweep, on each.
//
//gate:kernels releases
func TestHostPowerCuts(t *testing.T) {
	length, sweeping := sweep.Time(t)
	seed := sweep.Seed(t, 1)
	kernels := vm.Kernels()
	if !sweeping {
		kernels = kernels[:1]
	}
	for _, kernel := range kernels {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			machine, err := lab.Machine().OnKernel(t.Context(), kernel)
			lab.Must(t, err)
			for i := range 3 {
				machine.Disks = append(machine.Disks, cut.NewDisk(t, cut.Serial(i), cut.KillDrive))
			}
			cutAtRandom(t, machine, time.Now().Add(length), seed)
		})
	}
}

// cutAtRandom cuts the power of machines with the same disks until the end, and at least twice.
func cutAtRandom(t *testing.T, machine vm.Machine, end time.Time, seed uint64) {
	t.Helper()
	t.Logf("%s=%d", sweep.SeedVar, seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	var state cut.State
	var cuts, steps, mismatches int
	var before string // what the machine printed before the last cut
	defer func() {
		t.Logf("SWEEP cuts cuts=%d steps=%d mismatches=%d", cuts, steps, mismatches)
	}()
	for cuts < 2 || time.Now().Before(end) {
		doomed := machine
		doomed.CutOn, doomed.CutAfter = cut.Ready, time.Duration(1+draw.Int64N(int64(cut.Limit)))
		printed, err := bootForCuts(t, doomed, state, draw.Uint64())
		if !errors.Is(err, vm.ErrCut) {
			mismatches++
			t.Fatalf("after %d cuts: %v\n%sbefore that cut:\n%s", cuts, err, printed, before)
		}
		cuts++
		before = printed
		steps += strings.Count(printed, "\nplexctl ")
		state = state.After(t, printed)
	}
	if printed, err := bootForCuts(t, machine, state, 0, cut.LastVar+"=1"); err != nil {
		mismatches++
		t.Fatalf("after %d cuts: %v\n%s", cuts, err, printed)
	}
}

// bootForCuts boots a machine that works on the disks, and returns what it printed.
func bootForCuts(t *testing.T, machine vm.Machine, state cut.State, seed uint64, env ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cut.BootLimit)
	defer cancel()
	var output bytes.Buffer
	machine.Output = &output
	machine.Env = slices.Concat(machine.Env, env, []string{
		fmt.Sprintf("%s=%d", cut.AckedVar, state.Acked), cut.LayoutsVar + "=" + state.Layouts, fmt.Sprintf("%s=%d", sweep.SeedVar, seed),
	})
	err := machine.Run(ctx, vm.TestArgs("TestGuestOperateUntilCut")...)
	return output.String(), err
}

// TestGuestOperateUntilCut looks at what the cut before has left, and carries out operations until the next one.
func TestGuestOperateUntilCut(t *testing.T) {
	k := &killRig{Live: &lab.Live{Rig: lab.OpenRig(t, lab.DiskPath(t, cut.Serial(0)), lab.DiskPath(t, cut.Serial(1)), lab.DiskPath(t, cut.Serial(2)))}}
	k.Track = (sweep.Seed(t, 1)+kernelSeed(t))%2 == 1 // of a machine, its first boot decides
	k.Writer = &lab.Writer{
		Path: "/dev/mapper/plex-" + cut.WebName, Flags: unix.O_DSYNC, Stamps: lab.Stamps{Seed: 5, Length: cut.KillLength - cut.Scribbled},
		OnAck: func(n uint64) { fmt.Println(cut.AckedLine + strconv.FormatUint(n, 10)) },
	}
	t.Cleanup(func() {
		if t.Failed() {
			shown, _ := lab.TryTool(t, "plexctl", "lun", "show", cut.WebName, "-o", "json")
			t.Logf("in the end\n%s%s", k.portrait(), shown)
		}
	})
	layout := k.afterCut(cut.AckedWrites(t), os.Getenv(cut.LayoutsVar))
	if os.Getenv(cut.LastVar) != "" {
		return
	}
	k.Writer.Start(t)
	k.walk(layout, rand.New(rand.NewPCG(sweep.Seed(t, 1), 0)))
}

// afterCut assembles and verifies what a cut has left, and returns the layout. Of blank disks it makes drives with web1.
func (k *killRig) afterCut(acked uint64, layouts string) string {
	k.T.Helper()
	if layouts == "" {
		for _, d := range k.Drives {
			k.Label(d)
		}
		k.LUN = k.Create(cut.WebName, cut.KillLength, 0)
		return k.layout()
	}
	k.Run("assemble")
	k.Refresh()
	if err := k.Writer.Check(k.Writer.Path, acked, 1<<32); err != nil {
		k.T.Errorf("right after the start: %d acknowledged writes: %v", acked, err)
	}
	k.settle(false)
	if err := k.Writer.Check(k.Writer.Path, acked, 1<<32); err != nil {
		k.T.Errorf("in sync: %d acknowledged writes: %v", acked, err)
	}
	if wrong := append(k.unequal(), k.leaks()...); len(wrong) > 0 {
		k.T.Error(strings.Join(wrong, "\n"))
	}
	layout := k.layout()
	if !slices.Contains(strings.Split(layouts, "|"), layout) {
		k.T.Errorf("layout %q, want one of %s", layout, layouts)
	}
	if k.T.Failed() {
		k.T.FailNow()
	}
	k.Writer.Acked.Store(acked)
	var err error
	k.LUN, err = k.Provider.LUN(cut.WebName)
	lab.Must(k.T, err)
	return layout
}

// walk carries out operations for ever.
func (k *killRig) walk(layout string, draw *rand.Rand) {
	k.T.Helper()
	stop := cut.Scribble(k.T, k.Writer.Path)
	fmt.Println(cut.LayoutLine + layout)
	fmt.Println(cut.Ready)
	before, pending := "", false
	for {
		all := moves(layout)
		if pending {
			all = movesMeanwhile(before, layout)
		}
		m := all[draw.IntN(len(all))]
		down := m.line == "deactivate"
		if down {
			stop()
			k.Writer.Stop()
		}
		fmt.Println(cut.LayoutLine + layout + "|" + m.to)
		fmt.Println("plexctl", m.line)
		out, err := lab.TryTool(k.T, "plexctl", command(m.line)(k)...)
		switch {
		case err == nil:
			if m.begins && !pending {
				before = layout
			}
			layout, pending = m.to, m.begins
		case !m.mayFail:
			k.T.Fatalf("plexctl %s: %v\n%s", m.line, err, out)
		}
		fmt.Println(cut.LayoutLine + layout)
		if down {
			k.Run("assemble")
			k.Writer.GoOn(k.T)
			stop = cut.Scribble(k.T, k.Writer.Path)
		}
	}
}
