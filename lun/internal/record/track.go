package record

import (
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
)

// Track is l, which has one plex, with a vacant plex added. While a leg is missing, the kernel keeps the bit of every region
// that is written.
func Track(l catalog.LUN) catalog.LUN {
	vacant := catalog.Plex{ID: uuid.New(), Slot: catalog.SlotA, Stale: true, Vacant: true}
	l.Plexes = append(slices.Clone(l.Plexes), vacant)
	l.RegionSize = raidmeta.RegionSize(l.Size)
	return l
}

// Untrack is l without its vacant plex.
func Untrack(l catalog.LUN) catalog.LUN {
	l.Plexes = l.Copies()
	return l
}

// BeginScan is l with a scan for zero regions.
func BeginScan(l catalog.LUN) catalog.LUN {
	l = Track(l)
	l.Scan = uuid.New()
	return l
}

// EndScan is l without its scan.
func EndScan(l catalog.LUN) catalog.LUN {
	l = Untrack(l)
	l.Scan = uuid.Nil
	return l
}
