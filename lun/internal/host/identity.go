package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// Standing says what a device with a label is to this host.
type Standing string

// Values of Standing. Only a drive that is used counts: the others are listed, and never written or started from.
const (
	Used      Standing = "used"
	Foreign   Standing = "foreign"   // another host used it last, or it names no host and this host has an ID
	Copy      Standing = "copy"      // another device is the drive
	Ambiguous Standing = "ambiguous" // one of several devices with its label, and it cannot be told which is the drive
	Mute      Standing = "silent"    // it has not answered, and may be a drive or not; see Silent
	Missing   Standing = "missing"   // no device has its label; a record names it
	lower     Standing = "lower"     // below another device with its label, such as a path of a multipath device; not listed
)

// census is the devices of the machine, while Read decides which of them are drives.
type census struct {
	*Host
	infos  map[devno.No]blockdev.Info
	mapped map[devno.No]dm.Device    // all devices of device-mapper
	own    map[uuid.UUID][]dm.Device // plexctl's, by LUN
	above  map[devno.No][]devno.No   // the devices stacked directly on one, without plexctl's
	failed map[devno.No]error        // devices whose label cannot be read
	found  []*Drive
}

func (h *Host) newCensus(infos []blockdev.Info, list []dm.Device) *census {
	c := &census{
		Host: h, infos: map[devno.No]blockdev.Info{}, mapped: map[devno.No]dm.Device{}, own: map[uuid.UUID][]dm.Device{},
		above: map[devno.No][]devno.No{}, failed: map[devno.No]error{},
	}
	for _, d := range list {
		c.mapped[d.Dev] = d
		if owner, own := layout.OwnerOf(d.UUID); own {
			c.own[owner] = append(c.own[owner], d)
		}
	}
	h.Paths = make(map[devno.No]string, len(infos))
	for _, info := range infos {
		c.infos[info.Dev], h.Paths[info.Dev] = info, info.Path
		for _, upper := range info.Holders {
			c.stack(info.Dev, upper)
		}
		for _, below := range info.Slaves {
			c.stack(below, info.Dev)
		}
	}
	return c
}

// identify decides what each device that was found is.
//
// The device that live tables of LUNs use is the drive, and no device that turns up later takes its place. While no LUN uses a
// drive, four questions decide, in this order. Is it this host's? Was its label written last? Is it the device that its label
// names? Is it not below another one of these? When several devices are left, none is the drive.
func (c *census) identify(ctx context.Context) error {
	same := map[uuid.UUID][]*Drive{}
	for _, d := range c.found {
		d.Standing = Used
		if c.foreign(d.Store.Label) {
			d.Standing = Foreign
		}
		same[d.ID()] = append(same[d.ID()], d)
	}
	for _, id := range slices.SortedFunc(maps.Keys(same), func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) }) {
		if err := c.settle(ctx, same[id]); err != nil {
			return err
		}
	}
	return nil
}

// settle decides which of the devices with one label is the drive.
func (c *census) settle(ctx context.Context, same []*Drive) error {
	if len(same) == 1 && same[0].Standing == Used && c.isPlain(same[0]) {
		return nil // as nearly always
	}
	used, err := c.usedOf(ctx, same)
	if err != nil {
		return err
	}
	same = slices.DeleteFunc(same, func(d *Drive) bool {
		below := !d.inUse && c.underFailed(ctx, d.Info.Dev)
		if below {
			d.Standing = lower
		}
		return below
	})
	if len(used) == 0 {
		occupant, err := c.occupant(ctx, same)
		if err != nil {
			return err
		}
		if occupant != "" {
			c.refuse(same, nil, occupant)
			return nil
		}
		used = c.best(ctx, same)
	}
	if len(used) == 1 {
		c.choose(ctx, used[0], same)
	} else {
		c.refuse(same, used)
	}
	return nil
}

// refuse notes that none of the devices with one label is the drive. Those in equal may be. others is a
// device that LUNs use as this drive.
func (c *census) refuse(same, equal []*Drive, others ...string) {
	for _, d := range same {
		if len(others) > 0 {
			d.occupant = others[0]
		}
		d.Rivals = append(pathsOf(without(same, d)), others...)
		switch {
		case d.Standing == Foreign:
		case slices.Contains(equal, d):
			d.Standing = Ambiguous
		default:
			d.Standing = Copy
		}
	}
}

// choose notes that d is the drive, among the devices with its label.
func (c *census) choose(ctx context.Context, d *Drive, same []*Drive) {
	others := without(same, d)
	for _, o := range others {
		switch {
		case c.under(ctx, o.Info.Dev, d.Info.Dev):
			o.Standing = lower
		case o.Standing == Used:
			o.Standing = Copy
		}
	}
	listed := slices.DeleteFunc(slices.Clone(others), func(o *Drive) bool { return o.Standing == lower })
	d.Rivals = pathsOf(listed)
	for _, o := range listed {
		o.Rivals = pathsOf(append(without(listed, o), d))
	}
}

// best is the devices that may be the drive while no LUN uses any of them.
func (c *census) best(ctx context.Context, same []*Drive) []*Drive {
	best := same
	if len(best) < 2 {
		return best
	}
	prefer := func(is func(*Drive) bool) {
		if some := slices.DeleteFunc(slices.Clone(best), func(d *Drive) bool { return !is(d) }); len(some) > 0 {
			best = some
		}
	}
	prefer(func(d *Drive) bool { return d.Standing == Used })
	prefer(func(d *Drive) bool { return !d.Store.Shrunk() }) // a shrunk one is part of a copy
	last := slices.MaxFunc(best, func(a, b *Drive) int { return a.Store.Label.Created.Compare(b.Store.Label.Created) }).Store.Label.Created
	prefer(func(d *Drive) bool { return d.Store.Label.Created.Equal(last) })
	prefer(func(d *Drive) bool { return d.match() == blockdev.Same })
	all := best
	prefer(func(d *Drive) bool {
		return !slices.ContainsFunc(all, func(upper *Drive) bool { return upper != d && c.under(ctx, d.Info.Dev, upper.Info.Dev) })
	})
	return best
}

// usedOf is those of these devices that live tables of LUNs use.
func (c *census) usedOf(ctx context.Context, same []*Drive) ([]*Drive, error) {
	var used []*Drive
	for _, d := range same {
		for _, holder := range d.Info.Holders {
			dev, mapped := c.mapped[holder]
			owner, own := layout.OwnerOf(dev.UUID)
			if !mapped || !own {
				continue
			}
			on, err := c.lies(ctx, owner, dev)
			if err != nil {
				return nil, err
			}
			if d.inUse = slices.Contains(on, d.Info.Dev); d.inUse {
				used = append(used, d)
				if d.Standing == Foreign && d.Store.Label.Host == "" { // it was started when this host had no ID yet
					d.Standing = Used
				}
				break
			}
		}
	}
	return used, nil
}

// isPlain reports whether LUNs are on a device, and nothing else is, so that there is nothing to find out.
func (c *census) isPlain(d *Drive) bool {
	return len(c.above[d.Info.Dev]) == 0 && slices.ContainsFunc(d.Info.Holders, func(holder devno.No) bool {
		_, own := layout.OwnerOf(c.mapped[holder].UUID)
		return own
	})
}

// lies is the devices that the live table of a LUN's device maps. There are none while nothing writes through the device.
func (c *census) lies(ctx context.Context, owner uuid.UUID, d dm.Device) ([]devno.No, error) {
	info, table, err := c.Kernel.Observe(ctx, d.Name)
	if errors.Is(err, dm.ErrNotExist) || err == nil && info.UUID != d.UUID {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("observe %s: %w", d.Name, err)
	}
	if layout.Idle(owner, d.UUID, layout.Observed{Info: info, Table: table}) {
		return nil, nil
	}
	return mappedBy(table), nil
}

// occupant is the path of a device that a LUN uses as the drive of these devices, and that has no readable label. It is empty when
// there is none. Then a LUN in use is on no device that is there, as when a drive has come back under another number. A leg that
// the kernel has dropped uses nothing: it gets what it lacks from the others before it counts again.
func (c *census) occupant(ctx context.Context, same []*Drive) (string, error) {
	if len(same) == 0 {
		return "", nil
	}
	drive := same[0].ID()
	for _, d := range c.found { // another drive may know of a LUN that came to this one after a copy was made
		for _, l := range d.Store.Catalog.LUNs {
			if !slices.Contains(l.Drives(), drive) {
				continue
			}
			path, err := c.usedBy(ctx, l, drive)
			if path != "" || err != nil {
				return path, err
			}
		}
	}
	return "", nil
}

// usedBy is the path of a device without a readable label that the live tables of l use as a drive.
func (c *census) usedBy(ctx context.Context, l catalog.LUN, drive uuid.UUID) (string, error) {
	for _, dev := range c.own[l.ID] {
		p, ok := plexBelow(l, dev.UUID)
		if !ok || !slices.Contains(record.PlexDrives(p), drive) || c.dropped(ctx, c.topOf(l), l, p) {
			continue
		}
		on, err := c.lies(ctx, l.ID, dev)
		if err != nil {
			return "", err
		}
		for _, below := range on {
			if path := c.unlabelled(below); path != "" {
				return path, nil
			}
		}
	}
	return "", nil
}

// topOf is the name of the device of l; empty when it has none.
func (c *census) topOf(l catalog.LUN) string {
	for _, d := range c.own[l.ID] {
		if d.UUID == layout.LUNUUID(l.ID) {
			return d.Name
		}
	}
	return ""
}

// UsedBeside is the paths of other devices with d's label that LUNs use.
func (h *Host) UsedBeside(d *Drive) []string {
	var paths []string
	if d.occupant != "" {
		paths = append(paths, d.occupant)
	}
	for _, other := range h.All() {
		if other != d && other.ID() == d.ID() && other.inUse {
			paths = append(paths, other.Info.Path)
		}
	}
	return paths
}

// Moved is the error of a change that would move l from the device that it uses to another one with the same label. The other one may be
// a copy of any age. Moved is nil when there is no such drive. have is what the kernel has of l.
func (h *Host) Moved(l catalog.LUN, have layout.View) error {
	for _, dmUUID := range slices.Sorted(maps.Keys(have)) {
		p, ok := plexBelow(l, dmUUID)
		if o := have[dmUUID]; !ok || !o.Live || layout.Idle(l.ID, dmUUID, o) {
			continue
		}
		on := mappedBy(have[dmUUID].Table)
		for _, id := range record.PlexDrives(p) {
			if d, here := h.Drives[id]; here && d.Changed() && !slices.Contains(on, d.Info.Dev) {
				err := d.changed()
				err.Op, err.Object = "use", record.LUNObject(l.Name)
				return err
			}
		}
	}
	return nil
}

// mappedBy is the devices that the linear segments of a table map.
func mappedBy(t dm.Table) []devno.No {
	var on []devno.No
	for _, s := range t {
		if linear, ok := s.Target.(dm.Linear); ok {
			on = append(on, linear.Dev)
		}
	}
	return on
}

// plexBelow is the plex of l that a device of l with this dm UUID maps; false when it maps several, or none.
func plexBelow(l catalog.LUN, dmUUID string) (catalog.Plex, bool) {
	if dmUUID == layout.LUNUUID(l.ID) {
		if copies := l.Copies(); len(copies) == 1 && l.Departure == nil {
			return copies[0], true
		}
		return catalog.Plex{}, false
	}
	copies := l.Before().Copies()
	i := slices.IndexFunc(copies, func(p catalog.Plex) bool {
		return slices.Contains([]string{layout.DataUUID(l, p), layout.MetaUUID(l, p, catalog.SlotA), layout.MetaUUID(l, p, catalog.SlotB)}, dmUUID)
	})
	if i < 0 {
		return catalog.Plex{}, false
	}
	return copies[i], true
}

// unlabelled is the path of a device that is there, and on which no label was found.
func (c *census) unlabelled(dev devno.No) string {
	if slices.ContainsFunc(c.found, func(d *Drive) bool { return d.Info.Dev == dev }) {
		return ""
	}
	if info, ok := c.infos[dev]; ok {
		return info.Path
	}
	if d, ok := c.mapped[dev]; ok { // suspended
		return d.Path()
	}
	return ""
}

func without(drives []*Drive, d *Drive) []*Drive {
	return slices.DeleteFunc(slices.Clone(drives), func(o *Drive) bool { return o == d })
}

// pathsOf is the paths of drives, sorted.
func pathsOf(drives []*Drive) []string {
	paths := make([]string, len(drives))
	for i, d := range drives {
		paths[i] = d.Info.Path
	}
	slices.Sort(paths)
	return paths
}
