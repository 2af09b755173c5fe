package record

import (
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/vds"
)

// Attach is target with all plexes of source, under the operation that fills them. A source without an ID is space that was
// allocated for a plex. lost reports whether the kernel's mirror lacks some of the data in a plex of target. Attach marks such
// a plex stale.
func Attach(target, source catalog.LUN, lost func(plex uuid.UUID) bool, now time.Time) catalog.LUN {
	next := target
	next.Plexes, next.Scan = nil, uuid.Nil
	for _, p := range target.Copies() {
		p.Stale = p.Stale || lost(p.ID)
		next.Plexes = append(next.Plexes, p)
	}
	next.Operation = NewOperation(vds.AsyncAddLUNPlex, now)
	for _, p := range source.Copies() {
		p.Stale = false
		next.Plexes = append(next.Plexes, p)
		next.Operation.Plexes = append(next.Operation.Plexes, p.ID)
	}
	if target.Tracked() {
		next.Plexes = append(next.Plexes, target.Plexes[len(target.Plexes)-1])
	}
	if source.ID != uuid.Nil {
		next.Operation.Source = &source
	}
	if len(target.Plexes) == 1 {
		next.RegionSize = raidmeta.RegionSize(next.Size)
	}
	next.Last = nil
	return next
}

// Cancel is l without the plexes that its operation fills.
func Cancel(l catalog.LUN, now time.Time) catalog.LUN {
	return Without(Conclude(l, vds.ErrOperationCanceled, now), l.Operation.Plexes...)
}
