package ops

import (
	"context"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// partHint is the remedy when plexes have begun to leave a LUN.
const partHint = "run `plexctl assemble`, which completes the change"

// parting says how plexes that are leaving a LUN leave it for good.
type parting struct {
	activate bool // the LUN that is made of them gets its devices
	force    bool // also when plexes are missing that may be newer
}

// conclude completes a departure of plexes from l, and then records the end of an operation that has ended.
func (s *Session) conclude(ctx context.Context, l catalog.LUN, how parting) (catalog.LUN, error) {
	l, err := s.part(ctx, l, how)
	if err != nil {
		return l, err
	}
	return s.RecordEnd(ctx, l, vds.ErrOperationPending)
}

// part completes a change that was interrupted while plexes were leaving l, and returns the record that holds afterwards. If only
// the plexes that were leaving hold the data, part takes the change back. It does nothing when no plex is leaving, or when the
// records of l cannot be used.
func (s *Session) part(ctx context.Context, l catalog.LUN, how parting) (catalog.LUN, error) {
	if l.Departure == nil || !s.Set.Usable(l.ID) {
		return l, nil
	}
	l, _, err := s.ResumeOrphan(ctx, l)
	if err != nil {
		return l, err
	}
	have, err := s.AfterCleanup(ctx, l)
	if err != nil {
		return l, err
	}
	if have.View.Own(l.ID).Live {
		return s.partLive(ctx, l, have.View, how)
	}
	return s.partIdle(ctx, l, how)
}

// partLive is part for a LUN with a live table, which may be that from before.
func (s *Session) partLive(ctx context.Context, l catalog.LUN, have layout.View, how parting) (catalog.LUN, error) {
	legs, err := s.ReadLegs(ctx, l.Before(), have)
	if err != nil {
		return l, err
	}
	if raid1.RunsBefore(l, legs) && raid1.OnlyLeaving(l, legs) {
		s.Log.WarnContext(ctx, "plexes that were leaving stay: the others have failed", "lun", l.Name)
		if l, err = s.Rejoin(ctx, l, legs.Lost); err != nil {
			return l, err
		}
		err = s.BringUp(ctx, l)
		return s.Current(l), err
	}
	if err := s.BringUp(ctx, l); err != nil {
		return l, err
	}
	return s.Part(ctx, s.Current(l), engine.Parting{Activate: how.activate})
}

// partIdle is part for a LUN that is not active.
func (s *Session) partIdle(ctx context.Context, l catalog.LUN, how parting) (catalog.LUN, error) {
	outcome, why := partingOf(ctx, s.Host, l)
	if why != nil && !how.force {
		return l, why
	}
	if outcome == raid1.Rejoins || outcome == raid1.PartUnknown || outcome == raid1.PartNone && !s.Roles(l).Has(record.Source) {
		return s.Rejoin(ctx, l, func(uuid.UUID) bool { return false })
	}
	return s.Part(ctx, l, engine.Parting{Activate: how.activate, Forced: why != nil})
}

// partingOf is what has become of plexes that were leaving l, which is not active. It also returns the reason why only force may
// make anything of that; nil when there is none. The rules are those for the start of the mirror from before.
func partingOf(ctx context.Context, h *host.Host, l catalog.LUN) (raid1.Parting, *vds.Error) {
	unreadable := func(err error) *vds.Error {
		return &vds.Error{Code: vds.ErrIO, Op: "start", Object: record.LUNObject(l.Name), Err: err}
	}
	reads, err := h.ReadSlots(ctx, l)
	if err != nil {
		return raid1.PartNone, unreadable(err)
	}
	if raid1.Used(l, h.Roles(l), reads) {
		return raid1.Parted, nil
	}
	before := l.Before()
	if reads, err = h.ReadSlots(ctx, before); err != nil {
		return raid1.PartNone, unreadable(err)
	}
	outcome := raid1.PartingOf(l, h.Roles(before), reads)
	if why := Startable(ctx, h, before); why != nil {
		return outcome, why
	}
	if outcome != raid1.PartUnknown {
		return outcome, nil
	}
	return outcome, record.LUNFault(vds.ErrDiskConfigurationNotSync, "start", l.Name,
		"the drive of a plex that stays is on another device than before: its plex is an earlier copy, or the only one with the newest data",
		"`plexctl drive choose` confirms the device; to take the plexes back that were leaving: `plexctl assemble --force "+l.Name+"`")
}
