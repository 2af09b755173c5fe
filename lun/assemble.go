package lun

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// AssembleOptions say what Assemble may do.
type AssembleOptions struct {
	LUNs []string // names or GUIDs; empty: all
	// Force starts a mirror without a plex that may be newer than those that are here: what only the missing plex has is
	// lost for good, because from then on it counts as out of date. It wants LUNs to be named.
	Force bool
}

// Result is what became of one LUN.
type Result struct {
	ID   uuid.UUID
	Name string
	Err  error // nil: active
}

// Assemble brings the kernel to what the catalogs say, for every LUN: at boot, after a crash, and at any other time, when
// it changes nothing. A mirror that was not stopped cleanly copies the regions that may differ; a running operation goes
// on. One LUN's failure does not keep the others; the error is about all of them (a drive scan, the lock).
func (p *Provider) Assemble(ctx context.Context, opts AssembleOptions) ([]Result, error) {
	var results []Result
	err := p.change(ctx, "assemble", func(ctx context.Context, m *machine) error {
		chosen, err := m.choose(opts.LUNs)
		if err != nil {
			return err
		}
		results, err = m.assemble(ctx, chosen, opts.Force)
		return err
	})
	return results, err
}

// choose is the records that refs name, or all.
func (m *machine) choose(refs []string) ([]catalog.LUN, error) {
	if len(refs) == 0 {
		return slices.Clone(m.set.LUNs), nil
	}
	var chosen []catalog.LUN
	for _, ref := range refs {
		l, err := m.find(ref)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, l)
	}
	return chosen, nil
}

// assemble starts with the LUNs that have devices: what they let go of may be what the others need.
func (m *machine) assemble(ctx context.Context, chosen []catalog.LUN, degraded bool) ([]Result, error) {
	all, err := m.observe(ctx, func(uuid.UUID) bool { return true })
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(chosen, func(a, b catalog.LUN) int { return min(len(all[b.ID]), 1) - min(len(all[a.ID]), 1) })
	var results []Result
	for _, l := range chosen {
		err := m.start(ctx, l, all, degraded)
		results = append(results, Result{ID: l.ID, Name: l.Name, Err: fault("assemble", lunObject(l.Name), err)})
		if all[l.ID], err = m.viewOf(ctx, l.ID); err != nil {
			return results, err
		}
	}
	return results, nil
}

// start brings one LUN up. all is what the kernel has, for finding extents that another LUN's devices still use.
func (m *machine) start(ctx context.Context, l catalog.LUN, all map[uuid.UUID]view, degraded bool) error {
	if why := m.startable(l, degraded); why != nil {
		return why
	}
	if err := m.refuseOverlap(l, all); err != nil {
		return err
	}
	l, err := m.cleanse(ctx, l)
	if err != nil {
		return err
	}
	return m.bringUp(ctx, l)
}

// bringUp plans and carries out what leads from what the kernel has to l.
func (m *machine) bringUp(ctx context.Context, l catalog.LUN) error {
	have, err := m.settledView(ctx, l)
	if err != nil {
		return err
	}
	prepare, err := m.preparation(l, have)
	if err != nil {
		return err
	}
	reload, err := m.dropped(ctx, l)
	if err != nil {
		return err
	}
	return m.execute(ctx, plan(change{want: m.wants(l), have: have, at: m.at, prepare: prepare, reload: reload}))
}

// settledView is what the kernel has of l, after a table that waits for a mirror, or for a device without a table, has been
// swapped in. Such a table must not be thrown away: on Linux 6.1 the end of a raid table that was never live empties the
// bitmaps of its legs (drivers/md/md-bitmap.c, md_bitmap_flush), and what was to be copied would be forgotten. One that waits
// for a linear device may be: its metadata is written anew before it is used.
func (m *machine) settledView(ctx context.Context, l catalog.LUN) (view, error) {
	have, err := m.viewOf(ctx, l.ID)
	top := have[lunUUID(l.ID)]
	if err != nil || !top.Inactive || top.Live && !isRaid(top.table) {
		return have, err
	}
	if err := m.kernel.Resume(ctx, top.Name, dm.Public); err != nil {
		return nil, fault("activate the waiting table of", lunObject(l.Name), err)
	}
	return m.viewOf(ctx, l.ID)
}

func isRaid(t dm.Table) bool {
	return slices.ContainsFunc(t, func(s dm.Segment) bool { return s.Target.Type() == (dm.Raid1{}).Type() })
}

// dropped reports whether the kernel has given up a plex that l's operation fills. Loading the table anew takes it in again.
func (m *machine) dropped(ctx context.Context, l catalog.LUN) (bool, error) {
	if l.Operation == nil {
		return false, nil
	}
	seen, known, err := m.observeOperation(ctx, l)
	return known && seen.State == resync.Failed, err
}

// preparation is the metadata step before a mirror table of l may be loaded: none while a table uses the slots in force.
func (m *machine) preparation(l catalog.LUN, have view) (step, error) {
	top := have[lunUUID(l.ID)]
	switch {
	case len(l.Plexes) == 1:
		return nil, nil
	case !top.Live:
		return restart(l), nil
	case m.slotsInUse(l, top.table):
		return nil, nil
	case l.Operation == nil:
		return nil, &vds.Error{
			Code: vds.ErrProviderCacheCorrupt, Op: "start", Object: lunObject(l.Name),
			Reason: "the kernel runs it without its mirror", Hint: "`plexctl deactivate` it and `plexctl assemble`",
		}
	default:
		// The process died between the commit and the swap. The LUN has been written to since, on its old plexes alone.
		return fullCopy(l), nil
	}
}

// slotsInUse reports whether a live table uses metadata slots that are in force in l.
func (m *machine) slotsInUse(l catalog.LUN, live dm.Table) bool {
	if len(live) != 1 {
		return false
	}
	raid, ok := live[0].Target.(dm.Raid1)
	if !ok {
		return false
	}
	return slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool {
		dev := m.at.nodes[metaNode(l, p).uuid]
		return !dev.IsZero() && slices.ContainsFunc(raid.Legs, func(leg dm.Leg) bool { return leg.Meta == dev })
	})
}

// startable says why l must not be started, nil when it may be.
func (m *machine) startable(l catalog.LUN, degraded bool) *vds.Error {
	if err := m.unusable(l.ID); err != nil {
		return &vds.Error{Code: vds.ErrDiskConfigurationNotSync, Op: "start", Object: lunObject(l.Name), Err: err}
	}
	absent := l.MissingDrives(m.set)
	if len(absent) == 0 {
		return nil
	}
	failed := &vds.Error{
		Code: vds.ErrObjectStatusFailed, Op: "start", Object: lunObject(l.Name),
		Reason: driveObject(absent[0]) + " is missing", Hint: "attach the drive and run `plexctl assemble`",
	}
	holding, here := 0, 0
	for i, fills := range filled(l) {
		if fills {
			continue
		}
		holding++
		if !missing(l.Plexes[i], m.absent) {
			here++
		}
	}
	switch {
	case here == 0:
		return failed
	case here < holding && !degraded:
		failed.Reason += ", and the plexes that are here may be older"
		failed.Hint = "attach the drive, or start without it: `plexctl assemble --degraded " + l.Name + "`"
		return failed
	default:
		return nil
	}
}

// refuseOverlap refuses to start l on extents that a device of another LUN uses.
func (m *machine) refuseOverlap(l catalog.LUN, all map[uuid.UUID]view) error {
	for owner, v := range all {
		if owner == l.ID {
			continue
		}
		for _, o := range v {
			for _, s := range o.table {
				if m.overlaps(l, s) {
					return &vds.Error{
						Code: vds.ErrProviderCacheCorrupt, Op: "start", Object: lunObject(l.Name),
						Reason: "device " + o.Name + " of another LUN uses its space", Hint: "`plexctl assemble` the other LUN first, or remove the device",
					}
				}
			}
		}
	}
	return nil
}

// overlaps reports whether a segment lies on extents of l.
func (m *machine) overlaps(l catalog.LUN, s dm.Segment) bool {
	linear, ok := s.Target.(dm.Linear)
	if !ok {
		return false
	}
	hit := func(e catalog.Extent) bool {
		return m.at.drives[e.Drive] == linear.Dev && linear.Offset < e.End() && e.Start < linear.Offset+s.Length
	}
	return slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool { return hit(p.Meta) || slices.ContainsFunc(p.Data, hit) })
}

// Deactivate takes LUNs down, all of them when none is named: their devices are gone, their data and their operations
// stay. A LUN that is open is refused with vds.ErrDeviceInUse and left as it is. A mirror whose plexes are equal is marked
// clean, so that the next Assemble copies nothing.
func (p *Provider) Deactivate(ctx context.Context, refs ...string) ([]Result, error) {
	var results []Result
	err := p.change(ctx, "deactivate", func(ctx context.Context, m *machine) error {
		chosen, err := m.choose(refs)
		if err != nil {
			return err
		}
		for _, l := range chosen {
			err := m.takeDown(ctx, l)
			results = append(results, Result{ID: l.ID, Name: l.Name, Err: fault("deactivate", lunObject(l.Name), err)})
		}
		return nil
	})
	return results, err
}

func (m *machine) takeDown(ctx context.Context, l catalog.LUN) error {
	why := reasons{op: "deactivate", object: lunObject(l.Name)}
	if err := m.refuseOpen(ctx, l, &why); err != nil {
		return err
	}
	if err := why.err(); err != nil {
		return err
	}
	have, err := m.settledView(ctx, l)
	if err != nil || len(have) == 0 {
		return err
	}
	if err := m.execute(ctx, plan(change{have: have, at: m.at})); err != nil {
		return err
	}
	if len(l.Plexes) > 1 && l.Operation == nil && len(l.MissingDrives(m.set)) == 0 {
		return m.markClean(ctx, l)
	}
	return nil
}
