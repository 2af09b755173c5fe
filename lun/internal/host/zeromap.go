package host

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
)

// ZeroMap tells which regions of the source of new plexes read as zeros. The kernel copies all others. A ZeroMap is asked
// twice: before the change, when it may take its time, and in the window, while I/O is suspended.
type ZeroMap interface {
	// Candidates is the regions of l, which gets the plexes, that are zero before the change; nil when none is known.
	Candidates(ctx context.Context, l catalog.LUN) raidmeta.Bits
	// Verified is those candidates that are still zero; nil when none is known. l must be suspended.
	Verified(ctx context.Context, l catalog.LUN) raidmeta.Bits
	// Close ends its use.
	Close()
}

// NoZeros is a ZeroMap that knows nothing.
type NoZeros struct{}

// Candidates is nil.
func (NoZeros) Candidates(context.Context, catalog.LUN) raidmeta.Bits { return nil }

// Verified is nil.
func (NoZeros) Verified(context.Context, catalog.LUN) raidmeta.Bits { return nil }

// Close does nothing.
func (NoZeros) Close() {}

// Limits of the questions about allocation. See allocation.Map.
const (
	mostRanges    = 64              // in the window
	surveyTimeout = 5 * time.Second // for finding the ranges
	worthwhile    = 16              // one part in so many of a LUN: the least that is worth a window
)

// unallocated is the ranges of a plex that have nothing allocated to them, so that they read as zeros.
type unallocated struct {
	plex   catalog.Plex
	source allocation.Map
	ranges []allocation.Range // on the plex's drive
}

// Unallocated finds the unallocated ranges of the plex from which new plexes of l are filled. It is nil when the drives of source cannot zero by themselves,
// or when too little is known to be worth a longer pause. The caller closes it.
func (h *Host) Unallocated(ctx context.Context, l catalog.LUN, was raid1.LegState, source catalog.LUN) ZeroMap {
	i := slices.IndexFunc(l.Plexes, func(p catalog.Plex) bool { return was.Complete(p.ID) })
	if i < 0 {
		return nil
	}
	u := &unallocated{plex: l.Plexes[i]}
	err := h.survey(ctx, u, l, source)
	if err == nil {
		return u
	}
	if !slices.ContainsFunc([]error{errLittle, allocation.ErrUnknown, blockdev.ErrNoOffload}, func(usual error) bool { return errors.Is(err, usual) }) {
		h.Log.WarnContext(ctx, "everything is copied", "lun", l.Name, "error", err)
	}
	u.Close()
	return nil
}

// errLittle means that too little is known to make a difference.
var errLittle = errors.New("hardly anything is known not to be allocated")

func (h *Host) survey(ctx context.Context, u *unallocated, l, source catalog.LUN) error {
	for _, id := range source.Drives() {
		if err := h.CanZero(ctx, id); err != nil {
			return err
		}
	}
	drive, here := h.Drives[u.plex.Meta.Drive]
	if !here || len(record.PlexDrives(u.plex)) > 1 {
		return allocation.ErrUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	var err error
	if u.source, err = h.Devices.Allocation(ctx, drive.Info.Path); err != nil {
		return err
	}
	var sum size.Bytes
	runs := layout.RunsOf(u.plex.Data, l.Size)
	for _, r := range runs {
		found, err := u.source.Survey(ctx, allocation.Range{Start: r.Start.Bytes(), Length: r.Length.Bytes()}, max(1, mostRanges/len(runs)))
		if err != nil {
			return err
		}
		u.ranges = append(u.ranges, found...)
	}
	for _, r := range u.ranges {
		sum += r.Length
	}
	if sum < l.Size.Bytes()/worthwhile {
		return errLittle
	}
	return nil
}

// Close ends the use of u.
func (u *unallocated) Close() {
	if u.source != nil {
		_ = u.source.Close() // nothing was written
	}
}

// Candidates is the regions of l in which nothing was allocated before the change.
func (u *unallocated) Candidates(_ context.Context, l catalog.LUN) raidmeta.Bits {
	return u.regions(l, u.ranges)
}

// Verified is those candidates in which nothing is allocated now.
func (u *unallocated) Verified(ctx context.Context, l catalog.LUN) raidmeta.Bits {
	ranges, err := u.source.Confirm(ctx, u.ranges)
	if err != nil {
		return nil
	}
	return u.regions(l, ranges)
}

// regions is the regions of l that lie completely within ranges of the plex's drive.
func (u *unallocated) regions(l catalog.LUN, ranges []allocation.Range) raidmeta.Bits {
	bits := raid1.NoRegions(l)
	var offset size.Bytes // of the run in l
	for _, r := range layout.RunsOf(u.plex.Data, l.Size) {
		start, end := r.Start.Bytes(), (r.Start + r.Length).Bytes()
		for _, b := range ranges {
			if b.Start >= start && b.End() <= end {
				setWithin(bits, offset+b.Start-start, offset+b.End()-start, l)
			}
		}
		offset += end - start
	}
	return bits
}

// setWithin sets the bits of the regions of l that lie completely between two bytes.
func setWithin(bits raidmeta.Bits, from, to size.Bytes, l catalog.LUN) {
	region := l.RegionSize.Bytes()
	for i := from.RoundUp(region) / region; i*region < to; i++ {
		if min((i+1)*region, l.Size.Bytes()) <= to {
			bits.Set(uint64(i))
		}
	}
}
