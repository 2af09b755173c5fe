package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/internal/visible"
	"github.com/plexctl/plexctl/lun"
)

type assembleOptions struct {
	lun.AssembleOptions
	takeOver bool
}

func newAssemble(c *cli) *cobra.Command {
	var opts assembleOptions
	var force string
	cmd := &cobra.Command{
		Use:   "assemble [LUN]...",
		Short: "Activate LUNs: at boot, after a crash, at any time",
		Long: "Assemble brings the kernel to what the drives say, for the LUNs named or for all. It changes nothing that is so already.\n" +
			"A mirror that was not stopped cleanly copies what may differ; a running operation goes on.\n" +
			"One LUN's failure does not keep the others from being activated.\n\n" +
			"A mirror is not started without a plex that held the data, because the plexes that are left may be older.\n" +
			"--force LUN starts that LUN, and no other, nevertheless. It loses for good what only the missing plex has: that plex\n" +
			"counts as out of date from then on. When its drive is back, `plexctl lun recover` overwrites it.\n\n" +
			"LUNs on drives that another host has used last are not started either. --take-over makes the drives that\n" +
			"the LUNs need, or all such drives, this host's first. The other host must not use them any more, and plexctl cannot find\n" +
			"out whether it does. Both flags ask before they do something that cannot be undone.",
		PreRunE: func(cmd *cobra.Command, args []string) error {
			if opts.Force = cmd.Flags().Changed("force"); !opts.Force {
				return nil
			}
			if len(args) > 0 {
				return usage("run plexctl twice", "--force starts %q and no other LUN, but %q is named too", force, args[0])
			}
			opts.LUNs = []string{force}
			return nil
		},
	}
	wordFlag(cmd, &force, "force", "LUN", "start this LUN, and no other, without plexes that are missing and may be newer")
	must(cmd.RegisterFlagCompletionFunc("force", c.completion(lunNames)))
	cmd.Flags().BoolVar(&opts.takeOver, "take-over", false, "make drives of other hosts that the LUNs need this host's first")
	yesFlag(cmd)
	return changing(c, cmd, &opts, assemble, all("[LUN...]", &opts.LUNs, lunNames))
}

func assemble(ctx context.Context, s *session, opts assembleOptions) (outcome, error) {
	taken, err := s.takeOverFor(ctx, opts)
	if err != nil && len(taken) == 0 {
		return nil, err
	}
	var results []lun.Result
	if err == nil && opts.Force {
		err = s.confirmForce(ctx, opts.AssembleOptions)
	}
	if err == nil && (!s.dryRun || len(taken) == 0) { // a dry run takes nothing over, and so could start nothing
		results, err = s.Assemble(ctx, opts.AssembleOptions)
	}
	return s.each(results, taken, "active", err)
}

// takeOverFor takes the drives over that the LUNs need, if that is wanted. In a dry run it returns those that it would.
func (s *session) takeOverFor(ctx context.Context, opts assembleOptions) ([]lun.Drive, error) {
	if !opts.takeOver {
		return nil, nil
	}
	foreign, err := s.ForeignDrives(opts.LUNs...)
	if err != nil || len(foreign) == 0 {
		return nil, err
	}
	paths := listOf(foreign, func(d lun.Drive) string { return d.Info.Path })
	if err := s.confirmTakeOver(ctx, paths); err != nil {
		return nil, err
	}
	taken, err := s.TakeOver(ctx, paths...)
	if s.dryRun {
		taken = foreign
	}
	return taken, err
}

// confirmForce asks before a LUN is started by force, if it would not start without.
func (s *session) confirmForce(ctx context.Context, opts lun.AssembleOptions) error {
	if s.dryRun {
		return nil
	}
	forced, err := s.DryRun().Assemble(ctx, opts)
	opts.Force = false
	plain, plainErr := s.DryRun().Assemble(ctx, opts)
	if err := cmp.Or(err, plainErr); err != nil || forced[0].Err != nil || plain[0].Err == nil {
		return err // there is no choice
	}
	return s.confirm(ctx, plain[0].Err.Error()+".\nIt is started nevertheless. What only a missing plex has is lost for good: that plex is out of date then.")
}

func newDeactivate(c *cli) *cobra.Command {
	var refs []string
	cmd := &cobra.Command{
		Use:   "deactivate [LUN]...",
		Short: "Take LUNs down: at shutdown",
		Long: "Deactivate removes the devices of the LUNs named or of all. Data and running operations stay, and go on at the next\n" +
			"assemble. A LUN that is open is refused and left as it is. A mirror that is stopped so copies nothing at the next start.",
	}
	return changing(c, cmd, &refs, deactivate, all("[LUN...]", &refs, lunNames))
}

func deactivate(ctx context.Context, s *session, refs []string) (outcome, error) {
	results, err := s.Deactivate(ctx, refs...)
	return s.each(results, nil, "inactive", err)
}

// each is the outcome of a command for several LUNs. state tells what each of them is now, unless its result has an error.
// err is about all of them. taken are drives that were taken over.
func (s *session) each(results []lun.Result, taken []lun.Drive, state string, err error) (outcome, error) {
	refused := err
	for _, r := range results {
		refused = errors.Join(refused, r.Err)
	}
	return func(context.Context) error {
		if s.format == formatText {
			for _, d := range taken {
				fmt.Fprintf(s.err, "drive %s is this host's now\n", visible.Line(d.Info.Path))
			}
		}
		return s.printResults(results, taken, state, err)
	}, refused
}

// printResults shows what became of each LUN: on stdout those that did, on stderr the errors of the others. The exit
// status is that of err, else of the first LUN that failed.
func (p printer) printResults(results []lun.Result, taken []lun.Drive, state string, err error) error {
	if err != nil && len(results) == 0 {
		if len(taken) == 0 || p.format == formatText {
			return err
		}
		return cmp.Or(p.encode(document{"error": newErrorDoc(err), "takenOver": listOf(taken, newDriveRef)}), error(exitOf(codeOf(err))))
	}
	doc := resultsDocument{[]resultDoc{}, listOf(taken, newDriveRef)}
	var text strings.Builder
	for _, r := range results {
		one := resultDoc{lunRef: lunRef{ID: r.ID, Name: r.Name}, Changed: r.Changed}
		switch {
		case r.Changed:
			fmt.Fprintf(&text, "%s was not as recorded, and is corrected\n", r.Name)
		case r.Err == nil:
			fmt.Fprintf(&text, "%s is %s\n", r.Name, state)
		default:
			shown := newErrorDoc(r.Err)
			one.Error, err = &shown, cmp.Or(err, error(exitOf(codeOf(r.Err))))
			if p.format == formatText {
				p.report(r.Err)
			}
		}
		doc.Results = append(doc.Results, one)
	}
	return cmp.Or(p.print(doc, text.String()), err)
}
