package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Remove takes a plex away from a LUN. The plex ceases to exist.
func Remove(plex uuid.UUID) Verb {
	return func(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
		const op = "remove plex from"
		have, err := checkRemove(ctx, s, l, plex, op)
		if err != nil {
			return l, err
		}
		return s.Swap(ctx, engine.Swap{
			Op: op, Before: l, Next: record.Remove(l, plex, have.Legs.Lost, s.Now), Have: have,
			Commit: fmt.Sprintf("%s is without plex %s", l.Name, plex),
		})
	}
}

// Split takes a plex away from a LUN and makes a new LUN of it. It stores the new LUN in made.
func Split(plex uuid.UUID, name string, made *catalog.LUN) Verb {
	return func(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
		if err := checkName(s, "split", name); err != nil {
			return l, err
		}
		have, err := checkRemove(ctx, s, l, plex, "split")
		if err != nil {
			return l, err
		}
		if !have.Legs.Complete(plex) {
			return l, record.Fault(vds.ErrObjectStatusFailed, "split", "plex "+plex.String(),
				"it does not hold all of the data", "`plexctl lun recover "+l.Name+"` first")
		}
		*made = s.Next(record.Split(l, plex, name))
		if err := errors.Join(made.Validate(), s.CheckNames("split", l.Name, *made, host.OtherName)); err != nil {
			return l, err
		}
		return s.Swap(ctx, engine.Swap{
			Op: "split", Before: l, Next: record.Remove(l, plex, have.Legs.Lost, s.Now), Have: have, Freeze: true,
			Commit: fmt.Sprintf("plex %s of %s is LUN %s", plex, l.Name, name),
			Tx:     host.Transaction{Put: []catalog.LUN{*made}, First: made.Drives()},
			After:  []layout.Step{s.NewActivate(*made)},
		})
	}
}

// checkRemove returns all reasons against taking a plex away from l.
func checkRemove(ctx context.Context, s *Session, l catalog.LUN, plex uuid.UUID, op string) (engine.State, error) {
	why := fault.Reasons{Op: op, Object: record.LUNObject(l.Name)}
	if !slices.ContainsFunc(l.Copies(), func(p catalog.Plex) bool { return p.ID == plex }) {
		return engine.State{}, noPlex(l, plex.String())
	}
	if len(l.Copies()) == 1 {
		why.Add(vds.ErrInvalidOperation, "add another one first: `plexctl plex add "+l.Name+" --drive DRIVE --wait`", "plex %s is its only one", plex)
		return engine.State{}, why.Err()
	}
	checkRecords(s, l, &why)
	checkIdle(l, &why)
	have, err := inspectQuiet(ctx, s, l, &why)
	if err != nil {
		return have, err
	}
	others := record.Without(l, plex).Plexes
	if have.Active() && !slices.ContainsFunc(others, func(p catalog.Plex) bool { return have.Legs.Complete(p.ID) }) {
		why.Add(vds.ErrPlexLastActive, "`plexctl lun recover "+l.Name+"` first", "no other plex holds all of the data")
	}
	return have, why.Err()
}
