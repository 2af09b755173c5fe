package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

func newPlex(a *app) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "plex",
			Short: "Plexes: the copies that make up a LUN",
			Long: "A plex is one complete copy of a LUN. A LUN with two or more plexes is a mirror. A plex is named by its GUID, a\n" +
				"unique beginning of its GUID of at least 4 digits, or the drive it lies on.",
		},
		newPlexAdd(a), newPlexList(a), newPlexRemove(a), newPlexSplit(a),
	)
}

func newPlexList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list LUN",
		Short:             "List the plexes of a LUN",
		Args:              operands("LUN"),
		ValidArgsFunction: a.complete(lunNames),
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
	shown := plexesDocument{newHeader(), lunRef{doc.ID, doc.Name}, doc.Plexes, doc.Operation}
	return a.print(shown, func(out io.Writer) error {
		if err := a.plexTable(out, doc.Plexes); err != nil {
			return err
		}
		printCopying(out, doc)
		return nil
	})
}

func (a *app) plexTable(out io.Writer, plexes []plexDoc) error {
	g := newGrid(out, "PLEX", "SIZE", "TYPE", a.paint(sgrPlain, "HEALTH"), "STATUS", "DRIVES")
	for _, p := range plexes {
		g.row(a.id(p.ID), p.Size.String(), p.Type.String(), a.health(p.Health), p.Status.String(), driveText(p.Drives))
	}
	return g.flush()
}
