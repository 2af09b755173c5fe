package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
)

func newPlex(a *app) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "plex",
			Short: "Plexes: the copies that make up a LUN",
			Long:  "A plex is one complete copy of a LUN. A LUN with two or more plexes is a mirror.",
		},
		newPlexAdd(a), newPlexList(a),
	)
}

type plexAddOptions struct {
	target, source string
	wait           bool
	yes            bool
}

func newPlexAdd(a *app) *cobra.Command {
	var opts plexAddOptions
	cmd := &cobra.Command{
		Use:   "add TARGET SOURCE",
		Short: "Mirror a LUN by making another LUN a plex of it",
		Long: "Add makes the LUN SOURCE a plex of the LUN TARGET, which may be in use meanwhile. All data on SOURCE is lost and\n" +
			"SOURCE is no LUN any more. From the moment the command returns every write to TARGET goes to both; the kernel\n" +
			"copies the rest. SOURCE must be at least as large as TARGET, on other drives, and not in use.",
		Example:           "  plexctl plex add web1 spare3 --wait",
		Args:              operands("TARGET", "SOURCE"),
		ValidArgsFunction: a.complete(2, lunNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.target, opts.source = args[0], args[1]
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return addPlex(ctx, a, w, opts) })
		},
	}
	cmd.Flags().BoolVar(&opts.wait, "wait", false, "wait until the plex holds all of the data, and show how it gets on")
	yesFlag(cmd, &opts.yes)
	return cmd
}

func addPlex(ctx context.Context, a *app, w *world, opts plexAddOptions) error {
	target, err := w.LUN(opts.target)
	if err != nil {
		return err
	}
	source, err := w.LUN(opts.source)
	if err != nil {
		return err
	}
	record, err := source.Record()
	if err != nil {
		return err
	}
	loss := fmt.Sprintf("All data on LUN %s will be lost: it becomes a plex of LUN %q.",
		lunText(source, record.Size.Bytes()), target.Name())
	if err := a.confirm(ctx, opts.yes, loss); err != nil {
		return err
	}
	operation, err := attach(ctx, a, target, source)
	if err != nil {
		return err
	}
	if opts.wait {
		return a.follow(ctx, w, operation)
	}
	return a.printStarted(ctx, w, operation)
}

func attach(ctx context.Context, a *app, target, source *lun.LUN) (*resync.Async, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	return target.AddPlex(ctx, source.ID(), lun.AttachOptions{})
}

// printStarted shows an operation that goes on by itself, and how to come back to it.
func (a *app) printStarted(ctx context.Context, w *world, operation *resync.Async) error {
	doc, err := w.operation(ctx, operation)
	if err != nil {
		return err
	}
	if a.format == formatText {
		fmt.Fprintf(a.err, "copying goes on by itself; watch it with `plexctl op wait %s`\n", operation.ID)
	}
	return a.print(operationDocument{header: newHeader(), Operation: doc}, func(out io.Writer) error {
		return a.operationTable(out, []operationDoc{doc})
	})
}

func newPlexList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list LUN",
		Short:             "List the plexes of a LUN",
		Args:              operands("LUN"),
		ValidArgsFunction: a.complete(1, lunNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return listPlexes(ctx, a, w, args[0]) })
		},
	}
}

func listPlexes(ctx context.Context, a *app, w *world, ref string) error {
	l, err := w.LUN(ref)
	if err != nil {
		return err
	}
	doc, err := w.lun(ctx, l)
	if err != nil {
		return err
	}
	return a.print(plexesDocument{newHeader(), lunRef{doc.ID, doc.Name}, doc.Plexes}, func(out io.Writer) error {
		return a.plexTable(out, doc.Plexes)
	})
}

func (a *app) plexTable(out io.Writer, plexes []plexDoc) error {
	g := newGrid(out, "PLEX", "SIZE", "TYPE", a.paint(sgrPlain, "HEALTH"), "STATUS", "DRIVES")
	for _, p := range plexes {
		g.row(a.id(p.ID), p.Size.String(), p.Type.String(), a.health(p.Health), p.Status.String(), driveText(p.Drives))
	}
	return g.flush()
}
