package ops

import (
	"context"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// Rename commits a new name of a LUN and renames its devices. The names of the devices must be free. If a device cannot be
// renamed after all, the old name is committed again. What a crash leaves, any later plan of the record completes.
func Rename(name string) Verb {
	return func(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
		if err := checkName(s, "rename", name); err != nil {
			return l, err
		}
		why := fault.Reasons{Op: "rename", Object: record.LUNObject(l.Name)}
		if checkRecords(s, l, &why); why.Err() != nil {
			return l, why.Err()
		}
		next := l
		next.Name = name
		have, err := s.AfterCleanup(ctx, l)
		if err != nil {
			return l, err
		}
		if err := s.CheckNames("rename", l.Name, next, host.OtherName); err != nil {
			return l, err
		}
		renames := layout.RenamePlan(layout.Change{Want: s.Wants(next), Have: have.View, At: s.At})
		next, err = s.Amend(ctx, "rename", l, next, l.Name+" is "+next.Name, nil, renames...)
		if err != nil && len(renames) > 0 {
			err = fault.Undo(err, renameBack(ctx, s, l))
		}
		return next, err
	}
}

// renameBack gives the devices of l the names of its record.
func renameBack(ctx context.Context, s *Session, l catalog.LUN) error {
	now, ok := s.Record(l.ID)
	if !ok {
		return nil
	}
	have, err := s.View(ctx, l.ID)
	if err != nil {
		return err
	}
	return s.Run(ctx, layout.RenamePlan(layout.Change{Want: s.Wants(now), Have: have, At: s.At}))
}
