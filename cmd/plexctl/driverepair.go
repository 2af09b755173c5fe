package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/lun"
)

func newDriveRepair(c *cli) *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use:   "repair DRIVE",
		Short: "Write the lost label of a drive anew",
		Long: "A drive has its label and catalog twice, at its start and at its end. Repair writes a lost one anew from the other, so\n" +
			"that LUNs on the drive can be changed again. The data of the LUNs stays as it is, and they can be in use.\n" +
			"`plexctl assemble` does the same by itself, but for a drive that somebody else may have written to. Repair asks then:\n" +
			"the foreign label goes. A plex on the drive is out of date if another one holds the data; `plexctl lun recover` fills it.\n" +
			"If repair is cut off, run it again.",
		Example: "  plexctl drive repair /dev/sdb",
	}
	yesFlag(cmd)
	return changing(c, cmd, &ref, repairDrive, one("DRIVE", &ref, driveNames))
}

func repairDrive(ctx context.Context, s *session, ref string) (outcome, error) {
	r, err := s.CheckRepair(ctx, ref)
	if err != nil {
		return nil, err
	}
	d, err := s.DriveAt(ctx, ref)
	if err != nil {
		return nil, err
	}
	if loss := repairText(d, r); loss != "" {
		if err := s.confirm(ctx, loss); err != nil {
			return nil, err
		}
	}
	err = s.RepairDrive(ctx, d.Info.Path)
	return outcome(func(context.Context) error {
		drive, err := s.DriveAt(ctx, d.Info.Path)
		if err != nil {
			return err
		}
		return s.printDrives([]lun.Drive{drive})
	}).unless(err)
}

// repairText says what a repair does to what is not plexctl's, or may not be; empty when there is nothing like that.
func repairText(d lun.Drive, r lun.Repair) string {
	var loss []string
	if r.Other {
		what := "something that plexctl does not recognise"
		if len(r.Signatures) > 0 {
			what = strings.Join(listOf(r.Signatures, signature.Signature.String), ", ")
		}
		loss = append(loss, fmt.Sprintf("At the ends of %s (%s) is %s. It will be lost.", d.Info.Path, deviceText(d.Info), what))
	}
	if len(r.Stale) > 0 {
		loss = append(loss, fmt.Sprintf("The plexes of %s on it will be out of date.", strings.Join(r.Stale, ", ")))
	}
	if d.State != lun.DriveUsed {
		loss = append(loss, fmt.Sprintf("%s is not used by this host: it is %s.", d.Info.Path, d.State))
	}
	return strings.Join(loss, "\n")
}
