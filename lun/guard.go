package lun

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
)

// Guard has another process stand by for a window in which a LUN is suspended (see convert.go): when this process dies in
// it, the other one calls Provider.Wake, so that the LUN's users wait for a moment and not until somebody looks. Guard returns
// when the other process is ready. dismiss sends it away, after the window. On an error the change does not begin.
type Guard func(ctx context.Context, w Window) (dismiss func(), err error)

// Window is what a guard has to know.
type Window struct {
	LUN    uuid.UUID
	Drives []blockdev.DevNo // all that Wake needs; others may be slow to answer, or lie on the LUN itself
}

// standBy has the guard stand by when one of these steps suspends a LUN.
func (m *machine) standBy(ctx context.Context, steps []step) (dismiss func(), err error) {
	for _, s := range steps {
		if window, ok := s.(windowStep); ok && m.guard != nil {
			before, _ := m.record(window.l.ID)
			dismiss, err = m.guard(ctx, Window{LUN: window.l.ID, Drives: m.numbersOf(window.l, before)})
			return dismiss, fault("guard", lunObject(window.l.Name), err)
		}
	}
	return func() {}, nil
}

// numbersOf is the drives of these LUNs that are here.
func (m *machine) numbersOf(luns ...catalog.LUN) []blockdev.DevNo {
	var devs []blockdev.DevNo
	for _, l := range luns {
		for _, id := range l.Drives() {
			if dev, here := m.at.drives[id]; here && !slices.Contains(devs, dev) {
				devs = append(devs, dev)
			}
		}
	}
	return devs
}

// Wake lets a LUN go on that a change which was cut off has left suspended. The change itself is completed by the next one of
// that LUN, or by Assemble. Wake does nothing to a LUN that is not suspended, or that there is not, and needs the drives of
// this LUN alone. It waits for a change that is being made.
func (p *Provider) Wake(ctx context.Context, id uuid.UUID) error {
	return p.change(ctx, "wake lun "+id.String(), func(ctx context.Context, m *machine) error {
		l, ok := m.record(id)
		if !ok {
			return nil
		}
		_, err := m.letGo(ctx, l)
		return err
	})
}
