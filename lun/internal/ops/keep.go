package ops

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Keep decides which plex of a LUN holds the data. It is for plexes that were used without each other. It is also for a LUN of
// which no plex that is here can be shown to be the newest. The record that the drive of the plex holds becomes that of the LUN. All other plexes become
// stale. Nothing is copied: Recover fills them.
func Keep(ctx context.Context, env *Env, l LUN, plex uuid.UUID) error {
	return env.Change(ctx, "recover "+record.LUNObject(l.Name), func(ctx context.Context, s *Session) error {
		now, err := l.In(s.Host, "recover")
		if err != nil {
			return err
		}
		now, resumed, err := s.ResumeOrphan(ctx, now)
		if err != nil {
			return err
		}
		if resumed {
			now = s.Current(now)
		}
		have, err := s.AfterCleanup(ctx, now)
		if err != nil {
			return err
		}
		if have.Legs, err = s.ReadLegs(ctx, now, have.View); err != nil {
			return err
		}
		foreign, err := closeForeign(ctx, s, now, &have)
		if err != nil {
			return err
		}
		side, err := chooseSide(ctx, s, now, plex, have, foreign)
		if err != nil {
			return err
		}
		next, _ := record.SoleHolder(side, plex)
		if err := keep(ctx, s, now, next, have.Legs.Live); err != nil || !foreign {
			return err
		}
		return takeTable(ctx, s, now, have.View.Own(now.ID).Table)
	})
}

// closeForeign reports whether the live table of a mirror is one that plexctl has not loaded. It refuses when something has the LUN
// open. have then says that the LUN is not live.
func closeForeign(ctx context.Context, s *Session, l catalog.LUN, have *engine.State) (bool, error) {
	known := have.Legs.Sole != uuid.Nil || have.Legs.Mirror && len(have.Legs.Health) > 0
	if !have.Legs.Live || known || len(l.Copies()) == 1 {
		return false, nil
	}
	have.Legs = raid1.LegState{}
	why := fault.Reasons{Op: "recover", Object: record.LUNObject(l.Name)}
	return true, s.RefuseOpen(ctx, l, &why)
}

// chooseSide is the record of l on the drive of a plex, or the reason why l cannot go on with that plex. open says that there is
// something to decide.
func chooseSide(ctx context.Context, s *Session, l catalog.LUN, plex uuid.UUID, have engine.State, open bool) (catalog.LUN, error) {
	why := fault.Reasons{Op: "recover", Object: record.LUNObject(l.Name)}
	side, found := sideOf(s.Host, l, plex)
	i := record.Index(side, plex)
	other, taken := owner(s, l, plex)
	switch {
	case taken:
		why.Add(vds.ErrInvalidOperation, "keep another plex", "plex %s is one of LUN %q now", plex, other.Name)
	case !found:
		why.Add(vds.ErrObjectNotFound, "see `plexctl lun show "+l.Name+"`", "no drive that is here has a record with plex %s", plex)
	case len(side.Copies()) == 1 && s.Set.Usable(l.ID):
		why.Add(vds.ErrInvalidOperation, "", "plex %s is the only one", plex)
	case record.RolesOf(side, record.AllHere)[i] != record.Source:
		why.Add(vds.ErrPlexLastActive, "keep another plex", "plex %s does not hold all of the data", plex)
	case have.Legs.Live && !have.Legs.Complete(plex):
		why.Add(vds.ErrDeviceInUse, "keep a plex that it uses, or run `plexctl deactivate "+l.Name+"` first", "it is in use, without plex %s", plex)
	case !open && s.Set.Usable(l.ID) && (have.Legs.Live || startsAlone(ctx, s, l)):
		why.Add(vds.ErrInvalidOperation, "`plexctl lun recover "+l.Name+"` fills its plexes", "there is nothing to decide: it is known which of its plexes hold the data")
	}
	return side, why.Err()
}

// sideOf is the record of l on the drive of a plex.
func sideOf(h *host.Host, l catalog.LUN, plex uuid.UUID) (catalog.LUN, bool) {
	for _, drive := range h.Set.Holders(l.ID) {
		side, _ := h.Set.Side(l.ID, drive)
		side = side.Before() // a plex that was leaving may be the one
		if i := record.Index(side, plex); i >= 0 && !side.Plexes[i].Vacant && side.Plexes[i].Meta.Drive == drive && !h.IsMissing(side, side.Plexes[i]) {
			return side, true
		}
	}
	return catalog.LUN{}, false
}

// startsAlone reports whether l, which is not active, starts without a decision.
func startsAlone(ctx context.Context, s *Session, l catalog.LUN) bool {
	return Startable(ctx, s.Host, l) == nil
}

// owner is another LUN that has a plex of l. The other side of a fork has discarded the plex, and this LUN was made of it.
func owner(s *Session, l catalog.LUN, plex uuid.UUID) (catalog.LUN, bool) {
	i := slices.IndexFunc(s.Set.LUNs, func(other catalog.LUN) bool { return other.ID != l.ID && record.Index(other, plex) >= 0 })
	if i < 0 {
		return catalog.LUN{}, false
	}
	return s.Set.LUNs[i], true
}

// afresh is l, which is not active, with metadata that RewriteMeta writes before l is committed. It lies in the other slots: until the
// commit, what the present ones say of each plex counts. Afterwards nothing but the new metadata does.
func afresh(s *Session, l catalog.LUN) catalog.LUN {
	l = raid1.SwitchSlots(l, s.Roles(l), raid1.LegState{})
	return record.Swapped(record.NewRun(l, s.Roles(l).Taking(), rand.Uint64()))
}

// keep makes next, of which one plex holds the data, the record of l.
func keep(ctx context.Context, s *Session, l, next catalog.LUN, live bool) error {
	if !live {
		next = afresh(s, next)
	}
	for _, p := range next.Copies() {
		if _, taken := owner(s, l, p.ID); taken {
			next = record.Without(next, p.ID)
		}
	}
	next = s.Set.Reunite(next, uuid.New())
	next.Host = s.ID()
	if len(next.Plexes) == 1 {
		next = record.Single(next)
	}
	var steps []layout.Step
	if !live && len(next.Plexes) > 1 {
		steps = append(steps, engine.RewriteMeta{LUN: next})
	}
	tx := &host.Transaction{Put: []catalog.LUN{next}}
	text := fmt.Sprintf("%s goes on with one plex, and the others are out of date", next.Name)
	if err := s.Run(ctx, append(steps, engine.Commit{Tx: tx, Text: text})); err != nil {
		return fault.Of("recover", record.LUNObject(l.Name), err)
	}
	if !live || s.Dry != nil {
		return nil
	}
	return fault.Of("recover", record.LUNObject(l.Name), s.BringUp(ctx, next))
}
