package dmtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// grownCount is the regions of an array of the tests that has grown.
const grownCount = 2 * regionCount

// slotMirror is a mirror whose legs have two slots of metadata each. A new table uses the slots that the live one does not
// use. So they can be written while the live table runs, and again in the window between its suspend and the swap:
//
//	load    write the other slots, and load the table into the inactive slot of the device
//	window  suspend: the live table has written all its metadata; read its slots, write the bits of the others
//	swap    resume: the kernel reads the bits; the old table is destroyed and may write to its own slots
type slotMirror struct {
	*bench
	name   string
	legs   []*slotLeg
	live   []int // legs of the live raid1 table, in table order
	sects  size.Sectors
	events uint64
}

// slotLeg is a leg, which may or may not be in the live table. Leg 0 is full of A, leg 1 of B, and so on.
type slotLeg struct {
	data     Disk
	dataName string
	dev      devno.No
	meta     Disk // slot 0, then slot 1
	slots    [2]devno.No
	runs     [2]raidmeta.Run // what was written to the padding of the bitmaps' superblocks
	used     int             // the slot that the live table uses
	missing  bool            // "- -" in the tables
}

// slotPlan is a table to load. Its zero value has all bits set and no limit to the rate.
type slotPlan struct {
	legs   []int
	inSync []bool
	bits   raidmeta.Bits
	resync bool // the bits, from the first leg
	slow   bool // next to no rate
}

// waiting is the inactive table, and the metadata in its slots.
type waiting struct {
	f     *slotMirror
	plan  slotPlan
	slots []raidmeta.Slot
	table dm.Table
}

// slotMirror makes n legs and a device without a table.
func (b *bench) slotMirror(n int) *slotMirror {
	b.Helper()
	f := &slotMirror{bench: b, sects: arraySects}
	for i := range n {
		f.legs = append(f.legs, b.slotLeg(byte('A'+i)))
	}
	f.name = b.create()
	return f
}

func (b *bench) slotLeg(letter byte) *slotLeg {
	b.Helper()
	l := &slotLeg{data: b.lab.Disk(b, grownCount*regionSects.Bytes()), meta: b.lab.Disk(b, 2*metaSects.Bytes()), used: 1}
	b.fill(l.data, letter, 0, grownCount*regionBytes)
	l.dataName = b.device(linearOn(l.data.Dev(), 0, arraySects))
	l.dev = b.info(l.dataName).Dev
	for i := range l.slots {
		name := b.device(linearOn(l.meta.Dev(), size.Sectors(i)*metaSects, metaSects))
		l.slots[i] = b.info(name).Dev
	}
	return l
}

// begin runs a first table.
func (f *slotMirror) begin(p slotPlan) {
	f.Helper()
	f.load(p).swap()
}

// load writes metadata to the slots not in use and loads a table with them.
func (f *slotMirror) load(p slotPlan) *waiting {
	f.Helper()
	f.events += 10
	slots, err := p.build(f.sects, f.events)
	f.must(err)
	raid := dm.Raid1{RegionSize: regionSects}
	if p.slow {
		raid.MinRate, raid.MaxRate = 1, 1
	}
	for i, n := range p.legs {
		l := f.legs[n]
		if l.missing {
			raid.Legs = append(raid.Legs, dm.Leg{})
			continue
		}
		slots[i].Bitmap.Run = raidmeta.Run{Number: uint32(f.events), LUN: 7, Nonce: 1<<63 + f.events}
		l.runs[1-l.used] = slots[i].Bitmap.Run
		_, err := l.meta.WriteAt(slots[i].Encode(), l.at(1-l.used))
		f.must(err)
		raid.Legs = append(raid.Legs, dm.Leg{Meta: l.slots[1-l.used], Data: l.dev})
	}
	w := &waiting{f: f, plan: p, slots: slots, table: dm.Table{{Length: f.sects, Target: raid}}}
	f.must(f.k.Load(f.ctx, f.name, w.table))
	return w
}

// build is the metadata of the plan.
func (p slotPlan) build(length size.Sectors, events uint64) ([]raidmeta.Slot, error) {
	plan := raidmeta.AttachPlan{ArraySize: length, RegionSize: regionSects, InSync: p.inSync, Bits: p.bits, Events: events}
	if !p.resync {
		return raidmeta.Attach(plan)
	}
	slots, err := raidmeta.Grow(plan, 0)
	for i := range slots {
		if p.bits != nil {
			slots[i].Bitmap.Bits = slices.Clone(p.bits)
		}
	}
	return slots, errors.Join(err, raidmeta.Check(slots))
}

// at is where a slot begins on the leg's drive.
func (l *slotLeg) at(slot int) int64 { return int64(slot) * int64(metaSects.Bytes()) }

// window suspends the live table and calls do.
func (f *slotMirror) window(do func()) {
	f.Helper()
	f.must(f.k.Suspend(f.ctx, f.name, false))
	do()
}

// write changes the bits of the inactive table, on all of its legs that are in sync, and nothing else.
func (w *waiting) write(bits raidmeta.Bits) {
	w.f.Helper()
	for i, n := range w.plan.legs {
		l := w.f.legs[n]
		if !w.plan.inSync[i] || l.missing {
			continue
		}
		w.slots[i].Bitmap.Bits = bits
		_, err := l.meta.WriteAt(w.slots[i].Bitmap.Encode(), l.at(1-l.used)+bitmapStart)
		w.f.must(err)
	}
}

// swap makes the inactive table the live one.
func (w *waiting) swap() {
	f := w.f
	f.Helper()
	f.must(f.k.Resume(f.ctx, f.name, dm.Private))
	f.live = w.plan.legs
	for _, n := range f.live {
		l := f.legs[n]
		l.used = 1 - l.used
	}
}

// single replaces the live table, by way of a window, with a linear one on the drive of a leg.
func (f *slotMirror) single(leg int, do func()) {
	f.Helper()
	f.must(f.k.Load(f.ctx, f.name, linearOn(f.legs[leg].data.Dev(), 0, f.sects)))
	f.window(do)
	f.must(f.k.Resume(f.ctx, f.name, dm.Private))
	f.live = nil
}

// slots is the metadata of the live table, or of the last one; of a missing leg the zero Slot. The kernel keeps what it takes for
// the padding of the bitmap's superblock.
func (f *slotMirror) slots() []raidmeta.Slot {
	f.Helper()
	slots := make([]raidmeta.Slot, len(f.live))
	for i, n := range f.live {
		if l := f.legs[n]; !l.missing {
			slots[i] = f.slot(n, l.used)
			f.same(fmt.Sprintf("padding in the metadata of leg %d", n), l.runs[l.used], slots[i].Bitmap.Run)
		}
	}
	return slots
}

// slot is the metadata in a slot of a leg.
func (f *slotMirror) slot(leg, slot int) raidmeta.Slot {
	f.Helper()
	s, err := raidmeta.DecodeSlot(f.raw(leg, slot))
	f.must(err)
	return s
}

func (f *slotMirror) raw(leg, slot int) []byte {
	f.Helper()
	b := make([]byte, metaSects.Bytes())
	_, err := f.legs[leg].meta.ReadAt(b, f.legs[leg].at(slot))
	f.must(err)
	return b
}

// content is one letter for each region of a leg.
func (f *slotMirror) content(leg int) string {
	f.Helper()
	return f.letters(f.legs[leg].data, int(f.sects/regionSects), regionBytes)
}

// contents checks the content of legs, from leg 0 on.
func (f *slotMirror) contents(want ...string) {
	f.Helper()
	for i, w := range want {
		f.same(fmt.Sprintf("leg %d", i), w, f.content(i))
	}
}

// paint writes a letter into regions through the array.
func (f *slotMirror) paint(letter byte, regions ...uint64) {
	f.Helper()
	file := f.lab.Open(f, f.name)
	for _, i := range regions {
		f.fill(file, letter, int64(i)*regionBytes, regionBytes)
	}
	f.must(file.Close())
}

// health is the letters of the status line in a window: D for a failed leg, - for a missing one, A for all others.
// While suspended, the kernel may show the leg that it would look at next as "a", even if it is in sync. While a recovery
// stands still it may show all legs so.
func (f *slotMirror) health() string {
	f.Helper()
	line := f.line(f.name)
	f.Logf("status in the window: %s", line)
	s, err := dm.ParseRaidStatus(line)
	f.must(err)
	text := make([]byte, len(s.Health))
	for i, letter := range s.Health {
		if letter == dm.LegSyncing {
			letter = dm.LegInSync
		}
		text[i] = byte(letter)
	}
	return string(text)
}

// finishes waits until the live array is at rest with these letters. Then every leg in use records that it is in sync, and
// that the other legs have failed.
func (f *slotMirror) finishes(health string) {
	f.Helper()
	rest := fmt.Sprintf("raid1 %d %s %d/%d idle 0 0 -", len(health), health, f.sects, f.sects)
	f.eventually("superblocks", func() error {
		if line := f.line(f.name); line != rest {
			return errors.New(line)
		}
		for i, s := range f.slots() {
			done := s.Super.RecoveryOffset == raidmeta.InSync && s.Super.ResyncOffset == raidmeta.InSync
			if health[i] == 'A' && (!done || s.Super.FailedDevices != gone(health)) {
				return fmt.Errorf("leg %d: %+v", i, s.Super)
			}
		}
		return nil
	})
}

// gone has the bit of every leg that is not in use.
func gone(health string) uint64 {
	var mask uint64
	for i, letter := range health {
		if letter != 'A' {
			mask |= 1 << i
		}
	}
	return mask
}

// copies waits until the array has copied something beyond sector from and is not done.
func (f *slotMirror) copies(action dm.Action, from size.Sectors) {
	f.Helper()
	f.eventually("progress", func() error {
		line := f.line(f.name)
		s, err := dm.ParseRaidStatus(line)
		f.must(err)
		if s.Action != action || s.Done <= from || s.Done == s.Total {
			return errors.New(line)
		}
		return nil
	})
}

// all is n times true, then n times false.
func all(inSync, filled int) []bool {
	return append(slices.Repeat([]bool{true}, inSync), slices.Repeat([]bool{false}, filled)...)
}

// over is content with a letter in some regions.
func over(content string, letter byte, regions ...uint64) string {
	text := []byte(content)
	for _, i := range regions {
		text[i] = letter
	}
	return string(text)
}

// full is the content of a leg of count regions that is full of a letter.
func full(letter byte, count int) string { return strings.Repeat(string(letter), count) }
