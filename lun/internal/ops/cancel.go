package ops

import (
	"context"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Cancel removes the plexes that operation id of a LUN fills. It gives the source back as a LUN with undefined content.
func Cancel(id uuid.UUID) Verb {
	return func(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
		object := "operation " + id.String()
		if l.Operation == nil || l.Operation.ID != id {
			return l, tooLate(l, id)
		}
		if l.Operation.Type != vds.AsyncAddLUNPlex {
			return l, record.Fault(vds.ErrNotSupported, "cancel", object, l.Operation.Type.String()+" cannot be cancelled", "")
		}
		why := fault.Reasons{Op: "cancel", Object: object}
		if checkRecords(s, l, &why); why.Err() != nil {
			return l, why.Err()
		}
		return cancel(ctx, s, l)
	}
}

// tooLate is the reason why an operation that is not l's present one cannot be cancelled.
func tooLate(l catalog.LUN, id uuid.UUID) error {
	err := &vds.Error{Code: vds.ErrCancelTooLate, Op: "cancel", Object: "operation " + id.String(), Reason: "too late, it has ended"}
	if l.Last != nil && l.Last.ID == id && l.Last.Result == vds.ErrOperationCanceled {
		err.Code, err.Reason = vds.ErrOperationCanceled, "it was cancelled before"
	}
	return err
}

// cancel commits l without the plexes of its operation, and the source as a LUN. Then it brings the kernel to these records.
// The drives of the source need not take the commit, because a failed source must not stay part of the target. Then the source
// is no longer a LUN, and its space is free when its drive comes back.
func cancel(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
	have, err := s.Inspect(ctx, l)
	if err != nil {
		return l, err
	}
	next := record.Cancel(l, s.Now)
	swap := engine.Swap{
		Op: "cancel", Before: l, Next: next, Have: have, Commit: l.Name + " is without the new plexes",
		Tx: host.Transaction{All: true, Need: host.Needed(next)},
	}
	if l.Operation.Source != nil {
		source := s.Next(*l.Operation.Source)
		source.Wipe = true // before it is used
		if err := s.CheckNames("cancel", source.Name, source, host.OtherDevice); err != nil {
			return l, err
		}
		swap.Commit = source.Name + " is a LUN again"
		swap.Tx.Put, swap.Tx.First = []catalog.LUN{source}, source.Drives()
		if have.Active() { // otherwise the LUN is not active here; Assemble readies the source
			swap.After = []layout.Step{s.NewActivate(source)}
		}
	}
	return s.Swap(ctx, swap)
}
