package dmtest

import (
	"fmt"
	"strings"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
)

func (b *bench) testUnreadable() {
	const bad = 30
	m := b.mirror(2)
	operation := b.lab.Name()
	m.prepare([]bool{true, false}, nil)
	good := linearOn(m.data[0].Dev(), 0, arraySects)
	b.swap(m.dataName[0], dm.Table{
		{Length: bad * regionSects, Target: dm.Linear{Dev: m.data[0].Dev()}},
		{Start: bad * regionSects, Length: regionSects, Target: dm.Other{Name: "error"}},
		{
			Start: (bad + 1) * regionSects, Length: (regionCount - bad - 1) * regionSects,
			Target: dm.Linear{Dev: m.data[0].Dev(), Offset: (bad + 1) * regionSects},
		},
	})
	legs := []devno.No{m.table[0].Data}
	b.same("log before it is marked", dm.Passed{}, b.k.Passed(b.ctx, operation, legs))
	b.must(b.k.Mark(b.ctx, dm.Marker{Operation: operation, Begins: true, Legs: legs}))
	b.same("log when the copy begins", dm.Passed{Known: true}, b.k.Passed(b.ctx, operation, legs))
	b.swap(m.name, m.raid())
	b.eventually("superblock of leg 1", func() error {
		if s := m.slots()[1].Super; s.ArrayPosition != raidmeta.Detached || s.RecoveryOffset != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	b.shows(m.name, rested("Aa"))
	found := b.k.Passed(b.ctx, operation, legs)
	b.same("region that the log names", dm.Passed{Known: true, Found: true, Leg: legs[0], Sector: bad * regionSects},
		dm.Passed{Known: found.Known, Found: found.Found, Leg: found.Leg, Sector: found.Sector / regionSects * regionSects})
	after := m.content(1)
	m.paint('W', 2)
	b.rest()
	b.same("status", rested("Aa"), b.line(m.name))
	b.same("leg 1", after, m.content(1))
	b.swap(m.dataName[0], good)
	b.swap(m.name, m.raid())
	m.finishes()
	b.same("leg 1 after all", painted('A', 'W', 2), m.content(1))
}

// A leg that cannot be read in a resync of the whole array fails. The others have the data, so the resync goes on without it.
func (b *bench) testUnreadableInResync() {
	const bad = 30
	m := b.mirror(2)
	m.prepare([]bool{true, true}, bitsOf(), func(s []raidmeta.Slot) {
		s[0].Bitmap.Bits.Set(bad)
		resync, err := raidmeta.Resync(s, regionSects)
		b.must(err)
		copy(s, resync)
	})
	b.swap(m.dataName[0], dm.Table{
		{Length: bad * regionSects, Target: dm.Linear{Dev: m.data[0].Dev()}},
		{Start: bad * regionSects, Length: regionSects, Target: dm.Other{Name: "error"}},
		{
			Start: (bad + 1) * regionSects, Length: (regionCount - bad - 1) * regionSects,
			Target: dm.Linear{Dev: m.data[0].Dev(), Offset: (bad + 1) * regionSects},
		},
	})
	b.swap(m.name, m.raid())
	b.eventually("status", func() error {
		if line := b.line(m.name); !strings.HasPrefix(line, "raid1 2 DA ") {
			return fmt.Errorf("%q, want DA", line)
		}
		return nil
	})
	b.rest()
	b.same("status", rested("DA"), b.line(m.name))
	b.same("leg 1", painted('B', 0), m.content(1))
	b.swap(m.dataName[0], linearOn(m.data[0].Dev(), 0, arraySects))
}
