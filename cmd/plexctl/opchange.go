package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

func newOpCancel(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "cancel OPERATION",
		Short: "Cancel a running operation",
		Long: "Cancel takes back what the operation was doing. For add-plex: the new plex is taken away from the LUN, whose data\n" +
			"stays as it is. What was the source is a LUN again, with its name and GUID, but with undefined contents; a plex\n" +
			"that was made with --drive gives its room back.\n\n" +
			"An operation that has ended cannot be cancelled, also not one that has failed: `plexctl lun recover` tries again, and\n" +
			"`plexctl plex remove` takes the plex away that it was to fill. Only add-plex can be cancelled.\n\n" +
			"The name of a LUN whose scan (`plexctl plex add --scan`) has not led to a plex yet gives that scan up.",
		Args:              operands("OPERATION"),
		ValidArgsFunction: a.complete(operationNames),
	}
	yesFlag(cmd, &yes)
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return cancelOp(ctx, a, w, args[0], yes)
	})
}

func cancelOp(ctx context.Context, a *app, w *world, ref string, yes bool) (outcome, error) {
	if l := w.scanning(ctx, ref); l != nil {
		return endScan(ctx, a, w, l)
	}
	operation, err := w.Operation(ref)
	if err != nil {
		return nil, err
	}
	doc, err := w.operation(ctx, operation)
	if err != nil {
		return nil, err
	}
	if doc.cancellable() {
		loss := fmt.Sprintf("Operation %s (%s of LUN %q, %d %%) will be cancelled; what it has copied is lost.",
			doc.ID, doc.Type, doc.LUN.Name, doc.Percent)
		if err := a.confirm(ctx, yes, loss); err != nil {
			return nil, err
		}
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	if err := operation.Cancel(ctx); err != nil {
		return nil, tooLate(doc, err)
	}
	doc.State, doc.Percent, doc.Rate, doc.ETA = resync.Canceled, 0, 0, 0
	doc.Result = newCode(vds.ErrOperationCanceled)
	return func(context.Context) error {
		return a.done(operationDocument{header: newHeader(), Operation: doc}, "operation %s is cancelled", doc.ID)
	}, nil
}

// tooLate is err, with what is left to do about an operation that has failed and can be cancelled no more.
func tooLate(o operationDoc, err error) error {
	if !errors.Is(err, vds.ErrCancelTooLate) || o.State != resync.Failed {
		return err
	}
	hint := fmt.Sprintf("`plexctl lun recover %[1]s` tries again, and `plexctl plex remove %[1]s PLEX` gives the plex up", o.LUN.Name)
	return &vds.Error{Code: vds.ErrCancelTooLate, Err: err, Hint: hint}
}

func newOpSetRate(a *app) *cobra.Command {
	var rate size.Bytes
	cmd := &cobra.Command{
		Use:   "set-rate OPERATION RATE",
		Short: "Limit how fast an operation copies",
		Long: "Set-rate limits a running operation, which goes on from where it is.\n" + rateHelp + " A paused operation stands\n" +
			"still until its rate is set again, also after a reboot.",
		Example: "  plexctl op set-rate web1 50MiB\n" +
			"  plexctl op set-rate web1 paused",
		Args:              operands("OPERATION", "RATE"),
		ValidArgsFunction: a.complete(operationNames),
		PreRunE: func(_ *cobra.Command, args []string) error {
			var err error
			if rate, err = parseRate(args[1]); err != nil {
				return usage("write a rate such as 50MiB, or paused, or max", "limit operation %q: %v", args[0], err)
			}
			return nil
		},
	}
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return setRate(ctx, a, w, args[0], rate)
	})
}

func setRate(ctx context.Context, a *app, w *world, ref string, rate size.Bytes) (outcome, error) {
	operation, err := w.Operation(ref)
	if err != nil {
		return nil, err
	}
	l, err := w.LUN(operation.LUN.String())
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	if err := l.SetRate(ctx, rate); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.printRate(ctx, w, operation) }, nil
}

// printRate shows an operation after its rate was set.
func (a *app) printRate(ctx context.Context, w *world, operation *resync.Async) error {
	doc, err := w.limitedOperation(ctx, operation)
	if err != nil {
		return err
	}
	return a.print(operationDocument{header: newHeader(), Operation: doc}, func(out io.Writer) error {
		return a.operationTable(out, []operationDoc{doc})
	})
}
