package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/vds"
)

type lunRecoverOptions struct {
	ref  string
	wait bool
}

func newLUNRecover(c *cli) *cobra.Command {
	var opts lunRecoverOptions
	cmd := &cobra.Command{
		Use:   "recover LUN",
		Short: "Bring back plexes that failed or were missing",
		Long: "Recover brings back plexes of a mirror that failed, or whose drives were missing, once these drives work again.\n" +
			"The LUN may be in use meanwhile. The kernel copies only the regions that were written while a plex was away, from\n" +
			"the plexes that hold all of the data. No data is lost. If no plex has failed, nothing is done.",
		Example: "  plexctl lun recover web1 --wait",
	}
	waitFlag(cmd, &opts.wait, "the plexes hold all of the data")
	return changing(c, cmd, &opts, recoverLUN, one("LUN", &opts.ref, lunNames))
}

func recoverLUN(ctx context.Context, s *session, opts lunRecoverOptions) (outcome, error) {
	l, err := s.LUN(opts.ref)
	if err != nil {
		return nil, err
	}
	operation, err := l.Recover(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := s.Operation(operation.ID.String())
		nothing := errors.Is(err, vds.ErrObjectNotFound) // it is on no record
		if nothing && s.format == formatText {
			fmt.Fprintf(s.err, "nothing to recover: no plex of LUN %q has failed\n", l.Name())
		}
		return s.begun(operation, opts.wait || nothing)(ctx)
	}, nil
}
