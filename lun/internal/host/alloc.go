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
	if len(drives) == 0 {
		drives = h.DriveWithMostFree()
	}
	plex := catalog.Plex{ID: uuid.New(), Slot: catalog.SlotA}
	if need := h.fill(&plex, length, drives); need > 0 || len(plex.Data) > catalog.MaxExtents {
		return catalog.Plex{}, h.noSpace(length, drives)
	}
	return plex, nil
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
	p.Data = slices.Clone(p.Data)
	need = h.fill(&p, need, drives)
	switch {
	case need == 0 && len(p.Data) <= catalog.MaxExtents:
		return p, nil
	case len(others) > 0:
		return p, record.LUNFault(vds.ErrNotSupported, "extend", l.Name,
			fmt.Sprintf("plex %s would have to span drives: %s more than its own drive has room for", p.ID, need),
			"put the plex on a larger drive: add one there with `plexctl plex add`, then remove this one")
	default:
		return p, h.noSpace(need, drives)
	}
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

func (h *Host) noSpace(length size.Sectors, drives []uuid.UUID) error {
	var most size.Sectors
	for _, id := range drives {
		most += max(h.Room(id), metaLength) - metaLength
	}
	if len(drives) == 0 {
		for _, d := range h.Drives {
			if err := d.Unwritable(); err != nil {
				return err
			}
		}
	}
	err := &vds.Error{Code: vds.ErrNotEnoughSpace, Op: "allocate", Object: length.String()}
	switch {
	case len(h.Drives) == 0:
		err.Code, err.Reason, err.Hint = vds.ErrNotEnoughDrive, "there is no drive", "make one with `plexctl drive init DEVICE`"
	case len(drives) > 1:
		err.Reason = "the named drives have room for " + most.String() + " together"
	default:
		err.Reason = "the drive with the most room has room for " + most.String()
		err.Hint = "name several drives to span them, or add one with `plexctl drive init DEVICE`"
	}
	return err
}
