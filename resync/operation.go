package resync

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Operation is a long operation as the one who runs it sees it.
type Operation interface {
	// Observe looks once, with as few calls as it can. It takes no lock and changes nothing. The error is about the
	// look, not about the operation: the next look may succeed.
	Observe(ctx context.Context) (Observation, error)
	// Settle records the end that was found: vds.OK or the code of a failure. It does not wait for whoever is changing the
	// LUN, who settles too, and it may be called again, also after another process has settled.
	Settle(ctx context.Context, result vds.Code) error
	// Start lets an operation begin that was observed as Queued and Ready.
	Start(ctx context.Context) error
	// Cancel ends the operation and gives back what it took. It returns vds.ErrCancelTooLate when the operation has
	// ended and vds.ErrOperationCanceled when it was cancelled before.
	Cancel(ctx context.Context) error
}

// State is what one look found.
type State string

// States of an operation.
const (
	Running  State = "running"  // work is going on
	Idle     State = "idle"     // not proven complete, yet nothing is going on: about to start, about to end, or aborted
	Queued   State = "queued"   // stands still until others have ended
	Done     State = "done"     // complete, and the drives say so
	Failed   State = "failed"   // ended without success
	Canceled State = "canceled" // ended by a cancel, of this process or another
)

// Observation is the outcome of one look.
type Observation struct {
	State State
	Err   error // why, for Failed; a *vds.Error
	Ready bool  // of Queued: what it waited for has ended
	Done  size.Sectors
	Total size.Sectors
}

// percent is 0 to 99: never 100 while an operation is pending (IVdsAsync::QueryStatus).
func (o Observation) percent() int {
	if o.Total == 0 || o.State == Failed || o.State == Canceled {
		return 0
	}
	done := min(o.Done, o.Total)
	return min(99, int(done.Bytes()/1024*100/max(1, o.Total.Bytes()/1024)))
}

// Descriptor names an operation.
type Descriptor struct {
	ID      uuid.UUID
	Type    vds.AsyncType
	LUN     uuid.UUID // the LUN it works on
	Started time.Time
}

// Status is how an operation stands.
type Status struct {
	Result  vds.Code      // vds.ErrOperationPending until the end, then the final code
	Percent int           // 0 to 99 while pending, 100 after success, 0 after failure and cancel
	State   State         // as last observed
	Done    size.Sectors  // copied so far, summed over nothing: position in the LUN
	Total   size.Sectors  // length of the LUN
	Rate    size.Bytes    // per second, over the last few looks; 0 while unknown
	ETA     time.Duration // until the end at this rate; 0 while unknown
}

// Pending reports whether the operation has not ended.
func (s Status) Pending() bool { return s.Result == vds.ErrOperationPending }
