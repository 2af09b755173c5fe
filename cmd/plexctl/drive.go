package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/lun"
)

func newDrive(a *app) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "drive",
			Short: "Block devices that plexctl may use",
			Long: "A drive is a block device with a plexctl label: a disk, a partition, a loop device, an iSCSI or NVMe disk.\n" +
				"It is known by its GUID, whatever its path is, and named by its path, its GUID, or a unique beginning of its GUID\n" +
				"of at least 4 digits.",
		},
		newDriveInit(a), newDriveList(a), newDriveShow(a), newDriveTakeOver(a), newDriveRemove(a),
	)
}

type driveInitOptions struct {
	devices []string
	force   bool
	yes     bool
}

func newDriveInit(a *app) *cobra.Command {
	var opts driveInitOptions
	cmd := &cobra.Command{
		Use:   "init DEVICE...",
		Short: "Make block devices drives",
		Long: "Init writes a label and an empty catalog to each device. Everything on the device is lost.\n" +
			"A device in use is refused always; one with a file system, a partition table or anything else that is\n" +
			"recognised is refused without --force. All devices are checked before the first is touched; then they are done one\n" +
			"after the other, and the first error ends that.",
		Example: "  plexctl drive init /dev/sdb /dev/sdc",
		Args:    operands("DEVICE..."),
	}
	cmd.Flags().BoolVar(&opts.force, "force", false, "take a device although something is recognised on it")
	yesFlag(cmd, &opts.yes)
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		opts.devices = args
		return initDrives(ctx, a, w, opts)
	})
}

func initDrives(ctx context.Context, a *app, w *world, opts driveInitOptions) (outcome, error) {
	var loss []string
	for _, path := range opts.devices {
		text, err := deviceLoss(ctx, w, path, opts.force)
		if err != nil {
			return nil, err
		}
		loss = append(loss, text)
	}
	if err := a.confirm(ctx, opts.yes, strings.Join(loss, "\n")); err != nil {
		return nil, err
	}
	made := []driveDoc{}
	var failed error
	for _, path := range opts.devices {
		drive, err := initDrive(ctx, a, w, path, opts.force)
		if failed = err; err != nil {
			break
		}
		made = append(made, newDriveDoc(drive))
	}
	if len(made) == 0 {
		return nil, failed
	}
	return func(context.Context) error { return a.printInit(made, failed) }, failed
}

func initDrive(ctx context.Context, a *app, w *world, path string, force bool) (lun.Drive, error) {
	ctx, cancel := a.patient(ctx)
	defer cancel()
	return w.InitDrive(ctx, path, lun.InitOptions{Force: force})
}

// printInit shows the drives that were made before failed, if anything, ended that.
func (a *app) printInit(made []driveDoc, failed error) error {
	if err := a.print(drivesDocument{newHeader(), made}, func(w io.Writer) error { return a.driveTable(w, made) }); err != nil {
		return err
	}
	return failed
}

// deviceLoss says what is on a device that is to become a drive, or why it cannot become one.
func deviceLoss(ctx context.Context, w *world, path string, force bool) (string, error) {
	if err := w.CheckDrive(ctx, path, lun.InitOptions{Force: force}); err != nil {
		return "", err
	}
	info, err := w.devices.Stat(ctx, path)
	if err != nil {
		return "", err
	}
	found, err := w.devices.Signatures(ctx, path)
	if err != nil {
		return "", err
	}
	content := signatureText(found)
	if drive, err := w.Drive(info.Path); err == nil {
		content = "it is a drive of plexctl, " + drive.ID.String()
	}
	return fmt.Sprintf("Everything on %s (%s) will be lost: %s.", path, deviceText(info), content), nil
}

func deviceText(info blockdev.Info) string {
	texts := []string{info.Size.String()}
	for _, text := range []string{info.Model, info.Serial} {
		if text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, ", ")
}

// signatureText names what was recognised on a device.
func signatureText(found []blockdev.Signature) string {
	if len(found) == 0 {
		return "nothing is recognised on it"
	}
	texts := make([]string, len(found))
	for i, s := range found {
		texts[i] = s.Type
		if s.Label != "" {
			texts[i] += fmt.Sprintf(" %q", s.Label)
		}
	}
	return strings.Join(texts, ", ")
}

func newDriveList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Short:             "List drives",
		Args:              operands(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(_ context.Context, w *world) error { return listDrives(a, w) })
		},
	}
}

func listDrives(a *app, w *world) error {
	docs := newDriveDocs(w.Drives())
	return a.print(drivesDocument{newHeader(), docs}, func(out io.Writer) error { return a.driveTable(out, docs) })
}

func (a *app) driveTable(out io.Writer, drives []driveDoc) error {
	g := newGrid(out, "DRIVE", "SIZE", "FREE", "HOST", "LUNS", "GUID", "MODEL")
	for _, d := range drives {
		g.row(d.Path, d.Size.String(), d.Free.String(), hostText(d), dash(strings.Join(d.LUNs, ",")), a.id(d.ID), dash(d.Model))
	}
	return g.flush()
}

// hostText is whose a drive is.
func hostText(d driveDoc) string {
	if d.Foreign {
		return "another"
	}
	return "this"
}

func newDriveShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "show DRIVE",
		Short:             "Show a drive",
		Args:              operands("DRIVE"),
		ValidArgsFunction: a.complete(driveNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(_ context.Context, w *world) error { return showDrive(a, w, args[0]) })
		},
	}
}

func showDrive(a *app, w *world, ref string) error {
	drive, err := w.Drive(ref)
	if err != nil {
		return err
	}
	doc := newDriveDoc(drive)
	return a.print(driveDocument{newHeader(), doc}, func(out io.Writer) error {
		return details(
			out,
			[2]string{"drive", doc.Path},
			[2]string{"GUID", doc.ID.String()},
			[2]string{"size", doc.Size.String()},
			[2]string{"free", doc.Free.String()},
			[2]string{"blocks", fmt.Sprintf("%d bytes logical, %d bytes physical", doc.LogicalBlock, doc.PhysicalBlock)},
			[2]string{"model", doc.Model},
			[2]string{"serial", doc.Serial},
			[2]string{"labelled", stamp(doc.Created)},
			[2]string{"host", hostText(doc)},
			[2]string{"host id", doc.Host},
			[2]string{"LUNs", strings.Join(doc.LUNs, ", ")},
		)
	})
}

func newDriveRemove(a *app) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "remove DRIVE",
		Short:             "Take the label off a drive without plexes",
		Long:              "Remove takes the label off a drive, which is an ordinary device again. A drive with plexes is refused.",
		Args:              operands("DRIVE"),
		ValidArgsFunction: a.complete(driveNames),
	}
	yesFlag(cmd, &yes)
	return a.changing(cmd, func(ctx context.Context, w *world, args []string) (outcome, error) {
		return removeDrive(ctx, a, w, args[0], yes)
	})
}

func removeDrive(ctx context.Context, a *app, w *world, ref string, yes bool) (outcome, error) {
	drive, err := w.Drive(ref)
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("The label of drive %s (%s, %s) will be removed.", drive.Info.Path, deviceText(drive.Info), drive.ID)
	if err := a.confirm(ctx, yes, loss); err != nil {
		return nil, err
	}
	ctx, cancel := a.patient(ctx)
	defer cancel()
	if err := w.RemoveDrive(ctx, drive.ID.String()); err != nil {
		return nil, err
	}
	return func(context.Context) error {
		return a.done(removedDocument{newHeader(), driveRef{ID: drive.ID, Path: drive.Info.Path}},
			"%s is an ordinary device again", drive.Info.Path)
	}, nil
}
