package ops

import (
	"context"
	"slices"
	"strings"

	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/vds"
)

// TakeOver makes drives of this host out of drives that another host used last, or that name no host: those that refs name, or
// all. It returns the paths of the drives that it has taken over, also with an error.
func TakeOver(ctx context.Context, env *Env, refs []string) ([]string, error) {
	var taken []string
	err := env.Change(ctx, "take over drives", func(ctx context.Context, s *Session) error {
		chosen, err := foreignDrives(s, refs)
		if err != nil {
			return err
		}
		for _, d := range chosen {
			step := engine.Relabel{Drive: d, Label: s.OwnLabel(d), Text: "write this host's id into the label of " + d.Info.Path}
			if err := s.Run(ctx, []layout.Step{step}); err != nil {
				return err
			}
			taken = append(taken, d.Info.Path)
		}
		return nil
	})
	return taken, err
}

// foreignDrives is the drives of another host that refs name, or all, sorted by path. Two devices with one label cannot both be
// this host's.
func foreignDrives(s *Session, refs []string) ([]*host.Drive, error) {
	chosen := slices.Clone(s.Others)
	if len(refs) > 0 {
		chosen = nil
		for _, ref := range refs {
			d, err := s.FindDrive(ref)
			if err != nil {
				return nil, err
			}
			chosen = append(chosen, d)
		}
	}
	chosen = slices.DeleteFunc(chosen, func(d *host.Drive) bool { return d.Standing != host.Foreign })
	slices.SortStableFunc(chosen, func(a, b *host.Drive) int { return strings.Compare(a.Info.Path, b.Info.Path) })
	chosen = slices.Compact(chosen)
	for _, d := range chosen {
		for _, other := range s.All() {
			if other == d || other.ID() != d.ID() || other.Standing == host.Foreign && !slices.Contains(chosen, other) {
				continue
			}
			return nil, &vds.Error{
				Code: vds.ErrObjectExists, Op: "take over", Object: d.Info.Path, Reason: other.Info.Path + " has the same label",
				Hint: "detach the copy; of two devices of the other host, take one over by its path",
			}
		}
	}
	return chosen, nil
}
