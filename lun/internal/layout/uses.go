package layout

import (
	"maps"
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

// Touched is the plexes of l on whose extents or devices a table lies, and which it may have written. It reports false when it
// cannot tell: a target other than linear, or a device that is none of plexctl's.
func Touched(l catalog.LUN, have View, t dm.Table, at Numbers) (plexes []uuid.UUID, known bool) {
	drives := slices.Collect(maps.Values(at.Drives))
	for _, s := range t {
		on, linear := s.Target.(dm.Linear)
		if other, ok := s.Target.(dm.Other); ok && slices.Contains([]string{ErrorTarget, "zero"}, other.Name) {
			continue
		}
		if !linear {
			return nil, false
		}
		known := slices.Contains(drives, on.Dev)
		for _, p := range l.Before().Copies() {
			private := slices.ContainsFunc([]string{DataUUID(l, p), MetaUUID(l, p, catalog.SlotA), MetaUUID(l, p, catalog.SlotB)},
				func(id string) bool { return have[id].Dev == on.Dev })
			known = known || private
			if (private || mapsPart(p, on, s.Length, at)) && !slices.Contains(plexes, p.ID) {
				plexes = append(plexes, p.ID)
			}
		}
		if !known {
			return nil, false
		}
	}
	return plexes, true
}

// mapsPart reports whether a linear segment lies on an extent of a plex.
func mapsPart(p catalog.Plex, on dm.Linear, length size.Sectors, at Numbers) bool {
	return slices.ContainsFunc(append(slices.Clone(p.Data), p.Meta), func(e catalog.Extent) bool {
		return at.Drives[e.Drive] == on.Dev && on.Offset < e.End() && e.Start < on.Offset+length
	})
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
