package dmtest

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
)

// testSwitchAttach adds legs to a live mirror: the new ones get everything, the old ones are not copied to.
func (b *bench) testSwitchAttach() {
	tests := []struct {
		name string
		live []int
		next []int // in table order
	}{
		{"2 to 3", []int{0, 1}, []int{0, 1, 2}},
		{"3 to 8", []int{0, 1, 2}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"2 to 3, the new leg first", []int{0, 1}, []int{2, 0, 1}},
	}
	for _, tt := range tests {
		b.Logf("attach: %s", tt.name)
		f := b.slotMirror(len(tt.next))
		f.begin(slotPlan{legs: tt.live, inSync: all(len(tt.live), 0), bits: bitsOf()})
		f.paint('U', 1, 2)
		w := f.load(slotPlan{legs: tt.next, inSync: within(tt.next, len(tt.live))})
		f.paint('V', 3, 63)
		file, written := b.lab.Open(b, f.name), func() {}
		f.window(func() {
			b.same("health in the window", full('A', len(tt.live)), f.health())
			written = b.blockedWrite(file, bytes.Repeat([]byte{'H'}, int(regionBytes)), 33*regionBytes)
		})
		w.swap()
		written()
		b.must(file.Close())
		f.paint('W', 4, 62)
		f.finishes(full('A', len(tt.next)))
		for i := range f.legs {
			want := full('A', regionCount)
			if i < len(tt.live) {
				want = full(byte('A'+i), regionCount)
			}
			want = over(over(over(over(want, 'U', 1, 2), 'V', 3, 63), 'W', 4, 62), 'H', 33)
			b.same(fmt.Sprintf("%s: leg %d", tt.name, i), want, f.content(i))
		}
	}
}

// within says of each leg whether it is one of the first n.
func within(legs []int, n int) []bool {
	flags := make([]bool, len(legs))
	for i, leg := range legs {
		flags[i] = leg < n
	}
	return flags
}

// testSwitchBits adds to the bits of the inactive table in the window, or takes from them.
func (b *bench) testSwitchBits() {
	tests := []struct {
		name          string
		loaded, final raidmeta.Bits
		want          []uint64
	}{
		{"bits are added", bitsOf(5), bitsOf(0, 5, 6, 40, 63), []uint64{0, 5, 6, 40, 63}},
		{"all bits but some go", nil, bitsOf(7, 62), []uint64{7, 62}},
		{"all bits go", nil, bitsOf(), nil},
		{"no bit before", bitsOf(), bitsOf(9), []uint64{9}},
	}
	for _, tt := range tests {
		for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}} {
			b.Logf("bits: %s, legs %v", tt.name, order)
			f := b.slotMirror(3)
			f.begin(slotPlan{legs: []int{0, 1}, inSync: all(2, 0), bits: bitsOf()})
			f.paint('U', 5, 30)
			w := f.load(slotPlan{legs: order, inSync: within(order, 2), bits: tt.loaded})
			f.window(func() { w.write(tt.final) })
			w.swap()
			f.finishes("AAA")
			first := over(full('A', regionCount), 'U', 5, 30)
			third := []byte(full('C', regionCount))
			for _, i := range tt.want {
				third[i] = first[i]
			}
			f.contents(first, over(full('B', regionCount), 'U', 5, 30), string(third))
		}
	}
}

// testSwitchRemove removes a leg from a live mirror. The kernel copies nothing, and the content of the leg stays as it was. The
// other legs record writes in their new slots.
func (b *bench) testSwitchRemove() {
	for _, left := range [][]int{{1, 2}, {0, 2}, {0, 1}} {
		b.Logf("legs left: %v", left)
		f := b.slotMirror(3)
		f.begin(slotPlan{legs: []int{0, 1, 2}, inSync: all(3, 0), bits: bitsOf()})
		f.paint('U', 1)
		w := f.load(slotPlan{legs: left, inSync: all(2, 0), bits: bitsOf()})
		f.paint('V', 2)
		f.window(func() { b.same("health in the window", "AAA", f.health()) })
		w.swap()
		f.paint('W', 3)
		b.same("bits of a written region", true, f.slots()[0].Bitmap.Bits.Get(3) && f.slots()[1].Bitmap.Bits.Get(3))
		f.finishes("AA")
		b.rest()
		for i := range f.legs {
			want := over(over(full(byte('A'+i), regionCount), 'U', 1), 'V', 2)
			if i == left[0] || i == left[1] {
				want = over(want, 'W', 3)
			}
			b.same(fmt.Sprintf("leg %d", i), want, f.content(i))
		}
		for i, s := range f.slots() {
			b.same(fmt.Sprintf("legs that leg %d knows", i), uint32(2), s.Super.NumDevices)
		}
	}
}

// testSwitchLinear replaces a live mirror by one of its legs. The old table writes to its own slots at most.
func (b *bench) testSwitchLinear() {
	for _, tt := range []struct{ legs, keep int }{{2, 0}, {2, 1}, {3, 0}, {3, 2}} {
		b.Logf("%d legs, keep %d", tt.legs, tt.keep)
		f := b.slotMirror(tt.legs)
		f.begin(slotPlan{legs: []int{0, 1, 2}[:tt.legs], inSync: all(tt.legs, 0), bits: bitsOf()})
		f.paint('U', 1)
		f.single(tt.keep, func() { b.same("health in the window", strings.Repeat("A", tt.legs), f.health()) })
		f.paint('W', 3)
		b.rest()
		for i := range f.legs {
			want := over(full(byte('A'+i), regionCount), 'U', 1)
			if i == tt.keep {
				want = over(want, 'W', 3)
			}
			b.same(fmt.Sprintf("leg %d", i), want, f.content(i))
			b.same(fmt.Sprintf("other slot of leg %d", i), true, bytes.Equal(f.raw(i, 1-f.legs[i].used), make([]byte, metaSects.Bytes())))
		}
	}
}

// testSwitchRename renames an array under an opener and its private devices under the array.
func (b *bench) testSwitchRename() {
	f := b.slotMirror(2)
	f.begin(slotPlan{legs: []int{0, 1}, inSync: all(2, 0), bits: bitsOf()})
	file := b.lab.Open(b, f.name)
	w := f.load(slotPlan{legs: []int{0, 1}, inSync: all(2, 0), bits: bitsOf()})
	table, err := b.k.Table(b.ctx, f.name)
	b.must(err)
	before := []string{f.name, f.legs[0].dataName, f.legs[1].dataName}
	after := []string{b.lab.Name(), b.lab.Name(), b.lab.Name()}
	for i := range before {
		b.must(b.k.Rename(b.ctx, before[i], after[i], dm.Private))
	}
	b.Cleanup(func() { // the devices are taken down by their first names
		for i := range before {
			b.must(b.k.Rename(context.Background(), after[i], before[i], dm.Private))
		}
	})
	f.name = after[0]
	b.fill(file, 'W', 3*regionBytes, regionBytes)
	b.must(file.Close())
	renamed, err := b.k.Table(b.ctx, f.name)
	b.must(err)
	b.same("live table", table, renamed)
	w.swap()
	f.paint('X', 4)
	f.finishes("AA")
	f.contents(over(over(full('A', regionCount), 'W', 3), 'X', 4), over(over(full('B', regionCount), 'W', 3), 'X', 4))
}
