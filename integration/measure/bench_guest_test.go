package measure

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// bench is what the parts of the bench share in the guest.
type bench struct {
	t       *testing.T
	control *dm.Control
	kernel  string
	rounds  int
	drives  [2]string // both of the same length
	length  size.Bytes
}

// benchPart is figures that are measured together.
type benchPart struct {
	name   string
	run    func(b *bench)
	length size.Bytes // of the volume; 0: benchLength
}

// benchParts are the parts, by the names that scripts/bench.sh --only chooses from.
func benchParts() []benchPart {
	return []benchPart{
		{name: "attach", run: (*bench).attachIdle},
		{name: "large", run: (*bench).attachLarge, length: benchLarge},
		{name: "stall", run: (*bench).attachUnderWriters},
		{name: "many", run: (*bench).manyVolumes},
		{name: "return", run: (*bench).returningLeg},
		{name: "io", run: (*bench).throughput},
		{name: "cost", run: (*bench).costs},
	}
}

// TestGuestBench measures.
func TestGuestBench(t *testing.T) {
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv(benchRoundsVar), "1"))
	lab.Must(t, err)
	only, err := regexp.Compile(os.Getenv(benchOnlyVar))
	lab.Must(t, err)
	for _, part := range benchParts() {
		if only.MatchString(part.name) {
			t.Run(part.name, func(t *testing.T) {
				start := time.Now()
				part.run(newBench(t, rounds, cmp.Or(part.length, benchLength)))
				fmt.Printf("bench: %s took %.0fs\n", part.name, time.Since(start).Seconds())
			})
		}
	}
}

// TestGuestBenchHarness has everybody attach once with a small volume, and plexctl again under writers.
func TestGuestBenchHarness(t *testing.T) {
	b := newBench(t, 1, 16*size.MiB)
	for _, c := range []contender{b.plexctl(), b.lvmTuned(), b.mdadmTuned()} {
		b.attachFilled(c, 0, 50)
	}
	b.attachLoaded(b.plexctl(), 0, loadCase{"writers", 1, 50, 200 * time.Millisecond, time.Minute})
}

// newBench prepares the guest for a part.
func newBench(t *testing.T, rounds int, length size.Bytes) *bench {
	t.Helper()
	_, err := os.ReadDir(tracing) // the kernel mounts it for who looks there
	lab.Must(t, err)
	lab.NewLab(t)
	control, err := dm.Open(dm.Options{})
	lab.Must(t, err)
	t.Cleanup(func() { lab.Must(t, control.Close()) })
	t.Setenv("DM_DISABLE_UDEV", "1") // there is no udevd
	t.Setenv("MDADM_NO_UDEV", "1")
	return &bench{
		t: t, control: control, rounds: rounds, length: length,
		kernel: readValue(t, "/proc/sys/kernel/osrelease"),
		drives: [2]string{lab.DiskPath(t, benchFirst), lab.DiskPath(t, benchSecond)},
	}
}

// tell tells a figure.
func (b *bench) tell(f figure) {
	b.t.Helper()
	f.Kernel = b.kernel
	line, err := json.Marshal(f)
	lab.Must(b.t, err)
	fmt.Println(figurePrefix + string(line))
}

// tellTime tells how long something took.
func (b *bench) tellTime(f figure, took time.Duration) {
	b.t.Helper()
	f.Unit, f.Value = "ms", float64(took.Microseconds())/1000
	b.tell(f)
}

// tellBytes tells how much something was.
func (b *bench) tellBytes(f figure, n size.Bytes) {
	b.t.Helper()
	f.Unit, f.Value = "MiB", float64(n)/float64(size.MiB)
	b.tell(f)
}

// inTurns has everybody do something in each round, first to last and last to first by turns, so that neither who comes first
// nor what the machine does meanwhile favours anybody.
func (b *bench) inTurns(contenders []contender, do func(c contender, round int)) {
	for round := range b.rounds {
		for _, c := range contenders {
			do(c, round)
		}
		slices.Reverse(contenders)
	}
}

// blank empties both drives.
func (b *bench) blank() {
	b.t.Helper()
	for _, d := range b.drives {
		lab.RunTool(b.t, "blkdiscard", d)
	}
}

// traffic is what was read from the first drive, written to it, read from the second one and written to it.
func (b *bench) traffic() [4]size.Bytes {
	b.t.Helper()
	var n [4]size.Bytes
	for i, d := range b.drives {
		n[2*i], n[2*i+1] = lab.BlockStat(b.t, d, 2), lab.BlockStat(b.t, d, 6)
	}
	return n
}

// timed is how long a function takes.
func timed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

// awaitFilled waits until a mirror is filled.
func (b *bench) awaitFilled(c contender) {
	b.t.Helper()
	lab.WaitFor(b.t, c.name()+" to fill the mirror", lab.SyncLimit, func() bool { return c.progress() == 1 })
}

// raidProgress is how much of a device is filled, if it is a mirror; 1 when all of it is. A tracked LUN has a leg for good that
// is none.
func (b *bench) raidProgress(name string) float64 {
	b.t.Helper()
	status, err := b.control.Status(b.t.Context(), name)
	lab.Must(b.t, err)
	if len(status.Targets) != 1 || status.Targets[0].Type != "raid" {
		return 0
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	lab.Must(b.t, err)
	raid.Health = slices.DeleteFunc(raid.Health, func(h dm.LegHealth) bool { return h == dm.LegMissing })
	if len(raid.Health) > 1 && raid.Complete() {
		return 1
	}
	return min(float64(raid.Done)/float64(raid.Total), 0.999)
}

// readValue is what a file of the kernel's says.
func readValue(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	lab.Must(t, err)
	return strings.TrimSpace(string(text))
}
