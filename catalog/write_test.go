package catalog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

func TestInitRefuses(t *testing.T) {
	tests := map[string]struct {
		label Label
		want  error
	}{
		"too small":     {Label{Drive: driveID(1), Size: MinDriveSize - size.MiB}, ErrTooSmall},
		"no size":       {Label{Drive: driveID(1)}, ErrTooSmall},
		"no GUID":       {Label{Size: testDriveSize}, ErrInvalid},
		"host too long": {Label{Drive: driveID(1), Size: testDriveSize, Host: strings.Repeat("x", 65)}, ErrInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMedia()
			if err := Init(m, tt.label); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if m.calls > 0 {
				t.Errorf("%d effects on the device", m.calls)
			}
		})
	}
	if err := Wipe(newMedia(), MinDriveSize-1); !errors.Is(err, ErrTooSmall) {
		t.Errorf("wipe: error %v, want %v", err, ErrTooSmall)
	}
}

// TestInitCut cuts the power after every effect of Init, on a blank device and over an old drive.
func TestInitCut(t *testing.T) {
	old, _ := history(t)
	label := testLabel(2)
	for name, start := range map[string]*media{"blank": newMedia(), "old drive": old} {
		m := start.clone()
		if err := Init(m, label); err != nil {
			t.Fatal(err)
		}
		forEachCut(start, m.effects, func(at string, cut *media) {
			d, err := ReadDrive(cut, testDriveSize)
			switch {
			case errors.Is(err, ErrNoLabel), errors.Is(err, ErrCorrupt):
			case err != nil:
				t.Errorf("%s, %s: %v", name, at, err)
			case d.Label.Drive == label.Drive && (len(d.Catalog.LUNs) > 0 || d.Catalog.Sequence != 1):
				t.Errorf("%s, %s: new drive with catalog %d", name, at, d.Catalog.Sequence)
			case d.Label.Drive == driveID(1) && (name == "blank" || len(d.Catalog.LUNs) != 3):
				t.Errorf("%s, %s: old drive with %d records", name, at, len(d.Catalog.LUNs))
			}
			if err := Init(cut, label); err != nil {
				t.Errorf("%s, %s: again: %v", name, at, err)
			}
			if d, err := ReadDrive(cut, testDriveSize); err != nil || len(d.Problems) > 0 || d.Label.Drive != label.Drive {
				t.Errorf("%s, %s: after init again: %v, %v", name, at, err, d.Problems)
			}
		})
	}
}

// forEachCut calls check with the device as it is after a cut behind each effect, in every way.
func forEachCut(start *media, effects []effect, check func(at string, cut *media)) {
	for n := range len(effects) + 1 {
		for _, how := range cuts {
			check(fmt.Sprintf("after effect %d of %d, %s", n, len(effects), how), after(start, effects, n, how))
		}
	}
}

// TestWipeCut cuts the power after every effect of Wipe: the drive is whole, or it is none.
func TestWipeCut(t *testing.T) {
	start, _ := history(t)
	m := start.clone()
	if err := Wipe(m, testDriveSize); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadDrive(m, testDriveSize); !errors.Is(err, ErrNoLabel) {
		t.Errorf("after wipe: error %v, want %v", err, ErrNoLabel)
	}
	for at := range m.blocks {
		t.Errorf("block at %d is not zero", at)
	}
	forEachCut(start, m.effects, func(at string, cut *media) {
		d, err := ReadDrive(cut, testDriveSize)
		if err == nil && len(d.Catalog.LUNs) != 3 {
			t.Errorf("%s: drive with %d records", at, len(d.Catalog.LUNs))
		}
		if err != nil && !errors.Is(err, ErrNoLabel) && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", at, err)
		}
	})
}

// TestWriteCut cuts the power after every effect of a write: the old catalog is there, or the new one; after the first
// flush the new one. Then it writes again and cuts again.
func TestWriteCut(t *testing.T) {
	start, _ := history(t)
	first := mustRead(t, start)
	m := start.clone()
	if err := first.Write(m, testLUNs(4)); err != nil {
		t.Fatal(err)
	}
	for n := range len(m.effects) + 1 {
		for _, how := range cuts {
			at := fmt.Sprintf("after effect %d, %s", n, how)
			cut := after(start, m.effects, n, how)
			d := mustRead(t, cut)
			checkOldOrNew(t, at, d, 3, 4, n >= 2)
			had := len(d.Catalog.LUNs)
			again := cut.clone()
			if err := d.Write(again, testLUNs(5)); err != nil {
				t.Fatal(err)
			}
			forEachCut(cut, again.effects, func(then string, cut *media) {
				checkOldOrNew(t, at+", "+then, mustRead(t, cut), had, 5, false)
			})
		}
	}
}

func checkOldOrNew(t *testing.T, at string, d Drive, before, now int, committed bool) {
	t.Helper()
	n := len(d.Catalog.LUNs)
	if n != now && (committed || n != before) {
		t.Errorf("%s: %d records, want %d or %d (committed: %t)", at, n, before, now, committed)
	}
}

// TestWriteFails has each effect of a write fail in turn, the write itself done or not. The error says what holds, and
// writing again works, with any number of failures in a row.
func TestWriteFails(t *testing.T) {
	for at := 1; at <= 8; at++ {
		sloppy := at > 4
		at := (at-1)%4 + 1
		t.Run(fmt.Sprintf("effect %d, done all the same %t", at, sloppy), func(t *testing.T) {
			m, d := history(t)
			m.calls, m.fail, m.sloppy = 0, failAt(at), sloppy
			err := d.Write(m, testLUNs(4))
			var failed *WriteError
			if !errors.As(err, &failed) || !errors.Is(err, errMedia) {
				t.Fatalf("error %v, want a WriteError", err)
			}
			want := WriteError{Drive: driveID(1), Committed: at > 2, Err: failed.Err}
			if diff := cmp.Diff(want, *failed, ignoreState); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if failed.Committed != (len(d.Catalog.LUNs) == 4) {
				t.Errorf("committed %t, but the drive has %d records", failed.Committed, len(d.Catalog.LUNs))
			}
			checkOldOrNew(t, "after the failure", mustRead(t, m), 3, 4, failed.Committed)
			m.fail = nil
			if err := d.Write(m, testLUNs(2)); err != nil {
				t.Fatal(err)
			}
			if got := mustRead(t, m); len(got.Catalog.LUNs) != 2 || len(got.Problems) > 0 {
				t.Errorf("after writing again: %d records, %v", len(got.Catalog.LUNs), got.Problems)
			}
		})
	}
}

func failAt(at int) func(int) error {
	return func(n int) error {
		if n == at {
			return errMedia
		}
		return nil
	}
}

// TestWriteFailsAndCuts mixes failing effects and power cuts at random: what is read is always the last catalog known to
// be committed, or one tried after it.
func TestWriteFailsAndCuts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	m, d := history(t)
	committed, tried := 3, map[int]bool{}
	for round := range 400 {
		start := m.clone()
		m.effects, m.calls, m.fail, m.sloppy = nil, 0, failAt(random.IntN(8)), random.IntN(2) == 0
		n := random.IntN(6)
		err := d.Write(m, testLUNs(n))
		var failed *WriteError
		if err == nil || errors.As(err, &failed) && failed.Committed {
			committed, tried = n, map[int]bool{}
		} else {
			tried[n] = true
		}
		if random.IntN(3) == 0 {
			m = after(start, m.effects, len(m.effects), cuts[random.IntN(len(cuts))])
			d = mustRead(t, m)
			if got := len(d.Catalog.LUNs); got != committed && !tried[got] {
				t.Fatalf("round %d: %d records, want %d or one of %v", round, got, committed, tried)
			}
			committed, tried = len(d.Catalog.LUNs), map[int]bool{}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	large := make([]LUN, 2000)
	for i := range large {
		large[i] = testLUN(i+1, 1, testPlex(i+1, 2, 4+9*i, 8))
		large[i].Former = make([]uuid.UUID, 60)
		for k := range large[i].Former {
			large[i].Former[k] = driveID(100 + k)
		}
	}
	tests := map[string]struct {
		luns   []LUN
		change func(*Drive)
		want   error
	}{
		"unsound record": {luns: []LUN{{}}, want: ErrInvalid},
		"overlap":        {luns: []LUN{testLUN(1, 1, testPlex(1, 1, 4, 8)), testLUN(2, 1, testPlex(2, 1, 6, 8))}, want: ErrOverlap},
		"too large":      {luns: large, want: ErrFull},
		"too many":       {luns: make([]LUN, MaxLUNs+1), want: ErrFull},
		"head lost":      {change: func(d *Drive) { d.HeadLost = true }, want: ErrHeadLost},
		"label forbids":  {change: func(d *Drive) { d.Label.Features.ReadOnly = 1 }, want: ErrReadOnlyFormat},
		"slot forbids":   {change: func(d *Drive) { d.Catalog.Features.ReadOnly = 4 }, want: ErrReadOnlyFormat},
		"sequence ends":  {change: func(d *Drive) { d.last = maxCount }, want: ErrInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, d := history(t)
			if tt.change != nil {
				tt.change(&d)
			}
			m.calls = 0
			err := d.Write(m, tt.luns)
			var failed *WriteError
			if !errors.Is(err, tt.want) || errors.As(err, &failed) {
				t.Errorf("error %v, want %v and no WriteError", err, tt.want)
			}
			if m.calls != 0 {
				t.Errorf("%d effects on the device", m.calls)
			}
		})
	}
}

// TestWriteReserve fills a catalog: it takes no new plex any more, and still records that each plex that it has has failed.
func TestWriteReserve(t *testing.T) {
	m, d := history(t)
	if read := mustRead(t, m); !d.Roomy() || !read.Roomy() {
		t.Error("a new catalog has no room")
	}
	var luns []LUN
	for n := 1; ; n++ {
		l := testLUN(n, 1, testPlex(2*n-1, 2, 4+9*n, 8), testPlex(2*n, 3, 4+9*n, 8))
		for k := range 60 {
			l.Former = append(l.Former, driveID(100+k))
		}
		if n%20 > 0 { // each write takes a while
			luns = append(luns, l)
			continue
		}
		err := d.Write(m, append(luns, l))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		luns = append(luns, l)
	}
	if read := mustRead(t, m); d.Roomy() || read.Roomy() {
		t.Error("a full catalog has room")
	}
	luns = d.Catalog.LUNs
	if len(luns) < 100 {
		t.Fatalf("a catalog of %d records is full", len(luns))
	}
	for i := range luns {
		luns[i].Generation++
		luns[i].Plexes = slices.Clone(luns[i].Plexes)
		luns[i].Plexes[1].Stale = true
	}
	if err := d.Write(m, luns); err != nil {
		t.Errorf("%d failures in a full catalog: %v", len(luns), err)
	}
}

// TestWriteKeepsFeatures writes a drive on which a later plexctl has set a bit that this one may pass over.
func TestWriteKeepsFeatures(t *testing.T) {
	m, d := history(t)
	d.Label.Features.Compatible, d.Catalog.Features.Compatible = 2, 4
	if err := errors.Join(d.Relabel(m, of("other")), d.Write(m, nil)); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, m); got.Label.Features.Compatible != 2 || got.Catalog.Features.Compatible != 4 {
		t.Errorf("features %+v and %+v", got.Label.Features, got.Catalog.Features)
	}
}

func TestRepairFails(t *testing.T) {
	for at := 1; at <= 8; at++ {
		m, _ := history(t)
		delete(m.blocks, atHeadLabel)
		d := mustRead(t, m)
		m.calls, m.fail = 0, failAt(at)
		if err := d.Repair(m, false); !errors.Is(err, errMedia) {
			t.Fatalf("effect %d: error %v", at, err)
		}
		m.fail = nil
		d = mustRead(t, m)
		if len(d.Catalog.LUNs) != 3 {
			t.Errorf("effect %d: %d records after a failed repair", at, len(d.Catalog.LUNs))
		}
		checkMended(t, m, d)
	}
}

func TestWriteErrorText(t *testing.T) {
	failed := &WriteError{Drive: driveID(1), Err: errMedia}
	if got := failed.Error(); !strings.Contains(got, driveID(1).String()) || strings.Contains(got, "durable") {
		t.Error(got)
	}
	failed.Committed = true
	if got := failed.Error(); !strings.Contains(got, "the change itself is durable") {
		t.Error(got)
	}
}
