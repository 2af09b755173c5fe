package lun_test

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
)

// TestOvertaken makes a process stand still before each effect in front of which a guard stands by. The guard resumes the LUN, users write, and
// the process goes on, perhaps while the guard is not yet done. Some machines crash after that. On some the kernel does not answer the
// process once. The change must be done or taken back as
// its error says, and everything be in order. It takes a part of the stops, and all of them in a sweep.
func TestOvertaken(t *testing.T) {
	var stops, overtaken atomic.Int64
	t.Cleanup(func() {
		t.Logf("%d stops in front of a guard, which overtook at %d", stops.Load(), overtaken.Load())
		if overtaken.Load() == 0 {
			t.Error("nobody was ever overtaken")
		}
	})
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		for _, s := range slices.Concat(scenarios(), attachesOnGoodDrives()) {
			t.Run(s.name+" on "+string(release), func(t *testing.T) {
				t.Parallel()
				s.release = release
				m := s.machine(t)
				whole := s.complete(t, m)
				suspended := s.suspendedStops(t, m)
				for _, stop := range s.guardedStops(t, m) {
					for way, how := range slices.Concat([]crash{{}, {}}, s.crashes()) {
						every := 32 // nobody can be overtaken there
						switch {
						case slices.Contains(suspended, stop) && s.name == "attach, thin":
							every = 1 // no old metadata say what the new plex lacks
						case slices.Contains(suspended, stop):
							every = 3
						}
						if _, all := sweep.Time(t); !all && (stop+len(s.name)+way)%every > 0 {
							continue
						}
						o := &overtaking{scenario: s, stop: stop, how: how, deaf: way == 1, random: rand.New(rand.NewPCG(uint64(stop), uint64(len(how.name))))}
						stops.Add(1)
						synctest.Test(t, func(t *testing.T) { o.run(t, m, whole) })
						if t.Failed() {
							return
						}
						if o.overtook {
							overtaken.Add(1)
						}
					}
				}
			})
		}
	}
}

// suspendedStops is the effects of the operation in front of which a LUN is suspended.
func (s scenario) suspendedStops(t *testing.T, m machine) []int {
	t.Helper()
	var stops []int
	synctest.Test(t, func(t *testing.T) {
		w := s.world(t, m)
		w.guarded()
		n := 0
		w.mem.OnEffect = func(blocktest.Effect) error {
			for _, info := range w.devices() {
				if info.Suspended && info.Live {
					stops = append(stops, n)
					break
				}
			}
			n++
			return nil
		}
		w.must(s.act(w))
		w.mem.OnEffect = nil
	})
	return stops
}

// overtaking is one point of TestOvertaken.
type overtaking struct {
	scenario
	stop   int   // the process stands still in front of this effect
	how    crash // after some more effects; none without a name
	deaf   bool  // the kernel refuses to answer the process when it goes on, once
	random *rand.Rand

	w        *world
	kernel   *refusing
	guard    *watchman
	effects  int // of the process so far
	own      int // of the guard so far
	pause    int // the process goes on in front of this effect of the guard
	crashed  *machine
	paused   chan struct{} // closed when the guard has stopped, or is done
	turn     chan struct{} // closed when the guard may go on to its end
	ended    chan struct{} // closed when it is done
	guarding bool          // the effects are the guard's
	overtook bool
}

func (o *overtaking) run(t *testing.T, m machine, whole course) {
	t.Helper()
	o.w = o.world(t, m)
	o.w.keep()
	o.kernel = &refusing{Kernel: o.w.kernel, asks: true}
	o.guard = o.w.guardedOn(o.kernel)
	o.guard.dismissed = o.endGuard
	o.pause = o.random.IntN(8)
	defer func() {
		if t.Failed() {
			t.Logf("%s, overtaken before effect %d by %d effects, %s", o.name, o.stop, o.pause, o.how.name)
		}
	}()
	left := 1 + o.random.IntN(12) // effects of the process until the crash
	o.w.mem.OnEffect = func(blocktest.Effect) error {
		if o.guarding {
			if o.own++; o.own == o.pause {
				close(o.paused)
				<-o.turn
			}
			return nil
		}
		if o.effects++; o.effects == o.stop+1 {
			o.standStill()
		}
		o.w.write(o.random.Int64N(noise))
		if o.effects > o.stop && o.how.name != "" && o.crashed == nil {
			if left--; left < 0 {
				if o.how.fate == nil {
					o.endGuard() // which does not die
				}
				frozen := o.w.freeze()
				frozen.window = o.guard.on
				o.crashed = &frozen
			}
		}
		return nil
	}
	err := o.act(o.w)
	o.w.mem.OnEffect = nil
	if o.overtook && err == nil {
		t.Error("it was overtaken, and says that all is well")
	}
	o.w.notSuspended()
	if o.crashed != nil {
		o.w = o.crashed.crash(t, o.how, o.random)
	} else {
		o.w.restart()
	}
	o.recovered(o.w, whole, "overtaken")
}

// standStill is the time in which the process does nothing. The guard does its work, or a part of it.
func (o *overtaking) standStill() {
	window := *o.guard.on
	o.paused, o.turn, o.ended = make(chan struct{}), make(chan struct{}), make(chan struct{})
	o.guarding = true
	p := o.w.provider(lun.Options{Devices: someDrives{o.w.mem, window.Drives}})
	go func() {
		defer close(o.ended)
		defer p.Close()
		var err error
		if o.overtook, err = p.Overtake(o.w.t.Context(), window.LUN); err != nil {
			o.w.t.Errorf("overtake: %v", err)
		}
	}()
	select {
	case <-o.paused:
	case <-o.ended:
	}
	o.guarding = false
	if o.deaf {
		o.kernel.nth = o.kernel.calls + 1
	}
	o.w.write(o.random.Int64N(noise))
	o.w.put(noise + o.random.Int64N(100))
}

// endGuard waits for the end of the guard.
func (o *overtaking) endGuard() {
	if o.turn == nil {
		return
	}
	o.guarding = true
	close(o.turn)
	<-o.ended
	o.guarding, o.turn = false, nil
}
