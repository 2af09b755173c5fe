package lun

import (
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// Names of device-mapper devices. A LUN's name cannot hold a colon, so a private device's name never collides with it.
const (
	namePrefix = "plex-"
	uuidPrefix = "PLEX-"
	nameSep    = ":"
)

// defaultMaxRate is the resync limit of a leg in KiB/s where the record has none: 2 GiB/s, far above the kernel's own
// 200 MB/s, so that the drives are the limit (reference: drivers/md/md.c, speed_limit_max).
const defaultMaxRate = 2 << 20

// pausedRate is the lowest limit, in KiB/s, and grantedRate what a limited leg gets in any case. Without it the system's
// lower limit would overrule a lower upper one (drivers/md/md.c, md_do_sync).
const (
	pausedRate  = 1
	grantedRate = 1
)

// node is a device-mapper device that a LUN needs, with everything in it that does not depend on the machine. Exactly
// one of runs and mirror is set.
type node struct {
	name       string
	uuid       string
	visibility dm.Visibility
	runs       []run
	mirror     *mirror
	keeps      bool // it takes no discards: the kernel would note what is discarded as written
}

// run is a piece of a node that lies on a drive.
type run struct {
	drive  uuid.UUID
	start  size.Sectors // on the drive
	length size.Sectors
}

// mirror is a node over the private nodes of several plexes.
type mirror struct {
	length     size.Sectors
	regionSize size.Sectors
	maxRate    uint64
	anyRate    bool // no operation runs: how fast the kernel would copy does not matter
	legs       []leg
}

// leg names, by dm UUID, the private nodes of one plex; both are empty for a plex whose drive is missing.
type leg struct {
	meta string
	data string
}

// lunUUID is the dm UUID of a LUN's own device.
func lunUUID(id uuid.UUID) string { return uuidPrefix + id.String() }

// lunName is the dm name of a LUN's own device.
func lunName(name string) string { return namePrefix + name }

// ownerOf is the LUN that a dm UUID belongs to; false for a device that is not plexctl's.
func ownerOf(dmUUID string) (uuid.UUID, bool) {
	rest, ok := strings.CutPrefix(dmUUID, uuidPrefix)
	if !ok || len(rest) < 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(rest[:36])
	return id, err == nil
}

// layout is the set of devices that a LUN needs, the LUN's own device last. It is a pure function of the record and of
// which plexes are out: left out of the table. A LUN with one plex is linear; with more it is a raid1 over private devices.
func layout(l catalog.LUN, out func(p catalog.Plex) bool) []node {
	top := node{name: lunName(l.Name), uuid: lunUUID(l.ID), visibility: dm.Public}
	if len(l.Plexes) == 1 {
		top.runs = runsOf(l.Plexes[0].Data, l.Size)
		return []node{top}
	}
	top.mirror = &mirror{length: l.Size, regionSize: l.RegionSize, anyRate: true}
	if l.Operation != nil {
		top.mirror.anyRate, top.mirror.maxRate = false, l.MaxRate
	}
	if l.Operation != nil && l.Operation.Queued {
		top.mirror.maxRate = pausedRate
	}
	var nodes []node
	for _, p := range l.Plexes {
		if out(p) {
			top.mirror.legs = append(top.mirror.legs, leg{})
			continue
		}
		meta, data := metaNode(l, p), dataNode(l, p)
		data.keeps = l.Tracked()
		nodes = append(nodes, meta, data)
		top.mirror.legs = append(top.mirror.legs, leg{meta: meta.uuid, data: data.uuid})
	}
	return append(nodes, top)
}

func missing(p catalog.Plex, absent func(uuid.UUID) bool) bool {
	return absent(p.Meta.Drive) || slices.ContainsFunc(p.Data, func(e catalog.Extent) bool { return absent(e.Drive) })
}

func metaNode(l catalog.LUN, p catalog.Plex) node {
	at := slotExtent(p, p.Slot)
	return privateNode(l, p, "meta-"+string(p.Slot), []run{{drive: at.Drive, start: at.Start, length: at.Length}})
}

func dataNode(l catalog.LUN, p catalog.Plex) node {
	return privateNode(l, p, "data", runsOf(p.Data, l.Size))
}

func privateNode(l catalog.LUN, p catalog.Plex, part string, runs []run) node {
	return node{
		name:       lunName(l.Name) + nameSep + p.ID.String()[:8] + nameSep + part,
		uuid:       lunUUID(l.ID) + "-" + p.ID.String() + "-" + part,
		visibility: dm.Private,
		runs:       runs,
	}
}

// runsOf is the first length sectors of extents.
func runsOf(extents []catalog.Extent, length size.Sectors) []run {
	var runs []run
	for _, e := range extents {
		n := min(e.Length, length)
		if n == 0 {
			break
		}
		runs = append(runs, run{drive: e.Drive, start: e.Start, length: n})
		length -= n
	}
	return runs
}

// slotExtent is where one of a plex's two metadata slots lies.
func slotExtent(p catalog.Plex, s catalog.Slot) catalog.Extent {
	half := p.Meta.Length / 2
	at := catalog.Extent{Drive: p.Meta.Drive, Start: p.Meta.Start, Length: half}
	if s == catalog.SlotB {
		at.Start += half
	}
	return at
}

// numbers gives the block device numbers that a table needs. A number that is not known is zero.
type numbers struct {
	drives map[uuid.UUID]devno.No
	nodes  map[string]devno.No // by dm UUID
}

// resolved reports whether every device that n names is known.
func (n node) resolved(at numbers) bool {
	if n.mirror == nil {
		return !slices.ContainsFunc(n.runs, func(r run) bool { return at.drives[r.drive].IsZero() })
	}
	return !slices.ContainsFunc(n.mirror.legs, func(l leg) bool {
		return l.data != "" && (at.nodes[l.data].IsZero() || at.nodes[l.meta].IsZero())
	})
}

// table is n's table on this machine.
func (n node) table(at numbers) dm.Table {
	if n.mirror != nil {
		return n.mirror.table(at)
	}
	var t dm.Table
	for _, r := range n.runs {
		t = append(t, dm.Segment{
			Start: t.Size(), Length: r.length,
			Target: dm.Linear{Dev: at.drives[r.drive], Offset: r.start},
		})
	}
	return t
}

func (m *mirror) table(at numbers) dm.Table {
	raid := dm.Raid1{RegionSize: m.regionSize, MinRate: grantedRate, MaxRate: m.maxRate}
	if raid.MaxRate == 0 {
		raid.MinRate, raid.MaxRate = 0, defaultMaxRate
	}
	for _, l := range m.legs {
		raid.Legs = append(raid.Legs, dm.Leg{Meta: at.nodes[l.meta], Data: at.nodes[l.data]})
	}
	return dm.Table{{Length: m.length, Target: raid}}
}
