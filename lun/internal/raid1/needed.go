package raid1

import (
	"github.com/plexctl/plexctl/catalog"
)

// Need is what has to be done so that the kernel runs a LUN as its record says.
type Need int

// What may be needed.
const (
	NeedNothing Need = iota // only what is left over has to go
	NeedLegs                // this cannot be told without the state of the legs
	NeedStart               // the LUN has no live table
	NeedSwap                // another table
	NeedSwitch              // another table, on the other metadata slots
)

// Running is how the kernel runs a LUN, beside what its record wants.
type Running struct {
	Live      bool
	Suspended bool
	Matches   bool      // the live table is the wanted one
	Revived   bool      // the live table becomes live only when the clean-up steps resume it
	Paused    bool      // the live table lets the kernel copy next to nothing
	Clashes   bool      // the live table uses the record's current metadata slots; only known with Legs
	Legs      *LegState // nil: not read
}

// Needed says what l needs.
//
// Also a table that matches has to be swapped: when its first resume has failed, because a second one would start it without its
// bitmap; when it is paused by an operation that has ended, because nothing else would end the pause; when the kernel has dropped
// the plex that an operation fills.
func Needed(l catalog.LUN, r Running) Need {
	failedStart := len(l.Plexes) > 1 && r.Suspended
	leftPaused := l.Operation == nil && r.Paused
	switch {
	case !r.Live:
		return NeedStart
	case r.Legs == nil && r.Matches && (l.Operation == nil || r.Revived) && !failedStart && !leftPaused:
		return NeedNothing
	case r.Legs == nil:
		return NeedLegs
	case r.Matches && !dropped(l, *r.Legs) && !failedStart && (!leftPaused || !r.Legs.Busy()):
		return NeedNothing
	case r.Clashes && len(l.Plexes) > 1:
		return NeedSwitch
	default:
		return NeedSwap
	}
}
