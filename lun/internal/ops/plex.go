package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// FindPlex finds a plex of l by its GUID, by a unique beginning of it, or by its drive.
func FindPlex(h *host.Host, l catalog.LUN, ref string) (uuid.UUID, error) {
	drive, err := h.FindDrive(ref)
	all := make([]host.Candidate[uuid.UUID], len(l.Copies()))
	whole := false
	for i, p := range l.Copies() {
		onDrive := err == nil && slices.Contains(record.PlexDrives(p), drive.ID())
		all[i] = host.Candidate[uuid.UUID]{Value: p.ID, ID: p.ID, Text: p.ID.String(), Named: onDrive}
		whole = whole || record.IsGUID(ref, p.ID)
	}
	if errors.Is(err, vds.ErrInvalidArg) && !whole { // several drives match, and perhaps a plex too
		return uuid.Nil, err
	}
	return host.Pick("plex", ref, all, noPlex(l, ref))
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
