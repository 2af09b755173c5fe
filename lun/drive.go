package lun

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Drive is a drive of the host as last read (IVdsDrive).
type Drive struct {
	ID    uuid.UUID
	Info  blockdev.Info
	Label catalog.Label
	Free  size.Sectors // how large a new LUN or plex on it can be
	LUNs  []string     // names of the LUNs with a plex on it, sorted

	Grown size.Sectors // room that the device has got since it was labelled; see Provider.GrowDrive

	State   DriveState
	Rivals  []string // paths of the other devices with this label
	Changed bool     // the device is not the one that the label was written to; Provider.Choose confirms it
	// LastPath is, for a drive that is missing, the path of its device when a record of its LUNs was last written with it.
	LastPath string
}

// DriveState says what a device with a label is to this host.
type DriveState = host.Standing

// Values of DriveState.
const (
	DriveUsed      = host.Used      // it is a drive of this host
	DriveForeign   = host.Foreign   // it is not this host's: its LUNs are not started here before Provider.TakeOver
	DriveCopy      = host.Copy      // another device is the drive of this label
	DriveSilent    = host.Mute      // it does not answer, and may be a drive; see Provider.Silent
	DriveMissing   = host.Missing   // no device has its label; see Provider.Missing
	DriveAmbiguous = host.Ambiguous // so may one of Rivals be; no LUN is started from it before Provider.Choose
)

// Drives is every device of the host with a label, sorted by path, those that are not used included.
func (p *Provider) Drives() []Drive {
	h := p.host()
	var all []Drive
	for _, d := range h.All() {
		all = append(all, describe(h, d))
	}
	slices.SortStableFunc(all, func(a, b Drive) int {
		return cmp.Or(cmp.Compare(len(a.Info.Path), len(b.Info.Path)), cmp.Compare(a.Info.Path, b.Info.Path))
	})
	return all
}

// Missing is the drives of LUNs that no device here is, sorted by GUID. Of each there is what records say: where it was, model, serial
// number, and the names of the LUNs. A drive is not missing if there is a device with its label that is not used.
func (p *Provider) Missing() []Drive {
	h, paths := p.host(), p.DrivePaths()
	missing := map[uuid.UUID]Drive{}
	for _, l := range h.Set.LUNs {
		for _, id := range l.Drives() {
			if paths[id] != "" || l.Deleted || slices.ContainsFunc(h.Others, func(d *host.Drive) bool { return d.ID() == id }) {
				continue
			}
			was, d := l.DeviceOf(id), missing[id]
			d.ID, d.State, d.LUNs = id, DriveMissing, append(d.LUNs, l.Name)
			if was.Path != "" {
				d.LastPath, d.Info.Model, d.Info.Serial = was.Path, was.Model, was.Serial
			}
			slices.Sort(d.LUNs)
			missing[id] = d
		}
	}
	return slices.SortedStableFunc(maps.Values(missing), func(a, b Drive) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

// MissingDrive finds a drive among Missing by its GUID, a unique beginning of that, or its last path. It reports false if there is none,
// or more than one.
func (p *Provider) MissingDrive(ref string) (Drive, bool) {
	found := slices.DeleteFunc(p.Missing(), func(d Drive) bool { return d.LastPath != ref && !record.BeginsGUID(ref, d.ID) })
	if len(found) != 1 {
		return Drive{}, false
	}
	return found[0], true
}

// DrivePaths is the path of each drive, by GUID: of those that are used, and of drives of other hosts.
func (p *Provider) DrivePaths() map[uuid.UUID]string {
	paths := map[uuid.UUID]string{}
	h := p.host()
	for _, d := range h.Others {
		if d.Standing == host.Foreign {
			paths[d.ID()] = d.Info.Path
		}
	}
	for id, d := range h.Drives {
		paths[id] = d.Info.Path
	}
	return paths
}

// Drive finds a drive by path, GUID, or a unique beginning of its GUID (at least 4 digits).
func (p *Provider) Drive(ref string) (Drive, error) {
	h := p.host()
	d, err := h.FindDrive(ref)
	if err != nil {
		return Drive{}, err
	}
	return describe(h, d), nil
}

func describe(h *host.Host, d *host.Drive) Drive {
	out := Drive{
		ID: d.ID(), Info: d.Info, Label: d.Store.Label, Grown: d.Store.Grown().Sectors(),
		State: d.Standing, Rivals: d.Rivals, Changed: d.Changed(),
	}
	luns := d.Store.Catalog.LUNs
	if d.Standing == host.Used {
		out.Free, luns = h.Most(catalog.Plex{}, []uuid.UUID{d.ID()}), h.Set.LUNs
	}
	for _, l := range luns {
		if !l.Deleted && slices.Contains(l.Drives(), d.ID()) && (d.Standing != host.Used || !h.Set.Unheard(l.ID)) {
			out.LUNs = append(out.LUNs, l.Name)
		}
	}
	slices.Sort(out.LUNs)
	return out
}

// InitOptions say what InitDrive may do.
type InitOptions struct {
	Force bool // take a device although plexctl recognises content on it; that content is lost
}

// InitDrive makes the device at path a drive: it gets a label and an empty catalog. InitDrive always refuses a device that is
// mounted, held, or open exclusively (vds.ErrDeviceInUse). Without Force it refuses one with a file system, a partition table
// or other content that it recognises (vds.ErrDiskNotEmpty). Some devices it refuses with Force, too:
//
//   - a drive that carries LUNs, or may carry some because its label or catalog is damaged (vds.ErrObjectExists)
//   - a drive of a newer plexctl (vds.ErrNotSupported)
//   - a device of a LUN, or one above or below it (vds.ErrInvalidOperation)
//   - a device above or below a drive (vds.ErrObjectExists)
//
// It judges what is on this device, whatever other devices carry the same label.
func (p *Provider) InitDrive(ctx context.Context, path string, opts InitOptions) (Drive, error) {
	made, err := ops.InitDrive(ctx, p.env, path, opts.Force)
	if err != nil || p.isDry() {
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
	return ops.CheckDrive(ctx, p.host(), path, opts.Force)
}

// GrowDrive makes a drive as large as its device, which has grown. It can be in use. vds.ErrInvalidOperation when the device has no
// more room than its label says. If it is cut off, the drive has its old size or its new one, and everything on it is there.
func (p *Provider) GrowDrive(ctx context.Context, ref string) error {
	return ops.GrowDrive(ctx, p.env, ref)
}

// Repair is what RepairDrive does to a drive besides.
type Repair struct {
	Signatures []signature.Signature // recognised there, of others
	Other      bool                  // somebody else may have written there, recognised or not; what they wrote at both ends goes
	Stale      []string              // names of mirrors whose plex on the drive is out of date then: LUN.Recover fills it
}

// CheckRepair says what RepairDrive would do, or why it would refuse. It changes nothing.
func (p *Provider) CheckRepair(ctx context.Context, ref string) (Repair, error) {
	r, err := ops.CheckRepair(ctx, p.host(), ref)
	out := Repair{Signatures: r.Signatures, Other: r.Other}
	for _, l := range r.Stale {
		out.Stale = append(out.Stale, l.Name)
	}
	return out, err
}

// RepairDrive writes the lost label of a drive anew from its copy at the other end. Extents stay as they are. If somebody else may have
// written to the drive, its plexes of mirrors are out of date, as far as other plexes hold the data. vds.ErrInvalidOperation when
// nothing is lost; vds.ErrDeviceInUse when others use the device. If it is cut off, the label is written, or still lost.
// Assemble and Reenumerate do the same by themselves where nobody else has written to the drive, and no other device has its label.
func (p *Provider) RepairDrive(ctx context.Context, ref string) error {
	return ops.RepairDrive(ctx, p.env, ref)
}

// DriveAt is the drive on the device that ref names by a path, also when another device has the same label. Otherwise it is Drive.
func (p *Provider) DriveAt(ctx context.Context, ref string) (Drive, error) {
	h := p.host()
	d, err := h.Named(ctx, ref)
	if err != nil {
		return Drive{}, err
	}
	return describe(h, d), nil
}

// RemoveDrive takes the label off a drive without plexes, which makes it an ordinary device again. A path names the drive on that
// device, as in DriveAt. vds.ErrDiskNotEmpty when it has plexes.
func (p *Provider) RemoveDrive(ctx context.Context, ref string) error {
	return ops.RemoveDrive(ctx, p.env, ref)
}

// ForeignDrives is the drives of other hosts that LUNs need, sorted by path: the LUNs that refs name, or all such drives.
func (p *Provider) ForeignDrives(refs ...string) ([]Drive, error) {
	h := p.host()
	chosen, err := h.Choose(refs)
	if err != nil {
		return nil, err
	}
	var needed []Drive
	for _, d := range h.Others {
		needs := func(l catalog.LUN) bool {
			holds := func(have catalog.LUN) bool { return have.ID == l.ID }
			return slices.Contains(l.Drives(), d.ID()) || slices.ContainsFunc(d.Store.Catalog.LUNs, holds)
		}
		if d.Standing == host.Foreign && (len(refs) == 0 || slices.ContainsFunc(chosen, needs)) {
			needed = append(needed, describe(h, d))
		}
	}
	return needed, nil
}

// TakeOver makes drives of this host out of drives that another host used last, so that their LUNs can be started here. refs
// are paths or GUIDs; without any, TakeOver takes all such drives. The other host must not use them any more, and only the user
// can know that. TakeOver returns the drives it has taken over, also with an error. vds.ErrObjectExists when another device has the same label.
func (p *Provider) TakeOver(ctx context.Context, refs ...string) ([]Drive, error) {
	paths, err := ops.TakeOver(ctx, p.env, refs)
	if p.isDry() {
		return nil, err
	}
	var taken []Drive
	for _, path := range paths {
		d, findErr := p.Drive(path)
		if findErr != nil {
			return taken, cmp.Or(err, findErr)
		}
		taken = append(taken, d)
	}
	return taken, err
}

// Choose makes a device the drive of its label, where several devices have the same label. It also confirms a drive that is
// Changed. The device is named by its path, and so it is in later Problems. vds.ErrDeviceInUse when LUNs use another of these
// devices; vds.ErrAccessDenied for a drive of another host.
func (p *Provider) Choose(ctx context.Context, ref string) (Drive, error) {
	path, err := ops.Choose(ctx, p.env, ref)
	if err != nil || p.isDry() {
		return Drive{}, err
	}
	return p.Drive(path)
}

// Silent is a device that does not answer, and may be a drive: its Info, and Err, which says why it is left out.
type Silent = host.Silent

// Silent is the devices that did not answer at the last read, sorted by path. Each is among Problems, unless it lies below a drive.
func (p *Provider) Silent() []Silent { return p.host().Silent }
