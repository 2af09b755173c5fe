package ops

import (
	"context"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// Deactivate takes LUNs down, all of them when none is named, several at a time.
func Deactivate(ctx context.Context, env *Env, refs []string) ([]Result, error) {
	return env.changeMany(ctx, "deactivate", refs, func(ctx context.Context, s *Session, chosen []catalog.LUN) ([]Result, error) {
		results := make([]Result, len(chosen))
		s.each(chosen, func(s *Session, i int, l catalog.LUN) {
			results[i] = result("deactivate", l, takeDown(ctx, s, l))
		})
		return results, nil
	})
}

// takeDown removes the devices of l. If l is a mirror with all plexes in sync, it records that in the metadata.
func takeDown(ctx context.Context, s *Session, l catalog.LUN) error {
	why := fault.Reasons{Op: "deactivate", Object: record.LUNObject(l.Name)}
	if err := s.RefuseOpen(ctx, l, &why); err != nil {
		return err
	}
	have, err := s.AfterCleanup(ctx, l)
	if err != nil || len(have.View) == 0 {
		return err
	}
	if top := have.View.Own(l.ID); len(l.Plexes) > 1 && l.Operation == nil && top.Live && !layout.IsRaid(top.Table) {
		return raid1.ForeignTable(l) // its plexes differ, and only the kernel knows where
	}
	steps := layout.Plan(layout.Change{Have: have.View, Cleanup: have.Cleanup, At: s.At})
	if len(l.Copies()) > 1 && l.Operation == nil && len(s.AbsentDrives(l)) == 0 {
		steps = append(steps, engine.MarkClean{LUN: l})
	}
	return s.Run(ctx, steps)
}
