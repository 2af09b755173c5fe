package crash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// loggedReplays is how many of the crash points of an attach a test looks at without a sweep.
const loggedReplays = 8

// settled is how long after a change the kernel has noted that the plexes are the same.
const settled = 12 * time.Second

// TestLogWrites records what changes of a LUN that is written to write to the drives, and starts from what a power cut after
// each flush and each write with FUA would have left: every write that was made durable before it is there, the plexes are
// the same, and the LUNs are in the old state or in the new one. With PLEXCTL_SWEEP all points of all changes, and then cuts
// that leave some of the writes that were not durable; without, some points of an attach.
//
//gate:kernels bare
func TestLogWrites(t *testing.T) {
	limit, sweeping := sweep.Time(t)
	seed := sweep.Seed(t, 5)
	random := rand.New(rand.NewPCG(seed, 0))
	b := newReplays(t, seed)
	defer b.report()
	start := time.Now()
	if !sweeping {
		f := recordings()[0].record(t, seed, 0)
		b.provesItself(f)
		b.everyPoint(f, loggedReplays)
		b.randomPoint(f, random)
		return
	}
	for _, c := range recordings() {
		b.everyPoint(c.record(t, seed, settled), 0)
	}
	for time.Since(start) < limit && !t.Failed() {
		f := recordings()[random.IntN(len(recordings()))].record(t, random.Uint64(), settled)
		for range 20 {
			b.randomPoint(f, random)
		}
	}
}

// replays is drives that get to hold what a power cut has left, over and over.
type replays struct {
	*lab.Rig
	t    *testing.T
	seed uint64

	made, bad, suspended, leaked int
}

func newReplays(t *testing.T, seed uint64) *replays {
	t.Helper()
	lab.NewLab(t)
	var loops []string
	for range 3 {
		loops = append(loops, lab.NewLoop(t, loggedDrive, 512))
	}
	return &replays{Rig: lab.OpenRig(t, loops...), t: t, seed: seed}
}

// report writes the line of the sweep.
func (b *replays) report() {
	b.t.Logf("SWEEP logwrites replays=%d mismatches=%d suspended=%d leaked=%d", b.made, b.bad, b.suspended, b.leaked)
}

// everyPoint replays every crash point of a flight, or about n of them if n is not 0.
func (b *replays) everyPoint(f *flight, n int) {
	b.t.Helper()
	points := f.points()
	step := 1
	if n > 0 {
		step = (len(points) + n - 1) / n
	}
	b.t.Logf("%s: %d entries, %d points, every %d. is replayed", f.name, f.end-f.begin, len(points), step)
	m, done := image{}, 0
	for i := step / 2; i < len(points); i += step {
		m, done = m.after(f.log[done:points[i]]), points[i]
		b.expect(f, fmt.Sprintf("point %d", done), m, done)
	}
}

// randomPoint replays a cut between two flushes that some of the writes in between survive.
func (b *replays) randomPoint(f *flight, random *rand.Rand) {
	b.t.Helper()
	points := f.points()
	n := points[random.IntN(len(points))]
	left, end := lossy(f.log, n, random)
	b.expect(f, fmt.Sprintf("some of the writes after point %d", n), image{}.after(left), end)
}

// expect replays a cut after n entries, which has left m, and fails the test when something is wrong then.
func (b *replays) expect(f *flight, what string, m image, n int) {
	b.t.Helper()
	b.made++
	before, passed := b.bad, false
	defer func() {
		if !passed {
			b.t.Logf("%s, %s: the power fails after these entries:", f.name, what)
			for _, e := range f.log[max(0, n-30):n] {
				b.t.Logf("%v", e)
			}
		}
	}()
	if err := b.replay(f, m, n); err != nil {
		b.bad++
		b.t.Errorf("%s, %s, seed %d: %v", f.name, what, b.seed, err)
	}
	b.clear()
	passed = b.bad == before
	if b.bad >= enough {
		b.t.Fatal("no more of this")
	}
}

// enough is after how many bad replays there is no point in going on.
const enough = 5

// replay assembles on drives that hold what a cut after n entries of a flight has left, and says what is wrong.
func (b *replays) replay(f *flight, m image, n int) error {
	b.t.Helper()
	for i, loop := range b.Drives {
		m.slice(sliceAt(i), loggedDrive).store(b.t, loop)
	}
	results, err := b.Provider.Assemble(b.t.Context(), lun.AssembleOptions{})
	for _, result := range results {
		err = errors.Join(err, result.Err)
	}
	if err != nil {
		return err
	}
	if err := f.intact(n); err != nil {
		return fmt.Errorf("at once: %w", err)
	}
	var census []string
	for _, l := range b.Provider.LUNs() {
		plexes, err := b.settle(l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Name(), err)
		}
		census = append(census, fmt.Sprintf("%s:%d", l.Name(), plexes))
	}
	slices.Sort(census)
	if !slices.Contains(f.states, strings.Join(census, " ")) {
		return fmt.Errorf("LUNs and their plexes are %q, want one of %q", census, f.states)
	}
	return f.intact(n)
}

// clear takes everything down after a replay, and fails the test if that leaves anything. The drives are blank then.
func (b *replays) clear() {
	b.t.Helper()
	for _, d := range devices(b.Rig) {
		if info, err := b.Control.Info(b.t.Context(), d); err != nil || info.Suspended {
			b.suspended++
			b.t.Errorf("left suspended: %+v, %v", info, err)
		}
	}
	b.TakeDown()
	if left := devices(b.Rig); len(left) > 0 {
		b.leaked += len(left)
		b.t.Fatalf("left behind: %s", strings.Join(left, " "))
	}
	for _, loop := range b.Drives {
		image{}.store(b.t, loop)
	}
}

// devices is the names of the devices that plexctl has made.
func devices(r *lab.Rig) []string {
	r.T.Helper()
	list, err := r.Control.List(r.T.Context())
	if err != nil {
		r.T.Fatal(err)
	}
	var names []string
	for _, d := range list {
		if strings.HasPrefix(d.UUID, "PLEX-") {
			names = append(names, d.Name)
		}
	}
	return names
}

// settle waits for the end of what the kernel copies, and returns how many plexes the LUN has, all of them the same.
func (b *replays) settle(l *lun.LUN) (int, error) {
	b.t.Helper()
	op, err := l.Operation()
	if err == nil && op != nil {
		err = op.Wait(lab.Within(b.t, lab.SyncLimit))
	}
	if err != nil && !errors.Is(err, vds.ErrOperationCanceled) {
		return 0, err
	}
	lab.WaitFor(b.t, "the LUN to be healthy", lab.SyncLimit, func() bool {
		props, err := l.Properties(b.t.Context())
		return err == nil && props.Health == vds.HealthHealthy
	})
	record := b.Record(l.Name())
	b.ExactDevices("replay", record.ID, record.Name, len(record.Copies()))
	if len(record.Plexes) == 1 {
		return 1, nil
	}
	sums := b.Legs(record)
	if len(slices.Compact(slices.Clone(sums))) != 1 {
		return 0, fmt.Errorf("the plexes differ: %x", sums)
	}
	if n := b.Mismatches(record.Name); n != 0 {
		return 0, fmt.Errorf("the kernel finds %d sectors that differ", n)
	}
	return len(record.Copies()), nil
}

// provesItself shows that a replay finds it when writes that were durable are lost, or old data is: they are taken from every
// drive. That plexes which differ are found shows TestDifferencesAreFound.
func (b *replays) provesItself(f *flight) {
	b.t.Helper()
	whole := image{}.after(f.log[:f.end])
	for name, lost := range map[string]func(block []byte) bool{
		"a durable write": func(p []byte) bool {
			n, err := f.w.Read(p, binary.LittleEndian.Uint64(p[8:]))
			return err == nil && n > 0
		},
		"old data": func(p []byte) bool { return strings.HasPrefix(string(p), loggedCold) },
	} {
		m := maps.Clone(whole)
		maps.DeleteFunc(m, func(_ size.Bytes, p *[lab.BlockSize]byte) bool { return lost(p[:]) })
		if len(m) == len(whole) {
			b.t.Fatalf("no block holds %s", name)
		}
		if err := b.replay(f, m, f.end); !errors.Is(err, errLost) {
			b.t.Errorf("%s is lost: %v", name, err)
		}
		b.clear()
	}
}
