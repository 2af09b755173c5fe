package catalog

import (
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// Departure says that plexes have left the record of a LUN, and that the kernel may still write to them. A later version of the
// record drops it: then the kernel has let go of these plexes, or the change was taken back. Until then the plexes keep their
// extents, and their drives have the record.
type Departure struct {
	Plexes    []Plex     // all plexes of the record before, in leg order; see LUN.Before
	Operation *Operation // of the record before
	Last      *Outcome   // of the record before
	Made      *LUN       // the LUN that is made of plexes that leave; nil when they cease to exist
}

// Before is the record from before the departure of plexes; l when none leave.
func (l LUN) Before() LUN {
	if d := l.Departure; d != nil {
		l.Plexes, l.Operation, l.Last, l.Departure = d.Plexes, d.Operation, d.Last, nil
	}
	return l
}

// Leaving is the plexes that are leaving l.
func (l LUN) Leaving() []Plex {
	if l.Departure == nil {
		return nil
	}
	return slices.DeleteFunc(l.Before().Copies(), func(p Plex) bool { _, stays := l.plex(p.ID); return stays })
}

// owned is every plex whose extents belong to l.
func (l LUN) owned() []Plex {
	if l.Departure == nil {
		return l.Plexes
	}
	return slices.Concat(l.Plexes, l.Leaving())
}

// mayRestore reports whether l restores the absorbed LUN when the departure of its plexes is taken back.
func (l LUN) mayRestore(source uuid.UUID) bool {
	o := l.Before().Operation
	return o != nil && o.Source != nil && o.Source.ID == source
}

// checkDeparture checks that the record before is sound, that each plex of this one is a plex of that, and that others leave.
func (l LUN) checkDeparture() error {
	if l.Departure == nil {
		return nil
	}
	before, leaving := l.Before(), l.Leaving()
	if err := before.Validate(); err != nil {
		return fmt.Errorf("before plexes leave: %w", err)
	}
	if len(leaving) == 0 || l.Deleted || l.Wipe {
		return invalid("a departure of no plex, or from a lun that is deleted or to be wiped")
	}
	for _, p := range l.Copies() {
		if !before.hasExtents(p) {
			return invalid("plex %s: not as it was before others leave", p.ID)
		}
	}
	if l.Departure.Made == nil {
		return nil
	}
	return l.checkMade(*l.Departure.Made, leaving)
}

// checkMade checks the LUN that is made of plexes that leave.
func (l LUN) checkMade(made LUN, leaving []Plex) error {
	if made.ID == l.ID || made.Deleted || made.Operation != nil || made.Departure != nil {
		return invalid("%s: made of plexes that leave, and busy, deleted, or the lun that they leave", made.title())
	}
	if err := made.Validate(); err != nil {
		return fmt.Errorf("made of plexes that leave: %w", err)
	}
	for _, p := range made.Copies() {
		if !(LUN{Plexes: leaving}).hasExtents(p) {
			return invalid("%s: plex %s is not one that leaves", made.title(), p.ID)
		}
	}
	return nil
}

// hasExtents reports whether p is a plex of l with these extents.
func (l LUN) hasExtents(p Plex) bool {
	mine, ok := l.plex(p.ID)
	return ok && mine.Meta == p.Meta && slices.Equal(mine.Data, p.Data)
}
