package lun_test

import (
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// kernelAgrees checks that the kernel has the devices that the records ask for, with tables onto the sectors that are
// recorded, none of them suspended or with a table waiting, and no other devices.
func (o *oracle) kernelAgrees() {
	o.t.Helper()
	needed := map[devno.No]bool{}
	for _, l := range o.luns {
		for _, dev := range o.devicesOf(l) {
			needed[dev] = true
		}
	}
	for dev, info := range o.nodes {
		switch {
		case info.Suspended:
			o.t.Errorf("%s is suspended", info.Name)
		case info.Inactive:
			o.t.Errorf("%s has a table waiting", info.Name)
		case !needed[dev]:
			o.t.Errorf("nobody needs %s", info.Name)
		}
	}
}

// devicesOf checks the devices of a LUN, and returns them.
func (o *oracle) devicesOf(l catalog.LUN) []devno.No {
	o.t.Helper()
	name := "plex-" + l.Name
	info, err := o.kernel.Info(o.t.Context(), name)
	if err != nil || !info.Live || info.UUID != "PLEX-"+l.ID.String() {
		o.t.Errorf("%s is not active: %+v, %v", l.Name, info, err)
		return nil
	}
	if len(l.Plexes) == 1 {
		o.lies(name, l.Plexes[0].Data, l.Size)
		return []devno.No{info.Dev}
	}
	table, err := o.kernel.Table(o.t.Context(), name)
	o.must(err)
	raid, ok := table[0].Target.(dm.Raid1)
	if !ok || len(table) != 1 || table.Size() != l.Size || len(raid.Legs) != len(l.Plexes) || raid.RegionSize != l.RegionSize {
		o.t.Errorf("%s has the table\n%v\nand is recorded as %+v", name, table, l)
		return nil
	}
	used := []devno.No{info.Dev}
	for i, leg := range raid.Legs {
		used = append(used, o.leg(l, l.Plexes[i], leg)...)
	}
	return used
}

// leg checks the devices of one leg of a mirror, and returns them.
func (o *oracle) leg(l catalog.LUN, p catalog.Plex, leg dm.Leg) []devno.No {
	o.t.Helper()
	absent := slices.ContainsFunc(drivesOf(p), func(id uuid.UUID) bool { _, here := o.media[id]; return !here })
	if leg.Missing() {
		if !p.Stale && !absent {
			o.t.Errorf("%s runs without plex %s", l.Name, p.ID)
		}
		return nil
	}
	for _, dev := range []devno.No{leg.Meta, leg.Data} {
		if name := o.nodes[dev].Name; !strings.HasPrefix(name, "plex-"+l.Name+":") {
			o.t.Errorf("%s: a leg is called %q", l.Name, name)
		}
	}
	if !p.Stale && !absent { // else the kernel keeps what it had until the next change
		half := p.Meta.Length / 2
		slot := catalog.Extent{Drive: p.Meta.Drive, Start: p.Meta.Start, Length: half}
		if p.Slot == catalog.SlotB {
			slot.Start += half
		}
		o.lies(o.nodes[leg.Meta].Name, []catalog.Extent{slot}, half)
		o.lies(o.nodes[leg.Data].Name, p.Data, l.Size)
	}
	return []devno.No{leg.Meta, leg.Data}
}

// lies checks that a device is the first length sectors of extents.
func (o *oracle) lies(name string, extents []catalog.Extent, length size.Sectors) {
	o.t.Helper()
	var want dm.Table
	for _, e := range extents {
		if n := min(e.Length, length-want.Size()); n > 0 {
			at := dm.Linear{Dev: o.media[e.Drive].info.Dev, Offset: e.Start}
			want = append(want, dm.Segment{Start: want.Size(), Length: n, Target: at})
		}
	}
	got, err := o.kernel.Table(o.t.Context(), name)
	if err != nil || !slices.Equal(want, got) {
		o.t.Errorf("table of %s is\n%v\n%v\nwant\n%v", name, got, err, want)
	}
}

// stands checks that every LUN is healthy, in the eyes of package lun too.
func (o *oracle) stands() {
	o.t.Helper()
	for _, l := range o.luns {
		props, err := o.find(l.Name).Properties(o.t.Context())
		var problem error
		if props.Problem != nil {
			problem = props.Problem
		}
		if err := errors.Join(err, problem); err != nil || !o.healthy(l) {
			o.t.Errorf("%s is not healthy: %v, %+v", l.Name, err, props)
		}
	}
}
