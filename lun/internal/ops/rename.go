package ops

import (
	"context"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
)

// Rename commits a new name of a LUN and renames the devices. If that fails, any later plan of the record renames them.
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
		renames := layout.RenamePlan(layout.Change{Want: s.Wants(next), Have: have.View})
		return s.Amend(ctx, "rename", l, next, l.Name+" is "+next.Name, nil, renames...)
	}
}
