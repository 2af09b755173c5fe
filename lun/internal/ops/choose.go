package ops

import (
	"context"
	"strings"
	"time"

	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/vds"
)

// Choose makes the device that ref names the drive of its label, whatever other devices have that label. It also confirms that a
// drive is on another device than before. The label then names this device, and a time later than that of the other labels.
func Choose(ctx context.Context, env *Env, ref string) (path string, err error) {
	err = env.Change(ctx, "choose drive "+ref, func(ctx context.Context, s *Session) error {
		d, err := s.FindDrive(ref)
		if err != nil {
			return err
		}
		if err := checkChoice(s.Host, d); err != nil {
			return err
		}
		path = d.Info.Path
		if len(d.Rivals) == 0 && !d.Changed() {
			return nil // there is no other
		}
		label := s.OwnLabel(d)
		label.Created = s.Now.Truncate(time.Second)
		for _, other := range s.All() {
			if after := other.Store.Label.Created.Add(time.Second); other != d && other.ID() == d.ID() && label.Created.Before(after) {
				label.Created = after // the clock of this host may be wrong
			}
		}
		return s.Run(ctx, []layout.Step{engine.Relabel{Drive: d, Label: label, Text: "note in the label of " + path + " that it is the drive"}})
	})
	return path, err
}

// checkChoice is the reason why a device cannot become the drive; nil when it can. A LUN in use is never moved to a copy of the
// device that it is on.
func checkChoice(h *host.Host, d *host.Drive) error {
	if d.Standing == host.Foreign {
		return d.Refused()
	}
	if paths := h.UsedBeside(d); len(paths) > 0 {
		return &vds.Error{
			Code: vds.ErrDeviceInUse, Op: "choose", Object: d.Info.Path, Hint: "take these LUNs down first: `plexctl deactivate`",
			Reason: "LUNs are on " + strings.Join(paths, ", ") + ", which is the same drive",
		}
	}
	return nil
}
