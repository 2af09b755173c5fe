package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

func newDriveTakeOver(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "take-over DRIVE...",
		Short: "Make drives of another host this host's",
		Long: "Take-over makes drives that another host has used last this host's, so that their LUNs can be started here.\n" +
			"The other host must not use them any more, and plexctl cannot find out whether it does: two hosts that write to the\n" +
			"same drives destroy each other's data. Name all drives of a LUN; `plexctl assemble --take-over` takes every drive.",
		Example:           "  plexctl drive take-over /dev/sdb /dev/sdc",
		Args:              operands("DRIVE..."),
		ValidArgsFunction: a.completeAll(foreignNames),
	}
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return takeOverDrives(ctx, a, w, args)
	})
}

func takeOverDrives(ctx context.Context, a *app, w *world, refs []string) (outcome, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	drives, err := w.TakeOver(ctx, refs...)
	if err != nil {
		return nil, err
	}
	docs := newDriveDocs(drives)
	return func(context.Context) error {
		return a.print(drivesDocument{newHeader(), docs}, func(out io.Writer) error { return a.driveTable(out, docs) })
	}, nil
}
