package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// plexctl, lvm2 and mdadm do the same work by turns in one machine, on the same drives. Nothing is asserted of how long it
// takes: scripts/bench.sh keeps the figures, and docs/performance.md says what each of them is.

// Environment variables by which scripts/bench.sh says what to do.
const (
	benchVar       = "PLEXCTL_BENCH"        // the file that takes the figures; without it the harness alone is tested
	benchRoundsVar = "PLEXCTL_BENCH_ROUNDS" // how often everything is measured
	benchOnlyVar   = "PLEXCTL_BENCH_ONLY"   // regular expression: which parts, see benchParts
	benchLimitVar  = "PLEXCTL_BENCH_LIMIT"  // of one machine, as time.ParseDuration takes it
)

// The drives of the bench, and the volume that everybody makes on them.
const (
	benchFirst  = "bench-first"
	benchSecond = "bench-second"
	benchDrive  = 4 * size.GiB
	benchLength = 256 * size.MiB
	benchLarge  = 3 * size.GiB
)

// figure is one thing measured, a line of JSON. The command in bench/ reads it.
type figure struct {
	Kernel    string  `json:"kernel"` // as uname says it
	Figure    string  `json:"figure"`
	Case      string  `json:"case,omitempty"`
	Subject   string  `json:"subject"`
	Unit      string  `json:"unit,omitempty"`
	Value     float64 `json:"value"`
	Round     int     `json:"round"`
	Estimated bool    `json:"estimated,omitempty"` // what a part of the work makes expect of all of it
	Text      string  `json:"text,omitempty"`      // of a fact, which has no value
}

// figurePrefix is how the lines of the guest's output begin that are figures.
const figurePrefix = "FIGURE "

// TestHostBench boots one machine for each kernel and keeps the figures. Without scripts/bench.sh it lets everybody attach
// once, on one kernel, and looks whether all figures of that have come.
//
//gate:kernels plain
//gate:when harness
func TestHostBench(t *testing.T) {
	if os.Getenv(benchVar) != "" {
		cut.OnKernels(t, measureAll)
		return
	}
	onPeerKernels(t, func(t *testing.T, machine vm.Machine) {
		machine.Tools = append(machine.Tools, "mdadm")
		var log bytes.Buffer
		told := map[string]int{}
		runBench(t, benchMachine(t, machine), "TestGuestBenchHarness", cut.BootLimit, &figureSink{log: &log, take: func(f figure) error {
			told[f.Subject]++
			// Adding a leg to an array suspends it on this kernel too, but not on older ones.
			noWindow := f.Figure == "window" && f.Value == 0 && machine.Kernel.Series == peerKernel
			if f.Value < 0 || f.Kernel != machine.Kernel.Release || noWindow {
				t.Errorf("figure %+v", f)
			}
			return nil
		}})
		if diff := cmp.Diff(map[string]int{"plexctl": 16, "lvm2 tuned": 9, "mdadm tuned": 9}, told); diff != "" {
			t.Errorf("how many figures of each (-want +got):\n%s", diff)
		}
		if t.Failed() {
			t.Log(&log)
		}
	})
}

// measureAll runs the bench on one kernel, and keeps each figure as soon as it has come.
func measureAll(t *testing.T, machine vm.Machine) {
	limit, err := time.ParseDuration(os.Getenv(benchLimitVar))
	lab.Must(t, err)
	machine.Tools = append(machine.Tools, "lvm", "mdadm", "time")
	for _, name := range []string{benchVar, benchRoundsVar, benchOnlyVar} {
		machine.Env = append(machine.Env, name+"="+os.Getenv(name))
	}
	out, err := os.OpenFile(os.Getenv(benchVar), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	lab.Must(t, err)
	defer out.Close()
	encoder := json.NewEncoder(out)
	for _, f := range hostFigures(t, machine.Kernel.Release) {
		lab.Must(t, encoder.Encode(f))
	}
	runBench(t, benchMachine(t, machine), "TestGuestBench", limit, &figureSink{log: t.Output(), take: func(f figure) error { return encoder.Encode(f) }})
}

// benchMachine is a machine with the two drives, which lose nothing and are as fast as the host lets them be.
func benchMachine(t *testing.T, machine vm.Machine) vm.Machine {
	t.Helper()
	for _, serial := range []string{benchFirst, benchSecond} {
		disk := vm.Disk{Path: filepath.Join(t.TempDir(), serial), Serial: serial}
		lab.Must(t, vm.CreateImage(disk.Path, benchDrive))
		machine.Disks = append(machine.Disks, disk)
	}
	return machine
}

// runBench boots the machine for a scenario, which must end well, and hands its output to the sink.
func runBench(t *testing.T, machine vm.Machine, scenario string, limit time.Duration, sink *figureSink) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	machine.Output = sink
	if err := machine.Run(ctx, vm.TestArgs(scenario)...); err != nil {
		t.Errorf("scenario %s: %v", scenario, err)
	}
}

// figureSink takes the lines of a guest's output apart.
type figureSink struct {
	log  io.Writer
	take func(f figure) error
}

// Write takes one line.
func (s *figureSink) Write(line []byte) (int, error) {
	text, ok := bytes.CutPrefix(line, []byte(figurePrefix))
	if !ok {
		return s.log.Write(line)
	}
	var f figure
	if err := json.Unmarshal(text, &f); err != nil {
		return 0, fmt.Errorf("figure %q: %w", text, err)
	}
	return len(line), s.take(f)
}
