package lun_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// seqDrives is how many drives the machine of a sequence has.
const seqDrives = 4

func seqPath(drive int) string { return fmt.Sprintf("/dev/sd%c", 'a'+drive) }

// TestSequences makes random sequences of all operations on LUNs and all events of a machine, while users write. About every
// other call meets a fault. After each step every acknowledged write is there, and each LUN is in its state from before or
// after. Completed operations are durable, and no LUN waits. In the end the drives work again, and every LUN becomes healthy.
//
// A failure prints the seed of its sequence: PLEXCTL_SEED, or -rapid.seed, begins with it.
func TestSequences(t *testing.T) {
	const fixed, slice = 1, 60
	length, sweeping := sweep.Time(t)
	seed := sweep.Seed(t, fixed)
	if given := flag.Lookup("rapid.seed").Value.String(); given != "0" {
		seed, _ = strconv.ParseUint(given, 10, 64) // package flag has parsed it
	}
	from := newShelf(t)
	t.Cleanup(func() {
		violations := 0
		if t.Failed() {
			violations = 1
		}
		t.Logf("SWEEP sequences sequences=%d steps=%d faults=%d checks=%d images=%d forks=%d violations=%d",
			from.tally.sequences, from.tally.steps, from.tally.faults, from.tally.checks, from.tally.images, from.tally.forks, violations)
	})
	setFlags(t, map[string]string{"rapid.checks": strconv.Itoa(slice), "rapid.nofailfile": "true"})
	random := rand.New(rand.NewPCG(seed, 0))
	for start := time.Now(); ; seed = random.Uint64() {
		setFlags(t, map[string]string{"rapid.seed": strconv.FormatUint(seed, 10)})
		rapid.Check(t, func(t *rapid.T) { runSequence(t, from) })
		if !sweeping || time.Since(start) > length {
			return
		}
	}
}

// setFlags sets flags of rapid, which has no other way to be told, until the test ends.
func setFlags(t *testing.T, values map[string]string) {
	t.Helper()
	for name, value := range values {
		before := flag.Lookup(name).Value.String()
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set(name, before) })
	}
}

// newShelf makes a machine with empty drives.
func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{mem: blocktest.New(), paths: map[uuid.UUID]string{}, lock: filepath.Join(t.TempDir(), "lock"), tally: &tally{}}
	opts := lun.Options{Kernel: dmtest.New(s.mem, dmtest.Linux6_12), Devices: s.mem, LockPath: s.lock, Hosts: []string{"host0"}}
	p, err := lun.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i := range seqDrives {
		s.mem.AddDisk(blockdev.Info{Path: seqPath(i), Size: driveSize})
		s.mem.SetOffload(seqPath(i), i > 0)
		d, err := p.InitDrive(t.Context(), seqPath(i), lun.InitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s.paths[d.ID] = seqPath(i)
	}
	s.addOthers()
	return s
}

// runSequence draws a sequence and takes its steps.
func runSequence(t *rapid.T, from *shelf) {
	linux := rapid.SampledFrom([]dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12}).Draw(t, "linux")
	guards := rapid.Bool().Draw(t, "guards")
	steps := rapid.SliceOfN(drawStep(actionNames()), 20, 60).Draw(t, "steps")
	ending := rapid.Uint64Range(0, 1<<20).Draw(t, "ending")
	from.tally.sequences++
	uuid.SetRand(&ids{random: rand.NewChaCha8([32]byte{byte(ending)})})
	defer uuid.SetRand(nil)
	rapid.SyncTest(t, func(t *rapid.T) {
		r := newRig(t, from, linux, guards)
		defer r.close()
		r.boot()
		r.furnish()
		for _, s := range steps {
			r.take(s)
		}
		r.finish(ending)
	})
}

// ids is a source of GUIDs that is the same in every run.
type ids struct {
	mu     sync.Mutex
	random io.Reader
}

func (i *ids) Read(b []byte) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.random.Read(b)
}

// actionNames is the names of all actions, each as often as it weighs. The first does nothing: what a failure does not need
// becomes that.
func actionNames() []string {
	names := []string{"nothing"}
	actions := seqActions()
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		names = append(names, slices.Repeat([]string{name}, actions[name].weight)...)
	}
	return names
}

// furnish makes some LUNs, of which users write to all.
func (r *rig) furnish() {
	ctx := context.Background()
	for drive, length := range []int{3, 3, 4} {
		spec := lun.Spec{
			Name: []string{"web", "spare", "third"}[drive], Size: size.Bytes(length) * size.MiB, Drives: []string{seqPath(drive)}, Track: drive == 2,
		}
		if _, err := r.procs[0].provider.CreateLUN(ctx, spec); err != nil {
			r.fail("create %s: %v", spec.Name, err)
		}
	}
	r.records = r.truth(blocktest.Kept)
	r.adopt(call{}, nil)
	r.random = rand.New(rand.NewPCG(1, 1))
	for _, id := range slices.SortedFunc(maps.Keys(r.volumes), compareUUIDs) {
		for range 6 {
			r.write(id, r.someBlock(), true)
		}
	}
	for _, p := range r.procs {
		if err := p.provider.Refresh(ctx); err != nil {
			r.fail("refresh: %v", err)
		}
	}
}
