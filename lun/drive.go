package lun

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Drive is a drive of the host as last read (IVdsDrive).
type Drive struct {
	ID    uuid.UUID
	Info  blockdev.Info
	Label catalog.Label
	Free  size.Sectors
	LUNs  []string // names of the LUNs with a plex on it, sorted

	Foreign bool // its label's host is another host's: its LUNs are not started here before Provider.TakeOver
}

// Drives is every drive of the host, sorted by path.
func (p *Provider) Drives() []Drive {
	m := p.machine()
	var all []Drive
	for id := range m.drives {
		all = append(all, m.describe(id))
	}
	slices.SortFunc(all, func(a, b Drive) int {
		return cmp.Or(cmp.Compare(len(a.Info.Path), len(b.Info.Path)), cmp.Compare(a.Info.Path, b.Info.Path))
	})
	return all
}

// DrivePaths is where the drives of the host are.
func (p *Provider) DrivePaths() map[uuid.UUID]string {
	paths := map[uuid.UUID]string{}
	for id, d := range p.machine().drives {
		paths[id] = d.info.Path
	}
	return paths
}

// Drive finds a drive by path, GUID, or a unique beginning of its GUID (at least 4 digits).
func (p *Provider) Drive(ref string) (Drive, error) {
	m := p.machine()
	d, err := m.findDrive(ref)
	if err != nil {
		return Drive{}, err
	}
	return m.describe(d.store.Label.Drive), nil
}

func (m *machine) describe(id uuid.UUID) Drive {
	d := m.drives[id]
	out := Drive{ID: id, Info: d.info, Label: d.store.Label, Free: m.room(id), Foreign: d.foreign}
	for _, l := range m.set.LUNs {
		if slices.Contains(l.Drives(), id) {
			out.LUNs = append(out.LUNs, l.Name)
		}
	}
	slices.Sort(out.LUNs)
	return out
}

func (m *machine) findDrive(ref string) (*drive, error) {
	var found []*drive
	for id, d := range m.drives {
		if d.info.Path == ref || len(ref) >= 4 && strings.HasPrefix(id.String(), strings.ToLower(ref)) {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		found = m.findByLink(ref)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, &vds.Error{
			Code: vds.ErrObjectNotFound, Op: "find", Object: fmt.Sprintf("drive %q", ref), Reason: "no drive has this path or GUID",
			Hint: "`plexctl drive list` shows all; `plexctl drive init DEVICE` makes one",
		}
	default:
		return nil, &vds.Error{
			Code: vds.ErrInvalidArg, Op: "find", Object: fmt.Sprintf("drive %q", ref), Reason: "several drives match",
			Hint: "name it by its whole GUID",
		}
	}
}

// findByLink finds a drive by another path of its device: /dev/disk/by-id/….
func (m *machine) findByLink(ref string) []*drive {
	info, err := m.devices.Stat(context.Background(), ref)
	if err != nil {
		return nil
	}
	var found []*drive
	for _, d := range m.drives {
		if d.info.Dev == info.Dev {
			found = append(found, d)
		}
	}
	return found
}

// InitOptions say what InitDrive may do.
type InitOptions struct {
	Force bool // take a device although something is recognised on it; its content is lost
}

// InitDrive makes the device at path a drive: it gets a label and an empty catalog. A device that is mounted, held, or
// open exclusively is refused always (vds.ErrDeviceInUse); one that carries a file system, a partition table or anything
// else that is recognised is refused without Force (vds.ErrDiskNotEmpty), and so is a drive that carries LUNs, with or
// without Force (vds.ErrObjectExists).
func (p *Provider) InitDrive(ctx context.Context, path string, opts InitOptions) (Drive, error) {
	var made uuid.UUID
	err := p.change(ctx, "init "+path, func(ctx context.Context, m *machine) error {
		info, err := m.devices.Stat(ctx, path)
		if err != nil {
			return fault("init", path, err)
		}
		if err := m.checkInit(ctx, info, opts); err != nil {
			return err
		}
		label := catalog.Label{Drive: uuid.New(), Size: info.Size, Host: p.hostID(), Created: p.now()}
		made = label.Drive
		return fault("init", path, m.execute(ctx, []step{labelDrive(info, label)}))
	})
	if err != nil || p.dry != nil {
		return Drive{}, err
	}
	drive, err := p.Drive(made.String())
	if err != nil {
		return Drive{}, &vds.Error{Code: vds.ErrIO, Op: "init", Object: path, Reason: "the new label cannot be read back", Err: err}
	}
	return drive, nil
}

// CheckDrive says whether InitDrive would refuse the device at path, and why. It changes nothing.
func (p *Provider) CheckDrive(ctx context.Context, path string, opts InitOptions) error {
	m := p.machine()
	info, err := m.devices.Stat(ctx, path)
	if err != nil {
		return fault("init", path, err)
	}
	return m.checkInit(ctx, info, opts)
}

// checkInit says everything that speaks against making a device a drive.
func (m *machine) checkInit(ctx context.Context, info blockdev.Info, opts InitOptions) error {
	why := reasons{op: "init", object: info.Path}
	users, err := m.lastingUsers(ctx, info.Dev)
	if err != nil {
		return fault("init", info.Path, err)
	}
	if len(users) > 0 {
		why.add(vds.ErrDeviceInUse, "unmount it, or take it out of what holds it", "it is in use: %s", userText(users))
		return why.err()
	}
	if info.Size < catalog.MinDriveSize {
		why.add(vds.ErrNotEnoughSpace, "", "it has %s, a drive needs %s", info.Size, catalog.MinDriveSize)
	}
	checkKind(&drive{info: info}, &why)
	m.checkContent(ctx, info, opts, &why)
	return why.err()
}

// lastingUsers is who uses a device and does not go in a moment. Partitions by themselves use nothing: those that are
// mounted or held are listed as such.
func (m *machine) lastingUsers(ctx context.Context, dev devno.No) ([]blockdev.User, error) {
	for deadline := time.Now().Add(passingOpen); ; time.Sleep(passingPause) {
		users, err := m.devices.Users(ctx, dev)
		users = slices.DeleteFunc(users, func(u blockdev.User) bool { return u.Kind == "partition" })
		if err != nil || len(users) == 0 || slices.ContainsFunc(users, stays) || time.Now().After(deadline) {
			return users, err
		}
	}
}

// checkContent adds a reason when there is something on the device.
func (m *machine) checkContent(ctx context.Context, info blockdev.Info, opts InitOptions, why *reasons) {
	known := false
	for _, d := range m.drives {
		if d.info.Dev != info.Dev {
			continue
		}
		known = true
		if luns := d.store.Catalog.LUNs; len(luns) > 0 {
			why.add(vds.ErrObjectExists, "delete them first", "it is a drive with plexes of %s", names(luns))
		} else if !opts.Force {
			why.add(vds.ErrObjectExists, "--force makes it a new, empty drive", "it is a drive already")
		}
	}
	found, err := m.devices.Signatures(ctx, info.Path)
	if err != nil {
		why.add(vds.ErrIO, "", "its content cannot be read: %v", err)
	}
	if known { // it has been said already
		found = slices.DeleteFunc(found, func(s signature.Signature) bool { return s.Type == signature.Own })
	}
	if len(found) > 0 && !opts.Force {
		why.add(vds.ErrDiskNotEmpty, "if its content may be lost, add --force", "it carries %s", signatureText(found))
	}
}

// names lists LUNs for an error text.
func names(luns []catalog.LUN) string {
	texts := make([]string, len(luns))
	for i, l := range luns {
		texts[i] = l.Name
	}
	return strings.Join(texts, ", ")
}

func signatureText(found []signature.Signature) string {
	texts := make([]string, len(found))
	for i, s := range found {
		texts[i] = s.Type
		if s.Label != "" {
			texts[i] += fmt.Sprintf(" %q", s.Label)
		}
	}
	return strings.Join(texts, ", ")
}

// labelDrive is the step that claims a device for itself, wipes what was recognised at its ends, and labels it.
func labelDrive(info blockdev.Info, label catalog.Label) step {
	text := fmt.Sprintf("zero the first and the last MiB of %s, and make it drive %s", info.Path, label.Drive)
	return funcStep{text: text, commit: true, do: func(ctx context.Context, m *machine) error {
		disk, err := m.devices.Open(ctx, info.Path, blockdev.Exclusive)
		if err != nil {
			return err
		}
		defer disk.Close() //nolint:errcheck // Init has synced
		tail := info.Size.RoundDown(blockdev.Align) - size.MiB
		if err := blockdev.Zero(ctx, disk, 0, size.MiB); err != nil {
			return err
		}
		if err := blockdev.Zero(ctx, disk, tail, info.Size-tail); err != nil {
			return err
		}
		m.outdated = true
		if err := catalog.Init(disk, label); err != nil {
			return err
		}
		if d, ok := disk.(interface{ RereadPartitions() error }); ok {
			// Partitions that the kernel still remembers would lead into the drive.
			return d.RereadPartitions()
		}
		return nil
	}}
}

// RemoveDrive takes the label off a drive without plexes, which makes it an ordinary device again. vds.ErrDiskNotEmpty
// when it has plexes.
func (p *Provider) RemoveDrive(ctx context.Context, ref string) error {
	return p.change(ctx, "remove drive "+ref, func(ctx context.Context, m *machine) error {
		d, err := m.findDrive(ref)
		if err != nil {
			return err
		}
		id := d.store.Label.Drive
		if d.foreign {
			return foreignDriveFault(d)
		}
		if luns := d.store.Catalog.LUNs; len(luns) > 0 {
			return &vds.Error{
				Code: vds.ErrDiskNotEmpty, Op: "remove", Object: driveObject(id), Hint: "delete these LUNs first",
				Reason: "it has plexes of " + names(luns),
			}
		}
		return fault("remove", driveObject(id), m.execute(ctx, []step{unlabelDrive(d)}))
	})
}

// unlabelDrive is the step that takes the label off a drive.
func unlabelDrive(d *drive) step {
	return funcStep{text: "wipe label and catalog of " + d.info.Path, commit: true, do: func(ctx context.Context, m *machine) error {
		disk, err := m.devices.Open(ctx, d.info.Path, blockdev.Exclusive)
		if err != nil {
			return err
		}
		defer disk.Close() //nolint:errcheck // Wipe has synced
		m.outdated = true
		return catalog.Wipe(disk, d.store.Label.Size)
	}}
}
