package lun

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
)

// Guard has another process stand by for a window in which a LUN is suspended (see convert.go): when this process dies in
// it, the other one calls Provider.Wake, so that the LUN's users wait for a moment and not until somebody looks. Guard starts the
// other process when a change begins, and does not wait for it.
type Guard func(ctx context.Context, w Window) (Post, error)

// Post is a guard on its way to a window.
type Post struct {
	Ready   func() error // returns when the guard stands by: before the change is committed. On an error it is taken back
	Dismiss func()       // sends the guard away, after the window or instead of it
}

// Window is what a guard has to know.
type Window struct {
	LUN    uuid.UUID
	Drives []devno.No // all that Wake needs; others may be slow to answer, or lie on the LUN itself
}

// standBy starts the guard when one of these steps suspends a LUN. The guard's place is before the step at the index.
func (m *machine) standBy(ctx context.Context, steps []step) (post Post, at int, err error) {
	none := Post{Ready: func() error { return nil }, Dismiss: func() {}}
	var window windowStep
	i := slices.IndexFunc(steps, func(s step) (is bool) { window, is = s.(windowStep); return is })
	if i < 0 || m.guard == nil {
		return none, -1, nil
	}
	l := window.l
	before, _ := m.record(l.ID)
	if post, err = m.guard(ctx, Window{LUN: l.ID, Drives: m.numbersOf(l, before)}); err != nil {
		return none, -1, fault("guard", lunObject(l.Name), err)
	}
	ready := post.Ready
	post.Ready = func() error { return fault("guard", lunObject(l.Name), ready()) }
	if commit := slices.IndexFunc(steps[:i], isCommit); commit >= 0 {
		i = commit
	}
	return post, i, nil
}

// isCommit reports whether a step makes a change final.
func isCommit(s step) bool {
	f, ok := s.(funcStep)
	return ok && f.commit
}

// numbersOf is the drives of these LUNs that are here.
func (m *machine) numbersOf(luns ...catalog.LUN) []devno.No {
	var devs []devno.No
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
