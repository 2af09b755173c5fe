package lun

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// What is known of the plex that others are filled from is asked for twice: before the change, for as long as it takes, and in
// the window, when nobody writes, about what was found. See allocation.Map.
const (
	mostRanges = 64              // asked about in the window
	longest    = 5 * time.Second // for finding them
	worthwhile = 16              // less than this part of a LUN is not worth a window
)

// known is what has nothing allocated to it of a plex that holds the data, and so reads as zeros.
type known struct {
	plex   catalog.Plex
	source allocation.Map
	ranges []allocation.Range // on the plex's drive
}

// survey is what is known of the plex that new ones of l are filled from, when those can be zeroed; nil when nothing is, or
// not enough to be worth a longer pause. Close it.
func (m *machine) survey(ctx context.Context, l catalog.LUN, was standing, source catalog.LUN) *known {
	i := slices.IndexFunc(l.Plexes, func(p catalog.Plex) bool { return was.holds(p.ID) })
	if i < 0 {
		return nil
	}
	k := &known{plex: l.Plexes[i]}
	err := m.learn(ctx, k, l, source)
	if err == nil {
		return k
	}
	if !slices.ContainsFunc([]error{errLittle, allocation.ErrUnknown, blockdev.ErrNoOffload}, func(usual error) bool { return errors.Is(err, usual) }) {
		m.log.WarnContext(ctx, "everything is copied", "lun", l.Name, "error", err)
	}
	k.close()
	return nil
}

// errLittle means that so little is known that it makes no difference.
var errLittle = errors.New("hardly anything is known not to be allocated")

func (m *machine) learn(ctx context.Context, k *known, l, source catalog.LUN) error {
	for _, id := range source.Drives() {
		if err := m.zeroes(ctx, id); err != nil {
			return err
		}
	}
	drive, here := m.drives[k.plex.Meta.Drive]
	if !here || len(plexDrives(k.plex)) > 1 {
		return allocation.ErrUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	var err error
	if k.source, err = m.devices.Allocation(ctx, drive.info.Path); err != nil {
		return err
	}
	var sum size.Bytes
	runs := runsOf(k.plex.Data, l.Size)
	for _, r := range runs {
		found, err := k.source.Survey(ctx, allocation.Range{Start: r.start.Bytes(), Length: r.length.Bytes()}, max(1, mostRanges/len(runs)))
		if err != nil {
			return err
		}
		k.ranges = append(k.ranges, found...)
	}
	for _, r := range k.ranges {
		sum += r.Length
	}
	if sum < l.Size.Bytes()/worthwhile {
		return errLittle
	}
	return nil
}

// close ends the use of k.
func (k *known) close() {
	if k.source != nil {
		_ = k.source.Close() // nothing was written
	}
}

// surveyed is the regions of l in which nothing was allocated before the change.
func (k *known) surveyed(_ context.Context, l catalog.LUN) raidmeta.Bits {
	return k.regions(l, k.ranges)
}

// confirmed is those of them in which nothing is allocated now.
func (k *known) confirmed(ctx context.Context, l catalog.LUN) raidmeta.Bits {
	ranges, err := k.source.Confirm(ctx, k.ranges)
	if err != nil {
		return nil
	}
	return k.regions(l, ranges)
}

// regions is the regions of l that lie wholly within ranges of the plex's drive.
func (k *known) regions(l catalog.LUN, ranges []allocation.Range) raidmeta.Bits {
	bits := raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), false)
	var offset size.Bytes // of the run in l
	for _, r := range runsOf(k.plex.Data, l.Size) {
		start, end := r.start.Bytes(), (r.start + r.length).Bytes()
		for _, b := range ranges {
			if b.Start >= start && b.End() <= end {
				setWithin(bits, offset+b.Start-start, offset+b.End()-start, l)
			}
		}
		offset += end - start
	}
	return bits
}

// setWithin sets the bits of the regions of l that lie wholly between two bytes.
func setWithin(bits raidmeta.Bits, from, to size.Bytes, l catalog.LUN) {
	region := l.RegionSize.Bytes()
	for i := from.RoundUp(region) / region; i*region < to; i++ {
		if min((i+1)*region, l.Size.Bytes()) <= to {
			bits.Set(uint64(i))
		}
	}
}
