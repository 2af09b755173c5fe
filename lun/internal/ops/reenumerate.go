package ops

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Reenumerate makes the record and the devices of every active LUN agree. It changes the devices, or the record if the kernel
// has the truth.
func Reenumerate(ctx context.Context, env *Env) ([]Result, error) {
	return env.changeMany(ctx, "reenumerate", nil, func(ctx context.Context, s *Session, luns []catalog.LUN) ([]Result, error) {
		repairDrives(ctx, s)
		all, err := s.Observe(ctx)
		if err != nil {
			return nil, err
		}
		var results []Result
		for _, l := range luns {
			if len(all[l.ID]) == 0 {
				continue
			}
			s.Acted = false
			r := result("reenumerate", l, reconcile(ctx, s, l))
			r.Changed = s.Acted && r.Err == nil
			results = append(results, r)
		}
		return results, nil
	})
}

// reconcile brings the kernel to l. An administrator may have replaced the mirror's table by a table of one plex. This plex
// then holds the data, and the others are stale.
func reconcile(ctx context.Context, s *Session, l catalog.LUN) error {
	if err := s.Unusable("reenumerate", l); err != nil {
		return err
	}
	l, err := s.part(ctx, l, parting{activate: true})
	if err == nil {
		err = s.BringUp(ctx, l)
	}
	if !errors.Is(err, vds.ErrProviderCacheCorrupt) {
		return err
	}
	have, inspectErr := s.Inspect(ctx, l)
	switch {
	case inspectErr != nil:
		return errors.Join(err, inspectErr)
	case len(l.Copies()) == 1: // the only plex holds the data
		return s.Run(ctx, layout.Plan(layout.Change{
			Want: s.Wants(l), Have: have.View, Cleanup: have.Cleanup, At: s.At, Prepare: engine.RewriteMeta{LUN: l},
		}))
	case have.Legs.Sole == uuid.Nil:
		return replaceForeign(ctx, s, l, have)
	}
	next, ok := record.SoleHolder(l, have.Legs.Sole)
	if !ok {
		return err
	}
	_, err = s.Swap(ctx, engine.Swap{
		Op: "reenumerate", Before: l, Next: next, Have: have, SwitchSlots: true, KeepKernel: true,
		Commit: fmt.Sprintf("only plex %s holds the data of %s", have.Legs.Sole, l.Name),
	})
	return err
}

// replaceForeign replaces the live table of a mirror that plexctl has not loaded, if nothing has the LUN open. If the table may have
// written to one plex, this one holds the data. If it may have written to several, only the user knows.
func replaceForeign(ctx context.Context, s *Session, l catalog.LUN, have engine.State) error {
	why := fault.Reasons{Op: "reenumerate", Object: record.LUNObject(l.Name)}
	if err := s.RefuseOpen(ctx, l, &why); err != nil {
		return err
	}
	table := have.View.Own(l.ID).Table
	plexes, known := layout.Touched(l, have.View, table, s.At)
	if known && len(plexes) == 1 {
		next, holds := record.SoleHolder(l, plexes[0])
		if known = holds; holds {
			if err := keep(ctx, s, l, next, false); err != nil { // before the table goes: nothing else says which plexes differ
				return err
			}
		}
	}
	if !known || len(plexes) > 1 {
		return record.LUNFault(vds.ErrProviderCacheCorrupt, "reenumerate", l.Name,
			"the kernel has a table that plexctl has not loaded, and that may have written to any of its plexes",
			"say which plex holds the data: `plexctl lun recover "+l.Name+" --keep PLEX`")
	}
	return takeTable(ctx, s, l, table)
}

// takeTable takes a table away that plexctl has not loaded, and starts the LUN by its record.
func takeTable(ctx context.Context, s *Session, l catalog.LUN, table dm.Table) error {
	if err := s.TearDown(ctx, l); err != nil || s.Dry != nil {
		return err
	}
	s.Log.WarnContext(ctx, "a table that plexctl had not loaded was removed", "lun", l.Name, "table", table.String())
	return s.BringUp(ctx, s.Current(l))
}

// Resume resumes a LUN that an interrupted change has left suspended. The next change of that LUN, or Assemble, completes the
// change. Resume does nothing to a LUN that is not suspended or does not exist.
func Resume(ctx context.Context, env *Env, id uuid.UUID) error {
	return env.Change(ctx, "wake lun "+id.String(), func(ctx context.Context, s *Session) error {
		l, ok := s.Record(id)
		if !ok {
			return nil
		}
		_, _, err := s.ResumeOrphan(ctx, l)
		return err
	})
}

// Overtake resumes a LUN in place of a process that lives and does not go on in its window; see engine.Engine.Overtake. This process
// shares the host's lock with that one. Overtake changes no record.
func Overtake(ctx context.Context, env *Env, id uuid.UUID) (bool, error) {
	h, err := host.Read(ctx, env.Options)
	if err != nil {
		return false, err
	}
	l, ok := h.Record(id)
	if !ok {
		return false, nil
	}
	return (&engine.Engine{Host: h, Now: env.Now()}).Overtake(ctx, l)
}
