package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

type lunRecoverOptions struct {
	ref  string
	keep string
	wait bool
}

func newLUNRecover(c *cli) *cobra.Command {
	var opts lunRecoverOptions
	cmd := &cobra.Command{
		Use:   "recover LUN",
		Short: "Bring back plexes that failed or were missing",
		Long: "Recover brings back plexes of a mirror that failed, or whose drives were missing, once these drives work again.\n" +
			"The LUN may be in use meanwhile. The kernel copies only the regions that were written while a plex was away, from\n" +
			"the plexes that hold all of the data. No data is lost. If no plex has failed, nothing is done.\n\n" +
			"With --keep you decide which plex holds the data, when plexctl cannot know it. The plexes were used without each\n" +
			"other, or none of those that are here can be shown to be the newest. Nothing is copied, but the other plexes are out\n" +
			"of date from then on. `plexctl lun recover` without --keep fills them, and what only they have is lost with that.",
		Example: "  plexctl lun recover web1 --wait\n  plexctl lun recover web1 --keep /dev/sdb",
	}
	wordFlag(cmd, &opts.keep, "keep", "PLEX", "go on with this plex (its drive, or its GUID), and not with the others")
	yesFlag(cmd)
	c.anyKernelFlag(cmd)
	waitFlag(cmd, &opts.wait, "the plexes hold all of the data")
	return changing(c, cmd, &opts, recoverLUN, one("LUN", &opts.ref, lunNames))
}

func recoverLUN(ctx context.Context, s *session, opts lunRecoverOptions) (outcome, error) {
	l, err := s.LUN(opts.ref)
	if err != nil {
		return nil, err
	}
	if opts.keep != "" {
		return keepPlex(ctx, s, l, opts.keep)
	}
	operation, err := l.Recover(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := s.Operation(operation.ID.String())
		nothing := errors.Is(err, vds.ErrObjectNotFound) // it is on no record
		if nothing {
			s.note("nothing to recover: no plex of LUN %q has failed", l.Name())
		}
		return s.begun(operation, opts.wait || nothing)(ctx)
	}, nil
}

// keepPlex goes on with one plex of a LUN.
func keepPlex(ctx context.Context, s *session, l *lun.LUN, ref string) (outcome, error) {
	plex, err := l.Plex(ref)
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("LUN %s goes on with plex %s. What only its other plexes have is lost when they are filled.", l.Name(), plex)
	if err := s.confirm(ctx, loss); err != nil {
		return nil, err
	}
	return s.lunLine(l).unless(l.Keep(ctx, plex))
}
