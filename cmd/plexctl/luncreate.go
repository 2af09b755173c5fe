package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
)

func newLUNCreate(c *cli) *cobra.Command {
	var spec lun.Spec
	cmd := &cobra.Command{
		Use:   "create NAME --size SIZE",
		Short: "Make a LUN and activate it",
		Long: "Create makes a LUN with one plex. It zeroes the first and the last MiB; the rest is as it was on the drives.\n" +
			sizeHelp + "\n" +
			"Several drives are used up one after the other; without --drive the drive with the most room is taken. A LUN that\n" +
			"spans drives cannot become a mirror.\n\n" +
			"With --track all of the LUN is zeroed, and plexctl records every MiB that is written from then on. A plex that is\n" +
			"added gets these and no others. The drive zeroes by itself if it can. Otherwise plexctl writes the zeros; that takes\n" +
			"long. Other LUNs can be changed meanwhile.\n" +
			"A tracked LUN takes no discards, and after a crash a mirror copies all that was ever written between its plexes.",
		Example: "  plexctl lun create web1 --size 10GiB --drive /dev/sdb\n" +
			"  plexctl lun create all --size max --drive /dev/sdc\n" +
			"  plexctl lun create web2 --size 10GiB --track",
		PreRunE: func(*cobra.Command, []string) error {
			if spec.Size == 0 {
				return usage("add --size, such as --size 10GiB", "the size of LUN %q is missing or zero", spec.Name)
			}
			return nil
		},
	}
	sizeFlag(cmd, &spec.Size, "size", "s", "size of the LUN")
	c.driveFlag(cmd, &spec.Drives, "use")
	cmd.Flags().BoolVar(&spec.Track, "track", false, "note what is written, so that a new plex gets nothing else")
	return changing(c, cmd, &spec, createLUN, one("NAME", &spec.Name, nil))
}

func createLUN(ctx context.Context, s *session, spec lun.Spec) (outcome, error) {
	made, err := s.CreateLUN(ctx, spec)
	return outcome(func(ctx context.Context) error {
		if record, err := made.Record(); err == nil && len(record.Drives()) > 1 {
			s.note("LUN %q spans %d drives: it cannot become a mirror, and is lost with any of them", made.Name(), len(record.Drives()))
		}
		return s.lunLine(made)(ctx)
	}).unless(err)
}
