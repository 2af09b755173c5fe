package dmtest

import (
	"github.com/plexctl/plexctl/dm/raidmeta"
)

// cleaned is longer than the kernel takes to clear the bits of regions that all legs have: two passes of its cleaner, in rests.
const cleaned = 4

// testVacant shows what a vacant leg is for: every region that was ever written keeps its bit, whichever legs are added or
// removed.
func (b *bench) testVacant() {
	f := b.slotMirror(3)
	f.legs[2].missing = true
	f.begin(slotPlan{legs: []int{0, 2}, inSync: all(1, 1), bits: bitsOf()})
	f.paint('U', 3, 40)
	b.same("health of one leg", "A-", f.health())

	w := f.load(slotPlan{legs: []int{0, 1, 2}, inSync: all(1, 2)})
	f.window(func() { b.same("bits of what was written", bitsOf(3, 40), f.carry(w, 0)) })
	w.swap()
	f.paint('V', 5)
	f.finishes("AA-")
	for range cleaned {
		b.rest()
	}
	f.keeps("with two legs", 3, 5, 40)
	f.contents(over(over(full('A', regionCount), 'U', 3, 40), 'V', 5), over(over(full('B', regionCount), 'U', 3, 40), 'V', 5))

	w = f.load(slotPlan{legs: []int{1, 2}, inSync: all(1, 1)})
	f.window(func() { b.same("bits of the leg that stays", bitsOf(3, 5, 40), f.carry(w, 0)) })
	w.swap()
	f.paint('W', 9)
	f.finishes("A-")
	f.keeps("with the other leg alone", 3, 5, 9, 40)
	b.same("leg that was let go", over(over(full('A', regionCount), 'U', 3, 40), 'V', 5), f.content(0))

	w = f.load(slotPlan{legs: []int{1, 0, 2}, inSync: all(2, 1)})
	f.window(func() { f.carry(w, 0) })
	w.swap()
	f.finishes("AA-")
	f.keeps("with a leg that is taken for equal", 3, 5, 9, 40)
	b.same("leg that was taken for equal", over(over(full('A', regionCount), 'U', 3, 40), 'V', 5), f.content(0))
}

// keeps checks the bits of every leg that is not missing.
func (f *slotMirror) keeps(what string, regions ...uint64) {
	f.Helper()
	for i, s := range f.slots() {
		if s.Super != (raidmeta.Super{}) {
			f.same(what+": bits of leg "+string(rune('0'+i)), bitsOf(regions...), s.Bitmap.Bits)
		}
	}
}
