package record

import (
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
)

// Distrust is l after somebody else has written to some drives: its plexes there are stale. So are those that were being filled,
// whose operation ends. It reports false when that changes nothing, or when no other plex on sound drives is known to hold the data.
func Distrust(l catalog.LUN, written, sound func(drive uuid.UUID) bool) (catalog.LUN, bool) {
	unsound := func(drive uuid.UUID) bool { return !sound(drive) }
	roles := RolesOf(l, AllHere)
	l.Plexes = slices.Clone(l.Plexes)
	changed, left := false, false
	for i, p := range l.Plexes {
		hit := slices.ContainsFunc(PlexDrives(p), written) && !p.Stale
		changed = changed || hit
		left = left || !hit && roles[i] == Source && !slices.ContainsFunc(PlexDrives(p), unsound)
		l.Plexes[i].Stale = p.Stale || hit || roles[i].IsTarget()
	}
	l.Operation = nil
	return l, changed && left
}
