package ops

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
)

// TakeOver makes drives of this host out of drives that another host used last: those that refs name, or all. It returns the
// drives that it has taken over.
func TakeOver(ctx context.Context, env *Env, refs []string) ([]*host.Drive, error) {
	var taken []*host.Drive
	err := env.Change(ctx, "take over drives", func(ctx context.Context, s *Session) error {
		chosen, err := foreignDrives(s, refs)
		if err != nil {
			return err
		}
		var steps []layout.Step
		for _, d := range chosen {
			steps = append(steps, engine.Relabel{Drive: d})
		}
		if err := s.Run(ctx, steps); err != nil {
			return err
		}
		taken = chosen
		return nil
	})
	return taken, err
}

// foreignDrives is the drives of another host that refs name, or all.
func foreignDrives(s *Session, refs []string) ([]*host.Drive, error) {
	var chosen []*host.Drive
	for _, ref := range refs {
		d, err := s.FindDrive(ref)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, d)
	}
	if len(refs) == 0 {
		byPath := func(a, b *host.Drive) int { return strings.Compare(a.Info.Path, b.Info.Path) }
		chosen = slices.SortedFunc(maps.Values(s.Drives), byPath)
	}
	return slices.DeleteFunc(chosen, func(d *host.Drive) bool { return !d.Foreign }), nil
}
