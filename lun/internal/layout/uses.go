package layout

import (
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// Uses is the sectors that devices of LUNs use at one moment, by drive.
type Uses map[devno.No][]Use

// Use is a run of sectors that one device of a LUN uses.
type Use struct {
	LUN        uuid.UUID
	Device     string // its name
	start, end size.Sectors
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
					all[on.Dev] = append(all[on.Dev], Use{LUN: owner, Device: o.Name, start: on.Offset, end: on.Offset + s.Length})
				}
			}
		}
	}
	return all
}

// Idle reports whether a device is a private one that no table uses, so that nothing writes through it.
func Idle(owner uuid.UUID, dmUUID string, o Observed) bool {
	return o.OpenCount == 0 && dmUUID != LUNUUID(owner)
}

// Others is the uses of extents of l by other LUNs, one for each LUN.
func (u Uses) Others(l catalog.LUN, at Numbers) []Use {
	var others []Use
	for _, p := range l.Copies() {
		for _, e := range append(slices.Clone(p.Data), p.Meta) {
			for _, used := range u[at.Drives[e.Drive]] {
				if used.LUN == l.ID || used.start >= e.End() || used.end <= e.Start {
					continue
				}
				if !slices.ContainsFunc(others, func(other Use) bool { return other.LUN == used.LUN }) {
					others = append(others, used)
				}
			}
		}
	}
	return others
}
