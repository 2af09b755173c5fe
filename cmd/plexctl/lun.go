package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

func newLUN(c *cli) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "lun",
			Short: "LUNs: what is mounted or exported",
			Long: "A LUN is a block device made of extents of drives, at /dev/mapper/plex-NAME. It has one plex, or is a mirror of\n" +
				"several. It is named by its name, its GUID, or a unique beginning of its GUID of at least 4 digits. No name may read as one.",
		},
		newLUNCreate(c), newLUNList(c), newLUNShow(c), newLUNRename(c), newLUNExtend(c), newLUNRecover(c), newLUNDelete(c),
	)
}

func newLUNList(c *cli) *cobra.Command {
	return reading(c, &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List LUNs"}, &noOptions{}, listLUNs)
}

func listLUNs(ctx context.Context, s *session, _ noOptions) error {
	docs, err := s.luns(ctx)
	if err != nil {
		return err
	}
	return s.print(document{"luns": docs}, s.lunTable(docs...))
}

func newLUNShow(c *cli) *cobra.Command {
	var ref string
	return reading(c, &cobra.Command{Use: "show LUN", Short: "Show a LUN with its plexes"}, &ref, showLUN, one("LUN", &ref, lunNames))
}

func showLUN(ctx context.Context, s *session, ref string) error {
	doc, err := s.lun(ctx, ref)
	if err != nil {
		return err
	}
	return s.print(document{"lun": doc}, s.lunDetails(doc))
}

type lunRenameOptions struct{ lun, name string }

func newLUNRename(c *cli) *cobra.Command {
	var opts lunRenameOptions
	cmd := &cobra.Command{
		Use:   "rename LUN NEW",
		Short: "Give a LUN another name",
		Long: "Rename gives a LUN another name, while it is in use: its device is /dev/mapper/plex-NEW from then on. Programs that have\n" +
			"it open go on; change what names it, such as fstab. Its GUID stays.",
	}
	return changing(c, cmd, &opts, renameLUN, one("LUN", &opts.lun, lunNames), one("NEW", &opts.name, nil))
}

func renameLUN(ctx context.Context, s *session, opts lunRenameOptions) (outcome, error) {
	l, err := s.LUN(opts.lun)
	if err != nil {
		return nil, err
	}
	if l.Name() == opts.name {
		return func(ctx context.Context) error {
			s.note("LUN %q has this name already", l.Name())
			return s.lunLine(l)(ctx)
		}, nil
	}
	return s.lunLine(l).unless(l.Rename(ctx, opts.name))
}

func newLUNDelete(c *cli) *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use: "delete LUN", Aliases: []string{"rm"}, SuggestFor: []string{"remove"},
		Short: "Delete a LUN with all its plexes and data",
		Long:  "Delete takes a LUN down and frees its space; its data is lost. A LUN that is open is refused.",
	}
	yesFlag(cmd)
	return changing(c, cmd, &ref, deleteLUN, one("LUN", &ref, lunNames))
}

func deleteLUN(ctx context.Context, s *session, ref string) (outcome, error) {
	l, record, err := s.record(ref)
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("All data on LUN %s will be lost.", lunText(l, record.Size.Bytes()))
	if n := len(record.Copies()); n > 1 {
		loss = fmt.Sprintf("All data on LUN %s, with all %d plexes, will be lost.", lunText(l, record.Size.Bytes()), n)
	}
	if err := s.confirm(ctx, loss); err != nil {
		return nil, err
	}
	deleted := s.saying(document{"deleted": lunRef{ID: l.ID(), Name: l.Name()}}, fmt.Sprintf("LUN %q is deleted", l.Name()))
	return deleted.unless(l.Delete(ctx))
}

// lunLine shows a LUN that was made or changed, as a line.
func (s *session) lunLine(l *lun.LUN) outcome {
	return func(ctx context.Context) error {
		doc, err := s.lun(context.WithoutCancel(ctx), l.ID().String())
		if err != nil {
			return err
		}
		return s.print(document{"lun": doc}, s.lunTable(doc))
	}
}

func (p printer) lunTable(luns ...lunDoc) string {
	head := []string{"LUN", "SIZE", "TYPE", p.paint(sgrPlain, "HEALTH"), "STATUS", "PLEXES", "DEVICE", "GUID"}
	return listing(head, luns, func(l lunDoc) []string {
		return []string{
			l.Name, p.size(l.Size), l.Type.String(), p.lunHealth(l), l.Status.String(),
			fmt.Sprint(plexCount(l)), dash(l.Device), p.id(l.ID),
		}
	})
}

func (p printer) lunDetails(doc lunDoc) string {
	pairs := [][2]string{
		{"LUN", doc.Name},
		{"GUID", doc.ID.String()},
		{"size", p.size(doc.Size)},
		{"type", doc.Type.String()},
		{"health", p.lunHealth(doc)},
		{"status", doc.Status.String()},
		{"device", doc.Device},
		{"openers", fmt.Sprint(doc.Openers)},
		{"tracked", trackedText(doc)},
		{"scan", scanText(doc)},
		{"copying", copyText(doc)},
	}
	for _, problem := range doc.Problems {
		pairs = append(pairs, [2]string{"problem", problem.Message}, [2]string{"hint", problem.Hint})
	}
	return details(pairs...) + "\n" + p.plexTable(doc.Plexes)
}

// scanText tells how to continue or end a scan that has begun; empty without one.
func scanText(doc lunDoc) string {
	if !doc.Scanning {
		return ""
	}
	return fmt.Sprintf("begun; `plexctl plex add %[1]s SOURCE --scan` goes on, `plexctl op cancel %[1]s` discards it", doc.Name)
}

// trackedText tells how much of a tracked LUN was ever written; empty for one that is not tracked.
func trackedText(doc lunDoc) string {
	if doc.Written == nil {
		return ""
	}
	return doc.Written.String() + " were ever written"
}

// copyText tells what the kernel is copying to or within a LUN; empty if nothing.
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

// lunText names a LUN so that nobody takes it for another one.
func lunText(l *lun.LUN, length size.Bytes) string {
	return fmt.Sprintf("%q (%s, %s)", l.Name(), length, l.ID())
}
