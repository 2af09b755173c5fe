package lun_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

// cell is one block of a volume that a user has written to. Versions are stamps; 0 stands for any content.
type cell struct {
	maybe []uint64 // what a read may give now: one of these in each sector
	lost  []uint64 // what it may give besides, after a power cut: versions that were written over and not flushed since
	ever  []uint64 // all there were
}

// wrote notes a write, which a failure may have kept from any part of the block.
func (c *cell) wrote(stamp uint64, acknowledged bool) {
	c.ever = append(c.ever, stamp)
	if !acknowledged {
		c.maybe = append(c.maybe, stamp)
		return
	}
	c.lost = append(c.lost, c.maybe...)
	c.maybe = []uint64{stamp}
}

// check says what is wrong with what was read, "" when nothing is.
func (c *cell) check(b []byte) string {
	if slices.Contains(c.maybe, 0) {
		return ""
	}
	for off := 0; off < len(b); off += 8 {
		if stamp := binary.LittleEndian.Uint64(b[off:]); !slices.Contains(c.maybe, stamp) {
			return fmt.Sprintf("holds %d at byte %d, want one of %v", stamp, off, c.maybe)
		}
	}
	return ""
}

// volume is what is known of the content of a LUN.
type volume struct {
	cells map[int64]*cell
	twin  uuid.UUID // the LUN that this one was split off, whose writes it may get until it has a device
}

func newVolume() *volume { return &volume{cells: map[int64]*cell{}} }

func (v *volume) cell(at int64) *cell {
	if v.cells[at] == nil {
		v.cells[at] = &cell{maybe: []uint64{0}, ever: []uint64{0}}
	}
	return v.cells[at]
}

// flushed notes that everything that was acknowledged is there for good.
func (v *volume) flushed() {
	for _, c := range v.cells {
		c.lost = nil
	}
}

// cut notes a power cut.
func (v *volume) cut() {
	for _, c := range v.cells {
		c.maybe, c.lost = slices.Concat(c.lost, c.maybe), nil
	}
}

// forced notes that the volume was started from a copy that may be of any age.
func (v *volume) forced() {
	for _, c := range v.cells {
		c.maybe, c.lost = slices.Clone(c.ever), nil
	}
}

// clone is the volume as it is now.
func (v *volume) clone() *volume {
	c := newVolume()
	for at, old := range v.cells {
		c.cells[at] = &cell{maybe: slices.Clone(old.maybe), lost: slices.Clone(old.lost), ever: slices.Clone(old.ever)}
	}
	return c
}

// part is what a LUN holds that was split off v, of which before is a clone from before the split: what v held then, or
// has got since.
func (v *volume) part(before *volume) *volume {
	p := before.clone()
	for at, now := range v.cells {
		c := p.cell(at)
		for _, stamp := range now.ever {
			if !slices.Contains(c.ever, stamp) {
				c.maybe, c.ever = append(c.maybe, stamp), append(c.ever, stamp)
			}
		}
	}
	return p
}

// member is a LUN as the records have it, without what changes by itself: operations, and which plexes are out of date.
type member struct {
	id     uuid.UUID // Nil in what is expected of a LUN that gets its id from plexctl
	size   size.Sectors
	drives string // paths of the drives that its plexes lie on, sorted
}

// members is the LUNs that there are, by name.
type members map[string]member

// is reports whether m is what is expected.
func (m members) is(want members) bool {
	return maps.EqualFunc(m, want, func(a, b member) bool {
		if b.id == uuid.Nil {
			b.id = a.id
		}
		return a == b
	})
}

func (m members) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, fmt.Sprintf("%s %s on %s", name, m[name].size, m[name].drives))
	}
	return "[" + strings.Join(lines, "; ") + "]"
}

// with is m with one LUN more, or another in the place of one.
func (m members) with(name string, l member) members {
	m = maps.Clone(m)
	m[name] = l
	return m
}

// without is m without some LUNs.
func (m members) without(names ...string) members {
	m = maps.Clone(m)
	for _, name := range names {
		delete(m, name)
	}
	return m
}

// on is drives as members have them.
func on(drives ...string) string {
	drives = slices.Clone(drives)
	slices.Sort(drives)
	return strings.Join(drives, " ")
}
