package ops

import (
	"context"
	"fmt"
	"slices"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Extend makes a LUN larger. Every plex grows, on its own drives or on the named ones. The kernel resyncs the new part of a
// mirror.
func Extend(by size.Bytes, drives []string) Verb {
	return func(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
		have, err := checkExtend(ctx, s, l)
		if err != nil {
			return l, err
		}
		next, err := grown(s, l, by, drives)
		if err != nil {
			return l, err
		}
		why := fault.Reasons{Op: "extend", Object: record.LUNObject(l.Name)}
		if checkBlocks(s, next, s.BlockSize(l), &why); why.Err() != nil {
			return l, why.Err()
		}
		if err := refuseTaken(ctx, s, next); err != nil {
			return l, err
		}
		next = record.Begin(next, vds.AsyncExtendLUN, s.Now)
		if len(next.Plexes) == 1 || next.Tracked() {
			next = record.Conclude(next, vds.OK, s.Now)
		}
		swap := engine.Swap{
			Op: "extend", Before: l, Next: next, Have: have, Commit: fmt.Sprintf("%s has %s", l.Name, next.Size),
			Tx: host.Transaction{First: l.Drives()},
		}
		if next.Tracked() {
			swap.First = []layout.Step{engine.ZeroGrowth{LUN: next, From: l.Size}}
		}
		return s.Swap(ctx, swap)
	}
}

// checkExtend returns all reasons against making l larger.
func checkExtend(ctx context.Context, s *Session, l catalog.LUN) (engine.State, error) {
	why := fault.Reasons{Op: "extend", Object: record.LUNObject(l.Name)}
	checkUsable(s, l, &why)
	checkIdle(l, &why)
	checkScan(l, &why)
	have, err := inspectQuiet(ctx, s, l, &why)
	if err != nil {
		return have, err
	}
	for _, p := range l.Copies() {
		if p.Stale || have.Active() && !have.Legs.Complete(p.ID) {
			why.Add(vds.ErrObjectStatusFailed, "`plexctl lun recover "+l.Name+"` first", "plex %s does not hold all of the data", p.ID)
		}
	}
	return have, why.Err()
}

// grown is l with larger plexes.
func grown(s *Session, l catalog.LUN, by size.Bytes, drives []string) (catalog.LUN, error) {
	ids, err := s.DriveIDs(drives)
	if err != nil {
		return l, err
	}
	more := by.RoundUp(size.MiB).Sectors()
	if by == AllRoom {
		if more = s.MostFor(l, ids) - l.Size; more == 0 {
			return l, record.LUNFault(vds.ErrNotEnoughSpace, "extend", l.Name, "a drive of it has no room left", "add one with `plexctl drive init DEVICE`")
		}
	}
	if more == 0 || l.Size+more < l.Size {
		return l, record.LUNFault(vds.ErrInvalidArg, "extend", l.Name, fmt.Sprintf("it cannot grow by %s", by), "")
	}
	next := l
	next.Size += more
	next.Plexes = slices.Clone(l.Plexes)
	for i, p := range next.Copies() {
		if next.Plexes[i], err = s.GrowPlex(next, p, ids); err != nil {
			return l, err
		}
	}
	if len(l.Plexes) > 1 {
		next.RegionSize = max(next.RegionSize, raidmeta.RegionSize(next.Size))
	}
	if err := next.Validate(); err != nil {
		return l, &vds.Error{Code: vds.ErrInvalidArg, Op: "extend", Object: record.LUNObject(l.Name), Err: err}
	}
	return next, nil
}
