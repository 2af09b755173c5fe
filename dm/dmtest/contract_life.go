package dmtest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
)

// paint writes a letter into regions through the array.
func (m *legs) paint(letter byte, regions ...uint64) {
	m.Helper()
	file := m.lab.Open(m, m.name)
	for _, i := range regions {
		m.fill(file, letter, int64(i)*regionBytes, regionBytes)
	}
	m.must(file.Close())
}

func (b *bench) testWritesDuringRecovery() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, nil)
	b.swap(m.name, m.slow())
	m.copies(dm.ActionRecover)
	written := []uint64{0, 3, 20, 63}
	m.paint('W', written...)
	b.same("leg 1 in written regions", "WWWW", pick(m.content(1), written...))
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 0", painted('A', 'W', written...), m.content(0))
	b.same("leg 1", painted('A', 'W', written...), m.content(1))
}

// pick is the letters of some regions.
func pick(content string, regions ...uint64) string {
	var b strings.Builder
	for _, i := range regions {
		b.WriteByte(content[i])
	}
	return b.String()
}

func (b *bench) testReload() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, nil)
	b.swap(m.name, m.slow())
	m.copies(dm.ActionRecover)
	b.swap(m.name, m.slow())
	m.copies(dm.ActionRecover)
	b.must(b.k.Suspend(b.ctx, m.name, false)) // writes down how far it has come
	b.fill(m.data[1], 'Z', 0, regionBytes)
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1: what was copied is not copied again", painted('A', 'Z', 0), m.content(1))
}

func (b *bench) testSuspendInTheMiddle() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, nil)
	b.swap(m.name, m.slow())
	m.copies(dm.ActionRecover)
	b.must(b.k.Suspend(b.ctx, m.name, false))
	slots := m.slots()
	if at := slots[1].Super.RecoveryOffset; at == 0 || at >= uint64(arraySects) {
		b.Errorf("recovery offset of a suspended array = %d, want one in the middle", at)
	}
	b.same("failed legs", []uint64{0, 0}, []uint64{slots[0].Super.FailedDevices, slots[1].Super.FailedDevices})
	if line := b.line(m.name); !strings.Contains(line, " frozen ") {
		b.Errorf("status of a suspended array = %q, want it frozen", line)
	}
	b.must(b.k.Resume(b.ctx, m.name, dm.Private))
	m.copies(dm.ActionRecover)
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1", painted('A', 0), m.content(1))
}

func (b *bench) testCancel() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, nil)
	b.swap(m.name, m.slow())
	m.copies(dm.ActionRecover)
	m.paint('W', 7)
	b.swap(m.name, linearOn(m.table[0].Data, 0, arraySects))
	after := m.content(1)
	m.paint('X', 9)
	b.rest()
	want := []byte(painted('A', 'W', 7))
	want[9] = 'X'
	b.same("leg 0", string(want), m.content(0))
	b.same("leg 1", after, m.content(1))
}

func (b *bench) testResync() {
	m := b.mirror(2)
	m.prepare([]bool{true, true}, bitsOf(), func(s []raidmeta.Slot) {
		s[1].Bitmap.Bits.Set(9)
		s[0].Bitmap.Bits.Set(4)
		resync, err := raidmeta.Resync(s, regionSects)
		b.must(err)
		copy(s, resync)
	})
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 0", painted('A', 0), m.content(0))
	b.same("leg 1", painted('B', 'A', 4, 9), m.content(1))

	b.must(b.k.Remove(b.ctx, m.name))
	m.name = b.create()
	b.fill(m.data[1], 'B', 0, int64(arraySects.Bytes()))
	slots := m.slots()
	for i := range slots {
		slots[i].Bitmap.Bits = raidmeta.NewBits(regionCount, true)
	}
	slots, err := raidmeta.Resync(slots, regionSects)
	b.must(err)
	m.write(slots)
	b.swap(m.name, m.slow())
	m.copies(dm.ActionResync)
	if line := b.line(m.name); !strings.HasPrefix(line, "raid1 2 aa ") {
		b.Errorf("status during a resync = %q, want aa", line)
	}
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1 after an interrupted resync", painted('A', 0), m.content(1))
}

func (b *bench) testNoResync() {
	m := b.mirror(2)
	m.prepare([]bool{true, true}, bitsOf(), func(s []raidmeta.Slot) {
		s[0].Bitmap.Bits.Set(4)
		s[1].Bitmap.Bits.Set(4)
		if raidmeta.Check(s) == nil {
			b.Error("passes raidmeta.Check")
		}
	})
	b.swap(m.name, m.raid())
	b.rest()
	b.same("status", rested("AA"), b.line(m.name))
	b.same("leg 1", painted('B', 0), m.content(1))
	b.must(b.k.Suspend(b.ctx, m.name, false))
	b.same("bits on the drive", uint64(0), m.slots()[0].Bitmap.Bits.Count())
}

func (b *bench) testMissing() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, bitsOf())
	b.swap(m.name, m.without(1))
	b.shows(m.name, rested("A-"))
	m.paint('W', 3, 10)
	b.must(b.k.Suspend(b.ctx, m.name, false))
	b.same("bits of written regions", bitsOf(3, 10), m.slots()[0].Bitmap.Bits)
	b.must(b.k.Resume(b.ctx, m.name, dm.Private))
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1 when it is back", painted('B', 'W', 3, 10), m.content(1))
}

func (b *bench) testReturned() {
	for gone := range 2 {
		b.Logf("leg %d goes and returns", gone)
		m := b.mirror(2)
		m.prepare([]bool{true, true}, bitsOf())
		b.swap(m.name, m.without(gone))
		m.paint('W', 3, 20)
		b.must(b.k.Remove(b.ctx, m.name))
		m.name = b.create()
		b.fill(m.data[gone], 'Z', 0, int64(arraySects.Bytes()))
		slots, err := raidmeta.Returned(m.slots(), regionSects, []int{gone})
		b.must(err)
		m.write(slots)
		b.swap(m.name, m.raid())
		m.finishes()
		b.same("leg that was there", painted(byte('B'-gone), 'W', 3, 20), m.content(1-gone))
		b.same("leg when it is back", painted('Z', 'W', 3, 20), m.content(gone))
	}
}

// testDegradedAttach fills a leg while another is missing. The bits stay set, because the missing leg needs the same regions.
func (b *bench) testDegradedAttach() {
	m := b.mirror(3)
	m.prepare([]bool{true, false, false}, bitsOf(0, 5, 63))
	b.swap(m.name, m.without(1))
	b.eventually("leg 2", func() error {
		if s := m.slots()[2].Super; s.RecoveryOffset != raidmeta.InSync {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	b.shows(m.name, rested("A-A"))
	b.same("leg 2", painted('C', 'A', 0, 5, 63), m.content(2))
	b.same("leg 1 while it is missing", painted('B', 0), m.content(1))
	b.must(b.k.Suspend(b.ctx, m.name, false))
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1 when it is back", painted('B', 'A', 0, 5, 63), m.content(1))
}

func (b *bench) testFailing() {
	for failing := range 2 {
		b.Logf("failing leg %d", failing)
		m := b.mirror(2)
		m.prepare([]bool{true, false}, nil)
		b.swap(m.name, m.raid())
		m.finishes()
		b.rest() // a moment after status and superblocks md takes the new leg for one that may stay alone
		before := b.info(m.name).Event
		b.swap(m.dataName[failing], dm.Table{{Length: arraySects, Target: dm.Other{Name: "error"}}})
		m.paint('W', 7)
		health := []byte("AA")
		health[failing] = 'D'
		b.shows(m.name, rested(string(health)))
		b.happens(m.name, before)
		b.same("content that users see", painted('A', 'W', 7), b.letters(b.lab.Open(b, m.name), regionCount, regionBytes))
		b.eventually("superblock of the other leg", func() error {
			if s := m.slots()[1-failing].Super; s.FailedDevices != 1<<failing {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		b.swap(m.dataName[failing], linearOn(m.data[failing].Dev(), 0, arraySects))
		b.fill(m.data[failing], 'Z', 0, regionBytes)
		b.swap(m.name, m.raid())
		m.finishes()
		want := bytes.Replace([]byte(painted('A', 'W', 7)), []byte("A"), []byte("Z"), 1)
		b.same("leg when it is back", string(want), m.content(failing))
	}
}

// asks sends a message until it has an effect. The kernel refuses it while the array is busy, and loses it if it arrives when
// the previous action ends.
func (m *legs) asks(text string, done func() bool) {
	m.Helper()
	m.eventually(text, func() error {
		if done() {
			return nil
		}
		if _, err := m.k.Message(m.ctx, m.name, 0, text); err != nil && !errors.Is(err, unix.EBUSY) {
			m.Fatalf("%s: %v", text, err)
		}
		m.rest()
		return errors.New(m.line(m.name))
	})
}

func (b *bench) testCheck() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, bitsOf(0, 5, 63))
	b.swap(m.name, m.raid())
	m.finishes()
	_, err := b.k.Message(b.ctx, m.name, 0, "no-such-message")
	b.wants("unknown message", err, unix.EINVAL)
	differing := fmt.Sprintf("raid1 2 AA %d/%d idle %d 0 -", arraySects, arraySects, (regionCount-3)*regionSects)
	m.asks("check", func() bool { return b.line(m.name) == differing })
	b.same("leg 1 after a check", painted('B', 'A', 0, 5, 63), m.content(1))
	m.asks("repair", func() bool { return m.content(1) == painted('A', 0) })
	m.asks("check", func() bool { return b.line(m.name) == rested("AA") })
}

// testBitsReread shows that the exact bitmap may be written after the table is loaded, while the device is suspended.
func (b *bench) testBitsReread() {
	m := b.mirror(2)
	b.swap(m.name, linearOn(m.table[0].Data, 0, arraySects))
	m.prepare([]bool{true, false}, nil)
	b.must(b.k.Load(b.ctx, m.name, m.raid()))
	b.must(b.k.Suspend(b.ctx, m.name, false))
	m.prepare([]bool{true, false}, bitsOf(1, 2))
	b.must(b.k.Resume(b.ctx, m.name, dm.Private))
	m.finishes()
	b.same("leg 1", painted('B', 'A', 1, 2), m.content(1))
}

// testCleared shows why metadata is written anew before every load. When a table that was never resumed is destroyed, Linux
// 6.1 wipes the bits on the legs, and the next table would copy nothing.
func (b *bench) testCleared() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, bitsOf(1, 2))
	b.must(b.k.Load(b.ctx, m.name, m.raid()))
	before := m.slots()
	b.must(b.k.Clear(b.ctx, m.name))
	after := m.slots()
	for i := range after {
		b.same(fmt.Sprintf("superblock of leg %d", i), before[i].Super, after[i].Super)
	}
	switch b.lab.Release() {
	case Linux6_1:
		b.same("bits left", uint64(0), after[0].Bitmap.Bits.Count())
	case Linux6_12:
		b.same("bits left", uint64(2), after[0].Bitmap.Bits.Count())
	}
	m.prepare([]bool{true, false}, bitsOf(1, 2))
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1", painted('B', 'A', 1, 2), m.content(1))
}

// testDying shows why metadata is written to a slot that no table uses. An array writes its bitmap once more after another
// table has replaced it.
func (b *bench) testDying() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, nil)
	b.swap(m.name, m.raid())
	m.finishes()
	b.must(b.k.Load(b.ctx, m.name, linearOn(m.table[0].Data, 0, arraySects)))
	b.must(b.k.Suspend(b.ctx, m.name, false))
	m.prepare([]bool{true, false}, bitsOf(1, 2))
	before := m.slots()
	b.must(b.k.Resume(b.ctx, m.name, dm.Private))
	after := m.slots()
	for i := range after {
		b.same(fmt.Sprintf("superblock of leg %d", i), before[i].Super, after[i].Super)
	}
	if b.lab.Release() == Linux6_1 || b.lab.Release() == Linux6_12 {
		b.same("bits left", uint64(0), after[0].Bitmap.Bits.Count())
	}
	m.prepare([]bool{true, false}, bitsOf(1, 2))
	b.fill(m.data[1], 'B', 0, int64(arraySects.Bytes()))
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1", painted('B', 'A', 1, 2), m.content(1))
}

// testFrozen shows why plexctl never sends "frozen". Up to Linux 6.8 it pauses the recovery. From 6.9 on it interrupts the
// recovery and returns EINVAL, and the status shows the legs as in sync.
func (b *bench) testFrozen() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, nil)
	b.swap(m.name, m.slow())
	m.copies(dm.ActionRecover)
	_, err := b.k.Message(b.ctx, m.name, 0, "frozen")
	for range 100 {
		if !errors.Is(err, unix.EBUSY) {
			break // else md was just about to look for work
		}
		b.rest()
		_, err = b.k.Message(b.ctx, m.name, 0, "frozen")
	}
	switch b.lab.Release() {
	case Linux6_1:
		b.wants("frozen", err, nil)
		b.rest()
		if line := b.line(m.name); !strings.HasSuffix(line, " frozen 0 0 -") {
			b.Errorf("status = %q, want it frozen", line)
		}
		_, err = b.k.Message(b.ctx, m.name, 0, "idle")
		b.must(err)
		m.copies(dm.ActionRecover)
	case Linux6_12:
		b.wants("frozen", err, unix.EINVAL)
		b.shows(m.name, rested("AA"))
		if got := m.content(1); !strings.Contains(got, "B") {
			b.Errorf("leg 1 = %s, want it incomplete", got)
		}
	}
	b.must(b.k.Suspend(b.ctx, m.name, false))
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1 after all", painted('A', 0), m.content(1))
}
