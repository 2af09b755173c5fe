package catalog

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/vds"
)

func goldenSeed(f *testing.F, name string) []byte {
	f.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// FuzzLabel decodes any block, once as it is and once with its checksum put right. What is taken encodes to the same bytes.
func FuzzLabel(f *testing.F) {
	f.Add(goldenSeed(f, "label.bin"))
	f.Add([]byte(labelMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := make([]byte, blockSize)
		copy(b, data)
		for range 2 {
			if l, err := decodeLabel(b); err == nil {
				again, err := encodeLabel(l)
				if err != nil || !bytes.Equal(again, b) {
					t.Errorf("%+v does not encode to the bytes it was decoded from (%v)", l, err)
				}
			}
			sealLabel(b)
		}
	})
}

// FuzzSlot decodes any slot. What is taken and valid comes back the same from another round.
func FuzzSlot(f *testing.F) {
	f.Add(goldenSeed(f, "slot.bin"))
	f.Add(goldenSeed(f, "slot-stale.bin"))
	f.Add(goldenSeed(f, "slot-leaving.bin"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := make([]byte, max(len(data), slotBody))
		copy(b, data)
		if used, err := slotLen(b); err == nil && (used < slotBody || used > int(slotSize)) {
			t.Fatalf("%d bytes in use", used)
		}
		if fr, err := decodeSlot(driveID(1), b); err == nil {
			checkBody(t, fr.body)
		}
	})
}

// FuzzBody decodes and validates any JSON, as it would be in an intact slot.
func FuzzBody(f *testing.F) {
	for _, name := range []string{"slot.bin", "slot-stale.bin", "slot-leaving.bin"} {
		slot := goldenSeed(f, name)
		used, err := slotLen(slot)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(slot[slotBody:used])
	}
	f.Add([]byte(`{"luns":[{"id":"01000000-0000-0000-0000-000000000001"}]}`))
	f.Add([]byte(`{"luns":[{"operation":{"source":{"operation":{}}}},{}]}`))
	f.Add([]byte(`{"luns":[` + strings.Repeat(`{},`, 5000) + `{}]}`))
	f.Add([]byte(`{"luns":[{"plexes":[` + strings.Repeat(`{}                  ,`, 300) + `{}]}]}`))
	f.Add([]byte(`{"luns":` + strings.Repeat(`[`, 100)))
	f.Add([]byte(`{"luns":[{"name":"\u001b]0;x\u0007` + strings.Repeat(`x`, 600) + `"}]}`))
	f.Add([]byte(`{"luns":[{"name":"\\`))
	f.Add([]byte(`{"luns":[{"departure":{"made":{"departure":{}},"operation":{"source":{}}}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= maxBody {
			checkBody(t, data)
		}
	})
}

// checkBody decodes the JSON of a slot and, when it is a valid catalog, expects it to survive a round trip.
func checkBody(t *testing.T, text []byte) {
	luns, err := decodeBody(text)
	if err != nil {
		return
	}
	c := Catalog{Sequence: 1, LUNs: luns}
	if c.Validate(testLabel(1)) != nil {
		return
	}
	b, err := encodeSlot(testLabel(1), c)
	if err != nil {
		return // it does not fit
	}
	fr, err := decodeSlot(driveID(1), b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := decodeBody(fr.body)
	if diff := cmp.Diff(luns, again, equateEmpty); diff != "" || err != nil {
		t.Errorf("%v, records (-want +got):\n%s", err, diff)
	}
}

// FuzzReadDrive has any bytes in place of labels and of the newest slot, with and without right checksums. A drive that is
// read can be written, repaired and read again.
func FuzzReadDrive(f *testing.F) {
	label, slot := goldenSeed(f, "label.bin"), goldenSeed(f, "slot.bin")
	f.Add(label, label, slot, uint8(0))
	f.Add([]byte{}, label, slot[slotBody:], uint8(7))
	f.Add(label, label, goldenSeed(f, "slot-stale.bin")[slotBody:], uint8(12))
	f.Add(label, label, goldenSeed(f, "slot-leaving.bin")[slotBody:], uint8(12))
	f.Add([]byte{}, []byte{}, []byte(`{"luns":[]}`), uint8(12))
	whole, _ := newDrive(f, 1)
	f.Fuzz(func(t *testing.T, head, tail, body []byte, flags uint8) {
		m := whole.clone()
		damageLabel(m, atHeadLabel, head, flags&1 != 0)
		damageLabel(m, atTailLabel, tail, flags&2 != 0)
		if len(body) <= maxBody && flags&4 != 0 {
			m.putSlotLong(atHeadB, body, flags&8 != 0)
		}
		d, err := ReadDrive(m, testDriveSize)
		if err != nil {
			return
		}
		luns := d.Catalog.LUNs
		if err := d.Repair(m, false); err != nil {
			t.Fatalf("repair of what was read: %v", err)
		}
		again, err := ReadDrive(m, testDriveSize)
		if err != nil || again.HeadLost {
			t.Fatalf("after repair: %v, head lost %t", err, again.HeadLost)
		}
		if diff := cmp.Diff(sortedLUNs(luns), again.Catalog.LUNs, equateEmpty); diff != "" {
			t.Errorf("records after repair (-want +got):\n%s", diff)
		}
	})
}

// damageLabel overwrites the start of a label.
func damageLabel(m *media, at int64, data []byte, seal bool) {
	b := slices.Clone(m.blocks[at])
	copy(b, data)
	if seal {
		sealLabel(b)
	}
	m.blocks[at] = b
}

// putSlotLong writes a slot of drive 1 with sequence 9 and any text as its JSON.
func (m *media) putSlotLong(at int64, text []byte, seal bool) {
	used := slotBody + len(text)
	b := make([]byte, (used+blockSize-1)/blockSize*blockSize)
	empty, _ := encodeSlot(testLabel(1), Catalog{Sequence: 9})
	copy(b, empty[:slotBody])
	copy(b[slotBody:], text)
	binary.LittleEndian.PutUint32(b[slotLength:], uint32(len(text)))
	if seal {
		sealSlot(b)
	}
	m.store(at, b)
}

// drawLUN is any sound record: of one of a few LUNs, with plexes of a few, in a few places of a few drives, so that records
// contradict each other in every way but one: two LUNs have not absorbed each other.
func drawLUN(t *rapid.T) LUN {
	number := rapid.IntRange(1, 4).Draw(t, "lun")
	l := testLUN(number, rapid.Uint64Range(1, 4).Draw(t, "generation"))
	l.Name = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
	l.Deleted = rapid.IntRange(0, 5).Draw(t, "deleted") == 0
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 5), 1, 3, rapid.ID[int]).Draw(t, "plexes") {
		place := rapid.SampledFrom([]int{4, 8, 13, 22, 31, 40, 49, 58}).Draw(t, "place")
		l.Plexes = append(l.Plexes, testPlex(n, rapid.IntRange(1, 4).Draw(t, "drive"), place, 8))
	}
	drawStanding(t, &l)
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(number+1, 6), 0, 2, rapid.ID[int]).Draw(t, "absorbed") {
		l.Absorbed = append(l.Absorbed, Tombstone{LUN: lunID(n), Generation: rapid.Uint64Range(1, 4).Draw(t, "until")})
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(1, 5), 0, 1, rapid.ID[int]).Draw(t, "former") {
		l.Former = append(l.Former, driveID(n))
	}
	return l
}

// drawStanding says of each plex of l but the first whether it is stale or being filled.
func drawStanding(t *rapid.T, l *LUN) {
	var filled []uuid.UUID
	for i := range l.Plexes[1:] {
		p := &l.Plexes[i+1]
		switch rapid.IntRange(0, 3).Draw(t, "standing") {
		case 0:
			p.Stale = true
		case 1:
			filled = append(filled, p.ID)
		}
	}
	if !l.Deleted && rapid.Bool().Draw(t, "busy") {
		l.Operation = &Operation{ID: opID(1), Type: vds.AsyncRecoverLUN, Plexes: filled, Queued: len(filled) > 1}
	}
}

// drawDrives is drives with any records that a drive can hold, two drives now and then of one GUID.
func drawDrives(t *rapid.T) []Drive {
	var drives []Drive
	for n := range rapid.IntRange(1, 4).Draw(t, "drives") {
		number := n + 1
		if n == 3 {
			number = rapid.IntRange(1, 4).Draw(t, "number")
		}
		d := drive(number)
		for range rapid.IntRange(0, 5).Draw(t, "records") {
			more := drive(number, append(d.Catalog.LUNs, drawLUN(t))...)
			if more.Catalog.Validate(more.Label) == nil {
				d = more
			}
		}
		d.HeadLost = rapid.IntRange(0, 9).Draw(t, "head lost") == 0
		drives = append(drives, d)
	}
	return drives
}

// checkMerge has the promises of Merge and Heal that hold for whatever the drives say.
func checkMerge(t *rapid.T) {
	drives := drawDrives(t)
	s := Merge(drives)
	checkSame(t, s, Merge(rapid.Permutation(drives).Draw(t, "order")))
	checkUsableApart(t, s)
	checkBlockedUntouched(t, s)
	for id, luns := range s.Heal() {
		err := (Catalog{Sequence: 2, LUNs: luns}).Validate(s.drives[id].Label)
		if err != nil && len(s.blocked) == 0 { // beside a LUN that cannot be used it may not fit; nothing is written then
			t.Errorf("heal drive %s: %v", id, err)
		}
	}
	for _, l := range s.LUNs {
		if next := s.Next(l); next.Generation <= l.Generation || next.Validate() != nil {
			t.Errorf("next of %s: generation %d, %v", l.title(), next.Generation, next.Validate())
		}
	}
	if len(s.blocked) == 0 && inherited(s) {
		checkConverges(t, drives, func(ids []uuid.UUID) []uuid.UUID { return rapid.Permutation(ids).Draw(t, "healed") })
	}
}

// inherited reports whether tombstones were handed down as Next sees to: from a record to the next of its LUN, and from a
// LUN to the one that absorbs it, as long as there is something that they are for.
func inherited(s Set) bool {
	for _, g := range s.groups {
		by := s.absorbed[g.winner.ID].by
		for _, l := range g.records {
			for _, t := range l.Absorbed {
				heir := g.winner
				if s.isAbsorbed(g.winner) {
					heir = s.groups[by].winner
				}
				if s.mayReturn(t) && !heir.absorbs(LUN{ID: t.LUN, Generation: t.Generation}) {
					return false
				}
			}
		}
	}
	return true
}

func TestMergeAnything(t *testing.T) { rapid.Check(t, checkMerge) }

func FuzzMerge(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkMerge)) }

// failer is testing.TB or rapid.T.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// checkUsableApart expects LUNs that can be used to claim different sectors.
func checkUsableApart(t failer, s Set) {
	t.Helper()
	var claims []claim
	for _, l := range s.LUNs {
		if s.Usable(l.ID) {
			claims = append(claims, claimsOf(&l)...)
		}
	}
	for a, b := range overlaps(claims) {
		t.Errorf("both can be used: %s and %s", a, b)
	}
}
