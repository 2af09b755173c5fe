package lun

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// uses is which sectors the devices of LUNs use at one moment, by drive, sorted by their start.
type uses map[devno.No][]use

// use is a run of sectors that a device of a LUN uses.
type use struct {
	start, end size.Sectors
	reach      size.Sectors // the highest end of this one and of those before it
	owner      uuid.UUID
}

// usesOf is what the devices in views use.
func usesOf(views map[uuid.UUID]view) uses {
	all := uses{}
	for owner, v := range views {
		for id, o := range v {
			if idle(owner, id, o) {
				continue
			}
			for _, s := range o.table {
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

// idle reports whether a device is a part that no table uses: nobody writes through it.
func idle(owner uuid.UUID, dmUUID string, o observed) bool {
	return o.OpenCount == 0 && dmUUID != lunUUID(owner)
}

// others is the LUNs other than l whose devices use extents of l.
func (u uses) others(l catalog.LUN, at numbers) []uuid.UUID {
	var owners []uuid.UUID
	for _, p := range l.Copies() {
		for _, e := range append(slices.Clone(p.Data), p.Meta) {
			for _, owner := range u.on(at.drives[e.Drive], e) {
				if owner != l.ID && !slices.Contains(owners, owner) {
					owners = append(owners, owner)
				}
			}
		}
	}
	return owners
}

// on is whose devices use an extent of a drive.
func (u uses) on(dev devno.No, e catalog.Extent) []uuid.UUID {
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
