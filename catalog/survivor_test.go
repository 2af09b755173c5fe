package catalog

import (
	"slices"
	"testing"
)

// A slot whose write has failed may hold anything. The next attempt goes to it again, and leaves the good one alone.
func TestAFailedSlotIsTriedAgain(t *testing.T) {
	for at := 1; at <= 4; at++ {
		m, d := history(t)
		m.calls, m.fail, m.sloppy = 0, failAt(at), true
		if err := d.Write(m, testLUNs(4)); err == nil {
			t.Fatalf("effect %d did not fail", at)
		}
		m.fail = nil
		tried := lastWrite(m.effects)
		m.effects = nil
		if err := d.Write(m, testLUNs(2)); err != nil {
			t.Fatal(err)
		}
		if writes := writesOf(m.effects); !slices.Contains(writes, tried) {
			t.Errorf("effect %d failed, of the slot at %d: the next attempt goes to %v", at, tried, writes)
		}
	}
}

// writesOf is where something was written, in order.
func writesOf(effects []effect) []int64 {
	var at []int64
	for _, e := range effects {
		if e.data != nil {
			at = append(at, e.off)
		}
	}
	return at
}

func lastWrite(effects []effect) int64 {
	writes := writesOf(effects)
	return writes[len(writes)-1]
}

// Both labels are gone for good before the catalog goes: else a power cut leaves a drive without its LUNs.
func TestWipeTakesTheLabelsFirst(t *testing.T) {
	m, _ := history(t)
	m.effects = nil
	if err := Wipe(m, testDriveSize); err != nil {
		t.Fatal(err)
	}
	labels := []int64{int64(labelOffset), int64(TailStart(testDriveSize) + labelOffset)}
	for i, e := range m.effects[:4] {
		if flush := i%2 == 1; flush != (e.data == nil) || !flush && e.off != labels[i/2] {
			t.Errorf("effect %d is a write of %d bytes at %d; want the labels, each flushed", i, len(e.data), e.off)
		}
	}
}

// Of three extents the first reaches over the second, which lies inside it, to the third.
func TestOverlapBehindAnExtentInside(t *testing.T) {
	claims := []claim{{extent: mib(1, 4, 10), plex: plexID(1)}, {extent: mib(1, 5, 1), plex: plexID(2)}, {extent: mib(1, 8, 12), plex: plexID(3)}}
	found := false
	for a, b := range overlaps(claims) {
		found = found || a.plex == plexID(1) && b.plex == plexID(3)
	}
	if !found {
		t.Error("the first and the third extent are no pair")
	}
}
