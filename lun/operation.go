package lun

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// operation is the running operation of a LUN. Any process can find it again by its id.
type operation struct {
	p   *Provider
	lun ops.LUN
	id  uuid.UUID

	comparison ops.Comparison // of the plexes, if the kernel's log does not tell how the copy went
}

// handleOf is a handle on l's running operation, or on its last one when none runs.
func (p *Provider) handleOf(l catalog.LUN) *resync.Async {
	if op := l.Operation; op != nil {
		return p.monitor.Watch(
			resync.Descriptor{ID: op.ID, Type: op.Type, LUN: l.ID, Started: op.Started},
			&operation{p: p, lun: ops.LUN{ID: l.ID, Name: l.Name}, id: op.ID},
		)
	}
	last := l.Last
	return resync.Finished(resync.Descriptor{ID: last.ID, Type: last.Type, LUN: l.ID, Started: last.Started}, last.Result, l.Size)
}

// Operations is a handle on every LUN's operation, running or last, in the order of the LUNs' names.
func (p *Provider) Operations() []*resync.Async {
	var all []*resync.Async
	for _, l := range p.host().Set.LUNs {
		if (l.Operation != nil || l.Last != nil) && !p.host().Set.Unheard(l.ID) {
			all = append(all, p.handleOf(l))
		}
	}
	return all
}

// Operation finds an operation by its GUID, a unique beginning of it (at least 4 digits), or its LUN's name or GUID.
// vds.ErrObjectNotFound when there is none, vds.ErrInvalidArg when several match.
func (p *Provider) Operation(ref string) (*resync.Async, error) {
	l, err := p.LUN(ref)
	var all []host.Candidate[*resync.Async]
	whole := false
	for _, a := range p.Operations() { // once: a handle that is watched knows more about a failure than the record does
		text := fmt.Sprintf("operation %s of lun %s", a.ID, a.LUN)
		all = append(all, host.Candidate[*resync.Async]{Value: a, ID: a.ID, Text: text, Named: err == nil && a.LUN == l.ID()})
		whole = whole || record.IsGUID(ref, a.ID)
	}
	if errors.Is(err, vds.ErrInvalidArg) && !whole { // several LUNs match
		return nil, err
	}
	return host.Pick("operation", ref, all, record.Fault(vds.ErrObjectNotFound, "find", "operation "+ref,
		"no LUN has such an operation", "`plexctl op list` shows all"))
}

// record is the LUN's record on h, and whether it is under the operation.
func (o *operation) record(h *host.Host) (catalog.LUN, bool) {
	l, ok := h.Record(o.lun.ID)
	return l, ok && l.Operation != nil && l.Operation.ID == o.id
}

// Observe asks the kernel with one status call. It also reads the superblocks when the status claims the end.
func (o *operation) Observe(ctx context.Context) (resync.Observation, error) {
	h := o.p.host()
	l, running := o.record(h)
	if !running {
		return o.outcome(l), nil
	}
	if !l.Operation.Queued {
		seen, known, err := ops.ObserveOperation(ctx, h, l)
		if known || err != nil {
			return seen, err
		}
	}
	// The operation is queued, or the device is not as the record wants. Then another process has ended the operation, or taken
	// the LUN down.
	if err := o.p.Refresh(ctx); err != nil {
		return resync.Observation{}, err
	}
	h = o.p.host()
	wasQueued := l.Operation.Queued
	if l, running = o.record(h); !running {
		return o.outcome(l), nil
	}
	seen := resync.Observation{State: resync.Running, Total: l.Size}
	if wasQueued {
		seen.Ready = ops.MayBegin(ctx, h, l)
	}
	if wasQueued && l.Operation.Queued {
		seen.State = resync.Queued
	}
	return seen, nil
}

// outcome is how an operation ended that is no longer in l's record.
func (o *operation) outcome(l catalog.LUN) resync.Observation {
	if l.Last == nil || l.Last.ID != o.id {
		return resync.Observation{State: resync.Failed, Err: record.Fault(vds.ErrObjectDeleted, "look at", "operation "+o.id.String(),
			"its LUN is gone or has gone on without it", "")}
	}
	switch l.Last.Result {
	case vds.OK:
		return resync.Observation{State: resync.Done, Done: l.Size, Total: l.Size}
	case vds.ErrOperationCanceled:
		return resync.Observation{State: resync.Canceled, Total: l.Size}
	default:
		return resync.Observation{State: resync.Failed, Total: l.Size, Err: record.LUNFault(l.Last.Result, l.Last.Type.String(), l.Name,
			"the operation failed", "")}
	}
}

// briefly is how long a look at an operation waits for the lock to record what it saw.
const briefly = 200 * time.Millisecond

// Settle records the end of the operation, and returns the end that is recorded. If another process holds the lock for a change,
// Settle does nothing: that process records it.
func (o *operation) Settle(ctx context.Context, result vds.Code) (vds.Code, error) {
	if l, running := o.record(o.p.host()); !running {
		return o.ended(l), nil
	}
	recorded := vds.ErrOperationPending
	err := o.changeSoon(ctx, "settle", func(ctx context.Context, s *ops.Session) (err error) {
		l, running := o.record(s.Host)
		if !running {
			recorded = o.ended(l)
			return nil
		}
		if l, err = s.RecordEnd(ctx, l, result); err == nil && (l.Operation == nil || l.Operation.ID != o.id) {
			recorded = o.ended(l)
		}
		return err
	})
	return recorded, err
}

// ended is the code of an operation that is no longer in l's record.
func (o *operation) ended(l catalog.LUN) vds.Code {
	if l.Last == nil || l.Last.ID != o.id {
		return vds.ErrObjectDeleted
	}
	return l.Last.Result
}

// Check compares the next part of the plexes that the operation has filled. It takes no lock and changes nothing.
func (o *operation) Check(ctx context.Context) (resync.Observation, error) {
	h := o.p.host()
	l, running := o.record(h)
	if !running {
		return o.outcome(l), nil
	}
	seen := resync.Observation{State: resync.Checking, Done: l.Size, Total: l.Size}
	done, verdict, err := o.comparison.Step(ctx, h, l)
	switch {
	case err != nil:
		return seen, err
	case verdict != nil: // unless a plex has failed or the table has changed meanwhile
		if now, known, err := ops.ObserveOperation(ctx, h, l); err != nil || !known || now.State != resync.Checking {
			return seen, err
		}
		seen.State, seen.Err = resync.Failed, verdict
	case done:
		seen.State = resync.Done
	}
	return seen, nil
}

// Start begins a queued operation. If another process holds the lock for a change, Start does nothing: the next look tries
// again.
func (o *operation) Start(ctx context.Context) error {
	return o.changeSoon(ctx, "start", func(ctx context.Context, s *ops.Session) error {
		l, running := o.record(s.Host)
		if !running {
			return nil
		}
		return ops.Dequeue(ctx, s, l)
	})
}

// changeSoon runs f under the host's lock. It does nothing while the lock is held.
func (o *operation) changeSoon(ctx context.Context, op string, f func(context.Context, *ops.Session) error) error {
	err := o.p.env.ChangeWithin(ctx, briefly, op+" operation "+o.id.String(), f)
	if errors.Is(err, vds.ErrAnotherCallInProgress) {
		return nil
	}
	return err
}

// Cancel removes the new plexes and gives the source back as a LUN, with its GUID and its name. The source's content is
// undefined. Its first and last MiB are zeroed, so that its file system is not found twice.
func (o *operation) Cancel(ctx context.Context) error {
	_, err := o.p.env.ChangeLUN(ctx, o.lun, "cancel", ops.Cancel(o.id))
	return err
}
