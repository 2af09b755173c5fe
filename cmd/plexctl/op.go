package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

func newOp(c *cli) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "op",
			Short: "Long operations",
			Long: "An operation belongs to its LUN, not to the command that began it: it goes on when the command ends, and after a\n" +
				"reboot. It is named by its GUID, a unique beginning of its GUID of at least 4 digits, or its LUN.",
		},
		newOpList(c), newOpShow(c), newOpWait(c), newOpSetRate(c), newOpCancel(c),
	)
}

func newOpList(c *cli) *cobra.Command {
	return reading(c, &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the operation of each LUN, running or last"}, &noOptions{}, listOps)
}

func listOps(ctx context.Context, s *session, _ noOptions) error {
	docs, _, err := s.survey(ctx)
	if err != nil {
		return err
	}
	return s.print(document{"operations": docs}, s.operationTable(docs...))
}

func (p printer) operationTable(operations ...operationDoc) string {
	head := []string{"OPERATION", "TYPE", "LUN", "STATE", "DONE", "LIMIT", "STARTED"}
	return listing(head, operations, func(o operationDoc) []string {
		done := fmt.Sprintf("%d%%", o.Percent)
		return []string{p.id(o.ID), o.Type.String(), dash(o.LUN.Name), o.stateText(), done, dash(o.limitText()), stamp(o.Started)}
	})
}

// operationText tells on one line what an operation is and how far it is.
func operationText(o operationDoc) string {
	text := fmt.Sprintf("%s %s", o.Type, progressText(o.Percent, o.Done, o.Total, o.Rate, time.Duration(o.ETA)*time.Second))
	switch o.State {
	case resync.Queued:
		text += ", queued"
		if len(o.Behind) > 0 {
			text += " behind " + strings.Join(o.Behind, ", ")
		}
	case resync.Checking:
		text += ", checking"
	default:
	}
	switch {
	case o.Paused:
		text += ", paused"
	case o.Limit > 0:
		text += ", at most " + o.limitText()
	}
	return text
}

// stateText is the state for people. The kernel is idle before it begins, which looks like trouble.
func (d operationDoc) stateText() string {
	switch {
	case d.State == resync.Idle && d.Paused, d.State == resync.Running && d.Paused:
		return "paused"
	case d.State == resync.Idle && d.Done < d.Total:
		return "starting"
	default:
		return string(d.State)
	}
}

// follow is the arguments of what to run to watch the operation, or to resume it.
func (d operationDoc) follow() string {
	if d.Paused {
		return fmt.Sprintf("op set-rate %s max", d.LUN.Name)
	}
	return "op wait " + d.LUN.Name
}

// limitText tells how fast an operation may copy; empty without a limit.
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

func newOpShow(c *cli) *cobra.Command {
	var ref string
	return reading(c, &cobra.Command{Use: "show OPERATION", Short: "Show an operation"}, &ref, showOp, one("OPERATION", &ref, operationNames))
}

func showOp(ctx context.Context, s *session, ref string) error {
	operation, err := s.Operation(ref)
	if err != nil {
		return err
	}
	doc, err := s.limitedOperation(ctx, operation)
	if err != nil {
		return err
	}
	return s.print(operationDocument{Operation: doc}, details(
		[2]string{"operation", doc.ID.String()},
		[2]string{"type", doc.Type.String()},
		[2]string{"LUN", doc.LUN.Name},
		[2]string{"started", stamp(doc.Started)},
		[2]string{"state", doc.stateText()},
		[2]string{"behind", strings.Join(doc.Behind, ", ")},
		[2]string{"result", doc.Result.Code},
		[2]string{"done", progressText(doc.Percent, doc.Done, doc.Total, doc.Rate, time.Duration(doc.ETA)*time.Second)},
		[2]string{"limit", doc.limitText()},
	))
}

type opWaitOptions struct {
	ref     string
	timeout time.Duration // 0: none
}

func newOpWait(c *cli) *cobra.Command {
	var opts opWaitOptions
	cmd := &cobra.Command{
		Use:   "wait OPERATION",
		Short: "Wait for an operation to end, and show how it gets on",
		Long: "Wait returns when the operation has ended, with its result as exit status. An interrupt (Ctrl-C) and the timeout\n" +
			"end the waiting only: the operation goes on.",
		Example: "  plexctl op wait web1 --timeout 1h",
		PreRunE: func(*cobra.Command, []string) error {
			if opts.timeout < 0 {
				return usage("name a time such as 30s or 2h", "--timeout is negative")
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&opts.timeout, "timeout", 0, "give up waiting after this time, such as 90s or 2h; 0: never")
	return reading(c, cmd, &opts, waitOp, one("OPERATION", &opts.ref, operationNames))
}

func waitOp(ctx context.Context, s *session, opts opWaitOptions) error {
	operation, err := s.Operation(opts.ref)
	if err != nil {
		return err
	}
	if opts.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opts.timeout)
		defer cancel()
	}
	err = s.follow(ctx, operation)
	if errors.Is(err, vds.ErrTimeout) && errors.Is(err, context.DeadlineExceeded) {
		return &vds.Error{
			Code: vds.ErrTimeout, Op: "wait for", Object: "operation " + operation.ID.String(),
			Reason: fmt.Sprintf("not done after %s; the operation goes on", opts.timeout),
			Hint:   fmt.Sprintf("wait again with `plexctl op wait %s`", operation.ID),
		}
	}
	return err
}

type opSetRateOptions struct {
	ref  string
	rate size.Bytes
}

func newOpSetRate(c *cli) *cobra.Command {
	var opts opSetRateOptions
	var rate string
	cmd := &cobra.Command{
		Use:   "set-rate OPERATION RATE",
		Short: "Limit how fast an operation copies",
		Long: "Set-rate limits a running operation, which goes on from where it is.\n" + rateHelp + "\n" +
			"A paused operation stands still until its rate is set again, also after a reboot.",
		Example: "  plexctl op set-rate web1 50MiB\n" +
			"  plexctl op set-rate web1 paused",
		PreRunE: func(*cobra.Command, []string) (err error) {
			if opts.rate, err = parseRate(rate); err != nil {
				return usage("write a rate such as 50MiB, or paused, or max", "limit operation %q: %v", opts.ref, err)
			}
			return nil
		},
	}
	return changing(c, cmd, &opts, setRate, one("OPERATION", &opts.ref, operationNames), one("RATE", &rate, nil))
}

func setRate(ctx context.Context, s *session, opts opSetRateOptions) (outcome, error) {
	operation, err := s.Operation(opts.ref)
	if err != nil {
		return nil, err
	}
	l, err := s.LUN(operation.LUN.String())
	if err != nil {
		return nil, err
	}
	limited := func(ctx context.Context) error {
		doc, err := s.limitedOperation(context.WithoutCancel(ctx), operation)
		if err != nil {
			return err
		}
		return s.printOperation(doc)
	}
	return outcome(limited).unless(l.SetRate(ctx, opts.rate))
}
