package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
)

// outcome shows what a change has led to.
type outcome func(context.Context) error

// change makes a change on a machine. Of a change that was made in part it returns an error with an outcome, and the outcome
// tells of the error too; of one that was refused, an error alone.
//
// It must also work on a machine that carries nothing out: handles on what it made are nil there, and an outcome alone,
// which is not shown then, may use them.
type change func(ctx context.Context, w *world, args []string) (outcome, error)

// changing makes cmd a command that carries run out, with --dry-run. A change that would be refused is refused before
// anything is asked.
func (a *app) changing(cmd *cobra.Command, run change) *cobra.Command {
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "change nothing; print each step, and how it would be taken back")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, w *world) error {
			if a.dryRun {
				return a.printPlan(a.rehearse(ctx, *w, args, run))
			}
			if yes := cmd.Flags().Lookup("yes"); yes != nil && !yes.Changed && a.canAsk() {
				if _, err := a.rehearse(ctx, *w, args, run); err != nil {
					return err
				}
			}
			show, err := run(ctx, w, args)
			if show == nil {
				return err
			}
			return show(ctx)
		})
	}
	return cmd
}

// rehearse plans a change on w. It asks nothing and changes nothing. There is no plan for a change that would be refused as
// a whole.
func (a *app) rehearse(ctx context.Context, w world, args []string, run change) ([]lun.PlannedStep, error) {
	defer func(was bool) { a.dryRun = was }(a.dryRun)
	a.dryRun = true
	w.Provider = w.DryRun()
	show, err := run(ctx, &w, args)
	if show == nil {
		return nil, err
	}
	return w.Plan(), err
}

// printPlan shows the steps of a change. refused, if there is one, is why no more would be done; without any step it is
// all there is to say.
func (a *app) printPlan(steps []lun.PlannedStep, refused error) error {
	if refused != nil && len(steps) == 0 {
		return refused
	}
	doc := planDocument{newHeader(), newPlan(steps)}
	return errors.Join(a.print(doc, func(out io.Writer) error { return planText(out, doc.Plan) }), refused)
}

func newPlan(steps []lun.PlannedStep) []stepDoc {
	docs := []stepDoc{}
	for _, s := range steps {
		doc := stepDoc{Text: s.Text, Undo: s.Undo, Commit: s.Commit}
		if table := strings.TrimSpace(s.Table); table != "" {
			doc.Table = strings.Split(table, "\n")
		}
		docs = append(docs, doc)
	}
	return docs
}

// planText is a plan for people: its steps with a number each, and below a step the table that it loads and how it would be
// taken back.
func planText(out io.Writer, steps []stepDoc) error {
	var text strings.Builder
	if len(steps) == 0 {
		text.WriteString("nothing to do\n")
	}
	below := func(format string, args ...any) { fmt.Fprintf(&text, "      "+format+"\n", args...) }
	for i, s := range steps {
		fmt.Fprintf(&text, "%3d. %s\n", i+1, s.Text)
		for _, line := range s.Table {
			below("%s", line)
		}
		if s.Undo != "" {
			below("undo: %s", s.Undo)
		}
		if s.Commit {
			below("COMMIT POINT: cut off before it, nothing has changed; cut off after it, the next assemble completes the change")
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}
