package record

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/vds"
)

// Recover is l, whose operation has just begun, with these plexes as its targets. If one of them is stale, the kernel copies
// everything to all of them, because the bitmap does not tell what a stale plex lacks.
func Recover(l catalog.LUN, plexes []uuid.UUID) catalog.LUN {
	op := *l.Operation
	op.Plexes = plexes
	l.Plexes = slices.Clone(l.Plexes)
	for i, p := range l.Plexes {
		if slices.Contains(plexes, p.ID) {
			op.Whole = op.Whole || p.Stale
			l.Plexes[i].Stale = false
		}
	}
	l.Operation = &op
	return l
}

// Refill is l with an operation that fills these plexes anew, because they are earlier copies of themselves. While another
// operation runs, it goes on, and the plexes are filled beside it.
func Refill(l catalog.LUN, plexes []uuid.UUID, now time.Time) catalog.LUN {
	if l.Operation != nil {
		return l
	}
	l = Begin(l, vds.AsyncRecoverLUN, now)
	op := *l.Operation
	op.Plexes, op.Whole, op.Earlier = plexes, true, true
	l.Operation = &op
	return l
}

// Force is l with the record for a start by force: the plexes whose drives are missing are stale. It reports whether a plex is
// left that holds all of the data by the record.
func Force(l catalog.LUN, roles Roles) (catalog.LUN, bool) {
	l.Plexes = slices.Clone(l.Plexes)
	for i, role := range roles {
		if role == Missing {
			l.Plexes[i].Stale = true
		}
	}
	return l, roles.Has(Source)
}

// SoleHolder is l when only plex sole holds the data; false when sole never held all of it.
func SoleHolder(l catalog.LUN, sole uuid.UUID) (catalog.LUN, bool) {
	roles := RolesOf(l, AllHere)
	l.Plexes = slices.Clone(l.Plexes)
	for i, p := range l.Plexes {
		if p.ID == sole && roles[i] != Source {
			return l, false
		}
		l.Plexes[i].Stale = p.ID != sole
	}
	l.Operation = nil
	return l, true
}
