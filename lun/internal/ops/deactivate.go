package ops

import (
	"context"
	"maps"
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

// Deactivate takes LUNs down, all of them when none is named, several at a time.
func Deactivate(ctx context.Context, env *Env, refs []string) ([]Result, error) {
	return env.changeMany(ctx, "deactivate", refs, func(ctx context.Context, s *Session, chosen []catalog.LUN) ([]Result, error) {
		for i, l := range chosen {
			now, err := s.part(ctx, l, parting{})
			if err != nil {
				s.Log.WarnContext(ctx, "plexes that are leaving have not left", "lun", l.Name, "error", err)
			}
			chosen[i] = s.Current(now)
		}
		results, next := make([]Result, len(chosen)), make([]catalog.LUN, len(chosen))
		s.each(chosen, func(s *Session, i int, l catalog.LUN) {
			results[i] = result("deactivate", l, takeDown(ctx, s, l, &next[i]))
		})
		clean := slices.DeleteFunc(next, func(l catalog.LUN) bool { return l.ID == uuid.Nil })
		if len(clean) > 0 {
			tx := &host.Transaction{Put: clean, All: true, Each: true}
			if err := s.Run(ctx, []layout.Step{engine.Commit{Tx: tx, Text: "mirrors were stopped"}}); err != nil {
				s.Log.Warn("an older copy of what was stopped may not be recognised", "error", err)
			}
		}
		if len(refs) > 0 {
			return results, nil
		}
		return append(results, strays(s)...), nil
	})
}

// strays is an error for each LUN that has devices, and no record on the drives that are here. Its devices stay: their tables may be
// all that still tells where its data is.
func strays(s *Session) []Result {
	var results []Result
	for _, device := range slices.Sorted(maps.Keys(s.At.Names)) {
		owner, own := layout.OwnerOf(s.At.Names[device])
		_, recorded := s.Record(owner)
		if !own || recorded || slices.ContainsFunc(results, func(r Result) bool { return r.ID == owner }) {
			continue
		}
		name := layout.NameOf(device)
		results = append(results, Result{ID: owner, Name: name, Err: record.LUNFault(vds.ErrObjectStatusFailed, "deactivate", name,
			"no drive here has its record, so its device "+device+" stays",
			"attach its drive and run `plexctl reenumerate`; if its data is not needed, remove the device: `dmsetup remove "+device+"`")})
	}
	return results
}

// takeDown removes the devices of l. If l is a mirror, it ends its run in the metadata, and sets next to the record that has to be
// committed then.
func takeDown(ctx context.Context, s *Session, l catalog.LUN, next *catalog.LUN) error {
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
	return s.Run(ctx, append(steps, endRun(s, l, have, next)...))
}

// endRun is the step that ends the run of l, if it is a mirror that runs by its record.
func endRun(s *Session, l catalog.LUN, have engine.State, next *catalog.LUN) []layout.Step {
	if len(l.Plexes) == 1 || l.Departure != nil || !layout.UsesSlots(l, s.Roles(l), have.View.Own(l.ID).Table, s.At) {
		return nil
	}
	if s.Dry != nil {
		*next = l
	}
	clean := len(l.Copies()) > 1 && l.Operation == nil && len(s.AbsentDrives(l)) == 0
	return []layout.Step{engine.EndRun{LUN: l, Clean: clean, Next: next}}
}
