package crash

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Moments at which a leg fails.
const (
	beforeCall = "before the call"
	inCall     = "in the call"
	backInCall = "in the call, for a moment"
	afterCall  = "after the call" // where the operation copies something, in the middle of that
)

// callLimit is how long no call takes, whatever the drives do. Of a disk that hangs no test is made here.
const callLimit = 45 * time.Second

// legCase is a leg that fails around a call.
type legCase struct {
	op     legOp
	kind   string
	leg    string // "target" or "source"
	moment string
	delay  time.Duration // from the begin of the call until the leg fails in it
}

func (c legCase) String() string {
	return fmt.Sprintf("%s, %s %s %s", c.op.name, c.leg, c.kind, c.moment)
}

// legTally counts for the line of a sweep.
type legTally struct {
	faults, bad, suspended, leaked int
	stall                          time.Duration
}

// TestLegs lets legs fail and come back around every operation of a LUN that is written to: the call ends in time, with a
// documented code if not well, no write fails while a good leg is there, nothing is lost, nothing suspended, and with the leg
// back the LUNs are in the old state or in the new one and can be made whole. With PLEXCTL_SWEEP every kind of failure, of
// either leg, at every moment, and then more of them with other delays; without, a few.
//
//gate:kernels bare
func TestLegs(t *testing.T) {
	limit, sweeping := sweep.Time(t)
	seed := sweep.Seed(t, 11)
	random := rand.New(rand.NewPCG(seed, 0))
	tally := &legTally{}
	defer func() {
		t.Logf("SWEEP legs faults=%d mismatches=%d suspended=%d leaked=%d stall_us=%d",
			tally.faults, tally.bad, tally.suspended, tally.leaked, tally.stall.Microseconds())
	}()
	run := func(c legCase) {
		c.delay = time.Duration(random.Int64N(int64(700 * time.Millisecond)))
		tally.faults++
		if !t.Run(c.String(), func(t *testing.T) { c.run(t, tally) }) {
			tally.bad++
			t.Logf("seed %d, case %d", seed, tally.faults)
		}
	}
	all := legCases()
	if !sweeping {
		all = slices.DeleteFunc(all, func(c legCase) bool { return !slices.Contains(fewLegs, c.String()) })
		if len(all) != len(fewLegs) {
			t.Errorf("%d of %d cases are there", len(all), len(fewLegs))
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	start := time.Now()
	for _, c := range all {
		run(c)
	}
	for time.Since(start) < limit {
		run(all[random.IntN(len(all))])
	}
}

// fewLegs are the cases of a test without a sweep.
var fewLegs = []string{
	"set-rate, target pulled in the call",
	"recover, source flickering in the call",
	"extend, target pulled in the call, for a moment",
	"split, target slow in the call",
}

// legCases is every kind of failure, of either leg, at every moment, around every operation.
func legCases() []legCase {
	var all []legCase
	for _, op := range legOps() {
		for _, kind := range slices.Sorted(maps.Keys(legKinds())) {
			for _, leg := range []string{"source", "target"} {
				for _, moment := range []string{beforeCall, inCall, backInCall, afterCall} {
					all = append(all, legCase{op: op, kind: kind, leg: leg, moment: moment})
				}
			}
		}
	}
	return all
}

// legLab is the rig of a case.
type legLab struct {
	*lab.Live
	t       *testing.T
	c       legCase
	brittle []*lab.Brittle
	room    []size.Sectors
	op      *resync.Async // an attach
	plex    uuid.UUID     // on the source's drive
}

// newLegLab makes the LUNs of a case on drives that work, and starts the writer.
func newLegLab(t *testing.T, c legCase) *legLab {
	t.Helper()
	lab.NewLab(t)
	s := &legLab{t: t, c: c}
	var paths []string
	for i := range max(2, c.op.legs["source"]+1) {
		b := lab.NewBrittle(t, fmt.Sprintf("leg%d", i), 32*size.MiB)
		s.brittle, paths = append(s.brittle, b), append(paths, b.Path)
	}
	r := lab.Labelled(t, paths...)
	t.Cleanup(func() {
		for _, b := range s.brittle {
			b.Heal()
		}
	})
	for i := range paths {
		s.room = append(s.room, r.Free(i))
	}
	s.Live = r.LiveOn("web1", legLength, 0)
	for drive := 1; drive < c.op.plexes; drive++ {
		r.AddOn(s.LUN, drive)
	}
	if c.op.plexes > 1 {
		s.plex = s.Record("web1").Plexes[1].ID
	}
	c.op.before(s)
	s.More(5)
	return s
}

// run lets the leg fail around the call, and looks at what becomes of it.
func (c legCase) run(t *testing.T, tally *legTally) {
	s := newLegLab(t, c)
	err := s.disturbed()
	s.documented("the call", err)
	time.Sleep(300 * time.Millisecond) // the writer goes on
	tally.suspended += s.suspendedNow()
	broke := s.broke()
	for _, b := range s.brittle {
		b.Heal()
	}
	if err := firstError(s.Provider.Assemble(t.Context(), lun.AssembleOptions{})); err != nil {
		t.Fatalf("assemble with the leg back: %v", err)
	}
	s.Writer.Verify(t, s.Writer.Path)
	s.Writer.GoOn(t)
	census := s.census()
	t.Logf("delay %v; the call: %v; the writer: %v; LUNs: %s", c.delay, err, broke, census)
	if broke != nil && c.op.spares(c, census) {
		t.Errorf("a write has failed though there was a good leg: %v", broke)
	}
	tally.leaked += s.emptied()
	if c.kind != "slow" {
		tally.stall = max(tally.stall, slices.Max(s.Writer.Waits))
	}
}

// disturbed makes the call while the leg fails.
func (s *legLab) disturbed() error {
	s.t.Helper()
	b := s.brittle[s.c.op.legs[s.c.leg]]
	broken, swapped := legKinds()[s.c.kind](b), make(chan error, 1)
	switch s.c.moment {
	case beforeCall:
		lab.Must(s.t, b.TurnInto(broken))
		time.Sleep(200 * time.Millisecond) // the writer comes to know
		return s.inTime()
	case afterCall:
		err := s.inTime()
		lab.Must(s.t, b.TurnInto(broken))
		return err
	}
	go func() {
		time.Sleep(s.c.delay)
		err := b.TurnInto(broken)
		if s.c.moment == backInCall {
			time.Sleep(200 * time.Millisecond)
			err = errors.Join(err, b.TurnInto(b.Linear()))
		}
		swapped <- err
	}()
	err := s.inTime()
	lab.Must(s.t, <-swapped)
	return err
}

// inTime makes the call, and fails the test when it does not end.
func (s *legLab) inTime() error {
	s.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.c.op.call(s) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(callLimit):
		s.t.Fatalf("the call has not ended after %v", callLimit)
		return nil
	}
}

// documented fails the test when an error is none that a failing drive explains.
func (s *legLab) documented(what string, err error) {
	s.t.Helper()
	known := slices.ContainsFunc(slices.Concat(legCodes, s.c.op.codes), func(code vds.Code) bool { return errors.Is(err, code) })
	if err != nil && !known {
		s.t.Errorf("%s: %v: not a documented code", what, err)
	}
}

// broke stops the writer and returns what a write has failed with.
func (s *legLab) broke() error {
	s.Writer.Stop()
	return s.Writer.Err
}

// suspendedNow is how many of plexctl's devices are suspended, and fails the test when some are.
func (s *legLab) suspendedNow() int {
	s.t.Helper()
	n := 0
	for _, name := range devices(s.Rig) {
		if info, err := s.Control.Info(s.t.Context(), name); err == nil && info.Suspended {
			s.t.Errorf("%s is suspended", name)
			n++
		}
	}
	return n
}

// census makes every LUN whole, looks that it is, and returns what there is: "spare:1 web1:2", a name and the number of its
// plexes, with a + where it has become larger.
func (s *legLab) census() string {
	s.t.Helper()
	var census []string
	for _, l := range s.Provider.LUNs() {
		s.makeWhole(l)
		record, larger := s.Record(l.Name()), ""
		if l.Name() == "web1" && record.Size > legLength.Sectors() {
			larger = "+"
		}
		census = append(census, fmt.Sprintf("%s%s:%d", l.Name(), larger, len(record.Copies())))
		if l.Name() == "web1" {
			s.Verify(s.c.String(), len(record.Copies()))
		} else {
			s.Whole(s.c.String(), l.Name(), len(record.Copies()))
		}
	}
	slices.Sort(census)
	text := strings.Join(census, " ")
	if !slices.Contains(s.c.op.states, text) {
		s.t.Errorf("the LUNs and their plexes are %s, want one of %q", text, s.c.op.states)
	}
	return text
}

// makeWhole lets what runs on a LUN end, and recovers it until it is healthy.
func (s *legLab) makeWhole(l *lun.LUN) {
	s.t.Helper()
	lab.WaitFor(s.t, l.Name()+" to be whole", lab.SyncLimit, func() bool {
		op, err := l.Operation()
		if err == nil && op != nil {
			err = op.Wait(lab.Within(s.t, lab.SyncLimit))
		}
		if !errors.Is(err, vds.ErrOperationCanceled) {
			s.documented("the operation", err)
		}
		props, err := l.Properties(s.t.Context())
		if err == nil && props.Health == vds.HealthHealthy {
			return true
		}
		if op, err = l.Recover(s.t.Context()); err == nil {
			err = op.Wait(lab.Within(s.t, lab.SyncLimit))
		}
		s.documented("recover", err)
		return false
	})
}

// emptied deletes all LUNs, and is how much they leave: devices, and drives with less room than at first. The test fails
// when that is anything.
func (s *legLab) emptied() int {
	s.t.Helper()
	s.Writer.Stop()
	for _, l := range s.Provider.LUNs() {
		lab.Must(s.t, l.Delete(s.t.Context()))
	}
	left := devices(s.Rig)
	for i, room := range s.room {
		if now := s.Free(i); now != room {
			left = append(left, fmt.Sprintf("%v on drive %d", room-now, i))
		}
	}
	if len(left) > 0 {
		s.t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return len(left)
}
