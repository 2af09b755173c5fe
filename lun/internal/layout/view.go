package layout

import (
	"cmp"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// Observed is a device-mapper device as the kernel has it. Live is false for a device that fails all I/O.
type Observed struct {
	dm.Info
	Table dm.Table // live
}

// View is what the kernel has of one LUN, by dm UUID.
type View map[string]Observed

// Own is the LUN's own device; the zero Observed when there is none.
func (v View) Own(id uuid.UUID) Observed { return v[LUNUUID(id)] }

// names is the devices of v as nodes without content, in the order of removal: the LUN's own first, then by name.
func (v View) names() []Node {
	nodes := make([]Node, 0, len(v))
	for id, o := range v {
		n := Node{Name: o.Name, UUID: id, Visibility: dm.Private}
		if owner, _ := OwnerOf(id); id == LUNUUID(owner) {
			n.Visibility = dm.Public
		}
		nodes = append(nodes, n)
	}
	slices.SortStableFunc(nodes, func(a, b Node) int {
		if a.Visibility != b.Visibility {
			return int(a.Visibility) - int(b.Visibility)
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return nodes
}

// SoleTarget is the target of a table that has one segment; false when its type is another.
func SoleTarget[T dm.Target](t dm.Table) (T, bool) {
	var none T
	if len(t) != 1 {
		return none, false
	}
	target, ok := t[0].Target.(T)
	return target, ok
}

// IsRaid reports whether a table is a mirror.
func IsRaid(t dm.Table) bool {
	_, ok := SoleTarget[dm.Raid1](t)
	return ok
}

// ErrorTarget is the device-mapper target that fails all I/O.
const ErrorTarget = "error"

// FailsAll reports whether a table fails all I/O.
func FailsAll(t dm.Table) bool {
	other, ok := SoleTarget[dm.Other](t)
	return ok && other.Name == ErrorTarget
}

// Paused reports whether a table lets the kernel copy next to nothing.
func Paused(t dm.Table) bool {
	raid, ok := SoleTarget[dm.Raid1](t)
	return ok && raid.MaxRate == record.PausedKiB
}

// UsesSlot reports whether a table uses the current metadata slot of a plex.
func UsesSlot(l catalog.LUN, p catalog.Plex, t dm.Table, at Numbers) bool {
	raid, ok := SoleTarget[dm.Raid1](t)
	dev := at.Nodes[metaNode(l, p).UUID]
	return ok && !dev.IsZero() && slices.ContainsFunc(raid.Legs, func(leg dm.Leg) bool { return leg.Meta == dev })
}

// UsesSlots reports whether a table uses the current metadata slots of all plexes of l that take part.
func UsesSlots(l catalog.LUN, roles record.Roles, t dm.Table, at Numbers) bool {
	return IsRaid(t) && !slices.ContainsFunc(roles.Plexes(l), func(p catalog.Plex) bool { return !UsesSlot(l, p, t, at) })
}

// PlexOf is the plex of l that a linear table maps; uuid.Nil when it maps no plex.
func PlexOf(l catalog.LUN, t dm.Table, at Numbers) uuid.UUID {
	for _, p := range l.Copies() {
		n := Node{Runs: RunsOf(p.Data, t.Size())}
		if n.Resolved(at) && equal(n.Table(at), t) {
			return p.ID
		}
	}
	return uuid.Nil
}
