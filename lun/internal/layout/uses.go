package layout

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// Uses is the sectors that devices of LUNs use at one moment, by drive, sorted by start.
type Uses map[devno.No][]use

// use is a run of sectors that one device of a LUN uses.
type use struct {
	start, end size.Sectors
	reach      size.Sectors // the highest end among this one and those before it
	owner      uuid.UUID
}

// UsesOf is the sectors that the devices in views use; views are by LUN.
func UsesOf(views map[uuid.UUID]View) Uses {
	all := Uses{}
	for owner, v := range views {
		for id, o := range v {
			if Idle(owner, id, o) {
				continue
			}
			for _, s := range o.Table {
				if on, ok := s.Target.(dm.Linear); ok {
					all[on.Dev] = append(all[on.Dev], use{start: on.Offset, end: on.Offset + s.Length, owner: owner})
				}
			}
		}
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b use) int { return cmp.Compare(a.start, b.start) })
		for i, reach := 0, size.Sectors(0); i < len(list); i++ {
			reach = max(reach, list[i].end)
			list[i].reach = reach
		}
	}
	return all
}

// Idle reports whether a device is a private one that no table uses, so that nothing writes through it.
func Idle(owner uuid.UUID, dmUUID string, o Observed) bool {
	return o.OpenCount == 0 && dmUUID != LUNUUID(owner)
}

// Others is the LUNs other than l whose devices use extents of l.
func (u Uses) Others(l catalog.LUN, at Numbers) []uuid.UUID {
	var owners []uuid.UUID
	for _, p := range l.Copies() {
		for _, e := range append(slices.Clone(p.Data), p.Meta) {
			for _, owner := range u.on(at.Drives[e.Drive], e) {
				if owner != l.ID && !slices.Contains(owners, owner) {
					owners = append(owners, owner)
				}
			}
		}
	}
	return owners
}

// on is the LUNs whose devices use an extent of a drive.
func (u Uses) on(dev devno.No, e catalog.Extent) []uuid.UUID {
	var owners []uuid.UUID
	list := u[dev]
	i, _ := slices.BinarySearchFunc(list, e.End(), func(one use, end size.Sectors) int { return cmp.Compare(one.start, end) })
	for i--; i >= 0 && list[i].reach > e.Start; i-- {
		if list[i].end > e.Start {
			owners = append(owners, list[i].owner)
		}
	}
	return owners
}

// Overlaps reports whether a segment of a table lies on extents of l.
func Overlaps(l catalog.LUN, s dm.Segment, at Numbers) bool {
	linear, ok := s.Target.(dm.Linear)
	if !ok {
		return false
	}
	hit := func(e catalog.Extent) bool {
		return at.Drives[e.Drive] == linear.Dev && linear.Offset < e.End() && e.Start < linear.Offset+s.Length
	}
	return slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool { return hit(p.Meta) || slices.ContainsFunc(p.Data, hit) })
}
