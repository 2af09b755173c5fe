package main

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
)

type plexRemoveOptions struct{ lun, plex string }

func newPlexRemove(c *cli) *cobra.Command {
	var opts plexRemoveOptions
	cmd := &cobra.Command{
		Use: "remove LUN PLEX", Aliases: []string{"rm"}, SuggestFor: []string{"delete"},
		Short: "Take a plex away from a mirror, and free its room",
		Long: "Remove takes a plex away from a LUN, which may be in use meanwhile. The plex ceases to exist, its copy of the data is\n" +
			"lost and its room is free; the LUN and its data stay. `plexctl plex split` keeps the copy as a LUN.\n" +
			"You cannot remove the only plex, or one without which the data would be incomplete.",
		Example: "  plexctl plex remove web1 /dev/sdc",
	}
	yesFlag(cmd)
	return changing(c, cmd, &opts, removePlex, one("LUN", &opts.lun, lunNames), one("PLEX", &opts.plex, plexNames))
}

func removePlex(ctx context.Context, s *session, opts plexRemoveOptions) (outcome, error) {
	l, plex, err := s.plex(opts.lun, opts.plex)
	if err != nil {
		return nil, err
	}
	loss, err := s.plexLoss(ctx, l, plex)
	if err != nil {
		return nil, err
	}
	if err := s.confirm(ctx, loss); err != nil {
		return nil, err
	}
	operation, err := l.RemovePlex(ctx, plex)
	return s.begun(operation, true).unless(err)
}

type plexSplitOptions struct{ lun, plex, name string }

func newPlexSplit(c *cli) *cobra.Command {
	var opts plexSplitOptions
	cmd := &cobra.Command{
		Use:   "split LUN PLEX --name NEW",
		Short: "Take a plex away from a mirror, and make a LUN of it",
		Long: "Split takes a plex away from a LUN, which may be in use meanwhile, and makes it a LUN named NEW. The new LUN has the\n" +
			"content of that moment. A file system that is mounted from the LUN is frozen for it, so that the one on the new LUN\n" +
			"is clean. What lies above another device on the LUN, such as dm-crypt or LVM, is not frozen. No data is lost.\n" +
			"`plexctl plex add` makes the new LUN a plex again.",
		Example: "  plexctl plex split web1 /dev/sdc --name web1-monday",
		PreRunE: func(*cobra.Command, []string) error {
			if opts.name == "" {
				return usage("add --name, such as --name "+opts.lun+"-copy",
					"the name of the LUN that is split off from %q is missing", opts.lun)
			}
			return nil
		},
	}
	wordFlag(cmd, &opts.name, "name", "NAME", "name of the new LUN")
	return changing(c, cmd, &opts, splitPlex, one("LUN", &opts.lun, lunNames), one("PLEX", &opts.plex, plexNames))
}

func splitPlex(ctx context.Context, s *session, opts plexSplitOptions) (outcome, error) {
	l, plex, err := s.plex(opts.lun, opts.plex)
	if err != nil {
		return nil, err
	}
	advice := s.adviceOn(ctx, l.Name())
	made, err := l.Split(ctx, plex, opts.name)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		for _, text := range advice {
			s.note("%s", text)
		}
		return s.lunLine(made)(ctx)
	}, nil
}

// plex is a LUN and one of its plexes.
func (h *host) plex(ref, plexRef string) (*lun.LUN, uuid.UUID, error) {
	l, err := h.LUN(ref)
	if err != nil {
		return nil, uuid.Nil, err
	}
	plex, err := l.Plex(plexRef)
	return l, plex, err
}

// plexLoss says what is lost with a plex, and what is left.
func (h *host) plexLoss(ctx context.Context, l *lun.LUN, plex uuid.UUID) (string, error) {
	props, err := l.Properties(ctx)
	if err != nil {
		return "", err
	}
	doc := newLUNDoc(props, h.driveRefs())
	where := "no drive"
	for _, p := range doc.Plexes {
		if p.ID == plex {
			where = driveText(p.Drives)
		}
	}
	left := fmt.Sprintf("%d plexes are left", plexCount(doc)-1)
	if plexCount(doc) == 2 {
		left = "one plex is left, and the LUN is no mirror any more"
	}
	return fmt.Sprintf("The plex on %s of LUN %s will be removed, and its copy of the data lost; %s.", where, lunText(l, doc.Size), left), nil
}
