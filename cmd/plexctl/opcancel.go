package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

func newOpCancel(c *cli) *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use:   "cancel OPERATION",
		Short: "Cancel a running operation",
		Long: "Cancel takes back what the operation was doing. Only add-plex can be cancelled: the new plex is taken away from the LUN,\n" +
			"whose data stays as it is. The source is a LUN again, with its name and GUID, but its contents are undefined. A plex\n" +
			"that was made with --drive gives its room back.\n\n" +
			"An operation that has ended or failed cannot be cancelled. After a failure `plexctl lun recover` tries again, and\n" +
			"`plexctl plex remove` takes away the plex that was to be filled.\n\n" +
			"If a scan (`plexctl plex add --scan`) of a LUN has not led to a plex yet, the name of the LUN cancels that scan.",
	}
	yesFlag(cmd)
	return changing(c, cmd, &ref, cancelOp, one("OPERATION", &ref, operationNames))
}

func cancelOp(ctx context.Context, s *session, ref string) (outcome, error) {
	if l := s.withScan(ctx, ref); l != nil {
		return s.cancelScan(ctx, l)
	}
	operation, err := s.Operation(ref)
	if err != nil {
		return nil, err
	}
	doc, err := s.operation(ctx, operation)
	if err != nil {
		return nil, err
	}
	if doc.cancellable() {
		loss := fmt.Sprintf("The operation %s of LUN %q (%d %%) will be cancelled; what it has copied is lost.",
			doc.Type, doc.LUN.Name, doc.Percent)
		if err := s.confirm(ctx, loss); err != nil {
			return nil, err
		}
	}
	if err := operation.Cancel(ctx); err != nil {
		return nil, tooLate(doc, err)
	}
	doc.State, doc.Percent, doc.Rate, doc.ETA = resync.Canceled, 0, 0, 0
	doc.Result = newCode(vds.ErrOperationCanceled)
	return s.saying(operationDocument{Operation: doc}, fmt.Sprintf("%s of LUN %q is cancelled", doc.Type, doc.LUN.Name)), nil
}

// tooLate returns err. If o has ended or failed, so that it cannot be cancelled any more, a hint tells what to do instead.
func tooLate(o operationDoc, err error) error {
	if !errors.Is(err, vds.ErrCancelTooLate) {
		return err
	}
	if o.State != resync.Failed {
		hint := fmt.Sprintf("`plexctl plex remove %s PLEX` takes the new plex away", o.LUN.Name)
		if !canCancel(o.Type) {
			hint = ""
		}
		return &vds.Error{Code: vds.ErrCancelTooLate, Err: err, Hint: hint}
	}
	hint := fmt.Sprintf("`plexctl lun recover %[1]s` tries again, and `plexctl plex remove %[1]s PLEX` gives the plex up", o.LUN.Name)
	return &vds.Error{Code: vds.ErrCancelTooLate, Err: err, Hint: hint}
}

// withScan returns the LUN that ref names if a scan of it has begun, else nil. A scan is no operation.
func (h *host) withScan(ctx context.Context, ref string) *lun.LUN {
	l, err := h.LUN(ref)
	if err != nil {
		return nil
	}
	if props, err := l.Properties(ctx); err != nil || !props.Scanning {
		return nil
	}
	return l
}

func (s *session) cancelScan(ctx context.Context, l *lun.LUN) (outcome, error) {
	ended := func(ctx context.Context) error {
		doc, err := s.lun(context.WithoutCancel(ctx), l.ID().String())
		if err != nil {
			return err
		}
		return s.say(document{"lun": doc}, fmt.Sprintf("the scan of %s is discarded", l.Name()))
	}
	return outcome(ended).unless(l.EndScan(ctx))
}
