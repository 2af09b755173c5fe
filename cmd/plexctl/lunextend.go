package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

type lunExtendOptions struct {
	ref    string
	by, to size.Bytes
	drives []string
	wait   bool
}

func newLUNExtend(c *cli) *cobra.Command {
	var opts lunExtendOptions
	cmd := &cobra.Command{
		Use:   "extend LUN {--by SIZE | --size SIZE}",
		Short: "Make a LUN larger",
		Long: "Extend makes a LUN larger, while it is in use: by a size, or to a size. Afterwards, grow the file system on it with its\n" +
			"own tool. Each plex grows on the drives named, if it lies on one of them or they have room for it; without --drive, on\n" +
			"its own. The new part of a mirror is copied once, and nothing else. A LUN cannot be made smaller.\n\n" + sizeHelp,
		Example: "  plexctl lun extend web1 --by 10GiB\n" +
			"  plexctl lun extend web1 --size 50GiB --drive /dev/sdd --wait",
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			return opts.check(cmd.Flags().Changed("by"), cmd.Flags().Changed("size"))
		},
	}
	sizeFlag(cmd, &opts.by, "by", "", "how much larger the LUN becomes")
	sizeFlag(cmd, &opts.to, "size", "s", "how large the LUN becomes")
	c.driveFlag(cmd, &opts.drives, "grow on")
	waitFlag(cmd, &opts.wait, "all plexes hold the same")
	return changing(c, cmd, &opts, extendLUN, one("LUN", &opts.ref, lunNames))
}

// check refuses options that do not give one size. by and to are whether the flags were given.
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

// growth returns by how much to extend a LUN that has the size now.
func (o lunExtendOptions) growth(now size.Bytes) (size.Bytes, error) {
	if o.by > 0 || o.to == lun.AllRoom {
		return max(o.by, o.to), nil
	}
	if o.to <= now {
		return 0, usage(fmt.Sprintf("name a size above %s, or say with --by how much larger it becomes", now),
			"extend lun %q: it has %s already, and %s is not more", o.ref, now, o.to)
	}
	return o.to - now, nil
}

func extendLUN(ctx context.Context, s *session, opts lunExtendOptions) (outcome, error) {
	l, record, err := s.record(opts.ref)
	if err != nil {
		return nil, err
	}
	by, err := opts.growth(record.Size.Bytes())
	if err != nil {
		return nil, err
	}
	operation, err := l.Extend(ctx, by, opts.drives)
	return s.begun(operation, opts.wait).unless(err)
}
