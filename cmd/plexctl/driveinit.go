package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/internal/visible"
	"github.com/plexctl/plexctl/lun"
)

type driveInitOptions struct {
	devices []string
	lun.InitOptions
}

func newDriveInit(c *cli) *cobra.Command {
	var opts driveInitOptions
	cmd := &cobra.Command{
		Use:   "init DEVICE...",
		Short: "Make block devices drives",
		Long: "Init writes a label and an empty catalog to each device. Everything on the device is lost.\n" +
			"A device in use is refused always, and so is a drive with LUNs or of a newer plexctl. So is what lies above or below a\n" +
			"drive or a LUN. A device with a file system, a partition table or anything else that is recognised is refused without\n" +
			"--force. So is a drive whose label or catalog is damaged, and with --force if anything still names a LUN on it.\n" +
			"All devices are checked before the first is touched. Then they are done one after the other, and the first error ends\n" +
			"that. A device that is named twice is done once.",
		Example:           "  plexctl drive init /dev/sdb /dev/sdc",
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault), // files
	}
	cmd.Flags().BoolVar(&opts.Force, "force", false, "take a device although something is recognised on it")
	yesFlag(cmd)
	return changing(c, cmd, &opts, initDrives, all("DEVICE...", &opts.devices, nil))
}

func initDrives(ctx context.Context, s *session, opts driveInitOptions) (outcome, error) {
	paths, loss, err := s.checkDevices(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := s.confirm(ctx, strings.Join(loss, "\n")); err != nil {
		return nil, err
	}
	var made []lun.Drive
	var failed error
	for _, path := range paths {
		var drive lun.Drive
		if drive, failed = s.InitDrive(ctx, path, opts.InitOptions); failed != nil {
			break
		}
		made = append(made, drive)
	}
	if len(made) == 0 {
		return nil, failed
	}
	return func(context.Context) error { return cmp.Or(s.printDrives(made), failed) }, failed
}

// checkDevices refuses devices that cannot become drives. It returns the path of each device, once however often the device
// is named, and what will be lost with it.
func (s *session) checkDevices(ctx context.Context, opts driveInitOptions) (paths, loss []string, err error) {
	var seen []devno.No
	for _, path := range opts.devices {
		if err := s.CheckDrive(ctx, path, opts.InitOptions); err != nil {
			return nil, nil, err
		}
		info, err := s.devices.Stat(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		if slices.Contains(seen, info.Dev) {
			continue
		}
		content, err := s.contentText(ctx, info)
		if err != nil {
			return nil, nil, err
		}
		seen, paths = append(seen, info.Dev), append(paths, path)
		loss = append(loss, fmt.Sprintf("%s (%s) becomes a drive, and everything on it will be lost: %s.", visible.Line(path), deviceText(info), content))
	}
	return paths, loss, nil
}

// contentText names the content of a device, as far as it is recognised.
func (s *session) contentText(ctx context.Context, info blockdev.Info) (string, error) {
	found, err := s.devices.Signatures(ctx, info.Path)
	if err != nil {
		return "", err
	}
	if drive, err := s.DriveAt(ctx, info.Path); err == nil {
		return "it is a drive of plexctl, " + drive.ID.String(), nil
	}
	if len(found) == 0 {
		return "plexctl recognises nothing there", nil
	}
	return strings.Join(listOf(found, signature.Signature.String), ", "), nil
}
