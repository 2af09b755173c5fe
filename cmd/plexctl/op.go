package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
)

func newOp(a *app) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "op",
			Short: "Long operations",
			Long: "An operation belongs to its LUN, not to the command that began it: it goes on when the command ends, and after a\n" +
				"reboot. It is named by its GUID, a unique beginning of its GUID of at least 4 digits, or its LUN.",
		},
		newOpList(a), newOpShow(a), newOpWait(a), newOpSetRate(a), newOpCancel(a),
	)
}

func newOpList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Short:             "List the operation of each LUN, running or last",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return listOps(ctx, a, w) })
		},
	}
}

func listOps(ctx context.Context, a *app, w *world) error {
	docs, _, err := w.survey(ctx)
	if err != nil {
		return err
	}
	return a.print(operationsDocument{newHeader(), docs}, func(out io.Writer) error { return a.operationTable(out, docs) })
}

func (a *app) operationTable(out io.Writer, operations []operationDoc) error {
	g := newGrid(out, "OPERATION", "TYPE", "LUN", "STATE", "DONE", "LIMIT", "STARTED")
	for _, o := range operations {
		g.row(a.id(o.ID), o.Type.String(), dash(o.LUN.Name), string(o.State), fmt.Sprintf("%d%%", o.Percent), dash(o.limitText()),
			stamp(o.Started))
	}
	return g.flush()
}

// operationText is an operation and how far it has come, on one line.
func operationText(o operationDoc) string {
	text := fmt.Sprintf("%s %s", o.Type, progressText(o.Percent, o.Done, o.Total, o.Rate, time.Duration(o.ETA)*time.Second))
	if o.State == resync.Queued {
		text += ", queued"
	}
	switch {
	case o.Paused:
		text += ", paused"
	case o.Limit > 0:
		text += ", at most " + o.limitText()
	}
	return text
}

// limitText is how fast an operation may copy; empty without a limit.
func (d operationDoc) limitText() string {
	switch {
	case d.Paused:
		return rateText(lun.Paused)
	case d.Limit > 0:
		return rateText(d.Limit)
	default:
		return ""
	}
}

func newOpShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "show OPERATION",
		Short:             "Show an operation",
		Args:              operands("OPERATION"),
		ValidArgsFunction: a.complete(operationNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return showOp(ctx, a, w, args[0]) })
		},
	}
}

func showOp(ctx context.Context, a *app, w *world, ref string) error {
	operation, err := w.Operation(ref)
	if err != nil {
		return err
	}
	doc, err := w.limitedOperation(ctx, operation)
	if err != nil {
		return err
	}
	return a.print(operationDocument{header: newHeader(), Operation: doc}, func(out io.Writer) error {
		return details(
			out,
			[2]string{"operation", doc.ID.String()},
			[2]string{"type", doc.Type.String()},
			[2]string{"LUN", doc.LUN.Name},
			[2]string{"started", stamp(doc.Started)},
			[2]string{"state", string(doc.State)},
			[2]string{"result", fmt.Sprintf("%s (%s)", doc.Result.Code, doc.Result.HResult)},
			[2]string{"done", progressText(doc.Percent, doc.Done, doc.Total, doc.Rate, time.Duration(doc.ETA)*time.Second)},
			[2]string{"limit", doc.limitText()},
		)
	})
}

type opWaitOptions struct {
	ref     string
	timeout time.Duration
}

func newOpWait(a *app) *cobra.Command {
	var opts opWaitOptions
	cmd := &cobra.Command{
		Use:   "wait OPERATION",
		Short: "Wait for an operation to end, and show how it gets on",
		Long: "Wait returns when the operation has ended, with its result as exit status. An interrupt (Ctrl-C) and the timeout\n" +
			"end the waiting only: the operation goes on.",
		Example:           "  plexctl op wait web1 --timeout 1h",
		Args:              operands("OPERATION"),
		ValidArgsFunction: a.complete(operationNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ref = args[0]
			if opts.timeout < 0 {
				return usage("name a time such as 30s or 2h", "--timeout is negative")
			}
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return waitOp(ctx, a, w, opts) })
		},
	}
	cmd.Flags().DurationVar(&opts.timeout, "timeout", 0, "give up waiting after this time, such as 90s or 2h; 0: never")
	must(cmd.RegisterFlagCompletionFunc("timeout", cobra.NoFileCompletions))
	return cmd
}

func waitOp(ctx context.Context, a *app, w *world, opts opWaitOptions) error {
	operation, err := w.Operation(opts.ref)
	if err != nil {
		return err
	}
	if opts.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opts.timeout)
		defer cancel()
	}
	return a.follow(ctx, w, operation)
}
