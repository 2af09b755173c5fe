package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// FindDrive finds a drive by path, by a link to its device, or by GUID. A unique beginning of the GUID of at least 4 digits is
// enough. A word without a slash that reads as a GUID is no path. It also finds devices that are not used: by path, and by GUID if
// no drive that is used has it.
func (h *Host) FindDrive(ref string) (*Drive, error) {
	none := record.Fault(vds.ErrObjectNotFound, "find", fmt.Sprintf("drive %q", ref),
		"no drive has this path or GUID", "`plexctl drive list` shows all; `plexctl drive init DEVICE` makes one")
	d, err := Pick("drive", ref, h.driveCandidates(ref, func(d *Drive) bool { return d.Info.Path == ref }), none)
	if !errors.Is(err, none) || record.ReadsAsGUID(ref) {
		return d, err
	}
	info, statErr := h.Devices.Stat(context.Background(), ref) // another path of its device: /dev/disk/by-id/…
	if statErr != nil {
		return nil, none
	}
	if err := h.leftOut(info); err != nil {
		return nil, err
	}
	if err := h.Silence(info.Dev); err != nil {
		return nil, &vds.Error{Code: vds.ErrObjectStatusFailed, Op: "find", Object: fmt.Sprintf("drive %q", ref), Err: err}
	}
	return Pick("drive", ref, h.driveCandidates(ref, func(d *Drive) bool { return d.Info.Dev == info.Dev }), none)
}

// driveCandidates is all devices with a label, sorted by path. A GUID means the drive that is used, and several devices when
// none is.
func (h *Host) driveCandidates(ref string, named func(*Drive) bool) []Candidate[*Drive] {
	var all []Candidate[*Drive]
	for _, d := range h.All() {
		c := Candidate[*Drive]{Value: d, ID: d.ID(), Text: fmt.Sprintf("%q with GUID %s", d.Info.Path, d.ID()), Named: named(d)}
		if d.Standing != Used {
			c.ID = uuid.Max // of no drive
			c.Named = c.Named || h.Absent(d.ID()) && (record.IsGUID(ref, d.ID()) || record.BeginsGUID(ref, d.ID()))
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b Candidate[*Drive]) int { return cmp.Compare(a.Text, b.Text) })
	return all
}

// DriveIDs finds drives for new plexes, each once. It refuses one that is not used.
func (h *Host) DriveIDs(refs []string) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	for _, ref := range refs {
		d, err := h.FindDrive(ref)
		if err != nil {
			return nil, err
		}
		if err := d.Refused(); err != nil {
			return nil, err
		}
		if err := d.Unwritable(); err != nil {
			return nil, err
		}
		if !slices.Contains(ids, d.ID()) {
			ids = append(ids, d.ID())
		}
	}
	return ids, nil
}

// udevd opens every device that was written to, for a moment. These are the longest wait for such a process to close the
// device, and the pause between two looks. Mounts and other lasting users do not get this time.
const (
	transientOpen  = 2 * time.Second
	transientPause = 50 * time.Millisecond
)

// isPersistent reports whether a user keeps the device open for longer than a moment.
func isPersistent(u blockdev.User) bool { return u.Kind != "process" }

// RefuseOpen adds a reason when the LUN's device is open and stays open. It returns all reasons so far.
func (h *Host) RefuseOpen(ctx context.Context, l catalog.LUN, why *fault.Reasons) error {
	for deadline := time.Now().Add(transientOpen); ; time.Sleep(transientPause) {
		name, err := h.DeviceName(ctx, l)
		if err != nil {
			return err
		}
		if name == "" {
			return why.Err()
		}
		info, err := h.Kernel.Info(ctx, name)
		if fault.IsGone(err) || err == nil && info.OpenCount == 0 {
			return why.Err()
		}
		if err != nil {
			return fault.Of(why.Op, record.LUNObject(l.Name), err)
		}
		users, err := h.Devices.Users(ctx, info.Dev)
		if err != nil {
			h.Log.Warn("find users", "device", info.Name, "error", err)
		}
		if time.Now().After(deadline) || slices.ContainsFunc(users, isPersistent) {
			why.Add(vds.ErrDeviceInUse, "unmount or close it first", "%s is in use: %s", record.LUNObject(l.Name), fault.Users(users))
			return why.Err()
		}
	}
}

// LastingUsers is the users of a device that stay. A partition alone is no user: if it is mounted or held, the mount or the
// holder is listed.
func (h *Host) LastingUsers(ctx context.Context, dev devno.No) ([]blockdev.User, error) {
	for deadline := time.Now().Add(transientOpen); ; time.Sleep(transientPause) {
		users, err := h.Devices.Users(ctx, dev)
		users = slices.DeleteFunc(users, func(u blockdev.User) bool { return u.Kind == "partition" })
		if err != nil || len(users) == 0 || slices.ContainsFunc(users, isPersistent) || time.Now().After(deadline) {
			return users, err
		}
	}
}
