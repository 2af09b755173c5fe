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
type Uses map[devno.No][]Use

// Use is a run of sectors that one device of a LUN uses.
type Use struct {
	LUN        uuid.UUID
	Device     string // its name
	start, end size.Sectors
	reach      size.Sectors // the highest end among this one and those before it
}

// UsesOf is the sectors that the devices in views use; views are by LUN.
func UsesOf(views map[uuid.UUID]View) Uses {
	all := Uses{}
	for owner, v := range views {
		for id, o := range v {
			if idle(owner, id, o) {
				continue
			}
			for _, s := range o.Table {
				if on, ok := s.Target.(dm.Linear); ok {
					all[on.Dev] = append(all[on.Dev], Use{LUN: owner, Device: o.Name, start: on.Offset, end: on.Offset + s.Length})
				}
			}
		}
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b Use) int { return cmp.Compare(a.start, b.start) })
		for i, reach := 0, size.Sectors(0); i < len(list); i++ {
			reach = max(reach, list[i].end)
			list[i].reach = reach
		}
	}
	return all
}

// idle reports whether a device is a private one that no table uses, so that nothing writes through it.
func idle(owner uuid.UUID, dmUUID string, o Observed) bool {
	return o.OpenCount == 0 && dmUUID != LUNUUID(owner)
}

// Others is the uses of extents of l by other LUNs, one for each LUN.
func (u Uses) Others(l catalog.LUN, at Numbers) []Use {
	var others []Use
	for _, p := range l.Copies() {
		for _, e := range append(slices.Clone(p.Data), p.Meta) {
			for _, used := range u.on(at.Drives[e.Drive], e) {
				known := slices.ContainsFunc(others, func(other Use) bool { return other.LUN == used.LUN })
				if used.LUN != l.ID && !known {
					others = append(others, used)
				}
			}
		}
	}
	return others
}

// on is what uses an extent of a drive.
func (u Uses) on(dev devno.No, e catalog.Extent) []Use {
	var found []Use
	list := u[dev]
	i, _ := slices.BinarySearchFunc(list, e.End(), func(one Use, end size.Sectors) int { return cmp.Compare(one.start, end) })
	for i--; i >= 0 && list[i].reach > e.Start; i-- {
		if list[i].end > e.Start {
			found = append(found, list[i])
		}
	}
	return found
}
