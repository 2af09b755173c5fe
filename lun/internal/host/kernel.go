package host

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// listing is the names of plexctl's devices, by LUN and dm UUID. A listed device may have gone since, or have another UUID.
type listing map[uuid.UUID]map[string]string

// add adds a device, or its new name. It does nothing to a nil listing.
func (l listing) add(dmUUID, name string) {
	owner, own := layout.OwnerOf(dmUUID)
	if l == nil || !own {
		return
	}
	if l[owner] == nil {
		l[owner] = map[string]string{}
	}
	l[owner][dmUUID] = name
}

// Active is plexctl's device-mapper devices, by dm UUID.
func (h *Host) Active(ctx context.Context) (map[string]dm.Device, error) {
	list, err := h.Kernel.List(ctx)
	if err != nil {
		return nil, fault.Of("list devices", "", err)
	}
	return ownOf(list), nil
}

// ownOf is plexctl's devices among all of device-mapper, by dm UUID.
func ownOf(list []dm.Device) map[string]dm.Device {
	own := map[string]dm.Device{}
	for _, d := range list {
		if _, is := layout.OwnerOf(d.UUID); is {
			own[d.UUID] = d
		}
	}
	return own
}

// list asks the kernel which devices of plexctl it has, and which names are taken.
func (h *Host) list(ctx context.Context) (listing, error) {
	devices, err := h.Kernel.List(ctx)
	if err != nil {
		return nil, fault.Of("list devices", "", err)
	}
	found := listing{}
	h.At.Names = make(map[string]string, len(devices))
	for _, d := range devices {
		found.add(d.UUID, d.Name)
		h.At.Names[d.Name] = d.UUID
	}
	return found, nil
}

// KeepList asks the kernel for its devices once, for a change of many LUNs that looks at each of them. Only plexctl makes such
// devices, and only under the host's lock. So the list holds until this process makes or renames a device; call Listed then. A
// failed step may have made a device: call DropList then, and at the end of the change.
func (h *Host) KeepList(ctx context.Context) error {
	var err error
	h.listed, err = h.list(ctx)
	return err
}

// DropList discards the list of KeepList, so that the next look asks the kernel.
func (h *Host) DropList() { h.listed = nil }

// Listed records that the kernel has a device with this name.
func (h *Host) Listed(dmUUID, name string) { h.listed.add(dmUUID, name) }

// Observe is what the kernel has of plexctl's devices, by LUN, but for some LUNs. It also updates the device numbers that tables
// need.
func (h *Host) Observe(ctx context.Context, but ...uuid.UUID) (map[uuid.UUID]layout.View, error) {
	devices, err := h.known(ctx)
	if err != nil {
		return nil, err
	}
	views := map[uuid.UUID]layout.View{}
	for _, owner := range slices.SortedFunc(maps.Keys(devices), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		if slices.Contains(but, owner) {
			continue
		}
		v, err := h.look(ctx, devices[owner])
		if err != nil {
			return nil, err
		}
		if len(v) > 0 {
			views[owner] = v
		}
	}
	return views, nil
}

// View is what the kernel has of one LUN.
func (h *Host) View(ctx context.Context, id uuid.UUID) (layout.View, error) {
	devices, err := h.known(ctx)
	if err != nil {
		return nil, err
	}
	return h.look(ctx, devices[id])
}

// known is the list of KeepList, or, without one, what the kernel has now.
func (h *Host) known(ctx context.Context) (listing, error) {
	if h.listed != nil {
		return h.listed, nil
	}
	return h.list(ctx)
}

// look observes those devices of a LUN that names has, by dm UUID; nil when there are none.
func (h *Host) look(ctx context.Context, names map[string]string) (layout.View, error) {
	var v layout.View
	for _, id := range slices.Sorted(maps.Keys(names)) {
		name := names[id]
		info, table, err := h.Kernel.Observe(ctx, name)
		if errors.Is(err, dm.ErrNotExist) || err == nil && info.UUID != id {
			continue
		}
		if err != nil {
			return nil, fault.Of("observe", record.LUNObject(name), err)
		}
		if v == nil {
			v = layout.View{}
		}
		info.Live = info.Live && !layout.FailsAll(table)
		v[id] = layout.Observed{Info: info, Table: table}
		h.At.Nodes[id] = info.Dev
	}
	return v, nil
}

// ReadLegs reads the state of l's legs in the kernel, and their metadata. It leaves out metadata that cannot be read.
func (h *Host) ReadLegs(ctx context.Context, l catalog.LUN, have layout.View) (raid1.LegState, error) {
	st, raid := raid1.NewLegState(l, have, h.At)
	if raid == nil {
		return st, nil
	}
	status, err := h.Kernel.Status(ctx, have.Own(l.ID).Name)
	if err != nil {
		return st, fault.Of("read status of", record.LUNObject(l.Name), err)
	}
	if st.Status, err = RaidStatusOf(l, status); err != nil {
		return st, err
	}
	for i, leg := range raid.Legs {
		p, slot, ok := raid1.LegPlex(l, have, leg)
		if !ok || i >= len(st.Status.Health) {
			continue // a plex that is no longer in l
		}
		meta, err := h.ReadSlot(ctx, p, slot)
		if err != nil {
			h.Log.Debug("read metadata", "lun", l.Name, "plex", p.ID, "error", err)
		}
		st.Note(p, slot, st.Status.Health[i], leg.Data, meta)
	}
	return st, ctx.Err()
}

// ReadAgain is the content of the metadata slots that the live table of st uses, by plex of l. It leaves out a slot that cannot
// be read.
func (h *Host) ReadAgain(ctx context.Context, l catalog.LUN, st raid1.LegState) map[uuid.UUID]raidmeta.Slot {
	found := map[uuid.UUID]raidmeta.Slot{}
	for _, p := range l.Plexes {
		used, leg := st.Slots[p.ID]
		if !leg {
			continue
		}
		if slot, err := h.ReadSlot(ctx, p, used); err == nil {
			found[p.ID] = slot
		}
	}
	return found
}

// RaidStatusOf is the decoded status of a LUN whose live table is a mirror.
func RaidStatusOf(l catalog.LUN, status dm.Status) (dm.RaidStatus, error) {
	if len(status.Targets) != 1 {
		return dm.RaidStatus{}, record.LUNFault(vds.ErrProviderCacheCorrupt, "read status of", l.Name,
			"its table has changed meanwhile", raid1.CacheHint)
	}
	raid, err := dm.ParseRaidStatus(status.Targets[0].Line)
	return raid, fault.Of("read status of", record.LUNObject(l.Name), err)
}

// DeviceName is the name of l's device in the kernel; "" when it has none. It is not that of the record if a rename was
// interrupted, or if the name belongs to another device.
func (h *Host) DeviceName(ctx context.Context, l catalog.LUN) (string, error) {
	if h.listed != nil {
		return h.listed[l.ID][layout.LUNUUID(l.ID)], nil
	}
	active, err := h.Active(ctx)
	return active[layout.LUNUUID(l.ID)].Name, err
}

// How a user gets a name that another device has.
const (
	OtherName   = "choose another name for the LUN, or remove that device if nothing needs it"
	OtherDevice = "give that device another name, or remove it if nothing needs it"
)

// CheckNames refuses names of devices that l needs while another device has them. name is the LUN that the user named, and hint
// is the remedy. The kernel's list must have been read.
func (h *Host) CheckNames(op, name string, l catalog.LUN, hint string) error {
	for _, n := range h.Wants(l) {
		if !h.At.Taken(n) {
			continue
		}
		if _, own := layout.OwnerOf(h.At.Names[n.Name]); own {
			hint = "run `plexctl assemble`, which gives the devices of all LUNs their names"
		}
		return record.LUNFault(vds.ErrNameNotUnique, op, name, "another device-mapper device has the name "+n.Name, hint)
	}
	return nil
}

// RaidStatus is the decoded status of l's mirror; false when the kernel has no mirror for it.
func (h *Host) RaidStatus(ctx context.Context, l catalog.LUN) (dm.RaidStatus, bool, error) {
	status, err := h.Kernel.Status(ctx, layout.LUNName(l.Name))
	if fault.IsGone(err) || err == nil && status.UUID != layout.LUNUUID(l.ID) { // this device does not exist, or has another name
		name, listErr := h.DeviceName(ctx, l)
		if name == "" {
			return dm.RaidStatus{}, false, listErr
		}
		status, err = h.Kernel.Status(ctx, name)
	}
	if fault.IsGone(err) {
		return dm.RaidStatus{}, false, nil
	}
	if err != nil {
		return dm.RaidStatus{}, false, fault.Of("read status of", record.LUNObject(l.Name), err)
	}
	raid, ok, err := raid1.Decode(l, status)
	return raid, ok, fault.Of("read status of", record.LUNObject(l.Name), err)
}
