package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

func newLUN(a *app) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "lun",
			Short: "LUNs: what is mounted or exported",
			Long: "A LUN is a block device made of extents of drives, at /dev/mapper/plex-NAME. It has one plex, or is a mirror of\n" +
				"several. It is named by its name, its GUID, or a unique beginning of its GUID of at least 4 digits.",
		},
		newLUNCreate(a), newLUNList(a), newLUNShow(a), newLUNRename(a), newLUNExtend(a), newLUNRecover(a), newLUNDelete(a),
	)
}

// sizeHelp is how a size is written.
const sizeHelp = "SIZE is a number with a unit (10GiB, 512M, 1.5T; letters alone are powers of 1024) and is rounded up to a MiB."

type lunCreateOptions struct {
	name   string
	size   bytesFlag
	drives []string
	track  bool
}

func newLUNCreate(a *app) *cobra.Command {
	var opts lunCreateOptions
	cmd := &cobra.Command{
		Use:   "create NAME --size SIZE",
		Short: "Make a LUN and activate it",
		Long: "Create makes a LUN with one plex. Its first and its last MiB are zeroed, the rest is as it was on the drives.\n" +
			sizeHelp + "\n" +
			"Several drives are used up one after the other; without --drive the drive with the most room is taken.\n\n" +
			"With --track all of the LUN is zeroed, and every MiB that is written is noted from then on, so that a plex which is\n" +
			"added gets these and no others. The drive zeroes by itself where it can; else that takes as long as writing it all,\n" +
			"and nothing else can be changed meanwhile.\n" +
			"A tracked LUN takes no discards, and after a crash a mirror copies all that was ever written between its plexes.",
		Example: "  plexctl lun create web1 --size 10GiB --drive /dev/sdb\n" +
			"  plexctl lun create web2 --size 10GiB --track",
		Args:              operands("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		PreRunE: func(_ *cobra.Command, args []string) error {
			opts.name = args[0]
			if opts.size == 0 {
				return usage("add --size, such as --size 10GiB", "the size of LUN %q is missing or zero", opts.name)
			}
			return nil
		},
	}
	cmd.Flags().VarP(&opts.size, "size", "s", "size of the LUN")
	cmd.Flags().StringArrayVarP(&opts.drives, "drive", "d", nil, "use this `DRIVE`, by path or GUID; may be repeated")
	cmd.Flags().BoolVar(&opts.track, "track", false, "note what is written, so that a new plex gets nothing else")
	must(cmd.RegisterFlagCompletionFunc("size", cobra.NoFileCompletions))
	must(cmd.RegisterFlagCompletionFunc("drive", a.completeAll(driveNames)))
	return a.changing(cmd, func(ctx context.Context, w *world, _ []string) (outcome, error) { return createLUN(ctx, a, w, opts) })
}

func createLUN(ctx context.Context, a *app, w *world, opts lunCreateOptions) (outcome, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	made, err := w.CreateLUN(ctx, lun.Spec{Name: opts.name, Size: size.Bytes(opts.size), Drives: opts.drives, Track: opts.track})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return a.printLUN(ctx, w, made) }, nil
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
		ValidArgsFunction: a.complete(lunNames),
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
		{"tracked", trackedText(doc)},
		{"scan", scanText(doc)},
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

// scanText is what to do about a scan that has begun.
func scanText(doc lunDoc) string {
	if !doc.Scanning {
		return ""
	}
	return fmt.Sprintf("begun; `plexctl plex add %[1]s SOURCE --scan` goes on, `plexctl op cancel %[1]s` gives it up", doc.Name)
}

// trackedText is how much of a tracked LUN was ever written; empty for one that is not tracked.
func trackedText(doc lunDoc) string {
	if doc.Written == nil {
		return ""
	}
	return doc.Written.String() + " were ever written"
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
