package record

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/vds"
)

// Remove is l without a plex. lost reports whether the kernel's mirror lacks some of the data in a plex. Remove marks such
// plexes stale.
func Remove(l catalog.LUN, plex uuid.UUID, lost func(plex uuid.UUID) bool, now time.Time) catalog.LUN {
	next := Without(l, plex)
	next.Operation = NewOperation(vds.AsyncRemoveLUNPlex, now)
	return MarkLost(Conclude(next, vds.OK, now), lost)
}

// MarkLost is l with the plexes that lost reports marked stale. It leaves the only plex of a LUN as it is.
func MarkLost(l catalog.LUN, lost func(plex uuid.UUID) bool) catalog.LUN {
	l.Plexes = slices.Clone(l.Plexes)
	for i, p := range l.Plexes {
		l.Plexes[i].Stale = p.Stale || len(l.Plexes) > 1 && lost(p.ID)
	}
	return l
}

// Split is the new LUN that is made of a plex of l.
func Split(l catalog.LUN, plex uuid.UUID, name string) catalog.LUN {
	made := catalog.LUN{ID: uuid.New(), Name: name, Size: l.Size, Copy: true, Plexes: []catalog.Plex{l.Plexes[Index(l, plex)]}}
	if l.Tracked() {
		made = Track(made)
		made.RegionSize = l.RegionSize
	}
	return made
}
