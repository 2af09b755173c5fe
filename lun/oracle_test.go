package lun_test

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// oracle is what the drives hold and what the kernel has, read without package lun: of each LUN the record with the highest
// generation is true, as docs/on-disk-format.md says.
type oracle struct {
	*world
	media  map[uuid.UUID]medium
	newest map[uuid.UUID]catalog.LUN // of every LUN of which a drive has a record
	luns   []catalog.LUN             // those that exist, by name
	nodes  map[devno.No]dm.Info
}

// medium is a drive past all that plexctl has opened.
type medium struct {
	*blocktest.Medium
	info    blockdev.Info
	catalog catalog.Drive
}

// oracle reads the machine of w, whose process must be alive.
func (w *world) oracle() *oracle {
	w.t.Helper()
	o := &oracle{world: w, media: map[uuid.UUID]medium{}, newest: map[uuid.UUID]catalog.LUN{}, nodes: map[devno.No]dm.Info{}}
	infos, err := w.mem.Scan(w.t.Context())
	w.must(err)
	for _, info := range infos {
		if info.DMUUID == "" {
			o.read(info)
		}
	}
	for id, l := range o.newest {
		if !l.Deleted && !o.absorbed(id, l.Generation) {
			o.luns = append(o.luns, l)
		}
	}
	slices.SortFunc(o.luns, func(a, b catalog.LUN) int { return strings.Compare(a.Name, b.Name) })
	for _, info := range w.devices() {
		o.nodes[info.Dev] = info
	}
	return o
}

// read reads the label and the catalog of a drive. A device without a label is none.
func (o *oracle) read(info blockdev.Info) {
	o.t.Helper()
	m, err := o.mem.Medium(info.Dev)
	o.must(err)
	found, err := catalog.ReadDrive(m, info.Size)
	if err != nil {
		return
	}
	o.media[found.Label.Drive] = medium{m, info, found}
	for _, l := range found.Catalog.LUNs {
		have, known := o.newest[l.ID]
		if known && have.Generation == l.Generation && !reflect.DeepEqual(have, l) {
			o.t.Errorf("two records of generation %d:\n%+v\n%+v", l.Generation, have, l)
		}
		if !known || have.Generation < l.Generation {
			o.newest[l.ID] = l
		}
	}
}

// absorbed reports whether a record says that the LUN is a plex of another now.
func (o *oracle) absorbed(id uuid.UUID, generation uint64) bool {
	for _, l := range o.newest {
		for _, t := range l.Absorbed {
			if t.LUN == id && generation <= t.Generation {
				return true
			}
		}
	}
	return false
}

// Words of a shape: before a LUN's operation, behind a plex that it fills, before whether it is queued.
const (
	during  = " during "
	filling = ":filled"
	waiting = " queued "
)

// shape is what LUNs there are, without what differs between two runs: a line for each with its size, its plexes by drive
// with a mark at those that do not hold all of the data, and its operation; and a line for each drive.
func (w *world) shape() string {
	w.t.Helper()
	o := w.oracle()
	var text strings.Builder
	for _, l := range o.luns {
		fmt.Fprintf(&text, "%s %s", l.Name, l.Size)
		for _, p := range l.Plexes {
			for _, drive := range slices.Compact(drivesOf(p)) {
				fmt.Fprintf(&text, " %s", o.media[drive].info.Path)
			}
			if p.Stale {
				fmt.Fprint(&text, ":stale")
			}
			if op := l.Operation; op != nil && slices.Contains(op.Plexes, p.ID) {
				fmt.Fprint(&text, filling)
			}
		}
		if op := l.Operation; op != nil {
			fmt.Fprintf(&text, during+"%s rate %d"+waiting+"%v", op.Type, l.MaxRate, op.Queued)
		}
		fmt.Fprintln(&text)
	}
	for _, id := range slices.SortedFunc(maps.Keys(o.media), func(a, b uuid.UUID) int {
		return strings.Compare(o.media[a].info.Path, o.media[b].info.Path)
	}) {
		fmt.Fprintf(&text, "%s of host %q\n", o.media[id].info.Path, o.media[id].catalog.Label.Host)
	}
	return text.String()
}

// drivesOf is the drives of a plex, in the order of its extents.
func drivesOf(p catalog.Plex) []uuid.UUID {
	var drives []uuid.UUID
	if p.Vacant {
		return nil
	}
	for _, e := range append(slices.Clone(p.Data), p.Meta) {
		drives = append(drives, e.Drive)
	}
	return drives
}

// inOrder checks everything that holds while no process is at work. No extent belongs to two plexes, and the drives agree. The
// kernel has the devices of the records and no others, and nothing is suspended. Every acknowledged write is there.
func (o *oracle) inOrder() {
	o.t.Helper()
	o.noOverlap()
	o.drivesAgree()
	o.kernelAgrees()
	o.verify()
	for _, l := range o.luns {
		if l.Wipe {
			o.t.Errorf("the ends of %s are still to be wiped", l.Name)
		}
		for _, p := range l.Leaving() {
			o.t.Errorf("plex %s is still leaving %s", p.ID, l.Name)
		}
		if l.Name == "web1" && o.healthy(l) {
			for i := range l.Copies() {
				o.holdsWritten(l, i)
			}
		}
	}
}

// noOverlap checks that no two extents of any plexes share a sector, and that all lie where extents may.
func (o *oracle) noOverlap() {
	o.t.Helper()
	type owned struct {
		catalog.Extent
		of string
	}
	used := map[uuid.UUID][]owned{}
	for _, l := range o.luns {
		for _, p := range slices.Concat(l.Copies(), l.Leaving()) {
			for _, e := range append(slices.Clone(p.Data), p.Meta) {
				used[e.Drive] = append(used[e.Drive], owned{e, l.Name + " " + p.ID.String()})
			}
		}
	}
	for drive, extents := range used {
		slices.SortFunc(extents, func(a, b owned) int { return int(int64(a.Start) - int64(b.Start)) })
		end, of := catalog.FirstExtent.Sectors(), "the catalog"
		for _, e := range extents {
			if e.Start < end {
				o.t.Errorf("drive %s: sector %d belongs to %s and to %s", drive, e.Start, of, e.of)
			}
			end, of = e.End(), e.of
		}
		if m, here := o.media[drive]; here && end > catalog.TailStart(m.catalog.Label.Size).Sectors() {
			o.t.Errorf("drive %s: %s lies over the end", drive, of)
		}
	}
}

// drivesAgree checks that each drive has the true record of every LUN with a plex on it and, when no drive is away that may
// need them, no others.
func (o *oracle) drivesAgree() {
	o.t.Helper()
	for id, m := range o.media {
		if m.catalog.HeadLost || len(m.catalog.Problems) > 0 {
			o.t.Errorf("%s is damaged: %v", m.info.Path, m.catalog.Problems)
		}
		want := map[uuid.UUID]uint64{}
		for _, l := range o.luns {
			if slices.Contains(l.Drives(), id) {
				want[l.ID] = l.Generation
			}
		}
		for _, l := range m.catalog.Catalog.LUNs {
			generation, wanted := want[l.ID]
			if wanted && generation != l.Generation {
				o.t.Errorf("%s has generation %d of %s, which has %d", m.info.Path, l.Generation, l.Name, generation)
			}
			if !wanted && !o.away {
				o.t.Errorf("%s has a left-over record of %s: %+v", m.info.Path, l.Name, l)
			}
			delete(want, l.ID)
		}
		if len(want) > 0 {
			o.t.Errorf("%s has no record of %v", m.info.Path, want)
		}
	}
}

// healthy reports whether every plex of l holds all of the data, as record and kernel say.
func (o *oracle) healthy(l catalog.LUN) bool {
	if l.Operation != nil || slices.ContainsFunc(l.Copies(), func(p catalog.Plex) bool { return p.Stale }) {
		return false
	}
	if len(l.Plexes) == 1 {
		return true
	}
	status, err := o.kernel.Status(o.t.Context(), "plex-"+l.Name)
	o.must(err)
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	o.must(err)
	return raid.Done == raid.Total && raid.Action == dm.ActionIdle &&
		!slices.ContainsFunc(raid.Health[:len(l.Copies())], func(h dm.LegHealth) bool { return h != dm.LegInSync })
}

// holdsWritten reads every acknowledged block of l from one of its plexes.
func (o *oracle) holdsWritten(l catalog.LUN, plex int) {
	o.t.Helper()
	got := make([]byte, block)
	for at, stamp := range o.written {
		m, off := o.locate(l.Plexes[plex], at*block)
		if _, err := m.ReadAt(got, off); err != nil {
			o.t.Fatal(err)
		}
		if stampOf(got) != stamp {
			o.t.Fatalf("block %d of plex %d holds %d, want %d", at, plex, stampOf(got), stamp)
		}
	}
}

// locate is where a byte of a plex lies.
func (o *oracle) locate(p catalog.Plex, off int64) (*blocktest.Medium, int64) {
	o.t.Helper()
	for _, e := range p.Data {
		length := int64(e.Length.Bytes())
		if off >= length {
			off -= length
			continue
		}
		m, here := o.media[e.Drive]
		if !here {
			o.t.Fatalf("plex %s: drive %s is not here", p.ID, e.Drive)
		}
		return m.Medium, int64(e.Start.Bytes()) + off
	}
	o.t.Fatalf("plex %s ends before byte %d", p.ID, off)
	return nil, 0
}

// samePlexes checks that all plexes of each LUN are equal, and that those of a tracked one have zeros wherever no bit says that
// something was written. Extents are multiples of a MiB.
func (o *oracle) samePlexes() {
	o.t.Helper()
	for _, l := range o.luns {
		switch {
		case l.Tracked():
			o.blankElsewhere(l, o.slot(l.Plexes[0]).Bitmap.Bits)
		case l.Scan != uuid.Nil:
			o.blankElsewhere(l, o.unscanned(l))
		}
	}
	const step = int64(size.MiB)
	for _, l := range o.luns {
		for i, p := range l.Copies()[1:] {
			for off := int64(0); off < int64(l.Size.Bytes()); off += step {
				first, at := o.locate(l.Plexes[0], off)
				other, there := o.locate(p, off)
				if !first.Same(at, other, there, step) {
					o.t.Fatalf("plex %d of %s differs from plex 0 in the MiB at %d", i+1, l.Name, off)
				}
			}
		}
	}
}

// unscanned is the regions of a LUN that its scan has not found to be zero, or that were written since; all regions when the
// metadata does not tell. The LUN has few regions.
func (o *oracle) unscanned(l catalog.LUN) raidmeta.Bits {
	o.t.Helper()
	p := l.Plexes[0]
	at := p.Meta.Start.Bytes()
	if p.Slot == catalog.SlotA {
		at += p.Meta.Length.Bytes() / 2
	}
	image := make([]byte, 8192)
	_, err := o.media[p.Meta.Drive].ReadAt(image, int64(at))
	o.must(err)
	bits := raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), true)
	if string(image[:14]) == "plexctl scan 1" && bytes.Equal(image[16:32], l.Scan[:]) {
		copy(bits, image[4096:])
		bits.Or(o.slot(p).Bitmap.Bits)
	}
	return bits
}

// blankElsewhere checks that a plex of a LUN has zeros in all regions without a bit. Regions are of a MiB.
func (o *oracle) blankElsewhere(l catalog.LUN, bits raidmeta.Bits) {
	o.t.Helper()
	p := l.Plexes[0]
	for i := range raidmeta.Regions(l.Size, l.RegionSize) {
		m, off := o.locate(p, int64(i)*int64(size.MiB))
		if !bits.Get(i) && !m.Blank(off, int64(size.MiB)) {
			o.t.Errorf("region %d of %s has no bit, and is not zero", i, l.Name)
		}
	}
}

func allZero(b []byte) bool { return !slices.ContainsFunc(b, func(v byte) bool { return v != 0 }) }

// slot is the current metadata of a plex.
func (o *oracle) slot(p catalog.Plex) raidmeta.Slot {
	o.t.Helper()
	at := p.Meta.Start.Bytes()
	if p.Slot == catalog.SlotB {
		at += p.Meta.Length.Bytes() / 2
	}
	image := make([]byte, 64*size.KiB)
	_, err := o.media[p.Meta.Drive].ReadAt(image, int64(at))
	o.must(err)
	slot, err := raidmeta.DecodeSlot(image)
	o.must(err)
	return slot
}
