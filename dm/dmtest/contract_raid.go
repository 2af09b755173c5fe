package dmtest

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// Every array of the contract has 64 regions of 128 KiB.
const (
	regionCount = 64
	regionSects = size.Sectors(256)
	arraySects  = regionCount * regionSects
	regionBytes = int64(regionSects) * 512
	metaSects   = sectMiB / 2
)

// legs is an array and what it stands on: for each leg a drive for data, one for metadata, and a private device on each.
// At the start, leg 0 is full of A, leg 1 of B, and so on.
type legs struct {
	*bench
	name       string
	data, meta []Disk
	dataName   []string
	table      []dm.Leg
}

// mirror makes n legs and a device without a table.
func (b *bench) mirror(n int) *legs {
	b.Helper()
	m := &legs{bench: b}
	for i := range n {
		data, meta := b.lab.Disk(b, arraySects.Bytes()), b.lab.Disk(b, metaSects.Bytes())
		b.fill(data, byte('A'+i), 0, int64(arraySects.Bytes()))
		dataName := b.device(linearOn(data.Dev(), 0, arraySects))
		metaName := b.device(linearOn(meta.Dev(), 0, metaSects))
		m.data, m.meta, m.dataName = append(m.data, data), append(m.meta, meta), append(m.dataName, dataName)
		m.table = append(m.table, dm.Leg{Meta: b.info(metaName).Dev, Data: b.info(dataName).Dev})
	}
	m.name = b.create()
	return m
}

// raid is the table of the array.
func (m *legs) raid() dm.Table { return raidOn(dm.Raid1{RegionSize: regionSects, Legs: m.table}) }

// slow is a table with which the array copies its first 2 MiB or so and then almost nothing.
func (m *legs) slow() dm.Table {
	return raidOn(dm.Raid1{RegionSize: regionSects, MinRate: 1, MaxRate: 1, Legs: m.table})
}

// without is the table of the array with some legs missing.
func (m *legs) without(missing ...int) dm.Table {
	r := dm.Raid1{RegionSize: regionSects, Legs: append([]dm.Leg(nil), m.table...)}
	for _, i := range missing {
		r.Legs[i] = dm.Leg{}
	}
	return raidOn(r)
}

func raidOn(r dm.Raid1) dm.Table { return dm.Table{{Length: arraySects, Target: r}} }

// raw is a raid1 table line with these options, words included.
func (m *legs) raw(options ...string) dm.Table {
	words := append([]string{"raid1", itoa(len(options) + 1), "0"}, options...)
	words = append(words, itoa(len(m.table)))
	for _, l := range m.table {
		words = append(words, l.Meta.String(), l.Data.String())
	}
	return dm.Table{{Length: arraySects, Target: dm.Other{Name: "raid", Args: strings.Join(words, " ")}}}
}

// bitsOf is the set of these regions.
func bitsOf(regions ...uint64) raidmeta.Bits {
	bits := raidmeta.NewBits(regionCount, false)
	for _, i := range regions {
		bits.Set(i)
	}
	return bits
}

// prepare writes metadata that raidmeta.Attach makes; no bits means all.
func (m *legs) prepare(inSync []bool, bits raidmeta.Bits, change ...func([]raidmeta.Slot)) {
	m.Helper()
	slots, err := raidmeta.Attach(raidmeta.AttachPlan{
		ArraySize: arraySects, RegionSize: regionSects, InSync: inSync, Bits: bits, Events: 6,
	})
	m.must(err)
	for _, f := range change {
		f(slots)
	}
	m.write(slots)
}

// write puts metadata on the drives.
func (m *legs) write(slots []raidmeta.Slot) {
	m.Helper()
	for i, s := range slots {
		_, err := m.meta[i].WriteAt(s.Encode(), 0)
		m.must(err)
	}
}

// slots is the metadata on the drives.
func (m *legs) slots() []raidmeta.Slot {
	m.Helper()
	slots := make([]raidmeta.Slot, len(m.meta))
	for i, meta := range m.meta {
		b := make([]byte, raidmeta.SlotSize)
		_, err := meta.ReadAt(b, 0)
		m.must(err)
		slots[i], err = raidmeta.DecodeSlot(b)
		m.must(err)
	}
	return slots
}

// content is one letter for each region of a leg.
func (m *legs) content(i int) string {
	m.Helper()
	return m.letters(m.data[i], regionCount, regionBytes)
}

// painted is the content of a leg full of letter with another letter in some regions.
func painted(letter, other byte, regions ...uint64) string {
	text := []byte(strings.Repeat(string(letter), regionCount))
	for _, i := range regions {
		text[i] = other
	}
	return string(text)
}

// rested is the status line of an array at rest.
func rested(health string) string {
	return fmt.Sprintf("raid1 %d %s %d/%d idle 0 0 -", len(health), health, arraySects, arraySects)
}

// finishes waits until the array is at rest and the superblocks say that all legs are in sync.
func (m *legs) finishes() {
	m.Helper()
	health := strings.Repeat("A", len(m.table))
	m.eventually("superblocks", func() error {
		if line := m.line(m.name); line != rested(health) {
			return errors.New(line)
		}
		for i, s := range m.slots() {
			if s.Super.RecoveryOffset != raidmeta.InSync || s.Super.FailedDevices != 0 || s.Super.ResyncOffset != raidmeta.InSync {
				return fmt.Errorf("leg %d: %+v", i, s.Super)
			}
		}
		return nil
	})
}

// copies waits until the array has copied something and is not done.
func (m *legs) copies(action dm.Action) {
	m.Helper()
	m.eventually("progress", func() error {
		line := m.line(m.name)
		s, err := dm.ParseRaidStatus(line)
		m.must(err)
		if s.Action != action || s.Done == 0 || s.Done == s.Total {
			return errors.New(line)
		}
		return nil
	})
}

func (b *bench) testTables() {
	m := b.mirror(3)
	m.prepare([]bool{true, false, false}, bitsOf())
	tests := []struct {
		name  string
		table dm.Table
	}{
		{"linear", linearOn(m.data[0].Dev(), 8, 16)},
		{"two linear segments", dm.Table{
			{Length: 8, Target: dm.Linear{Dev: m.data[0].Dev(), Offset: 8}},
			{Start: 8, Length: 8, Target: dm.Linear{Dev: m.data[1].Dev()}},
		}},
		{"raid1", m.raid()},
		{"raid1 with both rates", m.slow()},
		{"raid1 with one rate", raidOn(dm.Raid1{RegionSize: regionSects, MaxRate: 1 << 20, Legs: m.table})},
		{"raid1 with missing legs", m.without(1, 2)},
		{"error", dm.Table{{Length: 8, Target: dm.Other{Name: "error"}}}},
		{"zero", dm.Table{{Length: 8, Target: dm.Other{Name: "zero"}}}},
	}
	for _, tt := range tests {
		b.swap(m.name, tt.table)
		got, err := b.k.Table(b.ctx, m.name)
		b.must(err)
		b.same(tt.name, tt.table, got)
	}
}

func (b *bench) testRefusedRaid() {
	m := b.mirror(2)
	m.prepare([]bool{true, false}, nil)
	small := b.lab.Disk(b, arraySects.Bytes()/2)
	loaded := func(r dm.Raid1) dm.Table {
		r.RegionSize = max(r.RegionSize, regionSects)
		return raidOn(r)
	}
	tests := []struct {
		name  string
		table dm.Table
	}{
		{"region no power of two", m.raw("region_size", "384")},
		{"region larger than the array", m.raw("region_size", "32768")},
		{"region given twice", m.raw("region_size", "256", "region_size", "256")},
		{"unknown option", m.raw("region_sice", "256")},
		{"option without a value", m.raw("region_size")},
		{"value no number", m.raw("region_size", "x")},
		{"minimum above maximum", m.raw("min_recovery_rate", "2", "max_recovery_rate", "1")},
		{"nosync and rebuild", m.raw("nosync", "rebuild", "1")},
		{"rebuild of all legs", m.raw("rebuild", "0", "rebuild", "1")},
		{"rebuild of a leg beyond", m.raw("rebuild", "2")},
		{"all legs missing", m.without(0, 1)},
		{"leg that was never filled alone", m.without(0)},
		{"leg too small", loaded(dm.Raid1{Legs: []dm.Leg{m.table[0], {Meta: m.table[1].Meta, Data: small.Dev()}}})},
		{"half a leg", dm.Table{{Length: arraySects, Target: dm.Other{
			Name: "raid", Args: "raid1 1 0 2 " + m.table[0].Meta.String() + " " + m.table[0].Data.String() + " -",
		}}}},
		{"unknown level", dm.Table{{Length: arraySects, Target: dm.Other{Name: "raid", Args: "raid7 1 0 1 - -"}}}},
		{"no parameters", dm.Table{{Length: arraySects, Target: dm.Other{Name: "raid"}}}},
	}
	for _, tt := range tests {
		b.wants(tt.name, b.k.Load(b.ctx, m.name, tt.table), unix.EINVAL)
	}
	b.wants("leg that does not exist", b.k.Load(b.ctx, m.name, loaded(dm.Raid1{Legs: []dm.Leg{
		m.table[0], {Meta: m.table[1].Meta, Data: devno.No{Major: m.table[0].Data.Major, Minor: 1 << 18}},
	}})), unix.ENXIO)
	b.fill(m.meta[1], 0, 0, 4096)
	b.wants("one leg without metadata", b.k.Load(b.ctx, m.name, m.raid()), unix.EINVAL)
	m.prepare([]bool{true, false}, nil)
	b.fill(m.meta[0], 0, 4096, 4096)
	b.wants("no bitmap on the leg in sync", b.k.Load(b.ctx, m.name, m.raid()), unix.EINVAL)
	m.prepare([]bool{true, false}, nil)
	b.fill(m.meta[1], 0, 4096, 4096)
	b.wants("no bitmap on the other leg", b.k.Load(b.ctx, m.name, m.raid()), nil)
}

func (b *bench) testNewArray() {
	m := b.mirror(2)
	b.must(b.k.Load(b.ctx, m.name, m.raid()))
	before := b.info(m.name).Event
	b.must(b.k.Resume(b.ctx, m.name, dm.Private))
	m.finishes()
	b.same("leg 0", painted('A', 0), m.content(0))
	b.same("leg 1", painted('A', 0), m.content(1))
	b.happens(m.name, before)
}

func (b *bench) testRebuild() {
	m := b.mirror(2)
	b.swap(m.name, m.raw("rebuild", "1", "region_size", itoa(regionSects)))
	m.finishes()
	b.same("leg 0", painted('A', 0), m.content(0))
	b.same("leg 1", painted('A', 0), m.content(1))
	b.fill(m.data[1], 'B', 0, int64(arraySects.Bytes()))
	b.swap(m.name, m.raid())
	b.rest()
	b.same("status after a load without rebuild", rested("AA"), b.line(m.name))
	b.same("leg 1 after a load without rebuild", painted('B', 0), m.content(1))
}

func (b *bench) testAttach() {
	some := []uint64{0, 5, 6, 40, 63}
	tests := []struct {
		name   string
		inSync []bool
		bits   raidmeta.Bits
		health string
		want   []string
	}{
		{"everything", []bool{true, false}, nil, "Aa", []string{painted('A', 0), painted('A', 0)}},
		{"some regions", []bool{true, false}, bitsOf(some...), "Aa", []string{painted('A', 0), painted('B', 'A', some...)}},
		{"nothing", []bool{true, false}, bitsOf(), "Aa", []string{painted('A', 0), painted('B', 0)}},
		{
			"a third leg",
			[]bool{true, true, false},
			bitsOf(some...), "AAa",
			[]string{painted('A', 0), painted('B', 0), painted('C', 'A', some...)},
		},
		{
			"two new legs",
			[]bool{true, false, false},
			bitsOf(some...), "Aaa",
			[]string{painted('A', 0), painted('B', 'A', some...), painted('C', 'A', some...)},
		},
		{
			"a new leg between",
			[]bool{true, false, true},
			bitsOf(some...), "AaA",
			[]string{painted('A', 0), painted('B', 'A', some...), painted('C', 0)},
		},
	}
	for _, tt := range tests {
		b.Logf("attach: %s", tt.name)
		m := b.mirror(len(tt.inSync))
		m.prepare(tt.inSync, tt.bits)
		b.must(b.k.Load(b.ctx, m.name, m.raid()))
		before := b.info(m.name).Event
		b.must(b.k.Resume(b.ctx, m.name, dm.Private))
		m.finishes()
		for i, want := range tt.want {
			b.same(fmt.Sprintf("%s: leg %d", tt.name, i), want, m.content(i))
		}
		b.happens(m.name, before)
		file := b.lab.Open(b, m.name)
		b.fill(file, 'W', 0, int64(arraySects.Bytes()))
		b.must(file.Close())
		for i := range tt.want {
			b.same(fmt.Sprintf("%s: leg %d after a write", tt.name, i), painted('W', 0), m.content(i))
		}
	}
}

// testWrong shows why raidmeta.Check refuses what it does: with each of these mistakes the kernel copies nothing and reports
// the legs as in sync.
func (b *bench) testWrong() {
	tests := []struct {
		name string
		slip func([]raidmeta.Slot)
	}{
		{"cleared at the current events", func(s []raidmeta.Slot) { s[0].Bitmap.EventsCleared = s[0].Super.Events }},
		{"bitmap behind the superblock", func(s []raidmeta.Slot) { s[0].Bitmap.Events-- }},
		{"stale bitmap", func(s []raidmeta.Slot) { s[0].Bitmap.Stale = true }},
		{"failed bit missing", func(s []raidmeta.Slot) {
			s[0].Super.FailedDevices, s[1].Super.RecoveryOffset = 0, raidmeta.InSync
		}},
		{"new leg fresher", func(s []raidmeta.Slot) {
			s[1].Super.Events, s[1].Super.RecoveryOffset = s[0].Super.Events+1, raidmeta.InSync
		}},
	}
	for _, tt := range tests {
		b.Logf("wrong: %s", tt.name)
		m := b.mirror(2)
		m.prepare([]bool{true, false}, bitsOf(0, 5, 63), func(s []raidmeta.Slot) {
			tt.slip(s)
			if raidmeta.Check(s) == nil {
				b.Errorf("%s: passes raidmeta.Check", tt.name)
			}
		})
		b.swap(m.name, m.raid())
		b.shows(m.name, rested("AA"))
		b.rest()
		b.same(tt.name+": status", rested("AA"), b.line(m.name))
		b.same(tt.name+": leg 1", painted('B', 0), m.content(1))
	}
}
