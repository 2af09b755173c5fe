package raid1

import (
	"github.com/plexctl/plexctl/catalog"
)

// Need is what plexctl must do so that the kernel runs a LUN by its record.
type Need int

// What may be needed.
const (
	NeedNothing Need = iota // at most, remove leftover devices
	NeedLegs                // not known without the state of the legs
	NeedStart               // the LUN has no live table
	NeedSwap                // another table
)

// Running is how the kernel runs a LUN, compared with its record.
type Running struct {
	Live      bool
	Suspended bool
	Matches   bool      // the live table is the wanted one
	Revived   bool      // the live table becomes live only through the clean-up steps
	Paused    bool      // the live table lets the kernel copy next to nothing
	Legs      *LegState // nil: not read
}

// Needed says what l needs.
//
// A swap can be needed although the live table matches:
//
//   - Its first resume has failed, and a second one would start it without its bitmap.
//   - It is paused, and the operation that paused it has ended: nothing else would end the pause.
//   - The kernel has dropped a plex that the operation fills.
func Needed(l catalog.LUN, r Running) Need {
	switch {
	case !r.Live:
		return NeedStart
	case r.complete(l):
		return NeedNothing
	case r.Legs == nil:
		return NeedLegs
	default:
		return NeedSwap
	}
}

// complete reports whether l needs nothing. Without Legs it says so only where they make no difference.
func (r Running) complete(l catalog.LUN) bool {
	failedStart := len(l.Plexes) > 1 && r.Suspended
	leftPaused := l.Operation == nil && r.Paused
	switch {
	case !r.Matches || failedStart:
		return false
	case r.Legs == nil:
		return !leftPaused && (l.Operation == nil || r.Revived)
	default:
		return !dropped(l, *r.Legs) && (!leftPaused || !r.Legs.Busy())
	}
}
