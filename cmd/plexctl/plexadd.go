package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

type plexAddOptions struct {
	target, source string
	drives         []string
	rate           rateFlag
	now            bool
	scan           bool
	wait           bool
	yes            bool
}

func newPlexAdd(a *app) *cobra.Command {
	var opts plexAddOptions
	cmd := &cobra.Command{
		Use:   "add TARGET {SOURCE | --drive DRIVE...}",
		Short: "Mirror a LUN, with another LUN or with room on drives as its new plex",
		Long: "Add gives the LUN TARGET, which may be in use meanwhile, another plex. From the moment the command returns every\n" +
			"write to TARGET goes to all its plexes; the kernel copies the rest, but for what is known to be zero: of a tracked LUN\n" +
			"what was never written, of a loop device or a thin SCSI disk what is not allocated.\n\n" +
			"The LUN SOURCE becomes the plex: all data on SOURCE is lost and SOURCE is no LUN any more. It must be at least as\n" +
			"large as TARGET, on other drives, and not in use. With --drive instead, room is made for the plex on these drives,\n" +
			"each used up before the next; no data is lost, so nothing is asked.\n\n" +
			rateHelp + "\n" +
			"`plexctl op set-rate` changes it later. While another LUN is being rebuilt on one of its drives a copy is queued; it\n" +
			"begins when plexctl next looks after that, with `op wait` or `status` for example. With --now it begins at once.\n\n" +
			"With --scan all of TARGET, which must have one plex, is read first, at RATE or 256 MiB in a second, while it is in\n" +
			"use; what reads as zeros and is not written meanwhile is not copied then. The command returns after that. When it is\n" +
			"interrupted nothing is lost: the same command goes on where it stopped, and `plexctl op cancel TARGET` gives it up.\n" +
			"The drive of the new plex must be able to zero by itself.",
		Example: "  plexctl plex add web1 spare3 --wait\n" +
			"  plexctl plex add web1 --drive /dev/sdd --rate 50MiB",
		Args:              operands("TARGET", "[SOURCE]"),
		ValidArgsFunction: a.complete(lunNames, lunNames),
		PreRunE:           func(_ *cobra.Command, args []string) error { return opts.name(args) },
	}
	cmd.Flags().StringArrayVarP(&opts.drives, "drive", "d", nil,
		"make room for the plex on this `DRIVE`, by path or GUID; may be repeated")
	must(cmd.RegisterFlagCompletionFunc("drive", a.completeAll(driveNames)))
	addRate(cmd, &opts.rate)
	cmd.Flags().BoolVar(&opts.now, "now", false, "copy at once, though another LUN is being rebuilt on one of the drives")
	cmd.Flags().BoolVar(&opts.scan, "scan", false, "first read TARGET, and then copy nothing that is zero")
	cmd.Flags().BoolVar(&opts.wait, "wait", false, "wait until the plex holds all of the data, and show how it gets on")
	yesFlag(cmd, &opts.yes)
	return a.changing(cmd, func(ctx context.Context, w *world, _ []string) (outcome, error) { return addPlex(ctx, a, w, opts) })
}

// name takes the arguments: there is either a source or a drive.
func (o *plexAddOptions) name(args []string) error {
	o.target = args[0]
	switch {
	case len(args) == 1 && len(o.drives) == 0:
		return usage("name the LUN that becomes a plex, or with --drive where room for one is made",
			"SOURCE is missing: nothing is named to be a plex of %q", o.target)
	case len(args) == 2 && len(o.drives) > 0:
		return usage("leave one of them out", "SOURCE %q and --drive exclude each other", args[1])
	case len(args) == 2:
		o.source = args[1]
	}
	return nil
}

func addPlex(ctx context.Context, a *app, w *world, opts plexAddOptions) (outcome, error) {
	target, err := w.LUN(opts.target)
	if err != nil {
		return nil, err
	}
	how := lun.AttachOptions{Rate: size.Bytes(opts.rate), Now: opts.now}
	scan := lun.ScanOptions{Drives: opts.drives, Rate: how.Rate}
	attach := func(ctx context.Context) (*resync.Async, error) { return target.AddNewPlex(ctx, opts.drives, how) }
	if opts.source != "" {
		source, err := a.surrender(ctx, w, target, opts)
		if err != nil {
			return nil, err
		}
		scan.Source = source.ID()
		attach = func(ctx context.Context) (*resync.Async, error) { return target.AddPlex(ctx, source.ID(), how) }
	}
	if opts.scan {
		if err := a.scan(ctx, target, scan); err != nil {
			return nil, err
		}
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	operation, err := attach(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.printBegun(ctx, w, operation, opts.wait) }, nil
}

// surrender is the source, which the user agrees to lose.
func (a *app) surrender(ctx context.Context, w *world, target *lun.LUN, opts plexAddOptions) (*lun.LUN, error) {
	source, err := w.LUN(opts.source)
	if err != nil {
		return nil, err
	}
	record, err := source.Record()
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("All data on LUN %s will be lost: it becomes a plex of LUN %q.",
		lunText(source, record.Size.Bytes()), target.Name())
	return source, a.confirm(ctx, opts.yes, loss)
}
