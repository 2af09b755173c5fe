package lun

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Properties is the state of a LUN (VDS_LUN_PROP). It can be read while an operation runs and when the LUN has failed.
type Properties struct {
	ID        uuid.UUID
	Name      string
	Size      size.Sectors
	Type      vds.LUNType
	Status    vds.Status
	Health    vds.Health
	Device    string // "/dev/mapper/plex-web1"; empty when the LUN is not active
	Open      int    // openers of the device
	Plexes    []PlexProperties
	Operation *resync.Descriptor // running, nil when none
	Done      size.Sectors       // copied by the running resync; Size when none runs
	Action    dm.Action          // what the kernel's sync thread does; empty for a LUN with one plex
	Rate      size.Bytes         // the most that the running operation copies to each plex in a second; Unlimited, Paused, or more
	Queued    bool               // the running operation waits until the rebuild of another LUN on one of the drives has ended
	Behind    []string           // the names of the LUNs that it waits for
	Tracked   bool               // every written region is recorded, and only those are copied to a new plex
	Scanning  bool               // a scan has begun, and has not led to a plex yet; see Scan
	Making    bool               // its room is being zeroed, or that was cut off
	Foreign   bool               // it is on drives of another host, and is none of this host's
	Orphan    bool               // the kernel has its device, and no drive that can be read has its record
	Redundant bool               // at least two plexes hold all of the data, by the kernel
	// Mismatches is how much a check has found that differs between the plexes. The kernel forgets it when the LUN is stopped.
	Mismatches size.Sectors
	Problem    *vds.Error // why the LUN is not in order, and the remedy; nil when it is in order
}

// PlexProperties is the state of a plex (VDS_LUN_PLEX_PROP).
type PlexProperties struct {
	ID     uuid.UUID
	Size   size.Sectors // of its extents, at least the LUN's
	Type   vds.LUNType
	Status vds.Status
	Health vds.Health
	Drives []uuid.UUID
	// Leaving says that the plex is leaving the LUN, and that the kernel may still write to it. The change was interrupted, or is
	// being made. Its Health is unknown: once the kernel has let go of it, it gets no writes.
	Leaving bool
}

// Survey is the state of every LUN, sorted by name. Devices of the kernel that no record on this host explains are among them: see
// Properties.Orphan. It reads the kernel's list once, the table of each device once, and the status of each mirror.
func (p *Provider) Survey(ctx context.Context) ([]Properties, error) {
	v := viewer{p.host()}
	active, err := v.Active(ctx)
	if err != nil {
		return nil, err
	}
	v = viewer{v.Seeing(active)}
	var all []Properties
	for _, l := range p.LUNs() {
		if now, err := l.ref.In(v.Host, "read"); err == nil { // else deleted since; the next Refresh drops it
			all = append(all, v.properties(ctx, now, active))
		}
	}
	all = append(all, v.orphans(ctx, active)...)
	slices.SortStableFunc(all, func(a, b Properties) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Properties is the present state of the LUN (IVdsLun::GetProperties).
func (l *LUN) Properties(ctx context.Context) (Properties, error) {
	v := viewer{l.p.host()}
	now, err := l.ref.In(v.Host, "read")
	if err != nil {
		return Properties{}, err
	}
	active, err := v.Active(ctx)
	if err != nil {
		return Properties{}, err
	}
	v = viewer{v.Seeing(active)}
	return v.properties(ctx, now, active), nil
}

// problem is an error that says why a LUN is not in order, and the remedy.
func problem(code vds.Code, reason, hint string) *vds.Error {
	return &vds.Error{Code: code, Reason: reason, Hint: hint}
}

// unheard is the state of l, of which only devices tell that have no say: drives of another host, or several with one label. dev is
// the device of l; zero when there is none. A LUN in use stays so.
func (v viewer) unheard(l catalog.LUN, dev dm.Device) Properties {
	why := v.Unusable("", l)
	why.Object = ""
	props := v.recorded(l)
	props.Operation, props.Queued, props.Problem, props.Health = nil, false, why, vds.HealthUnknown
	props.Foreign = why.Code == vds.ErrAccessDenied
	for i := range props.Plexes {
		props.Plexes[i].Status, props.Plexes[i].Health = vds.StatusUnknown, vds.HealthUnknown
	}
	switch {
	case dev.UUID != "":
		props.Status, props.Device = vds.StatusOnline, "/dev/mapper/"+dev.Name
	case !props.Foreign:
		return props.failed(why)
	}
	return props
}

// viewer tells the state of LUNs on a host.
type viewer struct{ *host.Host }

// properties is the state of l, with plexes that are leaving it. active is plexctl's devices by dm UUID.
func (v viewer) properties(ctx context.Context, l catalog.LUN, active map[string]dm.Device) Properties {
	props := v.state(ctx, l, active)
	for _, p := range l.Leaving() {
		plex := plexProperties(p)
		plex.Status, plex.Health, plex.Leaving = props.Status, vds.HealthUnknown, true
		props.Plexes = append(props.Plexes, plex)
		if props.Problem == nil || props.Problem.Code == vds.ErrProviderCacheCorrupt {
			props.Problem = problem(vds.ErrProviderFailure, "plex "+p.ID.String()+" is leaving it: the change was interrupted, or is being made",
				"run `plexctl assemble`")
		}
	}
	return props
}

// state is properties without plexes that are leaving.
func (v viewer) state(ctx context.Context, l catalog.LUN, active map[string]dm.Device) Properties {
	dev, ok := active[layout.LUNUUID(l.ID)]
	switch {
	case v.Set.Unheard(l.ID):
		return v.unheard(l, dev)
	case l.Making && v.Set.Usable(l.ID):
		return v.making(l)
	case !ok:
		return v.recorded(l).failed(ops.Startable(ctx, v.Host, l))
	default:
		return v.active(ctx, l, dev, active)
	}
}

// making is the state of l while a process zeroes its room.
func (v viewer) making(l catalog.LUN) Properties {
	props := v.recorded(l)
	why := v.Unusable("", l)
	why.Object = ""
	props.Tracked, props.Making, props.Problem = false, true, why // there is no note yet of what is written
	return props
}

// active is the state of l, which has a device.
func (v viewer) active(ctx context.Context, l catalog.LUN, dev dm.Device, active map[string]dm.Device) Properties {
	props := v.recorded(l).failed(v.served(l))
	if props.Status != vds.StatusFailed {
		props.Status = vds.StatusOnline
	}
	props.Device = "/dev/mapper/" + dev.Name
	view, err := v.View(ctx, l.ID)
	top, exists := view[layout.LUNUUID(l.ID)]
	switch {
	case err != nil:
		return props.unreadable(err)
	case !exists:
		return v.recorded(l).failed(ops.Startable(ctx, v.Host, l))
	case layout.FailsAll(top.Table):
		return v.recorded(l).failed(problem(vds.ErrObjectStatusFailed, "its drive failed in the middle of a change, so all of its I/O fails",
			"see to the drive, then run `plexctl assemble "+l.Name+"`"))
	case !top.Live:
		return props.failed(problem(vds.ErrProviderFailure, "it was not started to the end", "run `plexctl assemble`"))
	}
	v.device(ctx, l, &props, top)
	if len(l.Plexes) == 1 {
		if props.Plexes[0].Status != vds.StatusFailed {
			props.Plexes[0].Status = vds.StatusOnline
		}
		return v.linear(l, props, view)
	}
	status, err := v.Kernel.Status(ctx, dev.Name)
	switch {
	case fault.IsGone(err):
		return v.recorded(l).failed(ops.Startable(ctx, v.Host, l))
	case err != nil:
		return props.unreadable(err)
	}
	return v.mirror(l, props, status, view, active)
}

// device adds what the kernel says about the LUN's own device.
func (v viewer) device(ctx context.Context, l catalog.LUN, props *Properties, top layout.Observed) {
	props.Open = top.OpenCount
	if top.Suspended {
		props.Status = vds.StatusNotReady
		props.Problem = problem(vds.ErrProviderFailure, "its I/O waits: a change was interrupted", "run `plexctl assemble`")
	}
	if props.Problem == nil && top.Name != layout.LUNName(l.Name) {
		props.Problem = v.misnamed(ctx, l, top.Name)
	}
}

// misnamed says why l's device has another name than its record.
func (v viewer) misnamed(ctx context.Context, l catalog.LUN, device string) *vds.Error {
	wanted := layout.LUNName(l.Name)
	if _, err := v.Kernel.Info(ctx, wanted); err != nil {
		return &vds.Error{
			Code: vds.ErrProviderFailure, Reason: "its device is still " + device + ": a rename was interrupted", Hint: "run `plexctl assemble`",
		}
	}
	return &vds.Error{
		Code: vds.ErrNameNotUnique, Reason: fmt.Sprintf("its device is still %s: another device has the name %s", device, wanted),
		Hint: "rename the LUN, or remove that device and run `plexctl assemble`",
	}
}

// interrupted reports whether a plex has devices for both of its metadata slots. Then a change was cut off: one device belongs
// to the old table, the other to the table that waits.
func interrupted(l catalog.LUN, active map[string]dm.Device) bool {
	return slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool {
		_, both := active[layout.MetaUUID(l, p, p.Slot.Other())]
		return both
	})
}

// failed is p of a LUN that cannot be used because of why; p unchanged when why is nil.
func (p Properties) failed(why *vds.Error) Properties {
	if why != nil {
		p.Status, p.Health, p.Problem = vds.StatusFailed, vds.HealthFailed, why
	}
	return p
}

// served says why an active LUN cannot serve its data; nil when it can.
func (v viewer) served(l catalog.LUN) *vds.Error {
	if err := v.Unusable("", l); err != nil {
		err.Object = ""
		return err
	}
	if v.Roles(l).Has(record.Source) {
		return nil
	}
	for _, id := range v.AbsentDrives(l) {
		if _, here := v.Drives[id]; here {
			return v.Absence(l, id)
		}
	}
	return problem(vds.ErrObjectStatusFailed, "every plex that holds its data is on a drive that is missing", "attach the drive and run `plexctl reenumerate`")
}

// unreadable is p when the kernel does not tell the LUN's state.
func (p Properties) unreadable(err error) Properties {
	p.Status, p.Health = vds.StatusUnknown, vds.HealthUnknown
	p.Problem = &vds.Error{Code: vds.CodeOf(fault.Of("", "", err)), Reason: "its state cannot be read", Err: err}
	return p
}

// recorded is what the record and the drives on this host tell about l.
func (v viewer) recorded(l catalog.LUN) Properties {
	props := Properties{
		ID: l.ID, Name: l.Name, Size: l.Size, Done: l.Size,
		Type: record.TypeOf(l), Status: vds.StatusOffline, Health: vds.HealthHealthy, Tracked: l.Tracked(), Scanning: l.Scan != uuid.Nil,
	}
	if op := l.Operation; op != nil {
		props.Operation = &resync.Descriptor{ID: op.ID, Type: op.Type, LUN: l.ID, Started: op.Started}
		props.Queued, props.Rate = op.Queued, record.RateOf(l)
		if op.Queued {
			props.Behind = ops.Behind(v.Host, l)
		}
		props.Health = vds.HealthRebuilding
	}
	roles := v.Roles(l)
	for i, p := range l.Copies() {
		plex := plexProperties(p)
		if roles[i].IsTarget() {
			plex.Health = vds.HealthRebuilding
		}
		props.Plexes = append(props.Plexes, plex)
		if roles[i].Excluded() {
			props.lost(l, i, "is out of date")
		}
		for _, id := range plex.Drives {
			if why := v.Absence(l, id); why != nil && roles[i].Excluded() {
				props.Problem = why
			}
			if v.Absent(id) && v.Lack(id).Standing == "" && roles[i].Excluded() {
				props.Problem.Hint = "attach the drive and " + recoverHint(l)
			}
		}
	}
	return props
}

// recoverHint is how a plex gets what it has missed.
func recoverHint(l catalog.LUN) string { return "run `plexctl lun recover " + l.Name + "`" }

// plexProperties is what the record tells about a plex that is not active.
func plexProperties(p catalog.Plex) PlexProperties {
	plex := PlexProperties{ID: p.ID, Type: record.PlexType(p), Status: vds.StatusOffline, Health: vds.HealthHealthy, Drives: record.PlexDrives(p)}
	for _, e := range p.Data {
		plex.Size += e.Length
	}
	return plex
}

// apply adds what the kernel says about a mirror of all plexes.
func (p *Properties) apply(l catalog.LUN, roles record.Roles, status dm.RaidStatus) {
	complete := raid1.Claimed(roles, status) || raid1.Scrubs(status)
	if len(p.Plexes) == 1 && status.Health[0] == dm.LegSyncing { // at first the kernel shows any leg as syncing; there is nothing to copy
		complete, status.Health, status.Done = true, []dm.LegHealth{dm.LegInSync}, status.Total
	}
	p.Action, p.Done = status.Action, min(status.Done, p.Size)
	p.Health = vds.HealthHealthy
	if l.Operation != nil || !complete {
		p.Health = vds.HealthRebuilding
	}
	serving := 0
	for i, health := range status.Health[:len(p.Plexes)] { // without a vacant one
		if p.applyLeg(l, i, health, roles[i].IsTarget()); health == dm.LegInSync && p.Plexes[i].Health == vds.HealthHealthy {
			serving++
		}
	}
	p.Redundant = serving > 1
	p.differ(size.Sectors(status.Mismatches))
}

// differ notes that a check has found sectors in which the plexes differ.
func (p *Properties) differ(sectors size.Sectors) {
	if p.Mismatches = sectors; sectors == 0 {
		return
	}
	if p.Health == vds.HealthHealthy {
		p.Health = vds.HealthFailingRedundancy
	}
	if p.Problem == nil {
		p.Problem = problem(vds.ErrObjectStatusFailed, fmt.Sprintf("its plexes differ in %d sectors, by a check of the kernel", sectors),
			"find out which plex is right; remove the other one with `plexctl plex remove "+p.Name+"`, and add it again")
	}
}

// applyLeg adds what the kernel says about a leg.
func (p *Properties) applyLeg(l catalog.LUN, i int, health dm.LegHealth, target bool) {
	if p.Plexes[i].Status == vds.StatusFailed { // its drive is missing; the kernel notices at its next I/O
		if p.Health = vds.HealthFailedRedundancy; health == dm.LegInSync && p.Problem != nil {
			p.Problem.Hint = strings.Replace(p.Problem.Hint, recoverHint(l), "run `plexctl reenumerate`, then see `plexctl status`", 1)
		}
		return
	}
	p.Plexes[i].Status, p.Plexes[i].Health = vds.StatusOnline, vds.HealthHealthy
	switch health {
	case dm.LegInSync:
		if target {
			p.Plexes[i].Health = vds.HealthRebuilding
		}
	case dm.LegSyncing:
		// Before a recovery begins, the kernel shows every leg as not in sync, even the source.
		if l.Operation == nil || target {
			p.Plexes[i].Health = vds.HealthRebuilding
		}
	case dm.LegFailed, dm.LegMissing:
		p.lost(l, i, "has failed")
	}
}

// lost notes that a plex takes no part, because it has failed or is out of date.
func (p *Properties) lost(l catalog.LUN, i int, why string) {
	p.Plexes[i].Status, p.Plexes[i].Health = vds.StatusFailed, vds.HealthFailed
	p.Health = vds.HealthFailedRedundancy
	p.Problem = problem(vds.ErrObjectStatusFailed, "plex "+l.Plexes[i].ID.String()+" "+why, ops.FailedHint(l))
}
