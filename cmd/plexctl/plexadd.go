package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

type plexAddOptions struct {
	target, source string
	drives         []string
	scan, wait     bool
	lun.AttachOptions
}

func newPlexAdd(c *cli) *cobra.Command {
	var opts plexAddOptions
	cmd := &cobra.Command{
		Use:   "add TARGET {SOURCE | --drive DRIVE...}",
		Short: "Mirror a LUN, with another LUN or with room on drives as its new plex",
		Long: "Add gives the LUN TARGET another plex. TARGET may be in use meanwhile. From the moment the command returns every write\n" +
			"to TARGET goes to all its plexes. The kernel copies the rest, except what is known to be zero. This is what was never\n" +
			"written to a tracked LUN, and what is not allocated on a loop device or a thin SCSI disk.\n\n" +
			"The LUN SOURCE becomes the plex: all data on SOURCE is lost and SOURCE is no LUN any more. It must be at least as\n" +
			"large as TARGET, on other drives, and not in use. With --drive instead, plexctl makes room for the plex on the\n" +
			"first of these drives that has enough of it. Then no data is lost, and nothing is asked.\n\n" +
			rateHelp + "\n" +
			"`plexctl op set-rate` changes it later. A copy is queued while another LUN is being rebuilt on one of its drives. It\n" +
			"begins when plexctl next looks after that, with `op wait` or `status` for example. With --now it begins at once.\n\n" +
			"With --scan plexctl first reads all of TARGET, at RATE or 256 MiB in a second. TARGET must have one plex and may be in\n" +
			"use. Regions that are zero and are not written meanwhile are not copied. The command returns after the scan. After an\n" +
			"interrupt the same command goes on where it stopped, and `plexctl op cancel TARGET` discards what the scan found.\n" +
			"The drive of the new plex must be able to zero by itself.",
		Example: "  plexctl plex add web1 spare3 --wait\n" +
			"  plexctl plex add web1 --drive /dev/sdd --rate 50MiB",
		PreRunE: func(*cobra.Command, []string) error { return opts.check() },
	}
	c.driveFlag(cmd, &opts.drives, "make room for the plex on")
	rateFlag(cmd, &opts.Rate)
	cmd.Flags().BoolVar(&opts.Now, "now", false, "copy at once, though another LUN is being rebuilt on one of the drives")
	cmd.Flags().BoolVar(&opts.scan, "scan", false, "first read TARGET, and then copy nothing that is zero")
	waitFlag(cmd, &opts.wait, "the plex holds all of the data")
	yesFlag(cmd)
	c.anyKernelFlag(cmd)
	return changing(c, cmd, &opts, addPlex, one("TARGET", &opts.target, lunNames), one("[SOURCE]", &opts.source, lunNames))
}

// check refuses options that do not name one source, and a wait that would not end.
func (o plexAddOptions) check() error {
	switch {
	case o.source == "" && len(o.drives) == 0:
		return usage("name the LUN that becomes a plex, or with --drive where room for one is made",
			"SOURCE is missing: nothing is named to be a plex of %q", o.target)
	case o.source != "" && len(o.drives) > 0:
		return usage("leave one of them out", "SOURCE %q and --drive exclude each other", o.source)
	case o.wait && o.Rate == lun.Paused:
		return usage("leave one of them out", "--wait would not end: nothing is copied with --rate paused")
	}
	return nil
}

func addPlex(ctx context.Context, s *session, opts plexAddOptions) (outcome, error) {
	target, err := s.LUN(opts.target)
	if err != nil {
		return nil, err
	}
	scan := lun.ScanOptions{Drives: opts.drives, Rate: opts.Rate}
	attach := func() (*resync.Async, error) { return target.AddNewPlex(ctx, opts.drives, opts.AttachOptions) }
	if opts.source != "" {
		source, err := s.source(ctx, target, opts)
		if err != nil {
			return nil, err
		}
		scan.Source = source.ID()
		attach = func() (*resync.Async, error) { return target.AddPlex(ctx, source.ID(), opts.AttachOptions) }
	}
	if opts.scan {
		if err := s.scan(ctx, target, scan); err != nil {
			return nil, err
		}
	}
	operation, err := attach()
	return s.begun(operation, opts.wait).unless(err)
}

// source returns the LUN that is to become a plex, after the user has agreed to lose its data.
func (s *session) source(ctx context.Context, target *lun.LUN, opts plexAddOptions) (*lun.LUN, error) {
	source, record, err := s.record(opts.source)
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("All data on LUN %s will be lost: it becomes a plex of LUN %q.",
		lunText(source, record.Size.Bytes()), target.Name())
	return source, s.confirm(ctx, loss)
}

// scan finds the regions of a LUN that are zero, and shows its progress. If ctx ends first, the error tells how to continue.
func (s *session) scan(ctx context.Context, target *lun.LUN, opts lun.ScanOptions) error {
	if opts.Rate == lun.Paused {
		opts.Rate = lun.Unlimited // the pause is for the copy
	}
	var shown time.Time
	b, interval := &bar{w: s.err, width: s.terminal.width}, lineInterval
	if s.drawsBars() {
		interval = barInterval
	}
	defer b.close()
	opts.Report = func(p lun.ScanProgress) {
		if time.Since(shown) < interval && p.Done < p.Total {
			return
		}
		shown = time.Now()
		doc := scanDoc{LUN: lunRef{target.ID(), target.Name()}, Done: p.Done, Total: p.Total, Zero: p.Zero, Percent: int(100 * p.Done / p.Total)}
		text := fmt.Sprintf("scan %d %%, %s of %s, %s zero and not copied", doc.Percent, p.Done, p.Total, p.Zero)
		if s.drawsBars() {
			b.draw(target.Name(), doc.Percent, text)
			return
		}
		_ = s.say(document{"scan": doc}, target.Name()+": "+text) // the result fails the same way
	}
	err := target.Scan(ctx, opts)
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return &vds.Error{
		Code: vds.ErrAbort, Op: "scan", Object: fmt.Sprintf("lun %q", target.Name()), Reason: "interrupted; what was found is kept",
		Hint: fmt.Sprintf("the same command goes on with it, `plexctl op cancel %s` discards it", target.Name()),
	}
}
