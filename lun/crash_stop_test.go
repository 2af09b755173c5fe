package lun_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
)

// machine is a machine at one moment, with a process at work. Worlds begin with a copy of it.
type machine struct {
	world  world // of which only what is not the process counts
	window *lun.Window
}

// freeze is the machine of w as it is.
func (w *world) freeze() machine {
	m := machine{world: *w}
	m.world.kernel, m.world.mem = w.kernel.Fork()
	m.world.p, m.world.guard, m.world.written = nil, nil, maps.Clone(w.written)
	return m
}

// crash is the machine after its process, or the power, has failed, with a new process.
func (m machine) crash(t testing.TB, how crash, random *rand.Rand) *world {
	t.Helper()
	w := m.world
	w.t, w.written = t, maps.Clone(m.world.written)
	if how.fate == nil {
		w.kernel, w.mem = m.world.kernel.Fork()
	} else {
		w.mem = m.world.mem.Cut(how.fate(random))
		w.kernel = dmtest.New(w.mem, w.linux)
	}
	if how.guard && m.window != nil {
		w.p = w.provider(lun.Options{Devices: someDrives{w.mem, m.window.Drives}})
		w.must(w.p.Wake(t.Context(), m.window.LUN))
		w.notSuspended()
		w.p.Close()
	}
	w.open()
	return &w
}

// stop is the machine in front of an effect of its process, or after the last.
type stop struct {
	machine
	n      int              // how many effects there were before
	before blocktest.Effect // none after the last
}

func (s stop) String() string {
	if s.before.Kind == "" {
		return fmt.Sprintf("after all %d effects", s.n)
	}
	return fmt.Sprintf("before effect %d (%s %s)", s.n, s.before.Kind, s.before.Object)
}

// sample is some of the stops that there were, each with the same chance.
type sample struct {
	random *rand.Rand
	most   int // all when negative
	seen   int
	stops  []stop
}

// add takes or leaves the machine of w as the next stop.
func (s *sample) add(w *world, g *watchman, before blocktest.Effect) {
	n := s.seen
	s.seen++
	place := len(s.stops)
	if s.most >= 0 && place == s.most {
		if place = s.random.IntN(s.seen); place >= s.most {
			return
		}
	} else {
		s.stops = append(s.stops, stop{})
	}
	s.stops[place] = stop{machine: w.freeze(), n: n, before: before}
	if g.on != nil {
		window := *g.on
		s.stops[place].window = &window
	}
}

// run lets a process with a guard do something to the end, and samples its stops. In front of each effect a user writes to
// web1, a write that is flushed, and one that stays in flight; and in front of some the kernel goes on.
func (w *world) run(some *sample, do func(w *world) error) error {
	w.t.Helper()
	g := &watchman{}
	w.guard = g.guard
	w.p.Close()
	w.open()
	w.mem.OnEffect = func(e blocktest.Effect) error {
		w.write(some.random.Int64N(noise))
		w.put(noise + some.random.Int64N(100))
		if some.random.IntN(4) == 0 {
			w.must(w.kernel.Tick(some.random.IntN(4)))
		}
		if w.t.Failed() {
			return errors.New("the test has failed")
		}
		some.add(w, g, e)
		return nil
	}
	err := do(w)
	synctest.Wait() // for whoever watches an operation
	w.mem.OnEffect = nil
	some.add(w, g, blocktest.Effect{})
	return err
}
