package lun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/vds"
)

// foreign reports whether a label says that another host used the drive last. Without an id on either side nobody can tell,
// and the drive counts as this host's.
func (p *Provider) foreign(label catalog.Label) bool {
	return len(p.hosts) > 0 && label.Host != "" && !slices.Contains(p.hosts, label.Host)
}

// hostID is what labels say of this host.
func (p *Provider) hostID() string {
	if len(p.hosts) == 0 {
		return ""
	}
	return p.hosts[0]
}

// foreignDrive is the error about a LUN with a plex on a drive of another host, nil when there is none.
func (m *machine) foreignDrive(l catalog.LUN) error {
	for _, id := range l.Drives() {
		if d, ok := m.drives[id]; ok && d.foreign {
			return fmt.Errorf("%s was last used by host %s: when that does not use it any more, `plexctl drive take-over %s`",
				driveObject(id), d.store.Label.Host, d.info.Path)
		}
	}
	return nil
}

// foreignDriveFault refuses to use a drive of another host.
func foreignDriveFault(d *drive) error {
	return &vds.Error{
		Code: vds.ErrAccessDenied, Op: "use", Object: driveObject(d.store.Label.Drive), Reason: "host " + d.store.Label.Host + " used it last",
		Hint: "when that does not use it any more, `plexctl drive take-over " + d.info.Path + "`",
	}
}

// TakeOver makes drives that were last used by another host this one's, so that their LUNs can be started here. refs are
// paths or GUIDs; none: all such drives. The other host must not use them any more: nothing but the user can know. It
// returns the drives that were taken over.
func (p *Provider) TakeOver(ctx context.Context, refs ...string) ([]Drive, error) {
	var taken []Drive
	err := p.change(ctx, "take over drives", func(ctx context.Context, m *machine) error {
		chosen, err := m.foreigners(refs)
		if err != nil {
			return err
		}
		var steps []step
		for _, d := range chosen {
			steps = append(steps, takeOver(d, p.hostID()))
		}
		if err := m.execute(ctx, steps); err != nil {
			return err
		}
		for _, d := range chosen {
			taken = append(taken, m.describe(d.store.Label.Drive))
		}
		return nil
	})
	if p.dry != nil {
		return nil, err
	}
	return taken, err
}

// foreigners is the drives of another host that refs name, or all.
func (m *machine) foreigners(refs []string) ([]*drive, error) {
	var chosen []*drive
	for _, ref := range refs {
		d, err := m.findDrive(ref)
		if err != nil {
			return nil, err
		}
		if d.foreign {
			chosen = append(chosen, d)
		}
	}
	if len(refs) > 0 {
		return chosen, nil
	}
	for _, d := range m.drives {
		if d.foreign {
			chosen = append(chosen, d)
		}
	}
	slices.SortFunc(chosen, func(a, b *drive) int { return strings.Compare(a.info.Path, b.info.Path) })
	return chosen, nil
}

// takeOver is the step that writes this host's id into a drive's label.
func takeOver(d *drive, host string) step {
	return funcStep{text: "write this host's id into the label of " + d.info.Path, do: func(ctx context.Context, m *machine) error {
		err := m.withDisk(ctx, d.store.Label.Drive, func(disk blockdev.Disk) error { return d.store.Relabel(disk, host) })
		d.foreign = err != nil
		return err
	}}
}

// Reenumerate looks for drives anew, brings all catalogs to agree, and the kernel's devices of every active LUN to what its
// record says. Where somebody has replaced the table of a mirror by one of its plexes alone, that plex holds the data from
// then on, and the others are out of date. It is the first half of the cure for vds.ErrProviderCacheCorrupt
// (IVdsHwProvider::Reenumerate); Refresh, of every Provider that is open, is the other.
func (p *Provider) Reenumerate(ctx context.Context) ([]Result, error) {
	var results []Result
	err := p.change(ctx, "reenumerate", func(ctx context.Context, m *machine) error {
		done, err := m.keepList(ctx)
		defer done()
		if err != nil {
			return err
		}
		all, err := m.observe(ctx, func(uuid.UUID) bool { return true })
		if err != nil {
			return err
		}
		for _, l := range slices.Clone(m.set.LUNs) {
			if len(all[l.ID]) > 0 {
				err := m.reconcile(ctx, l)
				results = append(results, Result{ID: l.ID, Name: l.Name, Err: fault("reenumerate", lunObject(l.Name), err)})
			}
		}
		return nil
	})
	return results, err
}

// reconcile brings the kernel to l, or l to what the kernel has made true.
func (m *machine) reconcile(ctx context.Context, l catalog.LUN) error {
	if err := m.unusable(l.ID); err != nil {
		return &vds.Error{Code: vds.ErrDiskConfigurationNotSync, Op: "reenumerate", Object: lunObject(l.Name), Err: err}
	}
	err := m.bringUp(ctx, l)
	if !errors.Is(err, vds.ErrProviderCacheCorrupt) {
		return err
	}
	have, holdErr := m.hold(ctx, l)
	switch {
	case holdErr != nil:
		return errors.Join(err, holdErr)
	case len(l.Copies()) == 1: // the record leaves no doubt where the data is
		return m.execute(ctx, plan(change{want: m.wants(l), have: have.view, settle: have.settle, at: m.at, prepare: anew(l)}))
	case have.was.sole == uuid.Nil:
		return err
	}
	next := soleHolder(l, have.was.sole)
	if next.Plexes == nil {
		return err
	}
	next = m.next(m.flip(next, have.was))
	tx := &transaction{put: []catalog.LUN{next}, back: []catalog.LUN{l}}
	steps, err := m.transition(next, have, move{commit: tx.step(fmt.Sprintf("commit: only plex %s holds the data of %s", have.was.sole, l.Name))})
	if err != nil {
		return err
	}
	return m.carryOut(ctx, "reenumerate", l.Name, steps, tx)
}

// soleHolder is l when only one plex holds the data any more; without plexes when that one never held all of it. It is pure.
func soleHolder(l catalog.LUN, sole uuid.UUID) catalog.LUN {
	fills := filled(l)
	l.Plexes = slices.Clone(l.Plexes)
	for i, p := range l.Plexes {
		if p.ID == sole && (p.Stale || fills[i]) {
			l.Plexes = nil
			return l
		}
		l.Plexes[i].Stale = p.ID != sole
	}
	l.Operation = nil
	return l
}
