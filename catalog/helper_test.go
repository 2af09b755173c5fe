package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// GUIDs of tests are readable: kind and number.
func driveID(n int) uuid.UUID { return testID(0xd, n) }
func lunID(n int) uuid.UUID   { return testID(0x1, n) }
func plexID(n int) uuid.UUID  { return testID(0x9, n) }
func opID(n int) uuid.UUID    { return testID(0x0, n) }

func testID(kind byte, n int) uuid.UUID {
	return uuid.UUID{0: kind, 14: byte(n >> 8), 15: byte(n)}
}

var testTime = time.Date(2024, 2, 29, 12, 30, 15, 0, time.UTC)

const testDriveSize = 64 * size.MiB

func testLabel(n int) Label {
	return Label{Drive: driveID(n), Size: testDriveSize, Host: "host-1", Created: testTime}
}

// mib is an extent in MiB.
func mib(drive, start, length int) Extent {
	return Extent{
		Drive:  driveID(drive),
		Start:  (size.Bytes(start) * size.MiB).Sectors(),
		Length: (size.Bytes(length) * size.MiB).Sectors(),
	}
}

// testPlex is a plex of length MiB whose metadata comes first.
func testPlex(id, drive, start, length int) Plex {
	return Plex{ID: plexID(id), Data: []Extent{mib(drive, start+1, length)}, Meta: mib(drive, start, 1), Slot: SlotA}
}

// testLUN is a LUN of 8 MiB with the given plexes.
func testLUN(n int, generation uint64, plexes ...Plex) LUN {
	return LUN{
		ID:         lunID(n),
		Name:       fmt.Sprintf("lun%d", n),
		Size:       (8 * size.MiB).Sectors(),
		Generation: generation,
		Plexes:     plexes,
	}
}

// attach is target as it is after AddPlex of source.
func attach(target, source LUN) LUN {
	out := target
	out.Generation++
	out.Plexes = slices.Clone(target.Plexes)
	out.Absorbed = append(slices.Clone(target.Absorbed), Tombstone{LUN: source.ID, Generation: source.Generation})
	out.Operation = &Operation{ID: opID(1), Type: vds.AsyncAddLUNPlex, Started: testTime, Source: &source}
	for _, p := range source.Plexes {
		p.Stale = false // it is filled now
		out.Plexes = append(out.Plexes, p)
		out.Operation.Plexes = append(out.Operation.Plexes, p.ID)
	}
	return out
}

// drive is a Drive as ReadDrive would return it.
func drive(n int, luns ...LUN) Drive {
	return Drive{Label: testLabel(n), Catalog: Catalog{Sequence: 1, LUNs: sortedLUNs(luns)}}
}

// effect is one call to a media: a write, or a flush when data is nil.
type effect struct {
	off  int64
	data []byte
}

// media is a device in memory. It notes every effect, so that a test can cut the power after any of them.
type media struct {
	blocks  map[int64][]byte
	effects []effect
	fail    func(n int) error // asked before the nth effect since it was set
	sloppy  bool              // a write that fails has happened all the same
	calls   int
	badRead func(off int64) bool
}

var errMedia = errors.New("input/output error")

func newMedia() *media { return &media{blocks: map[int64][]byte{}} }

func (m *media) ReadAt(p []byte, off int64) (int, error) {
	if off%blockSize != 0 || len(p)%blockSize != 0 {
		return 0, fmt.Errorf("read of %d at %d: not aligned", len(p), off)
	}
	for n := 0; n < len(p); n += blockSize {
		at := off + int64(n)
		if m.badRead != nil && m.badRead(at) {
			return n, errMedia
		}
		clear(p[n : n+blockSize])
		copy(p[n:n+blockSize], m.blocks[at])
	}
	return len(p), nil
}

func (m *media) WriteAt(p []byte, off int64) (int, error) {
	if off%blockSize != 0 || len(p)%blockSize != 0 || len(p) == 0 {
		return 0, fmt.Errorf("write of %d at %d: not aligned", len(p), off)
	}
	err := m.step()
	if err != nil && !m.sloppy {
		return 0, err
	}
	m.effects = append(m.effects, effect{off: off, data: slices.Clone(p)})
	m.store(off, p)
	return len(p), err
}

func (m *media) Sync() error {
	if err := m.step(); err != nil {
		return err
	}
	m.effects = append(m.effects, effect{})
	return nil
}

func (m *media) step() error {
	m.calls++
	if m.fail == nil {
		return nil
	}
	return m.fail(m.calls)
}

var zeroBlock = make([]byte, blockSize)

func (m *media) store(off int64, p []byte) {
	for n := 0; n < len(p); n += blockSize {
		block := p[n : n+blockSize]
		if bytes.Equal(block, zeroBlock) {
			delete(m.blocks, off+int64(n))
			continue
		}
		m.blocks[off+int64(n)] = slices.Clone(block)
	}
}

// clone is a media with the same content and nothing noted. Blocks are shared: store replaces them.
func (m *media) clone() *media { return &media{blocks: maps.Clone(m.blocks)} }

// cut is how a power cut treats writes that were not flushed.
type cut string

const (
	cutLost cut = "unflushed writes lost"
	cutKept cut = "unflushed writes kept"
	cutTorn cut = "unflushed writes torn"
	cutLast cut = "of unflushed writes the last kept"
)

var cuts = []cut{cutLost, cutKept, cutTorn, cutLast}

// after is start with the first n effects, cut there.
func after(start *media, effects []effect, n int, how cut) *media {
	out := start.clone()
	flushed := 0
	for i, e := range effects[:n] {
		if e.data == nil {
			flushed = i
		}
	}
	for i, e := range effects[:n] {
		switch {
		case e.data == nil:
		case i < flushed, how == cutKept, how == cutLast && i == n-1:
			out.store(e.off, e.data)
		case how == cutTorn:
			out.tear(e)
		}
	}
	return out
}

// tear writes every second sector of an effect.
func (m *media) tear(e effect) {
	for n := 0; n < len(e.data); n += blockSize {
		before := m.blocks[e.off+int64(n)]
		if before == nil && bytes.Equal(e.data[n:n+blockSize], zeroBlock) {
			continue
		}
		block := make([]byte, blockSize)
		copy(block, before)
		for s := 0; s < blockSize; s += 1024 {
			copy(block[s:s+512], e.data[n+s:])
		}
		m.store(e.off+int64(n), block)
	}
}

// newDrive is a media that Init has made a drive, read back.
func newDrive(t testing.TB, n int, luns ...LUN) (*media, Drive) {
	t.Helper()
	m := newMedia()
	if err := Init(m, testLabel(n)); err != nil {
		t.Fatal(err)
	}
	d := mustRead(t, m)
	if len(luns) > 0 {
		if err := d.Write(m, luns); err != nil {
			t.Fatal(err)
		}
	}
	m.effects = nil
	return m, d
}

func mustRead(t testing.TB, m Media) Drive {
	t.Helper()
	d, err := ReadDrive(m, testDriveSize)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lent is l, whose record a drive without a plex of it holds too.
func lent(l LUN, to int) LUN {
	l.Former = []uuid.UUID{driveID(to)}
	return l
}
