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

// changing makes cmd a command that changes something: run makes the change, and the outcome that it returns is shown.
// When it returns an error with an outcome, the outcome tells of the error too.
//
// It adds --dry-run. Then run works on a machine that carries nothing out, nothing is asked, and the plan is shown instead
// of the outcome: handles that run got may be nil, and an outcome alone may use them.
func (a *app) changing(cmd *cobra.Command, run func(context.Context, *world, []string) (outcome, error)) *cobra.Command {
	cmd.Flags().BoolVar(&a.dryRun, "dry-run", false, "change nothing; print each step, and how it would be taken back")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.with(cmd.Context(), func(ctx context.Context, w *world) error {
			if a.dryRun {
				w.Provider = w.DryRun()
			}
			show, err := run(ctx, w, args)
			switch {
			case a.dryRun:
				return a.printPlan(w.Plan(), err)
			case show == nil:
				return err
			default:
				return show(ctx)
			}
		})
	}
	return cmd
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
