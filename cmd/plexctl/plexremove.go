package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
)

func newPlexRemove(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove LUN PLEX",
		Short: "Take a plex away from a mirror, and free its room",
		Long: "Remove takes a plex away from a LUN, which may be in use meanwhile. The plex ceases to exist, its copy of the data is\n" +
			"lost and its room is free; the LUN and its data stay. `plexctl plex split` keeps the copy as a LUN.\n" +
			"The only plex is refused, and so is one without which not all of the data would be there.",
		Example:           "  plexctl plex remove web1 /dev/sdc",
		Args:              operands("LUN", "PLEX"),
		ValidArgsFunction: a.complete(lunNames, plexNames),
	}
	yesFlag(cmd, &yes)
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return removePlex(ctx, a, w, args[0], args[1], yes)
	})
}

func removePlex(ctx context.Context, a *app, w *world, ref, plexRef string, yes bool) (outcome, error) {
	l, plex, err := w.plex(ref, plexRef)
	if err != nil {
		return nil, err
	}
	loss, err := w.plexLoss(ctx, l, plex)
	if err != nil {
		return nil, err
	}
	if err := a.confirm(ctx, yes, loss); err != nil {
		return nil, err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	operation, err := l.RemovePlex(ctx, plex)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.printBegun(ctx, w, operation, true) }, nil
}

// plex is a LUN and one of its plexes.
func (w *world) plex(ref, plexRef string) (*lun.LUN, uuid.UUID, error) {
	l, err := w.LUN(ref)
	if err != nil {
		return nil, uuid.Nil, err
	}
	plex, err := l.Plex(plexRef)
	return l, plex, err
}

// plexLoss says what is lost with a plex, and what is left.
func (w *world) plexLoss(ctx context.Context, l *lun.LUN, plex uuid.UUID) (string, error) {
	props, err := l.Properties(ctx)
	if err != nil {
		return "", err
	}
	doc := newLUNDoc(props, w.DrivePaths())
	where := "no drive"
	for _, p := range doc.Plexes {
		if p.ID == plex {
			where = driveText(p.Drives)
		}
	}
	left := fmt.Sprintf("%d plexes are left", len(doc.Plexes)-1)
	if len(doc.Plexes) == 2 {
		left = "one plex is left, and the LUN is no mirror any more"
	}
	return fmt.Sprintf("Plex %s of LUN %s, on %s, will be removed, and its copy of the data lost; %s.",
		plex, lunText(l, doc.Size), where, left), nil
}

type plexSplitOptions struct{ lun, plex, name string }

func newPlexSplit(a *app) *cobra.Command {
	var opts plexSplitOptions
	cmd := &cobra.Command{
		Use:   "split LUN PLEX --name NEW",
		Short: "Take a plex away from a mirror, and make a LUN of it",
		Long: "Split takes a plex away from a LUN, which may be in use meanwhile, and makes a LUN named NEW of it, with the content of\n" +
			"that moment. A file system that is mounted from the LUN is frozen for it, so that the one on the new LUN is clean.\n" +
			"No data is lost. `plexctl plex add` makes the new LUN a plex again.",
		Example:           "  plexctl plex split web1 /dev/sdc --name web1-monday",
		Args:              operands("LUN", "PLEX"),
		ValidArgsFunction: a.complete(lunNames, plexNames),
		PreRunE: func(_ *cobra.Command, args []string) error {
			opts.lun, opts.plex = args[0], args[1]
			if opts.name == "" {
				return usage("add --name, such as --name "+opts.lun+"-copy",
					"the name of the LUN that is split off from %q is missing", opts.lun)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&opts.name, "name", "", "`NAME` of the new LUN")
	must(cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions))
	return a.changing(cmd, func(ctx context.Context, w *world, _ []string) (outcome, error) { return splitPlex(ctx, a, w, opts) })
}

func splitPlex(ctx context.Context, a *app, w *world, opts plexSplitOptions) (outcome, error) {
	l, plex, err := w.plex(opts.lun, opts.plex)
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	made, err := l.Split(ctx, plex, opts.name)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.printLUN(ctx, w, made) }, nil
}
