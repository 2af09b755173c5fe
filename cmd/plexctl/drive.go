package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/internal/visible"
	"github.com/plexctl/plexctl/lun"
)

func newDrive(c *cli) *cobra.Command {
	return group(
		&cobra.Command{
			Use:   "drive",
			Short: "Block devices that plexctl may use",
			Long: "A drive is a block device with a plexctl label: a disk, a partition, a loop device, an iSCSI or NVMe disk.\n" +
				"plexctl knows it by its GUID, whatever its path is. Name it by its path, its GUID, or a unique beginning of its GUID\n" +
				"of at least 4 digits.",
		},
		newDriveInit(c), newDriveList(c), newDriveShow(c), newDriveTakeOver(c), newDriveChoose(c), newDriveGrow(c), newDriveRepair(c), newDriveRemove(c),
	)
}

func newDriveList(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"},
		Short: "List drives",
		Long: "List shows every device with a plexctl label. STATE says what it is to this host:\n" +
			"  used       it is a drive of this host\n" +
			"  changed    so it is, but the label was written to another device; it may be a copy\n" +
			"  foreign    it is not this host's, and is left alone\n" +
			"  copy       another device is the drive of this label, and this one is left alone\n" +
			"  ambiguous  several devices have this label, and none is used before one is chosen\n" +
			"  missing    LUNs have plexes on it, and no device has its label; MODEL says where it was\n" +
			"  silent     it does not answer, so it may be a drive or not; plexctl does without it",
	}
	return reading(c, cmd, &noOptions{}, listDrives)
}

func listDrives(_ context.Context, s *session, _ noOptions) error {
	drives := s.Drives()
	for _, d := range s.Silent() {
		drives = append(drives, lun.Drive{Info: d.Info, State: lun.DriveSilent})
	}
	drives = append(drives, s.Missing()...)
	return s.printDrives(drives)
}

func (p printer) printDrives(drives []lun.Drive) error {
	docs := listOf(drives, newDriveDoc)
	head := []string{"DRIVE", "SIZE", "FREE", "HOST", "STATE", "LUNS", "GUID", "MODEL"}
	return p.print(document{"drives": docs}, listing(head, docs, func(d driveDoc) []string {
		path, room, free, model := d.Path, p.size(d.Size), p.size(d.Free), d.Model
		switch d.State {
		case lun.DriveSilent:
			free = "-"
		case lun.DriveMissing:
			path, room, free = "-", "-", "-"
			model = wasText(d.LastPath, d.Model, d.Serial)
		}
		return []string{path, room, free, hostText(d), d.stateText(), fmt.Sprint(len(d.LUNs)), p.id(d.ID), dash(model)}
	}))
}

// grownText tells how to use room that the device has got; empty when it has got none.
func grownText(d driveDoc) string {
	if d.Grown == 0 {
		return ""
	}
	return fmt.Sprintf("by %s, usable after `plexctl drive grow %s`", d.Grown, d.Path)
}

// hostText says whether a drive is this host's or another's. A label may name no host.
func hostText(d driveDoc) string {
	switch {
	case d.Host == "":
		return "-"
	case d.Foreign:
		return "another"
	default:
		return "this"
	}
}

// stateText is the state for people. They are to see that a device has changed.
func (d driveDoc) stateText() string {
	if d.Changed && d.State == lun.DriveUsed {
		return "changed"
	}
	return string(d.State)
}

func newDriveShow(c *cli) *cobra.Command {
	var ref string
	return reading(c, &cobra.Command{Use: "show DRIVE", Short: "Show a drive"}, &ref, showDrive, one("DRIVE", &ref, driveNames))
}

func showDrive(_ context.Context, s *session, ref string) error {
	drive, err := s.Drive(ref)
	if err != nil {
		missing, ok := s.MissingDrive(ref)
		if !ok {
			return err
		}
		return s.showMissing(newDriveDoc(missing))
	}
	doc := newDriveDoc(drive)
	return s.print(document{"drive": doc}, details(
		[2]string{"drive", doc.Path},
		[2]string{"GUID", doc.ID.String()},
		[2]string{"size", s.size(doc.Size)},
		[2]string{"free", s.size(doc.Free)},
		[2]string{"grown", grownText(doc)},
		[2]string{"blocks", fmt.Sprintf("%d bytes logical, %d bytes physical", doc.LogicalBlock, doc.PhysicalBlock)},
		[2]string{"model", doc.Model},
		[2]string{"serial", doc.Serial},
		[2]string{"labelled", stamp(doc.Created)},
		[2]string{"host", hostText(doc)},
		[2]string{"host id", doc.Host},
		[2]string{"state", doc.stateText()},
		[2]string{"same label", strings.Join(doc.Rivals, ", ")},
		[2]string{"labelled as", doc.Hardware},
		[2]string{"identity", doc.Identity},
		[2]string{"LUNs", strings.Join(doc.LUNs, ", ")},
	))
}

// showMissing shows a drive of which only records tell.
func (p printer) showMissing(doc driveDoc) error {
	return p.print(document{"drive": doc}, details(
		[2]string{"drive", "missing"},
		[2]string{"GUID", doc.ID.String()},
		[2]string{"last path", doc.LastPath},
		[2]string{"model", doc.Model},
		[2]string{"serial", doc.Serial},
		[2]string{"state", doc.stateText()},
		[2]string{"LUNs", strings.Join(doc.LUNs, ", ")},
	))
}

func newDriveTakeOver(c *cli) *cobra.Command {
	var refs []string
	cmd := &cobra.Command{
		Use:   "take-over DRIVE...",
		Short: "Make drives of another host this host's",
		Long: "Take-over makes drives that another host has used last this host's, so that their LUNs can be started here.\n" +
			"The other host must not use them any more, and plexctl cannot find out whether it does. Two hosts that write to the\n" +
			"same drives destroy each other's data. Name all drives of a LUN; `plexctl assemble LUN --take-over` finds them.\n" +
			"A drive whose label names no host is taken over in the same way.",
		Example: "  plexctl drive take-over /dev/sdb /dev/sdc",
	}
	yesFlag(cmd)
	return changing(c, cmd, &refs, takeOverDrives, all("DRIVE...", &refs, foreignNames))
}

func takeOverDrives(ctx context.Context, s *session, refs []string) (outcome, error) {
	if err := s.confirmTakeOver(ctx, refs); err != nil {
		return nil, err
	}
	drives, err := s.TakeOver(ctx, refs...)
	if err != nil && len(drives) == 0 {
		return nil, err
	}
	return func(context.Context) error {
		if len(drives) == 0 && s.format == formatText {
			s.note("nothing to do: no drive of another host is named")
			return nil
		}
		return cmp.Or(s.printDrives(drives), err)
	}, err
}

func newDriveGrow(c *cli) *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use:   "grow DRIVE",
		Short: "Make a drive as large as its device",
		Long: "Grow makes the new room of a drive usable after its device has become larger. The device is a volume of an array, a\n" +
			"partition or a loop device, say. LUNs on the drive can be in use meanwhile. If grow is cut off, the drive has its old size or\n" +
			"its new one, and everything on it is there; run it again. A drive cannot be made smaller.",
		Example: "  plexctl drive grow /dev/sdb",
	}
	return changing(c, cmd, &ref, growDrive, one("DRIVE", &ref, driveNames))
}

func growDrive(ctx context.Context, s *session, ref string) (outcome, error) {
	err := s.GrowDrive(ctx, ref)
	return outcome(func(context.Context) error {
		drive, err := s.Drive(ref)
		if err != nil {
			return err
		}
		return s.printDrives([]lun.Drive{drive})
	}).unless(err)
}

// confirmTakeOver asks whether the other host does not use these drives any more. There is no question without such drives.
func (s *session) confirmTakeOver(ctx context.Context, refs []string) error {
	var loss []string
	for _, ref := range refs {
		d, err := s.Drive(ref)
		if err != nil {
			return err
		}
		if d.State == lun.DriveForeign {
			loss = append(loss, fmt.Sprintf("Drive %s of host %s (%s) becomes this host's.", d.Info.Path, cmp.Or(d.Label.Host, "unknown"), deviceText(d.Info)))
		}
	}
	if len(loss) == 0 {
		return nil
	}
	return s.confirm(ctx, strings.Join(append(loss, "If another host still uses it, both destroy each other's data."), "\n"))
}

func newDriveChoose(c *cli) *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use:   "choose DEVICE",
		Short: "Say which of several devices with one label is the drive",
		Long: "Choose makes a device the drive of its label. Other devices with this label, such as the disk that it was copied from,\n" +
			"are left alone from then on. It also confirms a drive whose label was written to another device, as after a disk was\n" +
			"copied to a new one. What only the other device has is not used. While LUNs use the other device, choose is refused.",
		Example: "  plexctl drive choose /dev/sdc",
	}
	yesFlag(cmd)
	return changing(c, cmd, &ref, chooseDrive, one("DEVICE", &ref, driveNames))
}

func chooseDrive(ctx context.Context, s *session, ref string) (outcome, error) {
	d, err := s.Drive(ref)
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("%s (%s) becomes drive %s.", d.Info.Path, deviceText(d.Info), d.ID)
	if len(d.Rivals) > 0 {
		loss += fmt.Sprintf("\n%s with the same label will not be used.", strings.Join(d.Rivals, ", "))
	}
	if len(d.Rivals) > 0 || d.Changed {
		if err := s.confirm(ctx, loss); err != nil {
			return nil, err
		}
	}
	chosen, err := s.Choose(ctx, d.Info.Path)
	return outcome(func(context.Context) error { return s.printDrives([]lun.Drive{chosen}) }).unless(err)
}

func newDriveRemove(c *cli) *cobra.Command {
	var ref string
	cmd := &cobra.Command{
		Use: "remove DRIVE", Aliases: []string{"rm"}, SuggestFor: []string{"delete"},
		Short: "Take the label off a drive without plexes",
		Long:  "Remove takes the label off a drive, which is an ordinary device again. A drive with plexes is refused.",
	}
	yesFlag(cmd)
	return changing(c, cmd, &ref, removeDrive, one("DRIVE", &ref, driveNames))
}

func removeDrive(ctx context.Context, s *session, ref string) (outcome, error) {
	drive, err := s.DriveAt(ctx, ref)
	if err != nil {
		return nil, err
	}
	loss := fmt.Sprintf("The label of drive %s (%s, %s) will be removed.", drive.Info.Path, deviceText(drive.Info), drive.ID)
	if err := s.confirm(ctx, loss); err != nil {
		return nil, err
	}
	removed := s.saying(document{"removed": newDriveRef(drive)}, drive.Info.Path+" is an ordinary device again")
	return removed.unless(s.RemoveDrive(ctx, drive.Info.Path))
}

func deviceText(info blockdev.Info) string {
	texts := []string{info.Size.String(), visible.Line(info.Model), visible.Line(info.Serial)}
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), ", ")
}
