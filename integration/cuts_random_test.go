package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/size"
)

// What the host and the guest of TestHostPowerCuts tell each other. The guest prints how many writes were
// acknowledged, and which layouts, see killRig, there may be from now on; the next guest gets both in its environment.
const (
	cutsReady  = "the power may be cut"
	layoutsVar = "PLEXCTL_LAYOUTS" // with | between; empty at the first boot
	lastVar    = "PLEXCTL_LAST"    // set when the power is not to be cut again
	ackedLine  = "acknowledged "
	layoutLine = "layouts "
)

// cutsLimit is how long a guest runs, at most, before its power is cut.
const cutsLimit = 4 * time.Second

// cutsState is what the host knows of the disks.
type cutsState struct {
	acked   uint64
	layouts string
}

// TestHostPowerCuts cuts the power at random moments while plexctl carries out one operation after the other and a
// verified writer is at work. Each boot begins with a look at what the cut before it has left: all acknowledged writes, on all
// plexes; the operation that was cut off done or not begun, those before it done; nothing left over. 2 cuts on one kernel; as many
// as there is time for in a sweep, on each.
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
			machine, err := machine().OnKernel(t.Context(), kernel)
			must(t, err)
			for i := range 3 {
				machine.Disks = append(machine.Disks, newDisk(t, cutsSerial(i), killDrive))
			}
			cutAtRandom(t, machine, time.Now().Add(length), seed)
		})
	}
}

// cutsSerial is the serial of a disk.
func cutsSerial(i int) string { return "cuts" + strconv.Itoa(i) }

// cutAtRandom cuts the power of machines with the same disks until the end, and at least twice.
func cutAtRandom(t *testing.T, machine vm.Machine, end time.Time, seed uint64) {
	t.Helper()
	t.Logf("%s=%d", sweep.SeedVar, seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	var state cutsState
	var cuts, steps, mismatches int
	var before string // what the machine printed before the last cut
	defer func() {
		t.Logf("SWEEP cuts cuts=%d steps=%d mismatches=%d", cuts, steps, mismatches)
	}()
	for cuts < 2 || time.Now().Before(end) {
		cut := machine
		cut.CutOn, cut.CutAfter = cutsReady, time.Duration(1+draw.Int64N(int64(cutsLimit)))
		printed, err := bootForCuts(t, cut, state, draw.Uint64())
		if !errors.Is(err, vm.ErrCut) {
			mismatches++
			t.Fatalf("after %d cuts: %v\n%sbefore that cut:\n%s", cuts, err, printed, before)
		}
		cuts++
		before = printed
		steps += strings.Count(printed, "\nplexctl ")
		state = state.after(t, printed)
	}
	if printed, err := bootForCuts(t, machine, state, 0, lastVar+"=1"); err != nil {
		mismatches++
		t.Fatalf("after %d cuts: %v\n%s", cuts, err, printed)
	}
}

// bootForCuts boots a machine that works on the disks, and returns what it printed.
func bootForCuts(t *testing.T, machine vm.Machine, state cutsState, seed uint64, env ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootLimit)
	defer cancel()
	var output bytes.Buffer
	machine.Output = &output
	machine.Env = slices.Concat(machine.Env, env, []string{
		fmt.Sprintf("%s=%d", ackedVar, state.acked), layoutsVar + "=" + state.layouts, fmt.Sprintf("%s=%d", sweep.SeedVar, seed),
	})
	err := machine.Run(ctx, vm.TestArgs("TestGuestOperateUntilCut")...)
	return output.String(), err
}

// after is the state after a cut, by what the guest had printed.
func (s cutsState) after(t *testing.T, printed string) cutsState {
	t.Helper()
	for line := range strings.Lines(printed) {
		if text, ok := strings.CutPrefix(line, ackedLine); ok {
			acked, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
			must(t, err)
			s.acked = acked
		}
		if text, ok := strings.CutPrefix(line, layoutLine); ok {
			s.layouts = strings.TrimSpace(text)
		}
	}
	return s
}

// The writes that must survive go to the first part of web1. The rest is written to by somebody whom nobody vouches for, so that
// the plexes differ after a cut.
const scribbled = size.MiB

// TestGuestOperateUntilCut looks at what the cut before has left, and carries out operations until the next one.
func TestGuestOperateUntilCut(t *testing.T) {
	k := &killRig{live: &live{rig: openRig(t, diskPath(t, cutsSerial(0)), diskPath(t, cutsSerial(1)), diskPath(t, cutsSerial(2)))}}
	k.track = (sweep.Seed(t, 1)+kernelSeed(t))%2 == 1 // of a machine, its first boot decides
	k.w = &writer{
		path: "/dev/mapper/plex-" + webName, flags: unix.O_DSYNC, stamps: stamps{seed: 5, length: killLength - scribbled},
		onAck: func(n uint64) { fmt.Println(ackedLine + strconv.FormatUint(n, 10)) },
	}
	t.Cleanup(func() {
		if t.Failed() {
			shown, _ := tryTool(t, "plexctl", "lun", "show", webName, "-o", "json")
			t.Logf("in the end\n%s%s", k.portrait(), shown)
		}
	})
	layout := k.afterCut(ackedWrites(t), os.Getenv(layoutsVar))
	if os.Getenv(lastVar) != "" {
		return
	}
	k.w.start(t)
	k.walk(layout, rand.New(rand.NewPCG(sweep.Seed(t, 1), 0)))
}

// afterCut assembles and verifies what a cut has left, and returns the layout. Of blank disks it makes drives with web1.
func (k *killRig) afterCut(acked uint64, layouts string) string {
	k.t.Helper()
	if layouts == "" {
		for _, d := range k.drives {
			k.label(d)
		}
		k.l = k.create(webName, killLength, 0)
		return k.layout()
	}
	k.run("assemble")
	k.refresh()
	if err := k.w.check(k.w.path, acked, 1<<32); err != nil {
		k.t.Errorf("right after the start: %d acknowledged writes: %v", acked, err)
	}
	k.settle(false)
	if err := k.w.check(k.w.path, acked, 1<<32); err != nil {
		k.t.Errorf("in sync: %d acknowledged writes: %v", acked, err)
	}
	if wrong := append(k.unequal(), k.leaks()...); len(wrong) > 0 {
		k.t.Error(strings.Join(wrong, "\n"))
	}
	layout := k.layout()
	if !slices.Contains(strings.Split(layouts, "|"), layout) {
		k.t.Errorf("layout %q, want one of %s", layout, layouts)
	}
	if k.t.Failed() {
		k.t.FailNow()
	}
	k.w.acked.Store(acked)
	var err error
	k.l, err = k.p.LUN(webName)
	must(k.t, err)
	return layout
}

// walk carries out operations for ever.
func (k *killRig) walk(layout string, draw *rand.Rand) {
	k.t.Helper()
	stop := scribble(k.t, k.w.path)
	fmt.Println(layoutLine + layout)
	fmt.Println(cutsReady)
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
			k.w.stop()
		}
		fmt.Println(layoutLine + layout + "|" + m.to)
		fmt.Println("plexctl", m.line)
		out, err := tryTool(k.t, "plexctl", command(m.line)(k)...)
		switch {
		case err == nil:
			if m.begins && !pending {
				before = layout
			}
			layout, pending = m.to, m.begins
		case !m.mayFail:
			k.t.Fatalf("plexctl %s: %v\n%s", m.line, err, out)
		}
		fmt.Println(layoutLine + layout)
		if down {
			k.run("assemble")
			k.w.goOn(k.t)
			stop = scribble(k.t, k.w.path)
		}
	}
}

// scribble writes to the end of web1 until the function it returns is called.
func scribble(t testing.TB, path string) (stop func()) {
	t.Helper()
	f, err := openDirect(path, os.O_RDWR)
	must(t, err)
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer f.Close()
		p := alignedBuffer(blockSize)
		defer unix.Munmap(p)
		for n := uint64(1); !stopped.Load(); n++ {
			binary.LittleEndian.PutUint64(p, n)
			at := killLength - scribbled + size.Bytes(rand.Uint64N(uint64(scribbled/blockSize)))*blockSize
			if _, err := f.WriteAt(p, int64(at)); err != nil {
				t.Errorf("scribble: %v", err)
				return
			}
		}
	}()
	return func() {
		stopped.Store(true)
		<-ended
	}
}
