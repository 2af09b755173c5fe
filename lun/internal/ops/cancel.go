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

// Cancel takes the plexes away that operation id of a LUN fills, and gives the source back as a LUN whose content is undefined.
func Cancel(id uuid.UUID) Verb {
	return func(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
		object := "operation " + id.String()
		if l.Operation == nil || l.Operation.ID != id {
			return l, tooLate(l, id)
		}
		if l.Operation.Type != vds.AsyncAddLUNPlex {
			return l, &vds.Error{
				Code: vds.ErrNotSupported, Op: "cancel", Object: object, Reason: l.Operation.Type.String() + " cannot be cancelled",
			}
		}
		why := fault.Reasons{Op: "cancel", Object: object}
		if checkRecords(s, l, &why); why.Err() != nil {
			return l, why.Err()
		}
		return cancel(ctx, s, l)
	}
}

// tooLate is why an operation that l is not under cannot be cancelled.
func tooLate(l catalog.LUN, id uuid.UUID) error {
	err := &vds.Error{Code: vds.ErrCancelTooLate, Op: "cancel", Object: "operation " + id.String(), Reason: "it has ended"}
	if l.Last != nil && l.Last.ID == id && l.Last.Result == vds.ErrOperationCanceled {
		err.Code, err.Reason = vds.ErrOperationCanceled, "it was cancelled before"
	}
	return err
}

// cancel commits l without the plexes of its operation, and the source as a LUN, and brings the kernel there. The drives of
// the source need not take it: a source that has failed must not stay a part of the target. It is then no LUN any more, and its space
// is free when its drive comes back.
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
	if source, ok := record.GivenBack(*l.Operation); ok {
		source = s.Next(source)
		swap.Commit = source.Name + " is a LUN again"
		swap.Tx.Put, swap.Tx.First = []catalog.LUN{source}, source.Drives()
		if have.Active() { // else the host is not using its LUNs; Assemble readies the source
			swap.After = []layout.Step{s.NewActivate(source)}
		}
	}
	return s.Swap(ctx, swap)
}
