package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
)

type assembleOptions struct {
	luns     []string
	degraded bool
}

func newAssemble(a *app) *cobra.Command {
	var opts assembleOptions
	cmd := &cobra.Command{
		Use:   "assemble [LUN]...",
		Short: "Activate LUNs: at boot, after a crash, at any time",
		Long: "Assemble brings the kernel to what the drives say, for the LUNs named or for all. Where that is so already nothing\n" +
			"is changed. A mirror that was not stopped cleanly copies what may differ; a running operation goes on.\n" +
			"A mirror is not started without a plex that held the data, because the plexes that are left may be older:\n" +
			"--degraded starts it nevertheless. One LUN's failure does not keep the others from being activated.",
		Args:              operands("[LUN...]"),
		ValidArgsFunction: a.complete(-1, lunNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.luns = args
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return assemble(ctx, a, w, opts) })
		},
	}
	cmd.Flags().BoolVar(&opts.degraded, "degraded", false, "start a mirror without plexes that are missing")
	return cmd
}

func assemble(ctx context.Context, a *app, w *world, opts assembleOptions) error {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	results, err := w.Assemble(ctx, lun.AssembleOptions{LUNs: opts.luns, Force: opts.degraded})
	return a.printResults(results, "active", err)
}

func newDeactivate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "deactivate [LUN]...",
		Short: "Take LUNs down: at shutdown",
		Long: "Deactivate removes the devices of the LUNs named or of all. Data and running operations stay, and go on at the next\n" +
			"assemble. A LUN that is open is refused and left as it is. A mirror that is stopped so copies nothing at the next start.",
		Args:              operands("[LUN...]"),
		ValidArgsFunction: a.complete(-1, lunNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return deactivate(ctx, a, w, args) })
		},
	}
}

func deactivate(ctx context.Context, a *app, w *world, refs []string) error {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	results, err := w.Deactivate(ctx, refs...)
	return a.printResults(results, "inactive", err)
}

// printResults shows what became of each LUN: on stdout those that did, on stderr the errors of the others. The exit
// status is that of err, which is about all LUNs, else of the first LUN that failed.
func (a *app) printResults(results []lun.Result, state string, err error) error {
	doc := resultsDocument{newHeader(), []resultDoc{}}
	var failed error
	for _, r := range results {
		one := resultDoc{lunRef: lunRef{ID: r.ID, Name: r.Name}}
		if r.Err != nil {
			shown := newErrorDoc(r.Err)
			one.Error = &shown
		}
		if r.Err != nil && failed == nil {
			failed = exitOf(codeOf(r.Err))
		}
		doc.Results = append(doc.Results, one)
	}
	if err != nil && len(results) == 0 {
		return err
	}
	if written := a.print(doc, func(w io.Writer) error { return a.resultLines(w, results, state) }); written != nil {
		return written
	}
	if err != nil {
		return err
	}
	return failed
}

func (a *app) resultLines(w io.Writer, results []lun.Result, state string) error {
	for _, r := range results {
		if r.Err != nil {
			a.report(r.Err)
			continue
		}
		if _, err := fmt.Fprintf(w, "%s is %s\n", r.Name, state); err != nil {
			return err
		}
	}
	return nil
}
