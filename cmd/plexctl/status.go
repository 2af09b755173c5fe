package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/vds"
)

// watchInterval is how often status --watch looks.
const watchInterval = 2 * time.Second

// summary is the worst of everything that status shows.
type summary string

// Values of summary.
const (
	allHealthy summary = "healthy"  // every LUN is healthy, and so are the drives
	degraded   summary = "degraded" // a LUN is being rebuilt or lacks a plex, or a drive has a problem; all data is there
	failed     summary = "failed"   // a LUN has no usable plex, or its I/O waits
)

// exit is the exit status that goes with s.
func (s summary) exit() error {
	switch s {
	case degraded:
		return exitDegraded
	case failed:
		return exitUnavailable
	default:
		return nil
	}
}

type statusOptions struct {
	luns  []string
	watch bool
}

func newStatus(a *app) *cobra.Command {
	var opts statusOptions
	cmd := &cobra.Command{
		Use:   "status [LUN]...",
		Short: "Show the health of everything on one page",
		Long: "Status shows every LUN with its plexes and their drives, what is being copied, what is wrong and what to run.\n" +
			"The exit status is 0 when all is healthy, 20 when something is degraded or being rebuilt, 21 when a LUN has failed.\n" +
			"With --watch it is that of the last look.",
		Args:              operands("[LUN...]"),
		ValidArgsFunction: a.completeAll(lunNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.luns = args
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return runStatus(ctx, a, w, opts) })
		},
	}
	cmd.Flags().BoolVarP(&opts.watch, "watch", "w", false, "look again every 2 seconds until interrupted")
	return cmd
}

func runStatus(ctx context.Context, a *app, w *world, opts statusOptions) error {
	doc, err := w.status(ctx, opts.luns)
	if err != nil {
		return err
	}
	if !opts.watch {
		if err := a.printStatus(doc); err != nil {
			return err
		}
		return doc.Summary.exit()
	}
	return a.watchStatus(ctx, w, opts, doc)
}

// watchStatus shows doc and then the status anew at intervals until it is interrupted.
func (a *app) watchStatus(ctx context.Context, w *world, opts statusOptions, doc statusDocument) error {
	for {
		if a.terminal.out && a.format == formatText {
			fmt.Fprint(a.out, "\x1b[H\x1b[2J") // home, erase
		}
		if err := a.printStatus(doc); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return doc.Summary.exit()
		case <-a.after(watchInterval):
		}
		next, err := w.statusAnew(ctx, opts.luns)
		if ctx.Err() != nil {
			return doc.Summary.exit()
		}
		if err != nil {
			return err
		}
		doc = next
	}
}

func (w *world) statusAnew(ctx context.Context, refs []string) (statusDocument, error) {
	if err := w.Refresh(ctx); err != nil {
		return statusDocument{}, err
	}
	return w.status(ctx, refs)
}

// status is how the LUNs named by refs stand; without refs all of them, and the drives.
func (w *world) status(ctx context.Context, refs []string) (statusDocument, error) {
	wanted := map[uuid.UUID]bool{}
	for _, ref := range refs {
		l, err := w.LUN(ref)
		if err != nil {
			return statusDocument{}, err
		}
		wanted[l.ID()] = true
	}
	luns, err := w.luns(ctx)
	if err != nil {
		return statusDocument{}, err
	}
	doc := statusDocument{header: newHeader(), LUNs: luns, Problems: []errorDoc{}}
	if len(refs) > 0 {
		doc.LUNs = slices.DeleteFunc(luns, func(l lunDoc) bool { return !wanted[l.ID] })
	} else {
		for _, problem := range w.Problems() {
			doc.Problems = append(doc.Problems, newErrorDoc(problem))
		}
	}
	doc.Summary = summarize(doc)
	return doc, nil
}

// summarize is the worst of doc.
func summarize(doc statusDocument) summary {
	worst := allHealthy
	if len(doc.Problems) > 0 {
		worst = degraded
	}
	for _, l := range doc.LUNs {
		switch {
		case l.Health == vds.HealthFailed, l.Status == vds.StatusFailed, l.Status == vds.StatusNotReady:
			return failed
		case l.Health != vds.HealthHealthy, len(l.Problems) > 0:
			worst = degraded
		}
	}
	return worst
}

func (a *app) printStatus(doc statusDocument) error {
	return a.print(doc, func(w io.Writer) error {
		if err := a.statusTable(w, doc.LUNs); err != nil {
			return err
		}
		for _, l := range doc.LUNs {
			printCopying(w, l)
		}
		for _, l := range doc.LUNs {
			printProblems(w, l.Name+": ", l.Problems)
		}
		printProblems(w, "", doc.Problems)
		_, err := fmt.Fprintf(w, "\n%s\n", a.summary(doc.Summary))
		return err
	})
}

// statusTable is the LUNs, each with its plexes below it.
func (a *app) statusTable(w io.Writer, luns []lunDoc) error {
	g := newGrid(w, "LUN", "SIZE", "TYPE", a.paint(sgrPlain, "HEALTH"), "STATUS", "DEVICE")
	for _, l := range luns {
		g.row(l.Name, l.Size.String(), l.Type.String(), a.health(l.Health), l.Status.String(), dash(l.Device))
		for _, p := range l.Plexes {
			g.row("  "+a.id(p.ID), p.Size.String(), p.Type.String(), a.health(p.Health), p.Status.String(), driveText(p.Drives))
		}
	}
	return g.flush()
}

// printCopying says what is being copied to or within a LUN, and how to follow it.
func printCopying(w io.Writer, l lunDoc) {
	text := copyText(l)
	if text == "" {
		return
	}
	fmt.Fprintf(w, "\n%s: %s\n", l.Name, text)
	if o := l.Operation; o != nil {
		fmt.Fprintf(w, "  run: plexctl op wait %s\n", o.ID)
	}
}

func printProblems(w io.Writer, object string, problems []errorDoc) {
	for _, p := range problems {
		fmt.Fprintf(w, "\nproblem: %s%s\n", object, p.Message)
		if p.Hint != "" {
			fmt.Fprintf(w, "  hint: %s\n", p.Hint)
		}
	}
}

// summary is a summary as text.
func (a *app) summary(s summary) string {
	switch s {
	case degraded:
		return a.paint(sgrYellow, "degraded: the data is there, not everything is as it should be")
	case failed:
		return a.paint(sgrRed, "failed: a LUN cannot be used")
	default:
		return a.paint(sgrGreen, "all is healthy")
	}
}
