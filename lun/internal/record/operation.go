package record

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/vds"
)

// NewOperation is an operation that begins now.
func NewOperation(kind vds.AsyncType, now time.Time) *catalog.Operation {
	return &catalog.Operation{ID: uuid.New(), Type: kind, Started: stamp(now)}
}

// stamp is a time with the precision that records have.
func stamp(now time.Time) time.Time { return now.UTC().Truncate(time.Millisecond) }

// Begin is l at the start of an operation: no rate limit, and no outcome of an earlier operation.
func Begin(l catalog.LUN, kind vds.AsyncType, now time.Time) catalog.LUN {
	l.Operation = NewOperation(kind, now)
	l.Last, l.MaxRate = nil, 0
	return l
}

// Conclude is l after its operation has ended with result. After a failure the plexes that it was filling are stale.
func Conclude(l catalog.LUN, result vds.Code, now time.Time) catalog.LUN {
	op := l.Operation
	if result.Failed() && result != vds.ErrOperationCanceled {
		l.Plexes = slices.Clone(l.Plexes)
		for i := range l.Plexes {
			l.Plexes[i].Stale = l.Plexes[i].Stale || slices.Contains(op.Plexes, l.Plexes[i].ID)
		}
	}
	l.Operation = nil
	l.Last = &catalog.Outcome{ID: op.ID, Type: op.Type, Started: op.Started, Ended: stamp(now), Result: result}
	return l
}

// Dequeue is l with its queued operation begun.
func Dequeue(l catalog.LUN) catalog.LUN {
	op := *l.Operation
	op.Queued = false
	l.Operation = &op
	return l
}

// Wiped is l after the wipe that its record asks for. The wipe has written the current metadata anew. The other metadata is that of
// another LUN: the one that l was a plex of.
func Wiped(l catalog.LUN) catalog.LUN {
	l = Swapped(l)
	l.Wipe = false
	return l
}
