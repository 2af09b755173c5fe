package host

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// metaLength is the length of an extent for a plex's two metadata slots.
const metaLength = size.Sectors(2 * raidmeta.SlotSize / size.Sector)

// Room is the free space of a drive.
func (h *Host) Room(id uuid.UUID) size.Sectors {
	var sum size.Sectors
	for _, e := range h.Set.Free(id) {
		sum += e.Length
	}
	return sum
}

// Allocate finds space for a plex of length sectors. It fills the named drives one after the other, as VDS CreateLun does.
// Without names it uses the one drive with the most free space.
func (h *Host) Allocate(length size.Sectors, drives []uuid.UUID) (catalog.Plex, error) {
	on := drives
	if len(on) == 0 {
		on = h.DriveWithMostFree()
	}
	plex := catalog.Plex{ID: uuid.New(), Slot: catalog.SlotA}
	if need := h.fill(&plex, length, on); need > 0 || len(plex.Data) > catalog.MaxExtents {
		return catalog.Plex{}, h.noSpace(length, drives)
	}
	return plex, nil
}

// Most is the length that a plex can have on these drives, with what it has already. An empty one is a new plex. Without drives it
// is that on the drive with the most free space.
func (h *Host) Most(p catalog.Plex, drives []uuid.UUID) size.Sectors {
	if len(drives) == 0 {
		drives = h.DriveWithMostFree()
	}
	p.Data = slices.Clone(p.Data)
	h.fill(&p, catalog.MaxSize.Sectors(), drives)
	var length size.Sectors
	for _, e := range p.Data[:min(len(p.Data), catalog.MaxExtents)] {
		length += e.Length
	}
	return length
}

// AllocateOnOne finds space for a plex of length sectors on the first of the drives that has room for all of it.
func (h *Host) AllocateOnOne(length size.Sectors, drives []uuid.UUID) (catalog.Plex, error) {
	best := drives[:1]
	for _, id := range drives {
		if plex, err := h.Allocate(length, []uuid.UUID{id}); err == nil {
			return plex, nil
		}
		if h.Room(id) > h.Room(best[0]) {
			best = []uuid.UUID{id}
		}
	}
	return catalog.Plex{}, h.noSpace(length, best)
}

// fill adds free space of the drives to a plex, one after the other, and returns the sectors that it still needs. A plex without
// metadata slots gets them first.
func (h *Host) fill(p *catalog.Plex, need size.Sectors, drives []uuid.UUID) size.Sectors {
	for _, id := range drives {
		for _, run := range h.Set.Free(id) {
			if p.Meta.Length == 0 {
				p.Meta = catalog.Extent{Drive: id, Start: run.Start, Length: metaLength}
				run.Start, run.Length = run.Start+metaLength, run.Length-metaLength
			}
			if n := min(need, run.Length); n > 0 {
				p.Data = appendRun(p.Data, catalog.Extent{Drive: id, Start: run.Start, Length: n})
				need -= n
			}
		}
	}
	return need
}

// GrowPlex is a plex of l with space for all of l. It uses the named drives that hold no other plex of l, and then the plex's
// own drives. A plex of a mirror stays on its drive.
func (h *Host) GrowPlex(l catalog.LUN, p catalog.Plex, named []uuid.UUID) (catalog.Plex, error) {
	others := record.Without(l, p.ID).Drives()
	drives := drivesToGrow(record.PlexDrives(p), others, named)
	need := l.Size
	for _, e := range p.Data {
		need -= min(need, e.Length)
	}
	next := p
	next.Data = slices.Clone(p.Data)
	need = h.fill(&next, need, drives)
	if need == 0 && len(next.Data) <= catalog.MaxExtents {
		return next, nil
	}
	hint := "`plexctl lun extend " + l.Name + " --size max` takes all room that there is"
	if len(others) > 0 {
		hint = "put the plex on a larger drive: add one there with `plexctl plex add`, then remove this one"
	}
	return p, record.LUNFault(vds.ErrNotEnoughSpace, "extend", l.Name, "plex "+p.ID.String()+" can have "+h.Most(p, drives).String()+" there, and no more", hint)
}

// MostFor is how large l can become: as large as each of its plexes can.
func (h *Host) MostFor(l catalog.LUN, named []uuid.UUID) size.Sectors {
	most := catalog.MaxSize.Sectors()
	for _, p := range l.Copies() {
		most = min(most, h.Most(p, drivesToGrow(record.PlexDrives(p), record.Without(l, p.ID).Drives(), named)))
	}
	return most
}

// drivesToGrow returns the drives on which a plex can grow, in the order of their use: those named, then its own ones. The
// drives in others hold other plexes of the LUN and are left out. If there are any, the plex stays on its own drives.
func drivesToGrow(own, others, named []uuid.UUID) []uuid.UUID {
	var drives []uuid.UUID
	for _, id := range slices.Concat(named, own) {
		if !slices.Contains(others, id) && !slices.Contains(drives, id) && (len(others) == 0 || slices.Contains(own, id)) {
			drives = append(drives, id)
		}
	}
	return drives
}

// appendRun appends an extent. If it follows the last one directly, the last one grows instead.
func appendRun(extents []catalog.Extent, e catalog.Extent) []catalog.Extent {
	if last := len(extents) - 1; last >= 0 && extents[last].Drive == e.Drive && extents[last].End() == e.Start {
		extents[last].Length += e.Length
		return extents
	}
	return append(extents, e)
}

// DriveWithMostFree is a list of one drive: the one with the most free space among all drives but these. The list is empty when
// there is no such drive.
func (h *Host) DriveWithMostFree(but ...uuid.UUID) []uuid.UUID {
	var best []uuid.UUID
	var most size.Sectors
	for id, d := range h.Drives {
		if d.Store.HeadLost || d.Unwritable() != nil || slices.Contains(but, id) {
			continue
		}
		if room := h.Room(id); room > most || (room == most && len(best) == 1 && id.String() < best[0].String()) {
			best, most = []uuid.UUID{id}, room
		}
	}
	return best
}

// noSpace is why a new plex does not fit on the named drives, or without names on any.
func (h *Host) noSpace(length size.Sectors, named []uuid.UUID) error {
	room := h.Most(catalog.Plex{}, named)
	err := &vds.Error{
		Code: vds.ErrNotEnoughSpace, Op: "allocate", Object: length.String(),
		Hint: "name a drive with more room, or make one with `plexctl drive init DEVICE`",
	}
	most := h.DriveWithMostFree()
	switch {
	case len(h.Drives) == 0:
		err.Code, err.Reason, err.Hint = vds.ErrNotEnoughDrive, "there is no drive", "make one with `plexctl drive init DEVICE`"
	case len(named) > 1:
		err.Reason = "the named drives have room for " + room.String() + " together"
	case len(named) == 1:
		err.Reason = fmt.Sprintf("drive %s has room for %s", h.Drives[named[0]].Info.Path, room)
	case len(most) == 1:
		err.Reason = fmt.Sprintf("the drive with the most room, %s, has room for %s", h.Drives[most[0]].Info.Path, room)
		err.Hint = "make room, or make another drive with `plexctl drive init DEVICE`"
	default:
		return h.noneWritable(err)
	}
	return err
}

// noneWritable says why no drive can be written; no if none says so itself.
func (h *Host) noneWritable(no *vds.Error) error {
	for _, d := range h.Drives {
		if err := d.Unwritable(); err != nil {
			return err
		}
	}
	no.Reason = "no drive can be written"
	return no
}
