package raid1

import (
	"hash/crc32"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// Read is the result of reading the metadata of a plex. On an error, a Slot has the fields that could be decoded; see
// raidmeta.DecodeSlot. A plex that takes no part has the zero Read.
type Read struct {
	Slot raidmeta.Slot // the current one
	Err  error

	Prior    raidmeta.Slot // the other one, if it is evidence; see catalog.Plex.Prior
	PriorErr error

	// Changed says that a device of the plex is another one than its drive was on, by what it says of itself. So it may be a copy.
	Changed bool
}

// Evidence is what the metadata of all plexes that take part tells together, one element for each plex of the LUN.
type Evidence struct {
	// Slots is the metadata to believe; the zero Slot where a plex has none, or none that counts.
	Slots []raidmeta.Slot
	// Old says that a plex is an earlier copy of itself. It has to get everything, and nothing is read from it until then.
	Old []bool
	// Lost says that a plex failed after the record was written, on the table before.
	Lost []bool
	// Unused says that no plex has current metadata that can be used, and that none is Old: an interrupted change has invalidated
	// the metadata.
	Unused bool
}

// lag is by how many events the superblocks of legs that are all in sync may differ after a crash. The kernel writes them one
// after the other, and counts once or twice for each change of a leg (drivers/md/md.c, md_update_sb).
const lag = 2

// Weigh decides which metadata counts.
//
//   - The current metadata of a plex must be of the run that the record names. It may also be of the run after that: plexctl writes
//     it before it commits the run, and the kernel uses it after. Any other run shows an earlier copy of the plex.
//   - So does an event count that is lower than a crash can explain, unless the other plexes say that the plex has failed. A plex
//     that is being filled does not count here: it cannot go on without its source, but the kernel counts on for it.
//   - A plex on a changed device is an earlier copy, too, while another plex holds the data.
//   - The prior metadata of this LUN counts too, while it is not known that the kernel has gone over to the current one. A plex that
//     it calls failed is Lost. The regions to copy are those of both.
func Weigh(l catalog.LUN, roles record.Roles, reads []Read) Evidence {
	e := Evidence{Slots: make([]raidmeta.Slot, len(reads)), Old: make([]bool, len(reads)), Lost: make([]bool, len(reads))}
	for _, i := range roles.Taking() {
		slot := reads[i].Slot
		if slot.Super == (raidmeta.Super{}) {
			continue
		}
		newest := newestOf(able(roles, reads, slot.Bitmap.Run))
		lags := slot.Super.Events+lag < newest.Events && !newest.CallsFailed(slot.Super)
		if lags || !inRun(l, l.Plexes[i].Run, slot.Bitmap.Run) {
			e.Old[i] = roles[i] == record.Source
		} else {
			e.Slots[i] = slot
		}
	}
	e.dropCopies(l, roles, reads)
	e.addPrior(l, roles, reads)
	e.Unused = !slices.ContainsFunc(e.candidates(roles), func(i int) bool { return e.Slots[i].Super != (raidmeta.Super{}) }) &&
		!slices.Contains(e.Old, true)
	return e
}

// dropCopies takes plexes on changed devices for earlier copies, while another plex holds the data. No counter tells a clone that was
// made while the LUN was in use.
func (e *Evidence) dropCopies(l catalog.LUN, roles record.Roles, reads []Read) {
	complete, _ := Sources(l, roles, e.Slots)
	if !slices.ContainsFunc(complete, func(i int) bool { return !reads[i].Changed }) {
		return
	}
	for _, i := range complete {
		if reads[i].Changed {
			e.Slots[i], e.Old[i] = raidmeta.Slot{}, roles[i] == record.Source
		}
	}
}

// addPrior adds what the prior metadata says.
func (e *Evidence) addPrior(l catalog.LUN, roles record.Roles, reads []Read) {
	if used(e.Slots) {
		return
	}
	prior := e.prior(l, roles, reads)
	newest := newestOf(prior)
	if newest == (raidmeta.Super{}) {
		return
	}
	for i, s := range prior {
		super := s.Super
		if super == (raidmeta.Super{}) {
			continue
		}
		if newest.CallsFailed(super) || super.RecoveryOffset != raidmeta.InSync || super.Events+lag < newest.Events {
			e.Lost[i], e.Slots[i], prior[i] = true, raidmeta.Slot{}, raidmeta.Slot{}
		}
	}
	e.addBits(l, prior)
}

// prior is the prior metadata that is evidence. Metadata of another LUN is of an attach that has failed.
func (e *Evidence) prior(l catalog.LUN, roles record.Roles, reads []Read) []raidmeta.Slot {
	prior := make([]raidmeta.Slot, len(reads))
	for i, role := range roles {
		if slot := reads[i].Prior; role == record.Source && l.Plexes[i].Prior && !e.Old[i] && slot.Bitmap.Run.LUN == tag(l.ID) {
			prior[i] = slot
		}
	}
	return prior
}

// addBits adds the regions to copy by the bitmaps of prior metadata. If none of them can be used, everything is copied.
func (e *Evidence) addBits(l catalog.LUN, prior []raidmeta.Slot) {
	var bits raidmeta.Bits
	for _, s := range prior {
		if !s.Tracks() {
			continue
		}
		if bits == nil {
			bits = NoRegions(l)
		}
		bits.Or(s.Bitmap.Bits.Regrid(s.Bitmap.RegionSize, l.RegionSize, raidmeta.Regions(l.Size, l.RegionSize)))
	}
	for i := range e.Slots {
		b := &e.Slots[i].Bitmap
		switch {
		case bits == nil:
			b.Stale = true
		case len(b.Bits) == len(bits):
			b.Bits = slices.Clone(b.Bits)
			b.Bits.Or(bits)
		}
	}
}

// able is the current metadata of one run of the plexes that could take writes without the others.
func able(roles record.Roles, reads []Read, run raidmeta.Run) []raidmeta.Slot {
	var slots []raidmeta.Slot
	for i, r := range reads {
		filled := roles[i] == record.Source || r.Slot.Super.RecoveryOffset == raidmeta.InSync
		if filled && r.Slot.Bitmap.Run == run {
			slots = append(slots, r.Slot)
		}
	}
	return slots
}

// used reports whether the kernel has used metadata since plexctl wrote it.
func used(slots []raidmeta.Slot) bool {
	for _, s := range slots {
		if s.Super != (raidmeta.Super{}) && s.Super.Events > s.Bitmap.Run.Events {
			return true
		}
	}
	return false
}

// OldPlexes is the plexes of l that are earlier copies of themselves.
func (e Evidence) OldPlexes(l catalog.LUN) []uuid.UUID {
	var old []uuid.UUID
	for i, p := range l.Plexes {
		if e.Old[i] {
			old = append(old, p.ID)
		}
	}
	return old
}

// candidates is the plexes that hold all of the data by the record, and of which nothing says otherwise.
func (e Evidence) candidates(roles record.Roles) []int {
	var all []int
	for i, role := range roles {
		if role == record.Source && !e.Old[i] && !e.Lost[i] {
			all = append(all, i)
		}
	}
	return all
}

// Best is the plex to believe when force is used and none counts. It is one that holds all of the data by the record. Of these it is
// the one of the latest run, and in that the one with the most events. -1 when no plex that takes part has metadata of the LUN.
func Best(l catalog.LUN, roles record.Roles, reads []Read) int {
	best := -1
	for i, role := range roles {
		slot := reads[i].Slot
		if role != record.Source || slot.Super == (raidmeta.Super{}) || slot.Bitmap.Run.LUN != tag(l.ID) {
			continue
		}
		if best < 0 || later(slot, reads[best].Slot) {
			best = i
		}
	}
	return best
}

func later(a, b raidmeta.Slot) bool {
	if a.Bitmap.Run.Number != b.Bitmap.Run.Number {
		return a.Bitmap.Run.Number > b.Bitmap.Run.Number
	}
	return a.Super.Events > b.Super.Events
}

// inRun reports whether metadata is of the recorded run, or of the one after it, which was never committed. A plex that was split off
// has the metadata of a run of the LUN before.
func inRun(l catalog.LUN, recorded catalog.Run, have raidmeta.Run) bool {
	return have.Number == recorded.Number && have.Nonce == recorded.Nonce || have.Number == recorded.Number+1 && have.LUN == tag(l.ID)
}

// Stamp writes the runs of l's plexes into their metadata. All of slots are written at one time.
func Stamp(l catalog.LUN, slots []raidmeta.Slot) {
	events := newestOf(slots).Events
	for i, p := range l.Plexes {
		slots[i].Bitmap.Run = raidmeta.Run{Number: p.Run.Number, LUN: tag(l.ID), Nonce: p.Run.Nonce, Events: events}
	}
}

// tag tells LUNs apart in their metadata.
func tag(lun uuid.UUID) uint32 { return crc32.Checksum(lun[:], crc32.MakeTable(crc32.Castagnoli)) }
