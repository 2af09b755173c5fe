package dmtest

import (
	"errors"
	"slices"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
)

// carry takes over, in the window, what the live table has left to do. The inactive table gets the bits of a leg in sync,
// except for the regions that lie wholly before sector done.
func (f *slotMirror) carry(w *waiting, done uint64) raidmeta.Bits {
	f.Helper()
	bits := f.slots()[slices.Index(w.plan.inSync, true)].Bitmap.Bits
	bits.ClearBelow(done, regionSects)
	w.write(bits)
	return bits
}

// breaks makes all I/O of a leg's data fail.
func (f *slotMirror) breaks(leg int) {
	f.Helper()
	f.swap(f.legs[leg].dataName, dm.Table{{Length: f.sects, Target: dm.Other{Name: "error"}}})
}

// heals ends what breaks has begun.
func (f *slotMirror) heals(leg int) {
	f.Helper()
	f.swap(f.legs[leg].dataName, linearOn(f.legs[leg].data.Dev(), 0, f.sects))
}

// testSwitchRate changes the rate of a recovery: the new table goes on where the live one stood.
func (b *bench) testSwitchRate() {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		f := b.slotMirror(2)
		to := order[1] // in table order, of leg 1
		f.begin(slotPlan{legs: order, inSync: within(order, 1), slow: true})
		f.copies(dm.ActionRecover, 0)
		f.paint('U', 1, 62)
		var done [2]uint64
		for i := range done {
			w := f.load(slotPlan{legs: order, inSync: within(order, 1), slow: i == 0})
			f.window(func() {
				b.same("health in the window", "AA", f.health())
				offset := f.slots()[to].Super.RecoveryOffset
				f.carry(w, offset)
				done[i] = offset / uint64(regionSects)
				b.fill(f.legs[1].data, 'Z', 0, int64(done[i])*regionBytes)
			})
			w.swap()
			if i == 0 {
				f.standsStill()
			}
		}
		b.Logf("copied before the first reload: %d regions, before the second: %d", done[0], done[1])
		if done[0] == 0 || done[1] <= done[0] || done[1] >= regionCount {
			b.Errorf("regions copied before the reloads: %v, want ever more of %d", done, regionCount)
		}
		f.paint('W', 2, 61)
		f.finishes("AA")
		want := over(over(full('A', regionCount), 'U', 1, 62), 'W', 2, 61)
		b.same("leg 0", want, f.content(0))
		for i := range done[1] {
			want = over(want, 'Z', i)
		}
		b.same("leg 1", over(want, 'W', 2), f.content(1))
	}
}

// standsStill checks that a recovery at next to no rate copies its first 2 MiB or so and then nothing.
func (f *slotMirror) standsStill() {
	f.Helper()
	f.copies(dm.ActionRecover, 0)
	f.rest()
	before := f.content(1)
	f.rest()
	f.same("leg 1 at next to no rate", before, f.content(1))
}

// testSwitchReturned brings a leg back that has failed: it gets what it has missed, and nothing else.
func (b *bench) testSwitchReturned() {
	for failing := range 2 {
		b.Logf("failing leg %d", failing)
		f := b.slotMirror(2)
		order := []int{0, 1}
		f.begin(slotPlan{legs: order, inSync: all(2, 0), bits: bitsOf()})
		f.paint('U', 5)
		f.breaks(failing)
		f.paint('V', 7, 20)
		b.eventually("failure", func() error { return f.shows(failing) })
		f.heals(failing)
		b.fill(f.legs[failing].data, 'Z', 0, int64(arraySects.Bytes()))
		w := f.load(slotPlan{legs: order, inSync: []bool{failing != 0, failing != 1}})
		f.paint('W', 30)
		f.window(func() {
			b.same("health in the window", over("AA", 'D', uint64(failing)), f.health())
			bits := f.carry(w, 0)
			bits.Clear(5) // may still be set from before
			b.same("bits of what was missed", bitsOf(7, 20, 30), bits)
			w.write(bits)
		})
		w.swap()
		f.finishes("AA")
		missed := func(content string) string { return over(over(content, 'V', 7, 20), 'W', 30) }
		b.same("leg that stayed", missed(over(full(byte('B'-failing), regionCount), 'U', 5)), f.content(1-failing))
		b.same("leg that returned", missed(full('Z', regionCount)), f.content(failing))
	}
}

// shows is nil when the status shows that a leg has failed.
func (f *slotMirror) shows(failed int) error {
	line := f.line(f.name)
	s, err := dm.ParseRaidStatus(line)
	if err == nil && s.Health[failed] != dm.LegFailed {
		err = errors.New(line)
	}
	return err
}

// testSwitchAbort aborts a swap in the window, because a leg that was in sync when the table was loaded has failed.
func (b *bench) testSwitchAbort() {
	for failing := range 2 {
		b.Logf("failing leg %d", failing)
		f := b.slotMirror(3)
		f.begin(slotPlan{legs: []int{0, 1}, inSync: all(2, 0), bits: bitsOf()})
		f.load(slotPlan{legs: []int{0, 1, 2}, inSync: all(2, 1)})
		f.breaks(failing)
		f.paint('V', 7)
		f.window(func() { b.same("health in the window", over("AA", 'D', uint64(failing)), f.health()) })
		b.must(b.k.Clear(b.ctx, f.name))
		b.must(b.k.Resume(b.ctx, f.name, dm.Private))
		f.paint('W', 8)
		b.eventually("failure", func() error { return f.shows(failing) })
		b.same("leg that was to be added", full('C', regionCount), f.content(2))
		b.same("leg that has failed", full(byte('A'+failing), regionCount), f.content(failing))
		left := over(over(full(byte('B'-failing), regionCount), 'V', 7), 'W', 8)
		b.same("leg that is left", left, f.content(1-failing))

		f.heals(failing)
		w := f.load(slotPlan{legs: []int{0, 1, 2}, inSync: []bool{failing != 0, failing != 1, false}})
		f.window(func() { b.same("health", over("AA", 'D', uint64(failing)), f.health()) })
		w.swap()
		f.finishes("AAA")
		f.contents(left, left, left)
	}
}

// testSwitchRevived aborts a swap after a failed leg has become usable again. The resume takes the leg back by itself, and
// the kernel copies to it what it has missed.
func (b *bench) testSwitchRevived() {
	for failing := range 2 {
		b.Logf("failing leg %d", failing)
		f := b.slotMirror(2)
		order := []int{0, 1}
		f.begin(slotPlan{legs: order, inSync: all(2, 0), bits: bitsOf()})
		f.breaks(failing)
		f.paint('V', 7, 20)
		b.eventually("failure", func() error { return f.shows(failing) })
		f.load(slotPlan{legs: order, inSync: []bool{failing != 0, failing != 1}})
		f.heals(failing)
		f.window(func() { b.same("health in the window", over("AA", 'D', uint64(failing)), f.health()) })
		b.must(b.k.Clear(b.ctx, f.name))
		b.must(b.k.Resume(b.ctx, f.name, dm.Private))
		f.finishes("AA")
		b.same("leg that stayed", over(full(byte('B'-failing), regionCount), 'V', 7, 20), f.content(1-failing))
		b.same("leg that returned", over(full(byte('A'+failing), regionCount), 'V', 7, 20), f.content(failing))
	}
}

// testSwitchFailedTarget shows why the recovery offset of a failed leg must not be used: the leg has missed writes before
// that offset. It also shows that the count up to which bits are cleared moves on only after all legs were filled.
func (b *bench) testSwitchFailedTarget() {
	f := b.slotMirror(2)
	order := []int{0, 1}
	f.begin(slotPlan{legs: order, inSync: all(1, 1), slow: true})
	f.copies(dm.ActionRecover, 0)
	f.paint('A', 1)
	b.must(b.k.Suspend(b.ctx, f.name, false)) // writes the offset down
	if cleared := f.slots()[0].Bitmap.EventsCleared; cleared > f.events {
		b.Errorf("bits are cleared up to %d events while a leg is filled, want at most the %d of its begin", cleared, f.events)
	}
	b.must(b.k.Resume(b.ctx, f.name, dm.Private))
	f.breaks(1)
	f.paint('V', 0)
	b.eventually("failure", func() error { return f.shows(1) })
	f.heals(1)
	w := f.load(slotPlan{legs: order, inSync: all(1, 1)})
	f.window(func() {
		b.same("health in the window", "AD", f.health())
		slots := f.slots()
		if at := slots[1].Super.RecoveryOffset; at < uint64(regionSects) {
			b.Errorf("recovery offset of the leg that has failed = %d, want one beyond what it has missed", at)
		}
		b.same("what the other says of it", true, slots[0].Super.CallsFailed(slots[1].Super))
		b.same("bit of what it has missed", true, f.carry(w, 0).Get(0))
	})
	w.swap()
	f.finishes("AA")
	f.contents(over(full('A', regionCount), 'V', 0), over(full('A', regionCount), 'V', 0))
	f.paint('A', 1)
	b.must(b.k.Suspend(b.ctx, f.name, false))
	if cleared := f.slots()[0].Bitmap.EventsCleared; cleared <= f.events {
		b.Errorf("bits are cleared up to %d events once a leg is filled, want more than the %d of its begin", cleared, f.events)
	}
	b.must(b.k.Resume(b.ctx, f.name, dm.Private))
}

// testSwitchCleared clears the inactive table: the live table, its slots and all data stay as they are.
func (b *bench) testSwitchCleared() {
	f := b.slotMirror(3)
	f.begin(slotPlan{legs: []int{0, 1}, inSync: all(2, 0), bits: bitsOf()})
	f.paint('U', 5)
	f.finishes("AA")
	raw := f.slotsAtRest()
	w := f.load(slotPlan{legs: []int{2, 0, 1}, inSync: []bool{false, true, true}, bits: bitsOf(1, 2)})
	waits, err := b.k.Waiting(b.ctx, f.name)
	b.must(err)
	b.same("table that waits", w.table, waits)
	b.must(b.k.Clear(b.ctx, f.name))
	b.rest()
	if raw != string(f.raw(0, f.legs[0].used))+string(f.raw(1, f.legs[1].used)) {
		b.Error("the slots of the live table have changed")
	}
	for i, leg := range []int{2, 0, 1} {
		after := f.slot(leg, 1-f.legs[leg].used)
		b.same("superblock of the slot that waited", w.slots[i].Super, after.Super)
		switch b.lab.Release() {
		case Linux6_1:
			b.same("bits of it", 0, int(after.Bitmap.Bits.Count()))
		case Linux6_12:
			b.same("bits of it", bitsOf(1, 2), after.Bitmap.Bits)
		}
	}
	f.contents(over(full('A', regionCount), 'U', 5), over(full('B', regionCount), 'U', 5), full('C', regionCount))
	f.paint('W', 6)
	b.same("bits of a written region", true, f.slots()[0].Bitmap.Bits.Get(6) && f.slots()[1].Bitmap.Bits.Get(6))
	f.finishes("AA")
}

// slotsAtRest is the bytes of the live table's slots, once the kernel has nothing more to write to them.
func (f *slotMirror) slotsAtRest() string {
	f.Helper()
	f.must(f.k.Suspend(f.ctx, f.name, false))
	f.must(f.k.Resume(f.ctx, f.name, dm.Private))
	var raw string
	f.eventually("slots that rest", func() error {
		f.rest()
		before := raw
		raw = string(f.raw(0, f.legs[0].used)) + string(f.raw(1, f.legs[1].used))
		if raw != before {
			return errors.New("still written to")
		}
		return nil
	})
	return raw
}

// testSwitchDegraded fills a leg while another is missing. The missing leg gets the same when it is back.
func (b *bench) testSwitchDegraded() {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		b.Logf("legs %v", order)
		f := b.slotMirror(3)
		place := map[int]int{}
		for i, leg := range order {
			place[leg] = i
		}
		f.begin(slotPlan{legs: order, inSync: all(3, 0), bits: bitsOf()})
		f.legs[0].missing = true
		f.load(slotPlan{legs: order, inSync: except(order, 0), bits: bitsOf()}).swap()
		f.paint('U', 3)
		f.breaks(1)
		f.paint('V', 10)
		b.eventually("failure", func() error { return f.shows(place[1]) })
		f.heals(1)
		w := f.load(slotPlan{legs: order, inSync: except(order, 0, 1)})
		f.window(func() { b.same("bits of what was missed", bitsOf(3, 10), f.carry(w, 0)) })
		w.swap()
		f.finishes(over("AAA", '-', uint64(place[0])))
		missed := func(letter byte) string { return over(over(full(letter, regionCount), 'U', 3), 'V', 10) }
		f.contents(full('A', regionCount), missed('B'), missed('C'))

		f.legs[0].missing = false
		w = f.load(slotPlan{legs: order, inSync: except(order, 0)})
		f.window(func() { b.same("bits kept for the missing leg", bitsOf(3, 10), f.carry(w, 0)) })
		w.swap()
		f.finishes("AAA")
		f.contents(missed('A'), missed('B'), missed('C'))
	}
}

// except says of each leg whether it is none of those.
func except(legs []int, those ...int) []bool {
	flags := make([]bool, len(legs))
	for i, leg := range legs {
		flags[i] = true
		for _, that := range those {
			flags[i] = flags[i] && leg != that
		}
	}
	return flags
}
