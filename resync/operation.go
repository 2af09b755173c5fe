package resync

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Operation is a long operation that a Monitor can watch. Package lun implements it.
type Operation interface {
	// Observe looks once, with as few system calls as possible. It takes no lock and changes nothing. The error is about
	// the look, not about the operation: the next look may succeed.
	Observe(ctx context.Context) (Observation, error)
	// Settle records the end that was found: vds.OK or the code of a failure. It returns the end that the record has then,
	// which may be another one if another process was first. vds.ErrOperationPending: nothing is recorded, because another
	// change of the LUN goes on or because the operation runs after all. The next look finds out.
	Settle(ctx context.Context, result vds.Code) (vds.Code, error)
	// Check goes on, for a moment, with the check of an operation that was observed as Checking. It returns Checking until the
	// check is at its end, then Done or Failed.
	Check(ctx context.Context) (Observation, error)
	// Start begins an operation that was observed as Queued and Ready.
	Start(ctx context.Context) error
	// Cancel ends the operation and frees what it allocated. It returns vds.ErrCancelTooLate when the operation has ended
	// and vds.ErrOperationCanceled when it was cancelled before.
	Cancel(ctx context.Context) error
}

// State is what one look found.
type State string

// States of an operation.
const (
	Running  State = "running"  // the kernel is copying
	Idle     State = "idle"     // the kernel is not copying, and completeness is not proven: before the start, at the end, or aborted
	Queued   State = "queued"   // waits for other operations to end
	Checking State = "checking" // everything is copied by the kernel's word, and it has to be compared before that is true
	Done     State = "done"     // complete, as the metadata on the drives confirms
	Failed   State = "failed"   // ended without success
	Canceled State = "canceled" // ended by a cancel, of this process or another
)

// Observation is the outcome of one look.
type Observation struct {
	State State
	Err   error // for Failed: why; a *vds.Error
	Ready bool  // for Queued: the operations it waited for have ended
	Done  size.Sectors
	Total size.Sectors
}

// percent returns 0 to 99: IVdsAsync::QueryStatus never reports 100 while an operation is pending.
func (o Observation) percent() int {
	if o.Total == 0 || o.State == Failed || o.State == Canceled {
		return 0
	}
	done := min(o.Done, o.Total)
	return min(99, int(done.Bytes()/1024*100/max(1, o.Total.Bytes()/1024)))
}

// Descriptor identifies an operation.
type Descriptor struct {
	ID      uuid.UUID
	Type    vds.AsyncType
	LUN     uuid.UUID // the LUN it works on
	Started time.Time
}

// Status is what QueryStatus reports.
type Status struct {
	Result  vds.Code      // vds.ErrOperationPending until the end, then the final code
	Percent int           // 0 to 99 while pending, 100 after success, 0 after failure and cancel
	State   State         // as last observed
	Done    size.Sectors  // position of the copy in the LUN, also when several plexes are filled
	Total   size.Sectors  // length of the LUN
	Rate    size.Bytes    // per second, over the last few looks; 0 while unknown
	ETA     time.Duration // time left at this rate; 0 while unknown
}

// Pending reports whether the operation has not ended.
func (s Status) Pending() bool { return s.Result == vds.ErrOperationPending }
