package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Named is the drive on the device that ref names by a path, whatever other device has the same label. Without such a device it is
// the drive with this GUID.
func (h *Host) Named(ctx context.Context, ref string) (*Drive, error) {
	if record.ReadsAsGUID(ref) { // and is no path, as for FindDrive
		return h.FindDrive(ref)
	}
	info, err := h.Devices.Stat(ctx, ref)
	if err != nil {
		return h.FindDrive(ref)
	}
	for _, d := range h.All() {
		if d.Info.Dev == info.Dev {
			return d, nil
		}
	}
	store, err := h.readStore(ctx, info)
	if errors.Is(err, catalog.ErrNoLabel) || errors.Is(err, blockdev.ErrSilent) {
		return h.FindDrive(ref)
	}
	if err != nil {
		return nil, &vds.Error{Code: vds.ErrInvalidOperation, Op: "find", Object: fmt.Sprintf("drive %q", ref), Err: err}
	}
	d := &Drive{Info: info, Store: store, Standing: lower}
	if h.foreign(store.Label) {
		d.Standing = Foreign
	}
	return d, nil
}

// RefuseOwn adds a reason when a device is one of plexctl's, or lies above or below one of these, or above or below a drive. A
// label on it would destroy a LUN or a drive.
func (h *Host) RefuseOwn(ctx context.Context, info blockdev.Info, why *fault.Reasons) error {
	below, err := h.Devices.Below(ctx, info.Path)
	if err != nil {
		return fault.Of(why.Op, info.Path, err)
	}
	own, err := h.Active(ctx)
	if err != nil {
		return err
	}
	for _, d := range own {
		if d.Dev == info.Dev || slices.Contains(below, d.Dev) {
			why.Add(vds.ErrInvalidOperation, "name a device that is none of plexctl's", "it is, or lies on, device %s of a LUN", d.Name)
			return nil
		}
	}
	for _, m := range h.Marked {
		if m.Dev == info.Dev {
			continue
		}
		relation, err := h.relation(ctx, info, below, m)
		if err != nil {
			return fault.Of(why.Op, info.Path, err)
		}
		if relation != "" {
			why.Add(vds.ErrObjectExists, "if nothing on that drive counts, remove it first", "%s, which is a drive of plexctl", relation)
		}
	}
	return nil
}

// relation is how a device lies above or below another one; empty when it does not. below is what the first lies on.
func (h *Host) relation(ctx context.Context, info blockdev.Info, below []devno.No, other blockdev.Info) (string, error) {
	if slices.Contains(below, other.Dev) {
		return "it lies on " + other.Path, nil
	}
	under, err := h.Devices.Below(ctx, other.Path)
	if errors.Is(err, blockdev.ErrNotExist) {
		return "", nil // it has gone
	}
	if slices.Contains(under, info.Dev) {
		return "below " + other.Path, err
	}
	return "", err
}

// RefuseLabelled adds a reason when a device has a label of plexctl. With force it may have one, if no LUN is lost with it. The
// device itself is read: what other devices say does not count.
//
//   - A newer plexctl has written the label or the catalog: always refused.
//   - A readable catalog has LUNs: always refused, unless the device is a copy of a drive that is used.
//   - The label or all catalogs are damaged: refused with force, too, when a LUN would be lost. A LUN is named by what can still be
//     read of the catalogs, or by another drive.
func (h *Host) RefuseLabelled(ctx context.Context, info blockdev.Info, force bool, why *fault.Reasons) (labelled bool) {
	store, err := h.readStore(ctx, info)
	switch {
	case errors.Is(err, catalog.ErrNoLabel):
		return false
	case errors.Is(err, catalog.ErrVersion), err == nil && errors.Is(store.Writable(), catalog.ErrReadOnlyFormat):
		h.refuseNewer(why)
	case err != nil && !isDamage(err):
		why.Add(fault.Code(err), "", "its label cannot be read: %v", err)
	case err != nil:
		h.refuseDamaged(ctx, info, err, force, why)
	case h.spareOn(info):
		if !force {
			why.Add(vds.ErrObjectExists, "--force makes it a new, empty drive", "it is a copy of the drive on %s", h.Drives[store.Label.Drive].Info.Path)
		}
	case len(h.occupantsOf(info, store)) > 0:
		luns := h.occupantsOf(info, store)
		why.Add(vds.ErrObjectExists, freeHint(luns, store.Label.Drive, info.Path), "it is a drive with plexes of %s", Names(luns))
	case !force:
		why.Add(vds.ErrObjectExists, "--force makes it a new, empty drive", "it is a drive already")
	}
	return true
}

// occupantsOf is Occupants for the device with this label and catalog.
func (h *Host) occupantsOf(info blockdev.Info, store catalog.Drive) []catalog.LUN {
	for _, d := range h.All() {
		if d.Info.Dev == info.Dev {
			return h.Occupants(d)
		}
	}
	return h.Occupants(&Drive{Info: info, Store: store})
}

// RefuseOccupied is why the label of a drive must not be removed: LUNs have plexes there.
func (h *Host) RefuseOccupied(d *Drive) error {
	luns := h.Occupants(d)
	if len(luns) == 0 || h.IsSpare(d) {
		return nil
	}
	return record.Fault(vds.ErrDiskNotEmpty, "remove", d.Info.Path, "it has plexes of "+Names(luns), freeHint(luns, d.ID(), d.Info.Path))
}

func (h *Host) refuseNewer(why *fault.Reasons) {
	why.Add(vds.ErrNotSupported, "use the plexctl that wrote it", "it is a drive of a newer plexctl, and this one cannot read what is on it")
}

// isDamage reports whether err is about what a label or catalog contains, and not about the device.
func isDamage(err error) bool {
	for _, damage := range []error{catalog.ErrCorrupt, catalog.ErrInvalid, catalog.ErrChecksum, catalog.ErrOverlap, catalog.ErrFull, catalog.ErrTooSmall} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

// refuseDamaged is RefuseLabelled for a damaged drive.
func (h *Host) refuseDamaged(ctx context.Context, info blockdev.Info, damage error, force bool, why *fault.Reasons) {
	disk, err := h.Devices.Open(ctx, info.Path, blockdev.Read)
	if err != nil {
		why.Add(fault.Code(err), "", "its content cannot be read: %v", err)
		return
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	remains := catalog.ReadRemains(disk, info.Size)
	lost := remains.LUNs
	for _, l := range h.Set.LUNs {
		if slices.ContainsFunc(l.Drives(), func(id uuid.UUID) bool { return slices.Contains(remains.Drives, id) }) {
			lost = append(lost, l)
		}
	}
	switch {
	case remains.Unknown:
		h.refuseNewer(why)
	case len(lost) > 0:
		why.Add(vds.ErrObjectExists, "keep it as it is until these LUNs are safe elsewhere", "it is a damaged drive with plexes of %s: %v", Names(lost), damage)
	case !force:
		why.Add(vds.ErrDiskNotEmpty, "if nothing on it counts, add --force", "it is a damaged drive: %v", damage)
	}
}

// Occupants is the LUNs that have a plex on a device with a label. A record on it that is not that of a LUN any more, or that the LUN
// has left the drive since, does not count.
func (h *Host) Occupants(d *Drive) []catalog.LUN {
	var found []catalog.LUN
	for _, l := range d.Store.Catalog.LUNs {
		if now, exists := h.Record(l.ID); d.Standing == Used && !h.Set.Blocked(l.ID) {
			l, l.Deleted = now, !exists
		}
		if !l.Deleted && slices.Contains(l.Drives(), d.ID()) {
			found = append(found, l)
		}
	}
	for _, l := range h.Set.LUNs {
		known := slices.ContainsFunc(found, func(other catalog.LUN) bool { return other.ID == l.ID })
		if d.Standing == Used && !known && slices.Contains(l.Drives(), d.ID()) {
			found = append(found, l)
		}
	}
	return found
}

// freeHint says how a drive with these LUNs gets free, and nothing of them is lost.
func freeHint(luns []catalog.LUN, id uuid.UUID, path string) string {
	var steps []string
	for _, l := range luns {
		remove := "`plexctl plex remove " + l.Name + " " + path + "`"
		elsewhere := func(p catalog.Plex) bool { return !p.Stale && !slices.Contains(record.PlexDrives(p), id) }
		if !slices.ContainsFunc(l.Copies(), elsewhere) {
			remove = "`plexctl plex add " + l.Name + " --drive OTHER --wait`, then " + remove
		}
		steps = append(steps, remove)
	}
	const some = 3
	if len(steps) > some {
		steps = append(steps[:some], "and so on")
	}
	return "move its plexes: " + strings.Join(steps, "; ")
}

// Names lists LUNs for an error text, each once.
func Names(luns []catalog.LUN) string {
	var texts []string
	for _, l := range luns {
		if !slices.Contains(texts, l.Name) {
			texts = append(texts, l.Name)
		}
	}
	return strings.Join(texts, ", ")
}
