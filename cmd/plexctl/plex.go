package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newPlex(c *cli) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "plex",
			Short: "Plexes: the copies that make up a LUN",
			Long: "A plex is one complete copy of a LUN. A LUN with two or more plexes is a mirror. A plex is named by its GUID, a\n" +
				"unique beginning of its GUID of at least 4 digits, or the drive it lies on.",
		},
		newPlexAdd(c), newPlexList(c), newPlexRemove(c), newPlexSplit(c),
	)
}

func newPlexList(c *cli) *cobra.Command {
	var ref string
	return reading(c, &cobra.Command{Use: "list LUN", Aliases: []string{"ls"}, Short: "List the plexes of a LUN"}, &ref, listPlexes, one("LUN", &ref, lunNames))
}

func listPlexes(ctx context.Context, s *session, ref string) error {
	doc, err := s.lun(ctx, ref)
	if err != nil {
		return err
	}
	shown := plexesDocument{lunRef{doc.ID, doc.Name}, doc.Plexes, doc.Operation}
	return s.print(shown, s.plexTable(doc.Plexes)+copyingText(doc))
}

func (p printer) plexTable(plexes []plexDoc) string {
	return listing([]string{"PLEX", "SIZE", "TYPE", p.paint(sgrPlain, "HEALTH"), "STATUS", "DRIVES"}, plexes, p.plexRow)
}

func (p printer) plexRow(x plexDoc) []string {
	status := x.Status.String()
	if x.Leaving {
		status = "leaving"
	}
	return []string{p.id(x.ID), p.size(x.Size), x.Type.String(), p.health(x.Health), status, driveText(x.Drives)}
}

// plexCount is how many plexes a LUN has, without those that are leaving it.
func plexCount(doc lunDoc) int {
	n := 0
	for _, x := range doc.Plexes {
		if !x.Leaving {
			n++
		}
	}
	return n
}
