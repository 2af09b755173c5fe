package catalog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/size"
)

// lostLabels is what can have become of one end of a drive. blank says that nobody else has written there.
func lostLabels() map[string]struct {
	change func(*media)
	blank  bool
} {
	gone := func(ats ...int64) func(*media) {
		return func(m *media) {
			for _, at := range ats {
				delete(m.blocks, at)
			}
		}
	}
	other := func(at int64) func(*media) {
		return func(m *media) { m.store(at, bytes.Repeat([]byte("LABELONE"), blockSize/8)) }
	}
	torn := func(at int64) func(*media) {
		return func(m *media) { b := bytes.Clone(m.blocks[at]); b[labelDrive]++; m.blocks[at] = b }
	}
	return map[string]struct {
		change func(*media)
		blank  bool
	}{
		"label zeroed":       {gone(atHeadLabel), true},
		"label torn":         {torn(atHeadLabel), true},
		"label overwritten":  {other(atHeadLabel), false},
		"start zeroed":       {gone(atHeadLabel, atHeadA, atHeadB), true},
		"start, newest left": {gone(atHeadLabel, atHeadA, atTailB), true},
		"copy zeroed":        {gone(atTailLabel), true},
		"copy torn":          {torn(atTailLabel), true},
		"copy overwritten":   {other(atTailLabel), false},
		"end zeroed":         {gone(atTailLabel, atTailA, atTailB), true},
		"copy, newest there": {gone(atTailLabel, atHeadA, atHeadB), true},
		"copy of another drive": {func(m *media) {
			b, _ := encodeLabel(testLabel(2))
			m.store(atTailLabel, b)
		}, false},
	}
}

// TestRepair cuts the power after every effect of Repair, with and without wipe. All records are there whenever that is, and a
// second Repair leaves nothing to repair. A short test repairs once, without cuts.
func TestRepair(t *testing.T) {
	points := 0
	for name, lost := range lostLabels() {
		for _, wipe := range []bool{false, true} {
			start, _ := history(t)
			lost.change(start)
			m := start.clone()
			d := mustRead(t, m)
			if !d.LabelLost() || d.Blank() != lost.blank {
				t.Fatalf("%s: lost %t, blank %t", name, d.LabelLost(), d.Blank())
			}
			if err := d.Repair(m, wipe); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			effects := m.effects
			checkRepaired(t, m.clone(), d)
			if testing.Short() {
				continue
			}
			forEachCut(start, effects, func(at string, cut *media) {
				points++
				d := mustRead(t, cut)
				if diff := cmp.Diff(testLUNs(3), d.Catalog.LUNs); diff != "" {
					t.Errorf("%s, wipe %t, %s: records (-want +got):\n%s", name, wipe, at, diff)
				}
				if err := d.Repair(cut, wipe); err != nil {
					t.Errorf("%s, %s: again: %v", name, at, err)
				}
				if got := mustRead(t, cut); got.LabelLost() {
					t.Errorf("%s, %s: again: %v", name, at, got.Problems)
				}
			})
		}
	}
	if points < 1000 && !testing.Short() {
		t.Errorf("only %d points", points)
	}
}

// checkRepaired expects the drive in memory to be what is on the media, without damage, and writable.
func checkRepaired(t *testing.T, m *media, d Drive) {
	t.Helper()
	got := mustRead(t, m)
	if diff := cmp.Diff(d.Catalog, got.Catalog); diff != "" || got.LabelLost() || d.LabelLost() || !got.Label.equal(testLabel(1)) {
		t.Errorf("lost %t and %t, catalog as kept (-) and as read (+):\n%s", d.LabelLost(), got.LabelLost(), diff)
	}
	if err := d.Write(m, nil); err != nil || len(mustRead(t, m).Catalog.LUNs) > 0 {
		t.Errorf("write after repair: %v", err)
	}
}

// TestRepairWipes expects what others have written at both ends to be gone.
func TestRepairWipes(t *testing.T) {
	for _, wipe := range []bool{false, true} {
		m, _ := history(t)
		delete(m.blocks, atHeadLabel)
		ends := []int64{0, 8192, int64(slotOffset+slotSize) + 1<<20, tailAt, tailAt + int64(FirstExtent) - blockSize}
		inside := []int64{int64(FirstExtent), tailAt - blockSize}
		for _, at := range append(ends, inside...) {
			m.store(at, bytes.Repeat([]byte{7}, blockSize))
		}
		d := mustRead(t, m)
		if err := d.Repair(m, wipe); err != nil {
			t.Fatal(err)
		}
		for _, at := range ends {
			if _, there := m.blocks[at]; there == (wipe || at < int64(FirstExtent)) {
				t.Errorf("wipe %t: block at %d is there: %t", wipe, at, there)
			}
		}
		for _, at := range inside {
			if m.blocks[at] == nil {
				t.Errorf("wipe %t: extent at %d is gone", wipe, at)
			}
		}
	}
}

// TestRepairRefuses expects nothing to be written where plexctl must not write, and where nothing is lost.
func TestRepairRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*Drive)
		want   error
	}{
		"nothing is lost": {func(d *Drive) { d.HeadLost = false }, nil},
		"shrunk":          {func(d *Drive) { d.Device = testDriveSize - size.MiB }, ErrTooSmall},
		"newer format":    {func(d *Drive) { d.Label.Features.ReadOnly = 1 }, ErrReadOnlyFormat},
		"newer catalog":   {func(d *Drive) { d.Catalog.Features.ReadOnly = 1 }, ErrReadOnlyFormat},
	}
	for name, tt := range tests {
		m, _ := history(t)
		delete(m.blocks, atHeadLabel)
		d := mustRead(t, m)
		tt.change(&d)
		if err := d.Repair(m, false); !errors.Is(err, tt.want) || len(m.effects) > 0 {
			t.Errorf("%s: %v after %d effects", name, err, len(m.effects))
		}
	}
}

// TestRepairReadsBack has a device that says that it writes its start, and does not: the other end stays.
func TestRepairReadsBack(t *testing.T) {
	m, _ := history(t)
	delete(m.blocks, atHeadLabel)
	d := mustRead(t, m)
	if err := d.Repair(deafStart{m}, true); !errors.Is(err, ErrNoLabel) {
		t.Errorf("error %v, want %v", err, ErrNoLabel)
	}
	if got := mustRead(t, m); !got.HeadLost || len(got.Catalog.LUNs) != 3 {
		t.Errorf("head lost %t, %d records", got.HeadLost, len(got.Catalog.LUNs))
	}
}

// deafStart drops writes to the label at the start.
type deafStart struct{ *media }

func (m deafStart) WriteAt(p []byte, off int64) (int, error) {
	if off == atHeadLabel {
		return len(p), nil
	}
	return m.media.WriteAt(p, off)
}
