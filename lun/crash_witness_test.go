package lun_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
)

// A killed process leaves records in the cache of a drive. The next process reads them. It must not make them true by dropping
// the older record from another drive, because the power may fail next. In this test the power fails before every effect of a
// split. Then the process that assembles is killed before every effect. The power fails again after the next one has assembled.
func TestRecordsThatWereNotFlushed(t *testing.T) {
	s := scenario{
		release: dmtest.Linux6_12, name: "split", prepare: func(w *world) { attached(w, -1) }, act: split(1),
	}
	m := s.machine(t)
	whole := s.complete(t, m)
	every := func() *sample { return &sample{random: rand.New(rand.NewPCG(1, 1)), most: -1} }
	lost := crash{fate: func(*rand.Rand) blocktest.Fate { return blocktest.Lost }}
	splits := every()
	s.stops(t, m, splits)
	for _, first := range splits.stops {
		assembles := every()
		synctest.Test(t, func(t *testing.T) {
			w := first.crash(t, lost, nil)
			w.must(w.run(assembles, assemble))
		})
		for _, second := range assembles.stops {
			synctest.Test(t, func(t *testing.T) {
				w := second.crash(t, crash{}, nil)
				w.assemble()
				w.cut(blocktest.Lost)
				s.recovered(w, whole, "split "+first.String()+", assemble "+second.String())
			})
			if t.Failed() {
				return
			}
		}
	}
}

// nothingToDo checks that assembling again has no effect.
func (w *world) nothingToDo(where string) {
	w.t.Helper()
	var effects []blocktest.Effect
	w.mem.OnEffect = func(e blocktest.Effect) error { effects = append(effects, e); return nil }
	w.assemble()
	w.mem.OnEffect = nil
	if len(effects) > 0 {
		w.t.Errorf("%s: assembling again does %v", where, effects)
	}
}
