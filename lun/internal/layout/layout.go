package layout

import (
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
)

// defaultMaxRate is the resync limit of a leg in KiB/s when the record has none. 2 GiB/s is far above the kernel's own 200
// MB/s, so that the drives are the limit (reference: drivers/md/md.c, speed_limit_max).
const defaultMaxRate = 2 << 20

// grantedRate is the least that a limited leg gets, in KiB/s. Without it the kernel would use the system's minimum, even when
// the limit is lower (drivers/md/md.c, md_do_sync).
const grantedRate = 1

// Node is a device-mapper device that a LUN needs, without anything that depends on the host. Either Runs or Mirror is set.
type Node struct {
	Name       string
	UUID       string
	Visibility dm.Visibility
	Runs       []Run
	Mirror     *Mirror
	NoDiscards bool // the device takes no discards, because the kernel would count discarded regions as written
}

// Run is a part of a node that lies on one drive.
type Run struct {
	Drive  uuid.UUID
	Start  size.Sectors // on the drive
	Length size.Sectors
}

// Mirror is a node over the private nodes of several plexes.
type Mirror struct {
	Length     size.Sectors
	RegionSize size.Sectors
	MaxRate    uint64 // KiB/s; 0: the default
	AnyRate    bool   // no operation runs, so the rate of the live table does not matter
	Legs       []Leg
}

// Leg names, by dm UUID, the private nodes of one plex; both are empty for a plex that takes no part.
type Leg struct {
	Meta string
	Data string
}

// Of is the devices that a LUN needs, the LUN's own device last. A LUN with one plex is linear. With more plexes it is a raid1
// over private devices. Excluded plexes are legs without devices.
func Of(l catalog.LUN, roles record.Roles) []Node {
	top := Node{Name: LUNName(l.Name), UUID: LUNUUID(l.ID), Visibility: VisibilityOf(l)}
	if len(l.Plexes) == 1 {
		top.Runs = RunsOf(l.Plexes[0].Data, l.Size)
		return []Node{top}
	}
	top.Mirror = &Mirror{Length: l.Size, RegionSize: l.RegionSize, AnyRate: l.Operation == nil}
	if l.Operation != nil {
		top.Mirror.MaxRate = l.MaxRate
	}
	if l.Operation != nil && l.Operation.Queued {
		top.Mirror.MaxRate = record.PausedKiB
	}
	var nodes []Node
	for i, p := range l.Plexes {
		if roles[i].Excluded() {
			top.Mirror.Legs = append(top.Mirror.Legs, Leg{})
			continue
		}
		meta, data := metaNode(l, p), dataNode(l, p)
		data.NoDiscards = l.Tracked()
		nodes = append(nodes, meta, data)
		top.Mirror.Legs = append(top.Mirror.Legs, Leg{Meta: meta.UUID, Data: data.UUID})
	}
	return append(nodes, top)
}

// VisibilityOf is the visibility of the own device of l.
func VisibilityOf(l catalog.LUN) dm.Visibility {
	if l.Copy {
		return dm.Copy
	}
	return dm.Public
}

func metaNode(l catalog.LUN, p catalog.Plex) Node {
	at := record.CurrentSlot(p)
	return privateNode(l, p, "meta-"+string(p.Slot), []Run{{Drive: at.Drive, Start: at.Start, Length: at.Length}})
}

func dataNode(l catalog.LUN, p catalog.Plex) Node {
	return privateNode(l, p, "data", RunsOf(p.Data, l.Size))
}

func privateNode(l catalog.LUN, p catalog.Plex, part string, runs []Run) Node {
	return Node{
		Name:       LUNName(l.Name) + nameSep + p.ID.String()[:8] + nameSep + part,
		UUID:       LUNUUID(l.ID) + "-" + p.ID.String() + "-" + part,
		Visibility: dm.Private,
		Runs:       runs,
	}
}

// RunsOf is the first length sectors of these extents.
func RunsOf(extents []catalog.Extent, length size.Sectors) []Run {
	var runs []Run
	for _, e := range extents {
		n := min(e.Length, length)
		if n == 0 {
			break
		}
		runs = append(runs, Run{Drive: e.Drive, Start: e.Start, Length: n})
		length -= n
	}
	return runs
}

// RunsAfter is runs without their first skip sectors.
func RunsAfter(runs []Run, skip size.Sectors) []Run {
	var rest []Run
	for _, r := range runs {
		n := min(skip, r.Length)
		skip -= n
		if n < r.Length {
			rest = append(rest, Run{Drive: r.Drive, Start: r.Start + n, Length: r.Length - n})
		}
	}
	return rest
}

// Numbers is the block device numbers that tables need, and the names that the kernel's devices have. An unknown number is zero.
type Numbers struct {
	Drives map[uuid.UUID]devno.No
	Nodes  map[string]devno.No // by dm UUID
	Names  map[string]string   // the dm UUID of every device of the machine when it was last listed, by name
}

// Taken reports whether another device has n's name.
func (at Numbers) Taken(n Node) bool {
	holder, taken := at.Names[n.Name]
	return taken && holder != n.UUID
}

// Resolved reports whether the number of every device that n names is known.
func (n Node) Resolved(at Numbers) bool {
	if n.Mirror == nil {
		return !slices.ContainsFunc(n.Runs, func(r Run) bool { return at.Drives[r.Drive].IsZero() })
	}
	return !slices.ContainsFunc(n.Mirror.Legs, func(l Leg) bool {
		return l.Data != "" && (at.Nodes[l.Data].IsZero() || at.Nodes[l.Meta].IsZero())
	})
}

// Table is n's table on this host.
func (n Node) Table(at Numbers) dm.Table {
	if n.Mirror != nil {
		return n.Mirror.table(at)
	}
	var t dm.Table
	for _, r := range n.Runs {
		t = append(t, dm.Segment{
			Start: t.Size(), Length: r.Length,
			Target: dm.Linear{Dev: at.Drives[r.Drive], Offset: r.Start},
		})
	}
	return t
}

func (m *Mirror) table(at Numbers) dm.Table {
	raid := dm.Raid1{RegionSize: m.RegionSize, MinRate: grantedRate, MaxRate: m.MaxRate}
	if raid.MaxRate == 0 {
		raid.MinRate, raid.MaxRate = 0, defaultMaxRate
	}
	for _, l := range m.Legs {
		raid.Legs = append(raid.Legs, dm.Leg{Meta: at.Nodes[l.Meta], Data: at.Nodes[l.Data]})
	}
	return dm.Table{{Length: m.Length, Target: raid}}
}
