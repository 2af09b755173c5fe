package record

import (
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
)

// NewRun is l in a new run of these plexes, with this nonce. Their metadata is written for it before l is committed. Other plexes keep
// their run, so that it is known what they were part of last.
func NewRun(l catalog.LUN, plexes []int, nonce uint64) catalog.LUN {
	run := catalog.Run{Nonce: nonce}
	for _, p := range l.Plexes {
		run.Number = max(run.Number, p.Run.Number+1)
	}
	l.Plexes = slices.Clone(l.Plexes)
	for _, i := range plexes {
		l.Plexes[i].Run, l.Plexes[i].Prior = run, false
	}
	return l
}

// Swapped is l, of which no other metadata than the current one counts any more.
func Swapped(l catalog.LUN) catalog.LUN {
	l.Plexes = slices.Clone(l.Plexes)
	for i := range l.Plexes {
		l.Plexes[i].Prior = false
	}
	return l
}

// Single is l without what only the metadata of a mirror has.
func Single(l catalog.LUN) catalog.LUN {
	l = Swapped(l)
	for i := range l.Plexes {
		l.Plexes[i].Run = catalog.Run{}
	}
	return l
}

// Fork is l, a later version of the record was, in a new history. It is for a change after which a plex that counts, and takes no
// part, may go on by itself. If l has as many histories as a record can hold, the oldest is forgotten.
func Fork(l, was catalog.LUN, id uuid.UUID) catalog.LUN {
	from := max(0, len(l.Histories)-(catalog.MaxHistories-1))
	l.Histories = slices.Clone(l.Histories[from:])
	if n := len(l.Histories); n > 0 {
		l.Histories[n-1].Last = was.Generation
	}
	l.Histories = append(l.Histories, catalog.History{ID: id})
	return l
}
