package dmtest

import (
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
)

// testAllInSync starts three legs after an unclean stop.
func (b *bench) testAllInSync() {
	some := []uint64{0, 5, 6, 40, 63}
	first := full('A', regionCount)
	second, third := over(full('B', regionCount), 'A', some...), over(full('C', regionCount), 'A', some...)
	fromLast := []string{over(first, 'C', some...), over(full('B', regionCount), 'C', some...), full('C', regionCount)}
	tests := []struct {
		name string
		plan slotPlan
		want []string
	}{
		{"one in sync", slotPlan{inSync: all(1, 2), bits: bitsOf(some...)}, []string{first, second, third}},
		{"one in sync, the last", slotPlan{inSync: []bool{false, false, true}, bits: bitsOf(some...)}, fromLast},
		{"all in sync", slotPlan{inSync: all(3, 0), bits: bitsOf(some...), resync: true}, []string{first, second, third}},
		{"all in sync, nothing was being written", slotPlan{inSync: all(3, 0), bits: bitsOf(), resync: true}, []string{
			first, full('B', regionCount), full('C', regionCount),
		}},
	}
	for _, tt := range tests {
		b.Logf("start: %s", tt.name)
		f := b.slotMirror(3)
		tt.plan.legs = []int{0, 1, 2}
		f.begin(tt.plan)
		f.finishes("AAA")
		f.contents(tt.want...)
	}
}

// testGrow makes a live mirror larger. The kernel copies only the new part, from the first leg in the table. Users see the
// new size at the swap.
func (b *bench) testGrow() {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		b.Logf("legs %v", order)
		f := b.slotMirror(2)
		f.begin(slotPlan{legs: order, inSync: all(2, 0), bits: bitsOf()})
		file := b.lab.Open(b, f.name)
		f.paint('U', 1)
		f.grow()
		w := f.load(slotPlan{legs: order, inSync: all(2, 0), bits: newPart(), resync: true, slow: true})
		f.paint('V', 2)
		if _, err := file.ReadAt(make([]byte, 4096), regionCount*regionBytes); err == nil {
			b.Error("read beyond the end before the swap")
		}
		f.window(func() { b.same("health in the window", "AA", f.health()) })
		w.swap()
		f.copies(dm.ActionResync, arraySects)
		b.same("new part that users see", full(byte('A'+order[0]), grownCount)[regionCount:], b.letters(file, grownCount, regionBytes)[regionCount:])
		b.must(file.Close())
		f.paint('W', 3, 70, 120)
		f.hurry(order)
		f.paint('X', 4, 71, 121)
		f.finishes("AA")
		f.contents(grown(0, order[0]), grown(1, order[0]))
	}
}

// newPart is the regions that an array gets by growing.
func newPart() raidmeta.Bits {
	bits := raidmeta.NewBits(grownCount, true)
	bits.ClearBelow(uint64(arraySects), regionSects)
	return bits
}

// grow makes the private devices under the array larger, and the next table.
func (f *slotMirror) grow() {
	f.Helper()
	f.sects = grownCount * regionSects
	for _, l := range f.legs {
		f.swap(l.dataName, linearOn(l.data.Dev(), 0, f.sects))
	}
}

// hurry replaces the live table in the middle of a resync with one that is not held up.
func (f *slotMirror) hurry(order []int) {
	f.Helper()
	w := f.load(slotPlan{legs: order, inSync: all(2, 0), resync: true})
	f.window(func() {
		f.same("health in the window", "AA", f.health())
		at := f.slots()[0].Super.ResyncOffset
		f.Logf("resync offset in the window: region %d", at/uint64(regionSects))
		if at <= uint64(arraySects) || at >= uint64(f.sects) {
			f.Errorf("resync offset %d, want one in the new part", at)
		}
		left := newPart()
		left.ClearBelow(at, regionSects)
		f.same("bits of what is left", left, f.carry(w, at))
	})
	w.swap()
}

// grown is what testGrow makes of a leg.
func grown(leg, first int) string {
	content := full(byte('A'+leg), regionCount) + full(byte('A'+first), regionCount)
	return over(over(over(over(content, 'U', 1), 'V', 2), 'W', 3, 70, 120), 'X', 4, 71, 121)
}

// testGrowLinear makes a device with one leg larger under its opener.
func (b *bench) testGrowLinear() {
	f := b.slotMirror(1)
	b.swap(f.name, linearOn(f.legs[0].data.Dev(), 0, arraySects))
	file := b.lab.Open(b, f.name)
	if _, err := file.ReadAt(make([]byte, 4096), regionCount*regionBytes); err == nil {
		b.Error("read beyond the end")
	}
	f.sects = grownCount * regionSects
	b.swap(f.name, linearOn(f.legs[0].data.Dev(), 0, f.sects))
	f.paint('W', 3, 100)
	b.fill(file, 'X', 101*regionBytes, regionBytes)
	want := over(over(full('A', grownCount), 'W', 3, 100), 'X', 101)
	b.same("content that users see", want, b.letters(file, grownCount, regionBytes))
	b.same("leg", want, f.content(0))
}
