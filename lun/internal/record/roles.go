package record

import (
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
)

// Role is what a plex does in its LUN, by the record and by which drives are present.
type Role int

// The roles of a plex.
const (
	Source       Role = iota // takes part in the table and, by the record, holds all of the data
	Target                   // takes part, and the running operation fills it
	Missing                  // takes no part because its drive is missing; by the record it holds all of the data
	AbsentTarget             // the running operation should fill it, but it takes no part because its drive is missing
	Stale                    // takes no part: it does not hold all of the data, and no operation fills it
	Vacant                   // the place of a plex that is never there; see catalog.Plex.Vacant
)

// Excluded reports whether the plex takes no part in its LUN's table.
func (r Role) Excluded() bool { return r != Source && r != Target }

// IsTarget reports whether the running operation fills the plex.
func (r Role) IsTarget() bool { return r == Target || r == AbsentTarget }

// Roles is the role of each plex of a LUN, in the order of the record.
type Roles []Role

// RolesOf is the role of each plex of l. absent reports whether a drive is missing.
func RolesOf(l catalog.LUN, absent func(drive uuid.UUID) bool) Roles {
	roles := make(Roles, len(l.Plexes))
	for i, p := range l.Plexes {
		roles[i] = roleOf(l, p, absent)
	}
	return roles
}

func roleOf(l catalog.LUN, p catalog.Plex, absent func(uuid.UUID) bool) Role {
	filled := l.Operation != nil && slices.Contains(l.Operation.Plexes, p.ID)
	missing := !p.Vacant && slices.ContainsFunc(PlexDrives(p), absent)
	switch {
	case p.Vacant:
		return Vacant
	case filled && (missing || p.Stale):
		return AbsentTarget
	case filled:
		return Target
	case p.Stale:
		return Stale
	case missing:
		return Missing
	default:
		return Source
	}
}

// AllHere treats all drives as present, for questions that do not depend on drives.
func AllHere(uuid.UUID) bool { return false }

// Taking is the indexes of the plexes that take part.
func (r Roles) Taking() []int {
	var taking []int
	for i, role := range r {
		if !role.Excluded() {
			taking = append(taking, i)
		}
	}
	return taking
}

// Plexes is the plexes of l that take part.
func (r Roles) Plexes(l catalog.LUN) []catalog.Plex {
	var plexes []catalog.Plex
	for _, i := range r.Taking() {
		plexes = append(plexes, l.Plexes[i])
	}
	return plexes
}

// Has reports whether a plex has the role.
func (r Roles) Has(role Role) bool { return slices.Contains(r, role) }
