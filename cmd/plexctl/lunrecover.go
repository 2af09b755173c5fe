package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

func newLUNRecover(a *app) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "recover LUN",
		Short: "Bring back plexes that failed or were missing",
		Long: "Recover takes plexes of a mirror back that failed, or whose drives were missing, once their drives are well again.\n" +
			"The LUN may be in use meanwhile. The kernel copies only the regions that were written while a plex was away, from\n" +
			"the plexes that hold all of the data; no data is lost. Where no plex has failed, nothing is done.",
		Example:           "  plexctl lun recover web1 --wait",
		Args:              operands("LUN"),
		ValidArgsFunction: a.complete(lunNames),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the plexes hold all of the data, and show how it gets on")
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return recoverLUN(ctx, a, w, args[0], wait)
	})
}

func recoverLUN(ctx context.Context, a *app, w *world, ref string, wait bool) (outcome, error) {
	l, err := w.LUN(ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	operation, err := l.Recover(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.printRecovery(ctx, w, operation, l.Name(), wait) }, nil
}

// printRecovery shows a recovery that was begun, or that there is nothing to recover.
func (a *app) printRecovery(ctx context.Context, w *world, operation *resync.Async, name string, wait bool) error {
	_, err := w.Operation(operation.ID.String())
	nothing := errors.Is(err, vds.ErrObjectNotFound) // it is on no record
	if nothing && a.format == formatText {
		fmt.Fprintf(a.err, "nothing to recover: no plex of LUN %q has failed\n", name)
	}
	return a.printBegun(ctx, w, operation, wait || nothing)
}
