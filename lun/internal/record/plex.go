package record

import (
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/vds"
)

// PlexDrives is the drives that a plex lies on.
func PlexDrives(p catalog.Plex) []uuid.UUID { return catalog.LUN{Plexes: []catalog.Plex{p}}.Drives() }

// PlexType is the VDS type of a plex: TypeSpan if it lies on several drives.
func PlexType(p catalog.Plex) vds.LUNType {
	if len(PlexDrives(p)) > 1 {
		return vds.TypeSpan
	}
	return vds.TypeSimple
}

// TypeOf is the VDS type of a LUN. A vacant plex does not count.
func TypeOf(l catalog.LUN) vds.LUNType {
	if len(l.Copies()) > 1 {
		return vds.TypeMirror
	}
	return PlexType(l.Plexes[0])
}

// Index is the index of a plex in l; -1 when it is not a plex of l.
func Index(l catalog.LUN, plex uuid.UUID) int {
	return slices.IndexFunc(l.Plexes, func(p catalog.Plex) bool { return p.ID == plex })
}

// Without is l without these plexes.
func Without(l catalog.LUN, plexes ...uuid.UUID) catalog.LUN {
	l.Plexes = slices.DeleteFunc(slices.Clone(l.Plexes), func(p catalog.Plex) bool { return slices.Contains(plexes, p.ID) })
	return l
}

// SlotExtent is where one of a plex's two metadata slots lies.
func SlotExtent(p catalog.Plex, s catalog.Slot) catalog.Extent {
	half := p.Meta.Length / 2
	at := catalog.Extent{Drive: p.Meta.Drive, Start: p.Meta.Start, Length: half}
	if s == catalog.SlotB {
		at.Start += half
	}
	return at
}

// CurrentSlot is where the current metadata slot of a plex lies.
func CurrentSlot(p catalog.Plex) catalog.Extent { return SlotExtent(p, p.Slot) }

// Fault is an error without a cause: its code, what was being done, the object, the reason, and what the user can do.
func Fault(code vds.Code, op, object, reason, hint string) *vds.Error {
	return &vds.Error{Code: code, Op: op, Object: object, Reason: reason, Hint: hint}
}

// LUNFault is Fault about the LUN of this name.
func LUNFault(code vds.Code, op, name, reason, hint string) *vds.Error {
	return Fault(code, op, LUNObject(name), reason, hint)
}

// LUNObject is a LUN's name in errors.
func LUNObject(name string) string { return fmt.Sprintf("lun %q", name) }

// DriveObject is a drive's name in errors.
func DriveObject(id uuid.UUID) string { return "drive " + id.String() }
