package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
)

type assembleOptions struct {
	luns     []string
	force    bool
	takeOver bool
}

func newAssemble(a *app) *cobra.Command {
	var opts assembleOptions
	var force string
	cmd := &cobra.Command{
		Use:   "assemble [LUN]...",
		Short: "Activate LUNs: at boot, after a crash, at any time",
		Long: "Assemble brings the kernel to what the drives say, for the LUNs named or for all. Where that is so already nothing\n" +
			"is changed. A mirror that was not stopped cleanly copies what may differ; a running operation goes on.\n" +
			"One LUN's failure does not keep the others from being activated.\n\n" +
			"A mirror is not started without a plex that held the data, because the plexes that are left may be older.\n" +
			"--force LUN starts that LUN, and no other, nevertheless. What only the missing plex has is lost for good then: from\n" +
			"that moment it counts as out of date, and `plexctl lun recover` overwrites it when its drive is back.\n\n" +
			"LUNs on drives that another host has used last are not started either. --take-over makes all such drives this\n" +
			"host's first. The other host must not use them any more, and plexctl cannot find out whether it does.",
		Args:              operands("[LUN...]"),
		ValidArgsFunction: a.completeAll(lunNames),
		PreRunE: func(cmd *cobra.Command, args []string) error {
			opts.luns, opts.force = args, cmd.Flags().Changed("force")
			if !opts.force {
				return nil
			}
			opts.luns = []string{force}
			if len(args) > 0 {
				return usage("run plexctl twice", "--force starts %q and no other LUN, but %q is named too", force, args[0])
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&force, "force", "", "start this `LUN`, and no other, without plexes that are missing and may be newer")
	must(cmd.RegisterFlagCompletionFunc("force", a.completeAll(lunNames)))
	cmd.Flags().BoolVar(&opts.takeOver, "take-over", false, "make drives of other hosts this host's first")
	return a.changing(cmd, func(ctx context.Context, w *world, _ []string) (outcome, error) { return assemble(ctx, a, w, opts) })
}

func assemble(ctx context.Context, a *app, w *world, opts assembleOptions) (outcome, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	var taken []lun.Drive
	if opts.takeOver {
		var err error
		if taken, err = w.TakeOver(ctx); err != nil {
			return nil, err
		}
	}
	results, err := w.Assemble(ctx, lun.AssembleOptions{LUNs: opts.luns, Force: opts.force})
	return func(context.Context) error {
		a.tellTaken(taken)
		return a.printResults(results, taken, "active", err)
	}, errors.Join(err, refusals(results))
}

// tellTaken says which drives were taken over; with -o json the result does.
func (a *app) tellTaken(drives []lun.Drive) {
	if a.format == formatJSON {
		return
	}
	for _, d := range drives {
		fmt.Fprintf(a.err, "drive %s is this host's now\n", d.Info.Path)
	}
}

// refusals is why LUNs would not be what a command wants of them.
func refusals(results []lun.Result) error {
	var all []error
	for _, r := range results {
		all = append(all, r.Err)
	}
	return errors.Join(all...)
}

func newDeactivate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deactivate [LUN]...",
		Short: "Take LUNs down: at shutdown",
		Long: "Deactivate removes the devices of the LUNs named or of all. Data and running operations stay, and go on at the next\n" +
			"assemble. A LUN that is open is refused and left as it is. A mirror that is stopped so copies nothing at the next start.",
		Args:              operands("[LUN...]"),
		ValidArgsFunction: a.completeAll(lunNames),
	}
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return deactivate(ctx, a, w, args)
	})
}

func deactivate(ctx context.Context, a *app, w *world, refs []string) (outcome, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	results, err := w.Deactivate(ctx, refs...)
	return func(context.Context) error { return a.printResults(results, nil, "inactive", err) }, errors.Join(err, refusals(results))
}

// printResults shows what became of each LUN: on stdout those that did, on stderr the errors of the others. The exit
// status is that of err, which is about all LUNs, else of the first LUN that failed. taken is drives that were taken over.
func (a *app) printResults(results []lun.Result, taken []lun.Drive, state string, err error) error {
	doc := resultsDocument{header: newHeader(), Results: []resultDoc{}}
	for _, d := range taken {
		doc.TakenOver = append(doc.TakenOver, driveRef{ID: d.ID, Path: d.Info.Path})
	}
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
