package lun

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
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
		if opts.Force && len(opts.LUNs) == 0 {
			return &vds.Error{Code: vds.ErrInvalidArg, Op: "assemble", Object: "by force", Reason: "no LUN is named"}
		}
		results, err = m.assemble(ctx, chosen, opts.Force, p.now())
		return err
	})
	return results, err
}

// choose is the records that refs name, each once, or all.
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
		if !slices.ContainsFunc(chosen, func(other catalog.LUN) bool { return other.ID == l.ID }) {
			chosen = append(chosen, l)
		}
	}
	return chosen, nil
}

// assemble starts with the LUNs that have the most devices: what they let go of may be what the others need. Last come those
// that only have to be started, several at a time.
func (m *machine) assemble(ctx context.Context, chosen []catalog.LUN, force bool, now time.Time) ([]Result, error) {
	done, err := m.keepList(ctx)
	defer done()
	if err != nil {
		return nil, err
	}
	all, err := m.observe(ctx, func(uuid.UUID) bool { return true })
	if err != nil {
		return nil, err
	}
	used := usesOf(all)
	slices.SortStableFunc(chosen, func(a, b catalog.LUN) int { return len(all[b.ID]) - len(all[a.ID]) })
	results := make([]Result, 0, len(chosen))
	start := func(m *machine, l catalog.LUN) Result {
		err := m.start(ctx, l, all[l.ID], used, force, now)
		return Result{ID: l.ID, Name: l.Name, Err: fault("assemble", lunObject(l.Name), err)}
	}
	var resting []catalog.LUN
	for _, l := range chosen {
		if m.atRest(l, all[l.ID], used) {
			resting = append(resting, l)
		} else {
			results = append(results, start(m, l))
		}
	}
	started := make([]Result, len(resting))
	m.each(resting, func(m *machine, i int, l catalog.LUN) { started[i] = start(m, l) })
	return append(results, started...), nil
}

// atRest reports whether to start l takes its devices and nothing else: no commit, and nothing of another LUN's.
func (m *machine) atRest(l catalog.LUN, had view, used uses) bool {
	return len(had) == 0 && l.Operation == nil && !l.Wipe && m.unusable(l.ID) == nil && len(l.MissingDrives(m.set)) == 0 &&
		len(used.others(l, m.at)) == 0
}

// start brings one LUN up, of which the kernel has had that; used is for finding extents that another LUN's devices still use.
func (m *machine) start(ctx context.Context, l catalog.LUN, had view, used uses, force bool, now time.Time) error {
	top, exists := had[lunUUID(l.ID)]
	l, err := m.settleEnded(ctx, l, now)
	if err != nil {
		return err
	}
	if !top.Live {
		if why := m.startable(ctx, l); why != nil && !force {
			return why
		} else if why != nil {
			if l, err = m.forced(ctx, l, why); err != nil {
				return err
			}
		}
		if l, err = m.abandon(ctx, l, now); err != nil {
			return err
		}
	} else if err := m.unusable(l.ID); err != nil {
		return &vds.Error{Code: vds.ErrDiskConfigurationNotSync, Op: "start", Object: lunObject(l.Name), Err: err}
	}
	if err := m.refuseOverlap(ctx, l, used); err != nil {
		return err
	}
	if l, err = m.cleanse(ctx, l); err != nil {
		return err
	}
	if err := m.bringUp(ctx, l); err != nil {
		return err
	}
	if exists && m.dry == nil { // else it has just got its name
		if err := m.kernel.Name(ctx, lunName(l.Name), dm.Public); err != nil {
			return err
		}
	}
	return m.unqueue(ctx, l)
}

// abandon commits that l's operation has failed when a drive that it fills is missing: it would, as soon as l is started.
func (m *machine) abandon(ctx context.Context, l catalog.LUN, now time.Time) (catalog.LUN, error) {
	for i, fills := range filled(l) {
		if fills && missing(l.Plexes[i], m.absent) {
			return m.settle(ctx, l, vds.ErrObjectStatusFailed, now)
		}
	}
	return l, nil
}

// startable says why a LUN that is not active must not be started, nil when it may be. The plexes that are here may only
// be used without those that are not when their metadata says that these have failed: else a missing one may be newer.
func (m *machine) startable(ctx context.Context, l catalog.LUN) *vds.Error {
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
	if len(l.Copies()) == 1 {
		return failed
	}
	slots, err := m.readSlots(ctx, l)
	if err != nil {
		return &vds.Error{Code: vds.ErrIO, Op: "start", Object: lunObject(l.Name), Err: err}
	}
	holding, _ := m.roles(l, slots)
	freshest := freshestOf(slots)
	fills := filled(l)
	for i, p := range l.Plexes {
		if !p.Stale && !fills[i] && missing(p, m.absent) && freshest.FailedDevices&(1<<i) == 0 {
			failed.Reason += ", and its plex may be newer than those that are here"
			failed.Hint = "attach the drive; to start without what only it has: `plexctl assemble --force " + l.Name + "`"
			return failed
		}
	}
	if len(holding) == 0 {
		failed.Reason += ", and no plex that is here holds all of the data"
		return failed
	}
	return nil
}

// forced is l as it is recorded after a start by force: what is here counts, and every plex that is not is out of date. Where
// no plex that is here is in sync by its metadata, the first that the record calls one that holds the data is taken.
func (m *machine) forced(ctx context.Context, l catalog.LUN, why *vds.Error) (catalog.LUN, error) {
	if m.unusable(l.ID) != nil {
		return l, why
	}
	slots, err := m.readSlots(ctx, l)
	if err != nil {
		return l, err
	}
	holding, _ := m.roles(l, slots)
	next := l
	next.Plexes = slices.Clone(l.Plexes)
	fills := filled(l)
	here := false
	for i, p := range l.Plexes {
		switch {
		case p.Stale || fills[i]:
		case missing(p, m.absent):
			next.Plexes[i].Stale = true
		default:
			here = true
		}
	}
	if !here || len(l.Copies()) == 1 {
		return l, why
	}
	next = m.next(next)
	tx := &transaction{put: []catalog.LUN{next}, back: []catalog.LUN{l}}
	steps := []step{tx.step("commit: plexes of " + l.Name + " that are missing are out of date")}
	if len(holding) == 0 {
		steps = append(steps, rewrite(next))
	}
	return next, m.carryOut(ctx, "start", l.Name, steps, tx)
}

// refuseTaken refuses to use extents of l, some of them new, that a device of another LUN still writes to: that of a LUN
// whose change was cut off between its commit and its swap. Devices of the LUNs in but are expected there.
func (m *machine) refuseTaken(ctx context.Context, l catalog.LUN, but ...uuid.UUID) error {
	all, err := m.observe(ctx, func(owner uuid.UUID) bool { return !slices.Contains(but, owner) })
	if err != nil {
		return err
	}
	return m.refuseOverlap(ctx, l, usesOf(all))
}

// refuseOverlap refuses to use l's extents while a device of another LUN uses them. Those that were seen to are looked at
// again: they may have let go. What another LUN's devices have come to use since is that LUN's own by its record, and no two
// records that can be used share space (catalog.Set.Usable).
func (m *machine) refuseOverlap(ctx context.Context, l catalog.LUN, used uses) error {
	for _, owner := range used.others(l, m.at) {
		v, err := m.viewOf(ctx, owner)
		if err != nil {
			return err
		}
		for id, o := range v {
			if idle(owner, id, o) {
				continue
			}
			for _, s := range o.table {
				if m.overlaps(l, s) {
					return &vds.Error{
						Code: vds.ErrProviderCacheCorrupt, Op: "use", Object: lunObject(l.Name),
						Reason: "device " + o.Name + " of another LUN uses its space", Hint: "run `plexctl assemble`, which completes the change of that LUN",
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
		done, err := m.keepList(ctx)
		defer done()
		if err != nil {
			return err
		}
		results = make([]Result, len(chosen))
		m.each(chosen, func(m *machine, i int, l catalog.LUN) {
			err := m.takeDown(ctx, l)
			results[i] = Result{ID: l.ID, Name: l.Name, Err: fault("deactivate", lunObject(l.Name), err)}
		})
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
	have, err := m.settled(ctx, l)
	if err != nil || len(have.view) == 0 {
		return err
	}
	if top := have.view[lunUUID(l.ID)]; len(l.Plexes) > 1 && l.Operation == nil && top.Live && !isRaid(top.table) {
		return foreignTable(l) // its plexes differ, and only the kernel knows
	}
	steps := plan(change{have: have.view, settle: have.settle, at: m.at})
	if len(l.Copies()) > 1 && l.Operation == nil && len(l.MissingDrives(m.set)) == 0 {
		steps = append(steps, funcStep{text: "note that the plexes of " + l.Name + " are equal, if they are", do: func(ctx context.Context, m *machine) error {
			return m.markClean(ctx, l)
		}})
	}
	return m.execute(ctx, steps)
}

func isRaid(t dm.Table) bool {
	_, ok := soleTarget[dm.Raid1](t)
	return ok
}
