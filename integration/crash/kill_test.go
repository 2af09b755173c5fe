package crash

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/sweep"
)

// killsOfGate is how often TestKillPoints kills plexctl without a sweep, at least.
const killsOfGate = 6

// pointVar names the environment variable with the one point to kill plexctl at, after so many effects: "remove of two:17".
const pointVar = "PLEXCTL_POINT"

// TestKillPoints kills plexctl after an effect of an operation, see effectOf, while a verified writer is at work. The LUN goes
// on by itself; the next plexctl assembles; in the end the operation was done or was not begun, all acknowledged writes are on
// every plex, and nothing is left over.
//
// In a sweep that is every effect of every operation on each kernel, then random ones and random moments until the time is
// up. Without, a few effects, others on each kernel.
//
//gate:kernels releases
func TestKillPoints(t *testing.T) { killPoints(t, newKillRig(t, false)) }

// TestKillPointsTracked is TestKillPoints with LUNs that are tracked. In a sweep its points are random.
//
//gate:kernels others
func TestKillPointsTracked(t *testing.T) { killPoints(t, newKillRig(t, true)) }

func killPoints(t *testing.T, k *killRig) {
	t.Helper()
	length, sweeping := sweep.Time(t)
	seed := sweep.Seed(t, kernelSeed(t))
	t.Logf("%s=%d", sweep.SeedVar, seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	end := time.Now().Add(length)
	switch point := os.Getenv(pointVar); {
	case point != "":
		k.replay(point)
	case sweeping && !k.Track:
		k.everyPoint()
		k.randomPoints(end, draw)
	case sweeping:
		k.randomPoints(end, draw)
	default:
		k.somePoints(draw)
	}
	k.reach("web1=0")
	t.Logf("SWEEP kills kills=%d mismatches=%d suspended=%d leaked=%d stall_us=%d",
		k.Kills, k.Mismatches, k.Suspended, k.Leaked, k.Stall.Microseconds())
	if k.Kills == 0 || !sweeping && os.Getenv(pointVar) == "" && k.Kills < killsOfGate {
		t.Errorf("plexctl was killed %d times only", k.Kills)
	}
}

// kernelSeed is a fixed seed for each kernel.
func kernelSeed(t *testing.T) uint64 {
	t.Helper()
	var name unix.Utsname
	lab.Must(t, unix.Uname(&name))
	return uint64(crc32.ChecksumIEEE(name.Release[:]))
}

// newKillRig makes the drives, web1 on drive 0, and its writer. Drive 1 can be made to fail, or zero by itself where LUNs are to
// be tracked.
func newKillRig(t *testing.T, track bool) *killRig {
	t.Helper()
	lab.NewLab(t)
	k := &killRig{effects: map[string][]string{}}
	var second string
	if track {
		second = lab.NewLoop(t, cut.KillDrive, 512)
	} else {
		k.brittle = lab.NewBrittle(t, "brittle", cut.KillDrive)
		second = k.brittle.Path
	}
	r := lab.Labelled(t, lab.NewLoop(t, cut.KillDrive, 512), second, lab.NewLoop(t, cut.KillDrive, 512))
	r.Track = track
	k.Live = &lab.Live{Rig: r}
	k.beginAnew()
	return k
}

// everyPoint kills each operation after each of its effects.
func (k *killRig) everyPoint() {
	k.T.Helper()
	for _, op := range k.ops() {
		k.pointsOf(op)
	}
}

// pointsOf kills an operation after each of its effects.
func (k *killRig) pointsOf(op killOp) {
	k.T.Helper()
	started, n := time.Now(), 1
	for k.point(op, lab.After(n)) {
		n++
	}
	effects := k.effectsOf(op)
	if suspends := slices.ContainsFunc(effects, func(e string) bool { return strings.HasPrefix(e, "suspend ") }); !k.Track && !op.maybe && suspends != op.window {
		k.T.Errorf("%s: it suspends the LUN: %v, want %v", op.name, suspends, op.window)
	}
	k.T.Logf("%s: %d kills in %v", op.name, n-1, time.Since(started).Round(time.Second))
}

// randomPoints kills random operations after random effects and at random moments.
func (k *killRig) randomPoints(end time.Time, draw *rand.Rand) {
	k.T.Helper()
	for time.Now().Before(end) {
		op := k.ops()[draw.IntN(len(k.ops()))]
		if draw.IntN(2) == 0 {
			k.point(op, lab.After(1+draw.IntN(len(k.effectsOf(op)))))
			continue
		}
		k.moment(op, time.Duration(draw.Int64N(int64(typical))))
	}
}

// somePoints kills operations in a random order: by turns while the LUN is suspended, where it ever is, and after one of the first
// effects. One more is a decision about a drive or a plex.
func (k *killRig) somePoints(draw *rand.Rand) {
	k.T.Helper()
	decisions := driveOps()
	k.point(decisions[draw.IntN(len(decisions))], lab.After(1+draw.IntN(4)))
	ops := k.ops()
	draw.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
	windows := slices.DeleteFunc(slices.Clone(ops), func(op killOp) bool { return !op.window })
	for i := 0; k.Kills <= killsOfGate && i < 2*killsOfGate; i++ {
		k.point(windows[i%len(windows)], lab.InWindow)
		k.point(ops[i%len(ops)], lab.After(1+draw.IntN(32))) // some have fewer
	}
}

// replay kills at one point.
func (k *killRig) replay(point string) {
	k.T.Helper()
	name, number, _ := strings.Cut(point, ":")
	n, err := strconv.Atoi(number)
	ops := k.ops()
	i := slices.IndexFunc(ops, func(op killOp) bool { return op.name == name })
	switch {
	case i >= 0 && number == "*":
		k.pointsOf(ops[i])
	case i < 0 || err != nil:
		k.T.Fatalf("%s is %q, not an operation and the number of an effect such as extend:3, or extend:* for all", pointVar, point)
	default:
		k.point(ops[i], lab.After(n))
	}
}

// point kills an operation at a point, and reports whether it came to that. If not, its effects are kept, and it must have
// succeeded.
func (k *killRig) point(op killOp, when lab.Deadly) (dead bool) {
	k.T.Helper()
	from := k.begin(op)
	got := lab.Trace(k.T, when, op.args(k)...)
	what := op.name + ", which was not killed"
	if got.Killed {
		what = fmt.Sprintf("%s=%q, after %s", pointVar, fmt.Sprintf("%s:%d", op.name, len(got.Effects)), got.Effects[len(got.Effects)-1])
	} else {
		k.effects[op.name] = got.Effects
		if got.Status != 0 {
			k.T.Errorf("%s: exit status %d\n%s", what, got.Status, got.Output)
		}
	}
	k.aftermath(op, what, got.Killed, from)
	return got.Killed
}

// moment kills an operation some time after its start.
func (k *killRig) moment(op killOp, after time.Duration) {
	k.T.Helper()
	from := k.begin(op)
	dead := killed(k.T, after, op.args(k)...)
	k.aftermath(op, fmt.Sprintf("%s, killed after %v", op.name, after), dead, from)
}

// begin makes what an operation begins with, and returns how many writes are acknowledged by then.
func (k *killRig) begin(op killOp) uint64 {
	k.T.Helper()
	k.reach(op.from)
	if op.prepare != nil {
		op.prepare(k)
	}
	return k.Writer.Acked.Load()
}

// aftermath assembles after an operation that was killed, or was not, and looks at what has become of everything.
func (k *killRig) aftermath(op killOp, what string, dead bool, from uint64) {
	k.T.Helper()
	if dead {
		k.Kills++
		if !k.goesOn() {
			k.Suspended++
			k.T.Errorf("%s: the LUN stays suspended", what)
		}
	}
	defer func() {
		if k.T.Failed() {
			k.T.Logf("%s: in the end\n%s", what, k.portrait())
		}
	}()
	if op.again != nil {
		op.again(k)
	}
	if out, err := lab.TryTool(k.T, "plexctl", "assemble"); err != nil {
		k.T.Fatalf("%s: assemble: %v\n%s", what, err, out)
	}
	k.writeOn()
	k.settle(op.lost || op.stale)
	mismatches, leaks := k.verify()
	if op.check != nil {
		if err := op.check(k, from); err != nil {
			mismatches = append(mismatches, err.Error())
		}
	}
	if layout := k.layout(); layout != op.done && (!dead || layout != cmp.Or(op.old, op.from)) {
		mismatches = append(mismatches, fmt.Sprintf("layout %q, want %q, or %q if it was killed", layout, op.done, cmp.Or(op.old, op.from)))
	}
	k.Mismatches += len(mismatches)
	k.Leaked += len(leaks)
	if wrong := slices.Concat(mismatches, leaks); len(wrong) > 0 {
		k.T.Errorf("%s: %s", what, strings.Join(wrong, "\n"))
		k.beginAnew()
	}
}

// killed runs plexctl and kills it after some time, unless it ends before, and reports whether it was killed.
func killed(t testing.TB, after time.Duration, args ...string) bool {
	t.Helper()
	cmd := exec.Command("plexctl", args...)
	lab.Must(t, cmd.Start())
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	if status := lab.ExitStatus(err); status > 0 {
		t.Errorf("plexctl %s, which was not killed: %v", strings.Join(args, " "), err)
	}
	return err != nil
}
