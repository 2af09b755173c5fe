package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Absence is why a drive has no part in l on this host; nil when it has a part. A plex with an extent on such a drive takes no part
// in the LUN, as if the drive were missing:
//
//   - The drive is missing, another host's, or one of several devices with its label.
//   - It takes no writes.
//   - Its logical blocks are larger than those that the LUN was made with. Users of the LUN rely on these.
//   - It has become too small for its label. If it still has all extents of the LUN, a start by force uses it all the same. So does
//     a LUN that is running, but for a stale plex.
func (h *Host) Absence(l catalog.LUN, id uuid.UUID) *vds.Error {
	d, here := h.Drives[id]
	switch {
	case !here:
		lack := h.Lack(id)
		return &vds.Error{Code: lack.Code(), Reason: lack.Reason, Hint: lack.Hint}
	case d.Protected():
		return fault.Protected("", d.Info.Path)
	case l.BlockSize != 0 && d.Info.LogicalBlock > l.BlockSize:
		return &vds.Error{
			Code: vds.ErrInvalidSectorSize, Object: d.Info.Path, Hint: "attach the drive so that it has logical blocks of " + fmt.Sprint(uint64(l.BlockSize)) + " bytes",
			Reason: fmt.Sprintf("logical blocks of %d bytes, the LUN was made with %d", d.Info.LogicalBlock, l.BlockSize),
		}
	case !d.Store.Has(l):
		return d.tooSmall("the LUN reaches beyond its end", wholeHint)
	case d.Store.Shrunk() && (!h.running[l.ID] || staleOn(l, id)):
		hint := wholeHint
		if len(l.Copies()) == 1 {
			hint += "; to read the LUN nevertheless: `plexctl assemble --force " + l.Name + "`"
		}
		return d.tooSmall("the LUN lies before its end", hint)
	}
	return nil
}

// wholeHint is the remedy when a device has become too small.
const wholeHint = "attach the drive so that it has its whole size"

// staleOn reports whether l has a stale plex on a drive.
func staleOn(l catalog.LUN, drive uuid.UUID) bool {
	return slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool { return p.Stale && slices.Contains(record.PlexDrives(p), drive) })
}

// tooSmall is the error about a device that has become smaller than its label says.
func (d *Drive) tooSmall(more, hint string) *vds.Error {
	return &vds.Error{
		Code: vds.ErrObjectStatusFailed, Object: d.Info.Path, Err: catalog.ErrTooSmall, Hint: hint,
		Reason: fmt.Sprintf("it has %s, its label says %s; %s", d.Info.Size, d.Store.Label.Size, more),
	}
}

// Protected reports whether the drive takes no writes.
func (d *Drive) Protected() bool { return d.Info.ReadOnly || d.refused.Load() }

// note remembers that the drive has refused a write because it is write-protected.
func (d *Drive) note(err error) {
	if errors.Is(err, blockdev.ErrReadOnly) {
		d.refused.Store(true)
	}
}

// Unwritable is why plexctl leaves the catalog of the drive as it is, as if the drive were missing; nil when it need not.
func (d *Drive) Unwritable() error {
	switch {
	case d.Protected():
		return fault.Protected("", d.Info.Path)
	case d.Store.Shrunk():
		return d.tooSmall("nothing is written to it", wholeHint)
	}
	return nil
}

// TakesCommits reports whether plexctl can write the catalog of a drive.
func (h *Host) TakesCommits(id uuid.UUID) bool {
	d, here := h.Drives[id]
	return here && d.Unwritable() == nil
}

// absent reports for each drive whether it has no part in l.
func (h *Host) absent(l catalog.LUN) func(uuid.UUID) bool {
	return func(id uuid.UUID) bool { return h.Absence(l, id) != nil }
}

// AbsentDrives is the drives of l that have no part in it. Plexes that are leaving do not count.
func (h *Host) AbsentDrives(l catalog.LUN) []uuid.UUID {
	l.Departure = nil
	return slices.DeleteFunc(l.Drives(), func(id uuid.UUID) bool { return h.Absence(l, id) == nil })
}

// IsMissing reports whether a drive of a plex of l has no part in it.
func (h *Host) IsMissing(l catalog.LUN, p catalog.Plex) bool {
	return slices.ContainsFunc(record.PlexDrives(p), h.absent(l))
}

// TrustShrunk makes l use drives that have become too small for their labels. It reports whether it then lacks no drive. Nothing
// can be committed to such drives.
func (h *Host) TrustShrunk(l catalog.LUN) bool {
	before := h.running[l.ID]
	h.running[l.ID] = true
	if len(h.AbsentDrives(l)) == 0 {
		return true
	}
	h.running[l.ID] = before
	return false
}

// Seeing is h for a reader who knows plexctl's devices, by dm UUID. Device numbers that the reader learns do not get into h.
func (h *Host) Seeing(active map[string]dm.Device) *Host {
	f := h.Fork()
	f.running, f.listed = running(active), listing{}
	for id, d := range active {
		f.listed.add(id, d.Name)
	}
	return f
}

// running is the LUNs that have a device. active is plexctl's devices by dm UUID.
func running(active map[string]dm.Device) map[uuid.UUID]bool {
	luns := map[uuid.UUID]bool{}
	for id := range active {
		if owner, ok := layout.OwnerOf(id); ok && id == layout.LUNUUID(owner) {
			luns[owner] = true
		}
	}
	return luns
}

// blockSize is the logical block size to record for l. It is the largest of its drives, because that is what the kernel shows, and
// it never rises. Without all of its drives it stays as it is.
func (h *Host) blockSize(l catalog.LUN) size.Bytes {
	var largest size.Bytes
	for _, id := range l.Drives() {
		d, here := h.Drives[id]
		if !here {
			return l.BlockSize
		}
		largest = max(largest, d.Info.LogicalBlock)
	}
	if l.BlockSize == 0 {
		return largest
	}
	return min(l.BlockSize, largest)
}

// BlockSize is the logical block size that users of l rely on: the recorded one, or the largest of its drives that are present.
func (h *Host) BlockSize(l catalog.LUN) size.Bytes {
	if l.BlockSize != 0 {
		return l.BlockSize
	}
	var largest size.Bytes
	for _, id := range l.Drives() {
		if d, here := h.Drives[id]; here {
			largest = max(largest, d.Info.LogicalBlock)
		}
	}
	return largest
}
