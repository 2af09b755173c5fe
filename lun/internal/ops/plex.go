package ops

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// FindPlex finds a plex of l by its GUID, by a unique beginning of it, or by its drive.
func FindPlex(h *host.Host, l catalog.LUN, ref string) (uuid.UUID, error) {
	drive, driveErr := h.FindDrive(ref)
	var found []uuid.UUID
	for _, p := range l.Copies() {
		onDrive := driveErr == nil && slices.Contains(record.PlexDrives(p), drive.ID())
		if onDrive || record.Abbreviates(ref, p.ID) {
			found = append(found, p.ID)
		}
	}
	return fault.Only(found, noPlex(l, ref), "several plexes match")
}

func noPlex(l catalog.LUN, ref string) *vds.Error {
	return record.Fault(vds.ErrObjectNotFound, "find", fmt.Sprintf("plex %q", ref),
		record.LUNObject(l.Name)+" has no such plex", "`plexctl plex list "+l.Name+"` shows all")
}

// Written is how much of a tracked LUN was ever written, by the first readable metadata.
func Written(ctx context.Context, h *host.Host, l catalog.LUN) size.Bytes {
	for _, i := range h.Roles(l).Taking() {
		p := l.Plexes[i]
		if slot, err := h.ReadSlot(ctx, p, p.Slot); err == nil && slot.Tracks() {
			regions := size.Bytes(slot.Bitmap.Bits.Count())
			return min(regions*slot.Bitmap.RegionSize.Bytes(), l.Size.Bytes())
		}
	}
	return l.Size.Bytes()
}
