package raid1_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/vds"
)

// What the metadata of three plexes tells together: for each "=" current, "o" an earlier copy, "l" lost on the table before, "-"
// none; and the bits of the first that counts.
func TestWeigh(t *testing.T) {
	tests := map[string]struct {
		edit func(l *catalog.LUN, r []raid1.Read)
		want string
	}{
		"as it was left":           {func(*catalog.LUN, []raid1.Read) {}, "=== 01"},
		"of the run before":        {func(_ *catalog.LUN, r []raid1.Read) { r[0].Slot.Bitmap.Run.Number-- }, "o== 02"},
		"of a run of that number":  {func(_ *catalog.LUN, r []raid1.Read) { r[1].Slot.Bitmap.Run.Nonce++ }, "=o= 01"},
		"of a run to be committed": {func(_ *catalog.LUN, r []raid1.Read) { next(r, 0); next(r, 1) }, "=== 01"},
		"of a run of another LUN":  {func(_ *catalog.LUN, r []raid1.Read) { next(r, 2); r[2].Slot.Bitmap.Run.LUN++ }, "==o 01"},
		"two runs ahead":           {func(_ *catalog.LUN, r []raid1.Read) { next(r, 2); next(r, 2) }, "==o 01"},
		"two events behind":        {func(_ *catalog.LUN, r []raid1.Read) { r[1].Slot.Super.Events, r[2].Slot.Super.Events = 7, 8 }, "=== 01"},
		"three events behind":      {func(_ *catalog.LUN, r []raid1.Read) { r[1].Slot.Super.Events = 6 }, "=o= 01"},
		"behind, and called failed": {func(_ *catalog.LUN, r []raid1.Read) {
			r[0].Slot.Super.FailedDevices, r[2].Slot.Super.FailedDevices, r[1].Slot.Super.Events = 2, 2, 4
		}, "=== 01"},
		"behind those being filled":  {func(l *catalog.LUN, r []raid1.Read) { filling(l, r, 64) }, "=== 01"},
		"behind one that was filled": {func(l *catalog.LUN, r []raid1.Read) { filling(l, r, raidmeta.InSync) }, "o== 02"},
		"on a changed device":        {func(_ *catalog.LUN, r []raid1.Read) { r[0].Changed = true }, "o== 02"},
		"all devices changed":        {func(_ *catalog.LUN, r []raid1.Read) { r[0].Changed, r[1].Changed, r[2].Changed = true, true, true }, "=== 01"},
		"the others have failed": {func(_ *catalog.LUN, r []raid1.Read) {
			r[0].Changed, r[0].Slot.Super.FailedDevices, r[0].Slot.Super.Events = true, 6, 11
		}, "=== 01"},
		"invalidated":            {func(_ *catalog.LUN, r []raid1.Read) { none(r, 0, 1, 2) }, "--- unused"},
		"one is invalidated":     {func(_ *catalog.LUN, r []raid1.Read) { none(r, 1) }, "=-= 01"},
		"prior, the same":        {func(l *catalog.LUN, r []raid1.Read) { prior(l, r, 8) }, "=== 09"},
		"prior, all regions":     {func(l *catalog.LUN, r []raid1.Read) { prior(l, r); clear(stale(r)) }, "=== stale"},
		"prior, one has failed":  {func(l *catalog.LUN, r []raid1.Read) { prior(l, r, 8); failed(r, 0) }, "l== 0a"},
		"prior, one lags":        {func(l *catalog.LUN, r []raid1.Read) { prior(l, r, 8); r[1].Prior.Super.Events = 5 }, "=l= 09"},
		"prior, one in part":     {func(l *catalog.LUN, r []raid1.Read) { prior(l, r, 8); r[2].Prior.Super.RecoveryOffset = 64 }, "==l 09"},
		"prior, no longer":       {func(l *catalog.LUN, r []raid1.Read) { prior(l, r, 8); failed(r, 0); l.Plexes[0].Prior = false }, "=== 09"},
		"prior, of a used table": {func(l *catalog.LUN, r []raid1.Read) { prior(l, r, 8); failed(r, 0); r[1].Slot.Super.Events++ }, "=== 01"},
		"prior, of another LUN": {func(l *catalog.LUN, r []raid1.Read) {
			prior(l, r, 8)
			failed(r, 0)
			r[1].Prior.Bitmap.Run.LUN++
			r[2].Prior.Bitmap.Run.LUN++
		}, "=== 09"},
		"prior, one invalidated": {func(l *catalog.LUN, r []raid1.Read) { prior(l, r, 8); failed(r, 0); none(r, 0, 1, 2) }, "l-- unused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := fixture.Mirrored(3)
			for i := range l.Plexes {
				l.Plexes[i].Run = catalog.Run{Number: 4, Nonce: 77}
			}
			r := reads(l, []raidmeta.Slot{fixture.Slot(0, 1), fixture.Slot(1, 2), fixture.Slot(2, 4)})
			test.edit(&l, r)
			if got := weighed(raid1.Weigh(l, fixture.Roles(l), r)); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func weighed(e raid1.Evidence) string {
	var text strings.Builder
	bits := ""
	for i, s := range e.Slots {
		switch {
		case e.Old[i]:
			text.WriteByte('o')
		case e.Lost[i]:
			text.WriteByte('l')
		case s.Super == (raidmeta.Super{}):
			text.WriteByte('-')
		default:
			text.WriteByte('=')
			if bits == "" && s.Bitmap.Stale {
				bits = "stale"
			} else if bits == "" {
				bits = hex(s.Bitmap.Bits)[:2]
			}
		}
	}
	if e.Unused {
		bits = "unused"
	}
	return text.String() + " " + bits
}

// filling lets an operation fill all plexes but the first, whose event count stays behind. It has filled the second up to offset.
func filling(l *catalog.LUN, r []raid1.Read, offset uint64) {
	l.Operation = &catalog.Operation{Plexes: []uuid.UUID{l.Plexes[1].ID, l.Plexes[2].ID}}
	r[0].Slot.Super.Events = 3
	r[1].Slot.Super.RecoveryOffset, r[2].Slot.Super.RecoveryOffset = offset, 0
}

// next makes the metadata of a plex that of the run after its own.
func next(r []raid1.Read, i int) {
	r[i].Slot.Bitmap.Run.Number++
	r[i].Slot.Bitmap.Run.Nonce += 5
}

// none invalidates the current metadata of plexes.
func none(r []raid1.Read, plexes ...int) {
	for _, i := range plexes {
		r[i].Slot, r[i].Err = raidmeta.Slot{}, raidmeta.ErrNoMagic
	}
}

// prior gives all plexes prior metadata, with these bits.
func prior(l *catalog.LUN, r []raid1.Read, bits ...byte) {
	for i := range r {
		l.Plexes[i].Prior, r[i].Prior = true, fixture.Slot(i, bits...)
		r[i].Prior.Bitmap.Run.LUN = r[i].Slot.Bitmap.Run.LUN
	}
}

// stale makes the bitmaps of all prior metadata unusable.
func stale(r []raid1.Read) []bool {
	for i := range r {
		r[i].Prior.Bitmap.Stale = true
	}
	return nil
}

// failed lets the other plexes call one failed in the prior metadata.
func failed(r []raid1.Read, leg int) {
	for i := range r {
		if i != leg {
			r[i].Prior.Super.FailedDevices, r[i].Prior.Super.Events, r[i].Prior.Bitmap.Events = 1<<leg, 10, 10
		}
	}
}

// A mirror none of whose plexes can be believed is not started, and the error says why and what to do.
func TestEarlierCopiesAreNoSource(t *testing.T) {
	l := fixture.Mirrored(2)
	all := reads(l, []raidmeta.Slot{fixture.Slot(0), fixture.Slot(1)})
	l.Plexes[0].Run.Number, l.Plexes[1].Run.Number = 3, 3
	_, err := raid1.Start(l, fixture.Roles(l), all)
	if !errors.Is(err, vds.ErrObjectStatusFailed) || !strings.Contains(err.Error(), "earlier copy") || !strings.Contains(vds.HintOf(err), "--keep") {
		t.Errorf("%v, hint %q", err, vds.HintOf(err))
	}
	if best := raid1.Best(l, fixture.Roles(l), all); best != 0 {
		t.Errorf("plex %d is the best of two equal ones", best)
	}
	all[1].Slot.Bitmap.Run.Number++
	if best := raid1.Best(l, fixture.Roles(l), all); best != 1 {
		t.Errorf("plex %d is the best, want the one of the later run", best)
	}
}

// Prior metadata that cannot be read may say that a plex has failed.
func TestPriorMetadataMustBeReadable(t *testing.T) {
	l := fixture.Mirrored(2)
	all := reads(l, []raidmeta.Slot{fixture.Slot(0), fixture.Slot(1)})
	prior(&l, all)
	all[0].Prior, all[0].PriorErr = raidmeta.Slot{}, errors.New("input/output error")
	if _, err := raid1.Start(l, fixture.Roles(l), all); !errors.Is(err, vds.ErrObjectStatusFailed) {
		t.Errorf("%v", err)
	}
	all[1].Slot.Super.Events++ // the kernel has gone over
	all[0].Slot.Super.Events++
	if _, err := raid1.Start(l, fixture.Roles(l), all); err != nil {
		t.Error(err)
	}
}

// The bitmaps of the others tell what a plex lacks only if it is the one that went away.
func TestKnows(t *testing.T) {
	p := fixture.Mirrored(2).Plexes[1]
	p.Run = catalog.Run{Number: 4, Nonce: 77}
	st := fixture.Legs("AD", fixture.AsTheyAre)
	for name, test := range map[string]struct {
		edit func(s *raidmeta.Slot)
		want bool
	}{
		"as it went":        {func(*raidmeta.Slot) {}, true},
		"earlier":           {func(s *raidmeta.Slot) { s.Bitmap.Run.Number-- }, false},
		"of another run":    {func(s *raidmeta.Slot) { s.Bitmap.Run.Nonce++ }, false},
		"before the bits":   {func(s *raidmeta.Slot) { s.Super.Events = 0 }, false},
		"without a content": {func(s *raidmeta.Slot) { *s = raidmeta.Slot{} }, false},
	} {
		meta := fixture.Slot(1)
		meta.Bitmap.Run = raidmeta.Run{Number: 4, Nonce: 77}
		test.edit(&meta)
		if got := st.Knows(p, meta); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
