package lun

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// linear completes props, the properties of a LUN whose record is one plex, by its live table.
func (v viewer) linear(l catalog.LUN, props Properties, view layout.View) Properties {
	table := view.Own(l.ID).Table
	fit, stray := layout.FitOf(layout.RunsOf(l.Plexes[0].Data, table.Size()), table, v.At)
	switch {
	case props.Status == vds.StatusFailed || l.Departure != nil && layout.IsRaid(table):
	case fit != layout.Fits:
		why := foreign("its device")
		if fit == layout.Moved {
			why = v.moved(l, stray, view)
		}
		props.Plexes[0].Status, props.Plexes[0].Health = vds.StatusFailed, vds.HealthFailed
		return props.failed(why)
	case props.Problem == nil && table.Size() != l.Size:
		props.Problem = problem(vds.ErrProviderFailure, "a change was interrupted, or is being made", "run `plexctl assemble`")
	}
	return props
}

// mirror completes props, the properties of a mirror, with what the kernel says about its legs. view is what the kernel has of it.
func (v viewer) mirror(l catalog.LUN, props Properties, status dm.Status, view layout.View, active map[string]dm.Device) Properties {
	raid, mirrored, err := raid1.Decode(l, status)
	switch {
	case err != nil:
		return props.unreadable(fault.Of("read status of", record.LUNObject(l.Name), err))
	case mirrored:
		props.apply(l, v.Roles(l), raid)
		if view.Own(l.ID).Suspended {
			props.halted()
		}
		if props = v.legs(l, props, view); props.Status == vds.StatusFailed {
			return props
		}
	case v.knows(l, view.Own(l.ID).Table, view):
		props.Health = vds.HealthFailedRedundancy
		props.Problem = problem(vds.ErrProviderCacheCorrupt, "the kernel has another table than the catalog", raid1.CacheHint)
	default:
		return props.failed(foreign("its device"))
	}
	if props.Problem == nil && l.Operation != nil && l.Operation.Earlier {
		props.Problem = problem(vds.ErrObjectStatusFailed, "plex "+l.Operation.Plexes[0].String()+" is an earlier copy of itself, and is filled anew",
			"see to its drive: was it restored from an image, or is it a clone?")
	}
	if props.Problem == nil && interrupted(l, active) {
		props.Problem = problem(vds.ErrProviderFailure, "a change was interrupted, or is being made", "run `plexctl assemble`")
	}
	return props
}

// halted corrects the properties of a suspended mirror. Its kernel thread is frozen, so the kernel shows it as not in sync.
func (p *Properties) halted() {
	p.Action, p.Done = "", p.Size
	if p.Health == vds.HealthRebuilding {
		p.Health = vds.HealthUnknown
	}
	for i := range p.Plexes {
		if p.Plexes[i].Health == vds.HealthRebuilding {
			p.Plexes[i].Health = vds.HealthUnknown
		}
	}
}

// legs completes props, the properties of a mirror, by the tables of its legs. A leg that the kernel calls in sync may be on a device
// that is gone: the kernel only notices at the next write.
func (v viewer) legs(l catalog.LUN, props Properties, view layout.View) Properties {
	if !v.knows(l, view.Own(l.ID).Table, view) {
		return props.failed(foreign("its device"))
	}
	serving := 0
	var lost *vds.Error
	for i, p := range l.Copies() {
		fit, stray := v.fits(l, p, view)
		switch {
		case fit == layout.Elsewhere:
			return props.failed(foreign("plex " + p.ID.String()))
		case fit == layout.Moved && props.Plexes[i].Status != vds.StatusFailed:
			props.Plexes[i].Status, props.Plexes[i].Health = vds.StatusFailed, vds.HealthFailed
			props.Health = vds.HealthFailedRedundancy
			lost = v.moved(l, stray, view)
		case props.Plexes[i].Health == vds.HealthHealthy:
			serving++
		}
	}
	switch {
	case lost == nil:
		return props
	case serving == 0:
		return props.failed(lost)
	}
	props.Problem, props.Redundant = lost, serving > 1
	return props
}

// fits says how the devices of a plex fit its record. The worst counts. Devices that no table uses do not.
func (v viewer) fits(l catalog.LUN, p catalog.Plex, view layout.View) (worst layout.Fit, stray layout.Stray) {
	for _, id := range []string{layout.DataUUID(l, p), layout.MetaUUID(l, p, catalog.SlotA), layout.MetaUUID(l, p, catalog.SlotB)} {
		o, exists := view[id]
		if !exists || layout.Idle(l.ID, id, o) {
			continue
		}
		if fit, on := layout.FitOf(layout.PlexRuns(l, p, id, o.Table.Size()), o.Table, v.At); fit > worst {
			worst, stray = fit, on
		}
	}
	return worst, stray
}

// knows reports whether a table of l's device maps nothing but plexes of l, or private devices of its plexes.
func (v viewer) knows(l catalog.LUN, t dm.Table, view layout.View) bool {
	raid, mirrored := layout.SoleTarget[dm.Raid1](t)
	if !mirrored {
		return layout.PlexOf(l, t, v.At) != uuid.Nil
	}
	before := l.Before()
	return !slices.ContainsFunc(raid.Legs, func(leg dm.Leg) bool {
		_, _, known := raid1.LegPlex(before, view, leg)
		return !leg.Data.IsZero() && !known
	})
}

// moved says that a drive has come back under another number, while the kernel uses the old one.
func (v viewer) moved(l catalog.LUN, stray layout.Stray, view layout.View) *vds.Error {
	if why, ok := errors.AsType[*vds.Error](v.Moved(l, view)); ok { // it may be a copy
		why.Op, why.Object = "", ""
		return why
	}
	return problem(vds.ErrProviderCacheCorrupt,
		fmt.Sprintf("its drive is %s now, and the kernel still uses device %s, which is gone", v.Drives[stray.Drive].Info.Path, stray.Old),
		"run `plexctl reenumerate`")
}

// foreign says that the kernel maps other sectors than those of the record.
func foreign(object string) *vds.Error {
	return problem(vds.ErrProviderCacheCorrupt, object+" maps other sectors than those of the LUN: the kernel has another table than the catalog",
		raid1.CacheHint)
}

// orphans is the LUNs whose device the kernel has, while no drive that can be read has their record. The drive of such a LUN is gone,
// or its label is.
func (v viewer) orphans(ctx context.Context, active map[string]dm.Device) []Properties {
	devices := map[uuid.UUID][]dm.Device{}
	for _, d := range active {
		owner, _ := layout.OwnerOf(d.UUID)
		if _, recorded := v.Record(owner); !recorded {
			devices[owner] = append(devices[owner], d)
		}
	}
	var all []Properties
	for _, id := range slices.SortedFunc(maps.Keys(devices), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		all = append(all, v.orphan(ctx, id, devices[id]))
	}
	return all
}

// orphan is what the kernel's devices tell about a LUN without a record.
func (v viewer) orphan(ctx context.Context, id uuid.UUID, devices []dm.Device) Properties {
	slices.SortFunc(devices, func(a, b dm.Device) int { return strings.Compare(a.Name, b.Name) })
	props := Properties{ID: id, Name: layout.NameOf(devices[0].Name), Orphan: true}
	reason, hint := "the kernel has its device, and no drive here has its record", "attach its drive and run `plexctl reenumerate`"
	if view, err := v.View(ctx, id); err == nil {
		top := view.Own(id)
		props.Size, props.Open = top.Table.Size(), top.OpenCount
		if props.Done = props.Size; top.Name != "" {
			props.Device = "/dev/mapper/" + top.Name
		}
		for _, dev := range usedDevices(view) {
			path, here := v.Paths[dev]
			if !here {
				reason += fmt.Sprintf("; it uses device %s, which is gone", dev)
				continue
			}
			if v.Silence(dev) != nil {
				reason, hint = reason+fmt.Sprintf("; it uses %s, which does not answer", path), "see to the device, then look again"
				continue
			}
			reason += fmt.Sprintf("; it uses %s, which has no label that can be read", path)
			hint = "copy its data from " + props.Device + " while it is active: without its record it cannot be started again"
		}
	}
	return props.failed(problem(vds.ErrObjectStatusFailed, reason, hint))
}

// usedDevices is the devices below those of a LUN, sorted.
func usedDevices(view layout.View) []devno.No {
	own := map[devno.No]bool{}
	for _, o := range view {
		own[o.Dev] = true
	}
	var below []devno.No
	for _, o := range view {
		for _, s := range o.Table {
			if linear, ok := s.Target.(dm.Linear); ok && !own[linear.Dev] && !slices.Contains(below, linear.Dev) {
				below = append(below, linear.Dev)
			}
		}
	}
	slices.SortFunc(below, func(a, b devno.No) int { return strings.Compare(a.String(), b.String()) })
	return below
}
