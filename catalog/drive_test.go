package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plexctl/plexctl/size"
)

var (
	equateEmpty  = cmpopts.EquateEmpty()
	equateErrors = cmpopts.EquateErrors()
)

// ignoreState leaves out of a comparison what a Drive notes about its slots.
var ignoreState = cmp.Options{cmpopts.IgnoreUnexported(Drive{}), cmpopts.EquateErrors()}

const tailAt = int64(60 * size.MiB)

// at of labels and slots on a drive of testDriveSize.
const (
	atHeadLabel = int64(labelOffset)
	atTailLabel = tailAt + int64(labelOffset)
	atHeadA     = int64(slotOffset)
	atHeadB     = int64(slotOffset + slotSize)
	atTailA     = tailAt + atHeadA
	atTailB     = tailAt + atHeadB
)

// history is a drive whose catalogs 1 to 4 had 0 to 3 LUNs: slot A holds 3, slot B 4, in both copies.
func history(t testing.TB) (*media, Drive) {
	m, d := newDrive(t, 1)
	for n := 1; n <= 3; n++ {
		if err := d.Write(m, testLUNs(n)); err != nil {
			t.Fatal(err)
		}
	}
	m.effects = nil
	return m, d
}

// testLUNs is n LUNs on drive 1.
func testLUNs(n int) []LUN {
	var luns []LUN
	for i := range n {
		luns = append(luns, testLUN(i+1, 1, testPlex(i+1, 1, 4+9*i, 8)))
	}
	return luns
}

func TestReadDriveNew(t *testing.T) {
	m, got := newDrive(t, 1)
	want := Drive{Label: testLabel(1), Catalog: Catalog{Sequence: 1}, Device: testDriveSize}
	if diff := cmp.Diff(want, got, ignoreState); diff != "" {
		t.Errorf("drive (-want +got):\n%s", diff)
	}
	b := make([]byte, blockSize)
	if _, err := m.ReadAt(b, 0); err != nil || !isZero(b) {
		t.Errorf("first block is not zero (%v)", err)
	}
}

func TestWriteAlternatesSlots(t *testing.T) {
	m, d := newDrive(t, 1)
	want := []int64{atHeadB, atTailB, atHeadA, atTailA, atHeadB, atTailB}
	var got []int64
	for n := range 3 {
		if err := d.Write(m, testLUNs(n)); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range m.effects {
		if flush := i%2 == 1; flush != (e.data == nil) {
			t.Fatalf("effect %d is a flush: %t, want %t", i, !flush, flush)
		}
		if e.data != nil {
			got = append(got, e.off)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("offsets written (-want +got):\n%s", diff)
	}
	reread := mustRead(t, m)
	if diff := cmp.Diff(reread, d, cmp.AllowUnexported(Drive{})); diff != "" {
		t.Errorf("drive as read (-) and as kept (+):\n%s", diff)
	}
}

func TestWriteSorts(t *testing.T) {
	luns := testLUNs(3)
	luns[0], luns[2] = luns[2], luns[0]
	m, _ := newDrive(t, 1, luns...)
	if diff := cmp.Diff(testLUNs(3), mustRead(t, m).Catalog.LUNs); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestReadDriveDamaged damages a drive in one place after the other. Its catalogs are 4 (slot B) and 3 (slot A).
func TestReadDriveDamaged(t *testing.T) {
	zero := func(at int64) func(*media) { return func(m *media) { delete(m.blocks, at) } }
	flip := func(at int64) func(*media) { return func(m *media) { m.blocks[at][100] ^= 4 } }
	rubbish := func(at int64) func(*media) { return func(m *media) { copy(m.blocks[at], "garbage!") } }
	unreadable := func(at int64) func(*media) {
		return func(m *media) {
			before := m.badRead
			m.badRead = func(off int64) bool { return off == at || before != nil && before(off) }
		}
	}
	foreign := func(at int64) func(*media) {
		return func(m *media) {
			b, _ := encodeSlot(testLabel(2), Catalog{Sequence: 99})
			m.store(at, b)
		}
	}
	all := func(changes ...func(*media)) func(*media) {
		return func(m *media) {
			for _, change := range changes {
				change(m)
			}
		}
	}
	tests := map[string]struct {
		change   func(*media)
		sequence uint64
		problems []string
		headLost bool
	}{
		"nothing":                   {change: func(*media) {}, sequence: 4},
		"newest slot torn":          {change: flip(atHeadB), sequence: 4, problems: []string{"slot b: checksum"}},
		"newest slot gone":          {change: zero(atHeadB), sequence: 4},
		"newest slot overwritten":   {change: rubbish(atHeadB), sequence: 4, problems: []string{"slot b: no magic: corrupt"}},
		"newest slot unreadable":    {change: unreadable(atHeadB), sequence: 4, problems: []string{"slot b: input/output error"}},
		"slot of another drive":     {change: foreign(atHeadA), sequence: 4, problems: []string{"slot a: slot is of drive " + driveID(2).String()}},
		"copy's newest slot torn":   {change: flip(atTailB), sequence: 4, problems: []string{"slot b of the copy: checksum"}},
		"newest torn everywhere":    {change: all(flip(atHeadB), flip(atTailB)), sequence: 3, problems: []string{"slot b: checksum", "slot b of the copy: checksum"}},
		"newest gone everywhere":    {change: all(zero(atHeadB), zero(atTailB)), sequence: 3},
		"both slots torn":           {change: all(flip(atHeadA), flip(atHeadB)), sequence: 4, problems: []string{"slot a: checksum", "slot b: checksum"}},
		"copy's last slot is left":  {change: all(flip(atHeadA), flip(atHeadB), rubbish(atTailB)), sequence: 3, problems: []string{"slot a: c", "slot b: c", "slot b of the copy: no magic"}},
		"copy of label torn":        {change: flip(atTailLabel), sequence: 4, problems: []string{"copy of the label: checksum"}},
		"copy of label gone":        {change: zero(atTailLabel), sequence: 4, problems: []string{"copy of the label: no plexctl label"}},
		"copy of label unreadable":  {change: unreadable(atTailLabel), sequence: 4, problems: []string{"copy of the label: input/output"}},
		"label torn":                {change: flip(atHeadLabel), sequence: 4, headLost: true, problems: []string{"lost: checksum"}},
		"label gone":                {change: zero(atHeadLabel), sequence: 4, headLost: true, problems: []string{"lost: no plexctl label"}},
		"label overwritten":         {change: rubbish(atHeadLabel), sequence: 4, headLost: true, problems: []string{"lost: no plexctl label"}},
		"label unreadable":          {change: unreadable(atHeadLabel), sequence: 4, headLost: true, problems: []string{"lost: input/output error"}},
		"start of the drive zeroed": {change: all(zero(atHeadLabel), zero(atHeadA), zero(atHeadB)), sequence: 4, headLost: true, problems: []string{"lost"}},
		"end of the drive zeroed":   {change: all(zero(atTailLabel), zero(atTailA), zero(atTailB)), sequence: 4, problems: []string{"copy of the label"}},
		"copy is of another drive": {
			change: func(m *media) {
				b, _ := encodeLabel(testLabel(2))
				m.store(atTailLabel, b)
			},
			sequence: 4, problems: []string{"copy of the label: is of drive " + driveID(2).String()},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, _ := history(t)
			tt.change(m)
			d := mustRead(t, m)
			if d.Catalog.Sequence != tt.sequence || len(d.Catalog.LUNs) != int(tt.sequence-1) || d.HeadLost != tt.headLost {
				t.Errorf("catalog %d with %d records, head lost %t", d.Catalog.Sequence, len(d.Catalog.LUNs), d.HeadLost)
			}
			checkProblems(t, d.Problems, tt.problems)
			m.badRead = nil
			checkMended(t, m, d)
		})
	}
}

func checkProblems(t *testing.T, got []error, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("problems %v, want %q", got, want)
	}
	for i, text := range want {
		if !strings.Contains(got[i].Error(), text) || !strings.Contains(got[i].Error(), driveID(1).String()) {
			t.Errorf("problem %v, want %q with the drive", got[i], text)
		}
	}
}

// checkMended repairs the drive, writes as often as there are slots, and expects no damage to be left.
func checkMended(t *testing.T, m *media, d Drive) {
	t.Helper()
	luns := d.Catalog.LUNs
	if err := d.Repair(m, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Write(m, luns); err != nil {
			t.Fatal(err)
		}
	}
	got := mustRead(t, m)
	if len(got.Problems) > 0 || got.LabelLost() {
		t.Errorf("after repair: %v", got.Problems)
	}
	if diff := cmp.Diff(luns, got.Catalog.LUNs, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("records after repair (-want +got):\n%s", diff)
	}
}

func TestReadDriveRefuses(t *testing.T) {
	sealed := func(at int64, change func(b []byte), seal func([]byte)) func(*media) {
		return func(m *media) {
			change(m.blocks[at])
			seal(m.blocks[at])
		}
	}
	newer := func(b []byte) { binary.LittleEndian.PutUint32(b[8:], 2) }
	keep := func([]byte) {}
	flip := func(m *media, ats ...int64) {
		for _, at := range ats {
			m.blocks[at][100] ^= 4
		}
	}
	tests := map[string]struct {
		change func(*media)
		size   size.Bytes
		want   error
		text   string
	}{
		"empty device":               {change: func(m *media) { clear(m.blocks) }, want: ErrNoLabel},
		"empty small device":         {change: func(m *media) { clear(m.blocks) }, size: 4096, want: ErrNoLabel},
		"device of no size":          {change: func(m *media) { clear(m.blocks) }, size: 0, want: ErrNoLabel},
		"unreadable, not a drive":    {change: func(m *media) { clear(m.blocks); m.badRead = func(off int64) bool { return off == atHeadLabel } }, want: errMedia, text: "label: input"},
		"end unreadable":             {change: func(m *media) { clear(m.blocks); m.badRead = func(off int64) bool { return off > tailAt } }, want: errMedia, text: "copy of the label: input"},
		"all unreadable":             {change: func(m *media) { m.badRead = func(int64) bool { return true } }, want: errMedia, text: "label: input"},
		"both labels torn":           {change: func(m *media) { flip(m, atHeadLabel, atTailLabel) }, want: ErrCorrupt, text: "label"},
		"label torn, no copy":        {change: func(m *media) { flip(m, atHeadLabel); delete(m.blocks, atTailLabel) }, want: ErrCorrupt},
		"no label, copy torn":        {change: func(m *media) { delete(m.blocks, atHeadLabel); flip(m, atTailLabel) }, want: ErrCorrupt},
		"shrunk to one MiB":          {change: func(*media) {}, size: size.MiB, want: ErrTooSmall, text: driveID(1).String()},
		"head lost, shrunk":          {change: func(m *media) { delete(m.blocks, atHeadLabel) }, size: testDriveSize - size.MiB, want: ErrNoLabel},
		"head and slots lost, grown": {change: func(m *media) { clearBelow(m, tailAt) }, size: testDriveSize + size.MiB, want: ErrNoLabel},
		"newer label":                {change: sealed(atHeadLabel, newer, sealLabel), want: ErrVersion},
		"newer label, torn":          {change: sealed(atHeadLabel, newer, keep), want: ErrVersion},
		"newer copy of label":        {change: sealed(atTailLabel, newer, sealLabel), want: ErrVersion},
		"label torn, copy newer":     {change: func(m *media) { flip(m, atHeadLabel); newer(m.blocks[atTailLabel]) }, want: ErrVersion},
		"newer slot":                 {change: sealed(atHeadA, newer, sealSlot), want: ErrVersion, text: "slot a"},
		"newer slot of the copy":     {change: sealed(atTailB, newer, sealSlot), want: ErrVersion, text: "slot b of the copy"},
		"newer slot, others torn":    {change: func(m *media) { flip(m, atHeadB, atTailA, atTailB); newer(m.blocks[atHeadA]) }, want: ErrVersion},
		"newer last, others torn":    {change: func(m *media) { flip(m, atHeadA, atHeadB, atTailA); newer(m.blocks[atTailB]) }, want: ErrVersion},
		"all slots torn":             {change: func(m *media) { flip(m, atHeadA, atHeadB, atTailA, atTailB) }, want: ErrCorrupt, text: "slot b of the copy: checksum"},
		"all slots gone":             {change: func(m *media) { m.zeroSlots() }, want: ErrCorrupt, text: "slot a: slot is empty"},
		"newest makes no sense":      {change: func(m *media) { m.putSlot(atHeadA, 5, `{"luns":[{"name":"x"}]}`) }, want: ErrInvalid, text: "no GUID"},
		"newest is no JSON":          {change: func(m *media) { m.putSlot(atHeadA, 5, `{"luns":`) }, want: ErrInvalid, text: "EOF"},
		"newest with unknown field":  {change: func(m *media) { m.putSlot(atTailA, 5, `{"luns":[],"x":1}`) }, want: ErrInvalid, text: `"x"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, _ := history(t)
			tt.change(m)
			if tt.size == 0 && name != "device of no size" {
				tt.size = testDriveSize
			}
			_, err := ReadDrive(m, tt.size)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("error %v, want %v with %q", err, tt.want, tt.text)
			}
			for _, other := range []error{ErrNoLabel, ErrVersion, ErrCorrupt, ErrTooSmall} {
				if !errors.Is(tt.want, other) && errors.Is(err, other) {
					t.Errorf("error %v is also %v", err, other)
				}
			}
		})
	}
}

func clearBelow(m *media, end int64) {
	maps.DeleteFunc(m.blocks, func(at int64, _ []byte) bool { return at < end })
}

func (m *media) zeroSlots() {
	for _, at := range []int64{atHeadA, atHeadB, atTailA, atTailB} {
		delete(m.blocks, at)
	}
}

// putSlot writes a sealed slot of drive 1 with any text.
func (m *media) putSlot(at int64, sequence uint64, text string) {
	b, _ := encodeSlot(testLabel(1), Catalog{Sequence: sequence})
	clear(b[slotBody:])
	copy(b[slotBody:], text)
	binary.LittleEndian.PutUint32(b[slotLength:], uint32(len(text)))
	sealSlot(b)
	m.store(at, b)
}

func TestReadDriveGrown(t *testing.T) {
	for _, more := range []size.Bytes{size.Sector, size.MiB, size.TiB} {
		m, _ := history(t)
		d, err := ReadDrive(m, testDriveSize+more)
		if err != nil {
			t.Fatal(err)
		}
		if d.Catalog.Sequence != 4 || len(d.Problems) > 0 {
			t.Errorf("grown by %s: catalog %d, problems %v", more, d.Catalog.Sequence, d.Problems)
		}
		if err := d.Write(m, nil); err != nil {
			t.Fatal(err)
		}
		if m.effects[len(m.effects)-2].off != atTailA {
			t.Errorf("grown by %s: copy written at %d", more, m.effects[len(m.effects)-2].off)
		}
	}
}

// TestPartitionAtEnd has a drive that is the last partition of a disk: the disk shares its end, and is no drive.
func TestPartitionAtEnd(t *testing.T) {
	for _, start := range []int64{int64(size.MiB), 63 * 512 / blockSize * blockSize, blockSize} {
		part, _ := history(t)
		disk := newMedia()
		for off, b := range part.blocks {
			disk.blocks[off+start] = b
		}
		if _, err := ReadDrive(disk, testDriveSize+size.Bytes(start)); !errors.Is(err, ErrNoLabel) {
			t.Errorf("partition at %d: error %v, want %v", start, err, ErrNoLabel)
		}
	}
}
