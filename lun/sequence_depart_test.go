package lun_test

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
)

// A LUN that plexes are leaving counts as the LUN without them, and what is made of them as a LUN. The next call that looks at the
// LUN completes the change, or takes it back.

// leaving is the LUNs among records that plexes are leaving.
func leaving(records map[uuid.UUID]catalog.LUN) []catalog.LUN {
	all := slices.Collect(maps.Values(records))
	return slices.DeleteFunc(all, func(l catalog.LUN) bool { return l.Departure == nil })
}

// made is the LUNs that are being made of plexes that leave others.
func made(records map[uuid.UUID]catalog.LUN) map[uuid.UUID]catalog.LUN {
	all := map[uuid.UUID]catalog.LUN{}
	for _, l := range leaving(records) {
		if l.Departure.Made != nil {
			all[l.Departure.Made.ID] = *l.Departure.Made
		}
	}
	return all
}

// orTakenBack is what LUNs there may be, where each departure of plexes may have been taken back.
func (r *rig) orTakenBack(allowed []members, departing []catalog.LUN) []members {
	for _, l := range departing {
		for _, m := range slices.Clone(allowed) {
			whole, there := m[l.Name]
			if !there {
				continue
			}
			drives := strings.Fields(whole.drives)
			for _, p := range l.Leaving() {
				drives = append(drives, r.paths[p.Meta.Drive])
			}
			whole.drives = on(drives...)
			if m = m.with(l.Name, whole); l.Departure.Made != nil {
				m = m.without(l.Departure.Made.Name)
			}
			allowed = append(allowed, m)
		}
	}
	return allowed
}
