package catalog

import (
	"bytes"
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Validate checks the catalog as a whole against its drive: every record, their order, and that no GUID means two things. The
// extents on this drive must lie in its usable space and must not overlap. A deleted record owns no space. The error is
// ErrInvalid, ErrOverlap or ErrFull and names LUN, plex and drive.
func (c Catalog) Validate(label Label) error {
	if c.Sequence == 0 || c.Sequence > maxCount {
		return invalid("catalog: sequence %d", c.Sequence)
	}
	if len(c.LUNs) > MaxLUNs {
		return fmt.Errorf("catalog: %d records, limit %d: %w", len(c.LUNs), MaxLUNs, ErrFull)
	}
	for i, l := range c.LUNs {
		if err := l.Validate(); err != nil {
			return err
		}
		if i > 0 && compareIDs(c.LUNs[i-1].ID, l.ID) >= 0 {
			return invalid("%s: not in order of GUIDs, or there twice", l.title())
		}
	}
	return cmp.Or(checkIDs(c.LUNs), checkSpace(c.LUNs, label))
}

// checkIDs checks that no plex GUID is used twice or is also a LUN's.
func checkIDs(luns []LUN) error {
	owners := make(map[uuid.UUID]*LUN, 3*len(luns))
	for i := range luns {
		owners[luns[i].ID] = &luns[i]
	}
	for i, l := range luns {
		if l.Deleted {
			continue
		}
		for _, p := range l.owned() {
			if owner, taken := owners[p.ID]; taken {
				return invalid("%s: GUID of plex %s is also used by %s", l.title(), p.ID, owner.title())
			}
			owners[p.ID] = &luns[i]
		}
	}
	return nil
}

// checkSpace checks the extents that luns have on the labelled drive.
func checkSpace(luns []LUN, label Label) error {
	var here []claim
	for i := range luns {
		for _, c := range claimsOf(&luns[i]) {
			if c.extent.Drive != label.Drive {
				continue
			}
			if !c.fits(label) {
				return invalid("%s lies outside %d to %d", c, FirstExtent.Sectors(), TailStart(label.Size).Sectors())
			}
			here = append(here, c)
		}
	}
	for a, b := range overlaps(here) {
		return fmt.Errorf("%s and %s: %w", a, b, ErrOverlap)
	}
	return nil
}

// Validate checks a record by itself. It knows neither the sizes of drives nor other LUNs. The error is ErrInvalid or
// ErrOverlap and names LUN, plex and drive.
func (l LUN) Validate() error {
	checks := []func() error{l.checkValues, l.checkShape, l.checkMaking, l.checkPlexes, l.checkHistory, l.checkOrigin, l.checkDevices, l.checkLast, l.checkOperation, l.checkHolding, l.checkDeparture}
	for _, check := range checks {
		if err := check(); err != nil {
			return fmt.Errorf("%s: %w", l.title(), err)
		}
	}
	return nil
}

// title names a LUN in an error. The name may come from a damaged drive.
func (l LUN) title() string { return fmt.Sprintf("lun %q (%s)", l.Name, l.ID) }

func (l LUN) checkValues() error {
	switch {
	case l.ID == uuid.Nil:
		return invalid("no GUID")
	case !ValidName(l.Name):
		return invalid("name %q: up to %d letters, digits, '.', '_' and '-', the first a letter or a digit", l.Name, MaxName)
	case l.Size == 0 || !aligned(l.Size):
		return invalid("size of %d sectors: not a multiple of 1 MiB, or out of range", l.Size)
	case l.Generation == 0 || l.Generation > maxCount:
		return invalid("generation %d", l.Generation)
	case l.Behind >= l.Generation:
		return invalid("generation %d, behind by %d", l.Generation, l.Behind)
	case l.RegionSize != 0 && bits.OnesCount64(uint64(l.RegionSize)) != 1:
		return invalid("region size of %d sectors: not a power of two", l.RegionSize)
	}
	return nil
}

// checkShape checks how many plexes there are, and that a vacant one and a scan fit to them.
func (l LUN) checkShape() error {
	switch {
	case len(l.Plexes) > MaxPlexes:
		return invalid("%d plexes, limit %d", len(l.Plexes), MaxPlexes)
	case len(l.Copies()) == 0 && !l.Deleted:
		return invalid("no plex")
	case l.Scan != uuid.Nil && (!l.vacant() || len(l.Copies()) > 1 || l.Operation != nil):
		return invalid("a scan, and no vacant plex, several others, or an operation")
	case l.vacant() && (l.RegionSize == 0 || len(l.Plexes) != len(l.Copies())+1 || !l.Plexes[len(l.Plexes)-1].Vacant):
		return invalid("a vacant plex that is not the last, not the only one, or without a region size")
	}
	return nil
}

// checkMaking checks that a LUN that is being made has nothing else.
func (l LUN) checkMaking() error {
	if l.Making && (l.Deleted || l.Wipe || l.Operation != nil || l.Departure != nil || l.Scan != uuid.Nil || len(l.Copies()) != 1) {
		return invalid("it is being made, and something else")
	}
	return nil
}

// ValidName reports whether a LUN may have this name: it becomes a device-mapper name and a file in /dev/mapper.
func ValidName(name string) bool {
	const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for i := range len(name) {
		if inside := i > 0 && strings.IndexByte("._-", name[i]) >= 0; !inside && strings.IndexByte(alphanumeric, name[i]) < 0 {
			return false
		}
	}
	return name != "" && len(name) <= MaxName
}

// aligned reports whether n is a multiple of 1 MiB within MaxSize.
func aligned(n size.Sectors) bool {
	return n <= MaxSize.Sectors() && n%ExtentAlign.Sectors() == 0
}

func (l LUN) checkPlexes() error {
	seen := map[uuid.UUID]bool{uuid.Nil: true, l.ID: true}
	for _, p := range l.Plexes {
		if seen[p.ID] {
			return invalid("plex %s: GUID is empty or used twice", p.ID)
		}
		seen[p.ID] = true
		if err := p.validate(l.Size); err != nil {
			return fmt.Errorf("plex %s: %w", p.ID, err)
		}
	}
	l.Deleted = false // for its claims: a deleted record must be sound too
	for a, b := range overlaps(claimsOf(&l)) {
		return fmt.Errorf("%s and %s: %w", a, b, ErrOverlap)
	}
	return nil
}

// validate checks one plex of a LUN of the given size.
func (p Plex) validate(need size.Sectors) error {
	if p.Slot != SlotA && p.Slot != SlotB {
		return invalid("metadata slot %q", string(p.Slot))
	}
	if p.Vacant {
		return p.validateVacant()
	}
	if err := p.Meta.validate(); err != nil {
		return fmt.Errorf("metadata extent: %w", err)
	}
	if p.Meta.Length != MetaSize.Sectors() {
		return invalid("metadata extent on drive %s: %d sectors, want %d", p.Meta.Drive, p.Meta.Length, MetaSize.Sectors())
	}
	if len(p.Data) > MaxExtents {
		return invalid("%d data extents, limit %d", len(p.Data), MaxExtents)
	}
	var total size.Sectors
	for _, e := range p.Data {
		if err := e.validate(); err != nil {
			return fmt.Errorf("data extent: %w", err)
		}
		total += e.Length // at most 64 times MaxSize in sectors: no overflow
	}
	if total < need {
		return invalid("%d sectors of data, the lun has %d", total, need)
	}
	return nil
}

// validateVacant checks the place of a plex that is not there.
func (p Plex) validateVacant() error {
	if !p.Stale || len(p.Data) > 0 || p.Meta != (Extent{}) {
		return invalid("vacant, and has extents or counts as up to date")
	}
	return nil
}

func (e Extent) validate() error {
	switch {
	case e.Drive == uuid.Nil:
		return invalid("no drive")
	case e.Length == 0 || !aligned(e.Length):
		return invalid("length of %d sectors on drive %s: not a multiple of 1 MiB, or out of range", e.Length, e.Drive)
	case !aligned(e.Start) || e.Start < FirstExtent.Sectors():
		return invalid("start at sector %d of drive %s: not a multiple of 1 MiB, or out of range", e.Start, e.Drive)
	}
	return nil
}

// checkHistory checks tombstones and former drives.
func (l LUN) checkHistory() error {
	if len(l.Absorbed) > MaxHistory || len(l.Former) > MaxHistory {
		return invalid("%d tombstones and %d former drives, limit %d each", len(l.Absorbed), len(l.Former), MaxHistory)
	}
	seen := map[uuid.UUID]bool{uuid.Nil: true, l.ID: true}
	for _, t := range l.Absorbed {
		if seen[t.LUN] || t.Generation == 0 || t.Generation > maxCount {
			return invalid("absorbed lun %s at generation %d", t.LUN, t.Generation)
		}
		seen[t.LUN] = true
	}
	drives := map[uuid.UUID]bool{uuid.Nil: true}
	for _, d := range l.Former {
		if drives[d] {
			return invalid("former drive %s: GUID is empty or there twice", d)
		}
		drives[d] = true
	}
	return nil
}

// checkOrigin checks where the record comes from, and the logical block size.
func (l LUN) checkOrigin() error {
	if len(l.Host) > maxHost || strings.ContainsFunc(l.Host, unprintable) {
		return invalid("host id %q", l.Host)
	}
	if l.BlockSize != 0 && (l.BlockSize < size.Sector || l.BlockSize > maxBlock || bits.OnesCount64(uint64(l.BlockSize)) != 1) {
		return invalid("logical blocks of %d bytes", l.BlockSize)
	}
	if len(l.Histories) > MaxHistories {
		return invalid("%d histories, limit %d", len(l.Histories), MaxHistories)
	}
	seen := map[uuid.UUID]bool{uuid.Nil: true}
	for i, h := range l.Histories {
		if seen[h.ID] || (h.Last == 0) != (i == len(l.Histories)-1) || h.Last > l.Generation {
			return invalid("history %s to generation %d", h.ID, h.Last)
		}
		seen[h.ID] = true
	}
	return nil
}

// maxBlock is the largest logical block of a block device.
const maxBlock = 64 * size.KiB

func (l LUN) checkLast() error {
	if l.Last == nil {
		return nil
	}
	if !validRun(l.Last.ID, l.Last.Type) || !validTime(l.Last.Started) || !validTime(l.Last.Ended) {
		return invalid("last operation %s of type %s", l.Last.ID, l.Last.Type)
	}
	return nil
}

func (l LUN) checkOperation() error {
	if l.Operation == nil {
		return nil
	}
	o := *l.Operation
	if !validRun(o.ID, o.Type) || !validTime(o.Started) || l.Deleted {
		return invalid("operation %s of type %s", o.ID, o.Type)
	}
	seen := map[uuid.UUID]bool{}
	for _, id := range o.Plexes {
		if _, ok := l.plex(id); !ok || seen[id] {
			return invalid("operation %s: plex %s is not of this lun, or there twice", o.ID, id)
		}
		seen[id] = true
	}
	if o.Source == nil {
		return nil
	}
	if err := l.checkSource(*o.Source, o.Plexes); err != nil {
		return fmt.Errorf("operation %s: source: %w", o.ID, err)
	}
	return nil
}

// checkHolding checks that no plex is stale and being filled at once, and that one holds the data. A deleted LUN needs none.
func (l LUN) checkHolding() error {
	holding := l.Deleted
	for _, p := range l.Plexes {
		filled := l.Operation != nil && slices.Contains(l.Operation.Plexes, p.ID)
		if filled && p.Stale {
			return invalid("operation %s: plex %s is being filled, and stale", l.Operation.ID, p.ID)
		}
		holding = holding || !filled && !p.Stale
	}
	if !holding {
		return invalid("no plex holds the data")
	}
	return nil
}

// validRun reports whether an operation may have this id and type.
func validRun(id uuid.UUID, kind vds.AsyncType) bool {
	var known vds.AsyncType
	text, _ := kind.MarshalText()
	return known.UnmarshalText(text) == nil && kind != vds.AsyncUnknown && id != uuid.Nil
}

// checkSource checks the absorbed LUN that the cancel of a running operation would restore. Its record must be valid by
// itself, and this record must have a tombstone for it. Its plexes must be, extent for extent, those being filled.
func (l LUN) checkSource(source LUN, filling []uuid.UUID) error {
	if err := source.Validate(); err != nil {
		return err
	}
	if source.Operation != nil || source.Deleted || len(source.Copies()) != len(filling) {
		return invalid("%s: is deleted, busy, or has other plexes than are being filled", source.title())
	}
	absorbed := slices.ContainsFunc(l.Absorbed, func(t Tombstone) bool {
		return t.LUN == source.ID && t.Generation >= source.Generation
	})
	if !absorbed {
		return invalid("%s: is not among the absorbed luns", source.title())
	}
	for _, p := range source.Copies() {
		if !slices.Contains(filling, p.ID) || !l.hasExtents(p) {
			return invalid("%s: plex %s is not the one being filled", source.title(), p.ID)
		}
	}
	return nil
}

// plex is the plex of l with this GUID.
func (l LUN) plex(id uuid.UUID) (Plex, bool) {
	i := slices.IndexFunc(l.Plexes, func(p Plex) bool { return p.ID == id })
	if i < 0 {
		return Plex{}, false
	}
	return l.Plexes[i], true
}

// compareIDs orders GUIDs by their bytes.
func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }
