package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

func newLUN(a *app) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "lun",
			Short: "LUNs: what is mounted or exported",
			Long: "A LUN is a block device made of extents of drives, at /dev/mapper/plex-NAME. It has one plex, or is a mirror of\n" +
				"several. It is named by its name, its GUID, or a unique beginning of its GUID of at least 4 digits.",
		},
		newLUNCreate(a), newLUNList(a), newLUNShow(a), newLUNRecover(a), newLUNDelete(a),
	)
}

type lunCreateOptions struct {
	name   string
	size   bytesFlag
	drives []string
}

func newLUNCreate(a *app) *cobra.Command {
	var opts lunCreateOptions
	cmd := &cobra.Command{
		Use:   "create NAME --size SIZE",
		Short: "Make a LUN and activate it",
		Long: "Create makes a LUN with one plex. Its first and its last MiB are zeroed, the rest is as it was on the drives.\n" +
			"SIZE is a number with a unit (10GiB, 512M, 1.5T; letters alone are powers of 1024) and is rounded up to a MiB.\n" +
			"Several drives are used up one after the other; without --drive the drive with the most room is taken.",
		Example:           "  plexctl lun create web1 --size 10GiB --drive /dev/sdb",
		Args:              operands("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name = args[0]
			if opts.size == 0 {
				return usage("add --size, such as --size 10GiB", "the size of the LUN is missing or zero")
			}
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return createLUN(ctx, a, w, opts) })
		},
	}
	cmd.Flags().VarP(&opts.size, "size", "s", "size of the LUN")
	cmd.Flags().StringArrayVarP(&opts.drives, "drive", "d", nil, "use this `DRIVE`, by path or GUID; may be repeated")
	must(cmd.RegisterFlagCompletionFunc("size", cobra.NoFileCompletions))
	must(cmd.RegisterFlagCompletionFunc("drive", a.complete(0, driveNames)))
	return cmd
}

func createLUN(ctx context.Context, a *app, w *world, opts lunCreateOptions) error {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	made, err := w.CreateLUN(ctx, lun.Spec{Name: opts.name, Size: size.Bytes(opts.size), Drives: opts.drives})
	if err != nil {
		return err
	}
	return a.printLUN(ctx, w, made)
}

// printLUN shows one LUN as a line.
func (a *app) printLUN(ctx context.Context, w *world, l *lun.LUN) error {
	doc, err := w.lun(ctx, l)
	if err != nil {
		return err
	}
	return a.print(lunDocument{newHeader(), doc}, func(out io.Writer) error { return a.lunTable(out, []lunDoc{doc}) })
}

func newLUNList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Short:             "List LUNs",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return listLUNs(ctx, a, w) })
		},
	}
}

func listLUNs(ctx context.Context, a *app, w *world) error {
	docs, err := w.luns(ctx)
	if err != nil {
		return err
	}
	return a.print(lunsDocument{newHeader(), docs}, func(out io.Writer) error { return a.lunTable(out, docs) })
}

func (a *app) lunTable(out io.Writer, luns []lunDoc) error {
	g := newGrid(out, "LUN", "SIZE", "TYPE", a.paint(sgrPlain, "HEALTH"), "STATUS", "PLEXES", "DEVICE", "GUID")
	for _, l := range luns {
		g.row(l.Name, l.Size.String(), l.Type.String(), a.health(l.Health), l.Status.String(),
			fmt.Sprint(len(l.Plexes)), dash(l.Device), a.id(l.ID))
	}
	return g.flush()
}

func newLUNShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "show LUN",
		Short:             "Show a LUN with its plexes",
		Args:              operands("LUN"),
		ValidArgsFunction: a.complete(1, lunNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return showLUN(ctx, a, w, args[0]) })
		},
	}
}

func showLUN(ctx context.Context, a *app, w *world, ref string) error {
	l, err := w.LUN(ref)
	if err != nil {
		return err
	}
	doc, err := w.lun(ctx, l)
	if err != nil {
		return err
	}
	return a.print(lunDocument{newHeader(), doc}, func(out io.Writer) error { return a.lunDetails(out, doc) })
}

func (a *app) lunDetails(out io.Writer, doc lunDoc) error {
	pairs := [][2]string{
		{"LUN", doc.Name},
		{"GUID", doc.ID.String()},
		{"size", doc.Size.String()},
		{"type", doc.Type.String()},
		{"health", a.health(doc.Health)},
		{"status", doc.Status.String()},
		{"device", doc.Device},
		{"openers", fmt.Sprint(doc.Openers)},
		{"copying", copyText(doc)},
	}
	for _, p := range doc.Problems {
		pairs = append(pairs, [2]string{"problem", p.Message}, [2]string{"hint", p.Hint})
	}
	if err := details(out, pairs...); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return a.plexTable(out, doc.Plexes)
}

// copyText is what is being copied to or within a LUN; empty when nothing is.
func copyText(doc lunDoc) string {
	switch o := doc.Operation; {
	case o != nil && o.pending():
		return operationText(*o)
	case o != nil:
		return "" // it has failed; the LUN's problem says so
	case doc.Resync != nil:
		r := doc.Resync
		return r.Action + " " + progressText(r.Percent, r.Done, r.Total, 0, 0)
	default:
		return ""
	}
}

type lunRecoverOptions struct {
	ref  string
	wait bool
}

func newLUNRecover(a *app) *cobra.Command {
	var opts lunRecoverOptions
	cmd := &cobra.Command{
		Use:   "recover LUN",
		Short: "Bring back plexes that failed or were missing",
		Long: "Recover takes plexes of a mirror back that failed, or whose drives were missing, once their drives are well again.\n" +
			"The LUN may be in use meanwhile. The kernel copies only the regions that were written while a plex was away, from\n" +
			"the plexes that hold all of the data; no data is lost. Where no plex has failed, nothing is done.",
		Example:           "  plexctl lun recover web1 --wait",
		Args:              operands("LUN"),
		ValidArgsFunction: a.complete(1, lunNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ref = args[0]
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return recoverLUN(ctx, a, w, opts) })
		},
	}
	cmd.Flags().BoolVar(&opts.wait, "wait", false, "wait until the plexes hold all of the data, and show how it gets on")
	return cmd
}

func recoverLUN(ctx context.Context, a *app, w *world, opts lunRecoverOptions) error {
	l, err := w.LUN(opts.ref)
	if err != nil {
		return err
	}
	operation, err := startRecovery(ctx, a, l)
	if err != nil {
		return err
	}
	if _, err := w.Operation(operation.ID.String()); errors.Is(err, vds.ErrObjectNotFound) { // it is on no record
		if a.format == formatText {
			fmt.Fprintf(a.err, "nothing to recover: no plex of LUN %q has failed\n", l.Name())
		}
		return a.follow(ctx, w, operation)
	}
	if opts.wait {
		return a.follow(ctx, w, operation)
	}
	return a.printStarted(ctx, w, operation)
}

func startRecovery(ctx context.Context, a *app, l *lun.LUN) (*resync.Async, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	return l.Recover(ctx)
}

func newLUNDelete(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "delete LUN",
		Short:             "Delete a LUN with all its plexes and data",
		Long:              "Delete takes a LUN down and frees its space; its data is lost. A LUN that is open is refused.",
		Args:              operands("LUN"),
		ValidArgsFunction: a.complete(1, lunNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, w *world) error { return deleteLUN(ctx, a, w, args[0], yes) })
		},
	}
	yesFlag(cmd, &yes)
	return cmd
}

func deleteLUN(ctx context.Context, a *app, w *world, ref string, yes bool) error {
	l, err := w.LUN(ref)
	if err != nil {
		return err
	}
	record, err := l.Record()
	if err != nil {
		return err
	}
	loss := fmt.Sprintf("All data on LUN %s will be lost.", lunText(l, record.Size.Bytes()))
	if n := len(record.Plexes); n > 1 {
		loss = fmt.Sprintf("All data on LUN %s, with all %d plexes, will be lost.", lunText(l, record.Size.Bytes()), n)
	}
	if err := a.confirm(ctx, yes, loss); err != nil {
		return err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	if err := l.Delete(ctx); err != nil {
		return err
	}
	return a.done(deletedDocument{newHeader(), lunRef{ID: l.ID(), Name: l.Name()}}, "LUN %q is deleted", l.Name())
}

// lunText names a LUN so that it cannot be mistaken for another one.
func lunText(l *lun.LUN, length size.Bytes) string {
	return fmt.Sprintf("%q (%s, %s)", l.Name(), length, l.ID())
}

// bytesFlag is a flag whose value is a size.
type bytesFlag size.Bytes

// String is the value; empty when the flag was not given.
func (b *bytesFlag) String() string {
	if *b == 0 {
		return ""
	}
	return size.Bytes(*b).String()
}

// Set takes a value from the command line.
func (b *bytesFlag) Set(text string) error {
	parsed, err := size.Parse(strings.TrimSpace(text))
	*b = bytesFlag(parsed)
	return err
}

// Type is the word for the value in help.
func (b *bytesFlag) Type() string { return "SIZE" }
