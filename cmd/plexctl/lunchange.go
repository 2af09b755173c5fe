package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/size"
)

func newLUNRename(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rename LUN NEW",
		Short: "Give a LUN another name",
		Long: "Rename gives a LUN another name, while it is in use: its device is /dev/mapper/plex-NEW from then on. What has it open\n" +
			"goes on; what names it, such as fstab, has to be changed. Its GUID stays.",
		Args:              operands("LUN", "NEW"),
		ValidArgsFunction: a.complete(lunNames),
	}
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return renameLUN(ctx, a, w, args[0], args[1])
	})
}

func renameLUN(ctx context.Context, a *app, w *world, ref, name string) (outcome, error) {
	l, err := w.LUN(ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	if err := l.Rename(ctx, name); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.printLUN(ctx, w, l) }, nil
}

type lunExtendOptions struct {
	ref    string
	by, to bytesFlag
	drives []string
	wait   bool
}

func newLUNExtend(a *app) *cobra.Command {
	var opts lunExtendOptions
	cmd := &cobra.Command{
		Use:   "extend LUN {--by SIZE | --size SIZE}",
		Short: "Make a LUN larger",
		Long: "Extend makes a LUN larger, while it is in use: by a size, or to a size. A file system on it has to be grown afterwards,\n" +
			"with its own tool. Each plex grows on the drives named, where it lies on one of them or they have room for it; without\n" +
			"--drive, on its own. Of a mirror the new part is copied once, and nothing else. A LUN cannot be made smaller.\n\n" + sizeHelp,
		Example: "  plexctl lun extend web1 --by 10GiB\n" +
			"  plexctl lun extend web1 --size 50GiB --drive /dev/sdd --wait",
		Args:              operands("LUN"),
		ValidArgsFunction: a.complete(lunNames),
		PreRunE: func(cmd *cobra.Command, args []string) error {
			opts.ref = args[0]
			return opts.check(cmd.Flags().Changed("by"), cmd.Flags().Changed("size"))
		},
	}
	cmd.Flags().Var(&opts.by, "by", "how much larger the LUN becomes")
	cmd.Flags().VarP(&opts.to, "size", "s", "how large the LUN becomes")
	cmd.Flags().StringArrayVarP(&opts.drives, "drive", "d", nil, "grow on this `DRIVE`, by path or GUID; may be repeated")
	cmd.Flags().BoolVar(&opts.wait, "wait", false, "wait until all plexes hold the same, and show how it gets on")
	must(cmd.RegisterFlagCompletionFunc("by", cobra.NoFileCompletions))
	must(cmd.RegisterFlagCompletionFunc("size", cobra.NoFileCompletions))
	must(cmd.RegisterFlagCompletionFunc("drive", a.completeAll(driveNames)))
	return a.changing(cmd, func(ctx context.Context, w *world, _ []string) (outcome, error) { return extendLUN(ctx, a, w, opts) })
}

// check refuses what does not say one size. by and to are whether the flags were given.
func (o lunExtendOptions) check(by, to bool) error {
	switch {
	case by && to:
		return usage("leave one of them out", "--by and --size both say how large LUN %q becomes", o.ref)
	case o.by == 0 && o.to == 0:
		return usage("add --by, such as --by 10GiB, or --size, such as --size 50GiB",
			"how large LUN %q becomes is missing or zero", o.ref)
	}
	return nil
}

// growth is how much larger a LUN of a size becomes.
func (o lunExtendOptions) growth(now size.Bytes) (size.Bytes, error) {
	if o.by > 0 {
		return size.Bytes(o.by), nil
	}
	to := size.Bytes(o.to)
	if to <= now {
		return 0, usage(fmt.Sprintf("name a size above %s, or say with --by how much larger it becomes", now),
			"extend lun %q: it has %s already, and %s is not more", o.ref, now, to)
	}
	return to - now, nil
}

func extendLUN(ctx context.Context, a *app, w *world, opts lunExtendOptions) (outcome, error) {
	l, err := w.LUN(opts.ref)
	if err != nil {
		return nil, err
	}
	record, err := l.Record()
	if err != nil {
		return nil, err
	}
	by, err := opts.growth(record.Size.Bytes())
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	operation, err := l.Extend(ctx, by, opts.drives)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.printBegun(ctx, w, operation, opts.wait) }, nil
}

func newLUNDelete(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "delete LUN",
		Short:             "Delete a LUN with all its plexes and data",
		Long:              "Delete takes a LUN down and frees its space; its data is lost. A LUN that is open is refused.",
		Args:              operands("LUN"),
		ValidArgsFunction: a.complete(lunNames),
	}
	yesFlag(cmd, &yes)
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return deleteLUN(ctx, a, w, args[0], yes)
	})
}

func deleteLUN(ctx context.Context, a *app, w *world, ref string, yes bool) (outcome, error) {
	l, err := w.LUN(ref)
	if err != nil {
		return nil, err
	}
	record, err := l.Record()
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("All data on LUN %s will be lost.", lunText(l, record.Size.Bytes()))
	if n := len(record.Copies()); n > 1 {
		loss = fmt.Sprintf("All data on LUN %s, with all %d plexes, will be lost.", lunText(l, record.Size.Bytes()), n)
	}
	if err := a.confirm(ctx, yes, loss); err != nil {
		return nil, err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	if err := l.Delete(ctx); err != nil {
		return nil, err
	}
	return func(context.Context) error {
		return a.done(deletedDocument{newHeader(), lunRef{ID: l.ID(), Name: l.Name()}}, "LUN %q is deleted", l.Name())
	}, nil
}
