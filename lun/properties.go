package lun

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Properties is how a LUN stands (VDS_LUN_PROP). It can be read while an operation runs and when the LUN has failed.
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
	Rate      size.Bytes         // most that the running operation copies to each plex, a second; Unlimited, Paused, or more
	Queued    bool               // the running operation waits until another LUN on one of the drives is rebuilt
	Tracked   bool               // what was ever written is noted, and a new plex gets nothing else
	Scanning  bool               // a scan has begun, and has not led to a plex yet; see Scan
	Problem   *vds.Error         // why the LUN is not as it should be, and what to do; nil when it is
}

// PlexProperties is how a plex stands (VDS_LUN_PLEX_PROP).
type PlexProperties struct {
	ID     uuid.UUID
	Size   size.Sectors // of its extents, at least the LUN's
	Type   vds.LUNType
	Status vds.Status
	Health vds.Health
	Drives []uuid.UUID
}

// Survey is how every LUN stands, sorted by name. It reads the kernel's list once, and for each mirror its status once.
func (p *Provider) Survey(ctx context.Context) ([]Properties, error) {
	m := p.machine()
	active, err := m.active(ctx)
	if err != nil {
		return nil, err
	}
	var all []Properties
	for _, l := range p.LUNs() {
		record, err := l.in(m, "read")
		if err != nil {
			continue // deleted since; the next Refresh drops it
		}
		all = append(all, m.properties(ctx, record, active))
	}
	return all, nil
}

// Properties is how the LUN stands now (IVdsLun::GetProperties).
func (l *LUN) Properties(ctx context.Context) (Properties, error) {
	m := l.p.machine()
	record, err := l.in(m, "read")
	if err != nil {
		return Properties{}, err
	}
	active, err := m.active(ctx)
	if err != nil {
		return Properties{}, err
	}
	return m.properties(ctx, record, active), nil
}

// active is the device-mapper devices of plexctl, by dm UUID.
func (m *machine) active(ctx context.Context) (map[string]dm.Device, error) {
	list, err := m.kernel.List(ctx)
	if err != nil {
		return nil, fault("list devices", "", err)
	}
	active := map[string]dm.Device{}
	for _, d := range list {
		if _, own := ownerOf(d.UUID); own {
			active[d.UUID] = d
		}
	}
	return active, nil
}

func (m *machine) properties(ctx context.Context, l catalog.LUN, active map[string]dm.Device) Properties {
	dev, ok := active[lunUUID(l.ID)]
	if !ok {
		return m.recorded(l).failed(m.startable(ctx, l))
	}
	props := m.recorded(l).failed(m.served(l))
	if props.Status != vds.StatusFailed {
		props.Status = vds.StatusOnline
	}
	props.Device = "/dev/mapper/" + dev.Name
	status, err := m.status(ctx, l, dev.Name)
	if isGone(err) {
		return m.recorded(l).failed(m.startable(ctx, l))
	}
	if err != nil {
		return props.unreadable(err)
	}
	if len(status.Targets) == 1 && status.Targets[0].Type == deadTarget {
		return m.recorded(l).failed(&vds.Error{
			Code: vds.ErrObjectStatusFailed, Reason: "its drive failed in the middle of a change, so all of its I/O fails",
			Hint: "see to the drive, then run `plexctl assemble " + l.Name + "`",
		})
	}
	props.Open = status.OpenCount
	if status.Suspended {
		props.Status = vds.StatusNotReady
		props.Problem = &vds.Error{
			Code: vds.ErrProviderFailure, Reason: "its I/O waits: a change was interrupted", Hint: "run `plexctl assemble`",
		}
	}
	if len(l.Plexes) == 1 {
		if props.Plexes[0].Status != vds.StatusFailed {
			props.Plexes[0].Status = vds.StatusOnline
		}
		return props
	}
	raid, ok, err := decodeRaid(l, status)
	if err != nil {
		return props.unreadable(err)
	}
	props.apply(l, raid, ok && m.claimed(l, raid), ok)
	if props.Problem == nil && interrupted(l, active) {
		props.Problem = &vds.Error{
			Code: vds.ErrProviderFailure, Reason: "a change was interrupted, or is being made", Hint: "run `plexctl assemble`",
		}
	}
	return props
}

// interrupted reports whether there are devices for both metadata slots of a plex: those of a table that is to be swapped in,
// and those of the one from before.
func interrupted(l catalog.LUN, active map[string]dm.Device) bool {
	return slices.ContainsFunc(l.Plexes, func(p catalog.Plex) bool {
		p.Slot = p.Slot.Other()
		_, both := active[metaNode(l, p).uuid]
		return both
	})
}

// failed is p of a LUN that cannot be used, and why; p as it is when why is nil.
func (p Properties) failed(why *vds.Error) Properties {
	if why != nil {
		p.Status, p.Health, p.Problem = vds.StatusFailed, vds.HealthFailed, why
	}
	return p
}

// served says why a LUN that is active cannot serve its data, nil when it can.
func (m *machine) served(l catalog.LUN) *vds.Error {
	if err := m.unusable(l.ID); err != nil {
		return &vds.Error{Code: vds.ErrDiskConfigurationNotSync, Err: err}
	}
	fills := filled(l)
	for i, p := range l.Plexes {
		if !m.out(p) && !fills[i] {
			return nil
		}
	}
	return &vds.Error{
		Code: vds.ErrObjectStatusFailed, Reason: "every plex that holds its data is on a drive that is missing",
		Hint: "attach the drive",
	}
}

// unreadable is p when the kernel does not say how the LUN stands.
func (p Properties) unreadable(err error) Properties {
	p.Status, p.Health = vds.StatusUnknown, vds.HealthUnknown
	p.Problem = &vds.Error{Code: vds.CodeOf(fault("", "", err)), Reason: "its state cannot be read", Err: err}
	return p
}

// recorded is what the record and the drives that are here tell about l.
func (m *machine) recorded(l catalog.LUN) Properties {
	props := Properties{
		ID: l.ID, Name: l.Name, Size: l.Size, Done: l.Size,
		Type: typeOf(l), Status: vds.StatusOffline, Health: vds.HealthHealthy, Tracked: l.Tracked(), Scanning: l.Scan != uuid.Nil,
	}
	if op := l.Operation; op != nil {
		props.Operation = &resync.Descriptor{ID: op.ID, Type: op.Type, LUN: l.ID, Started: op.Started}
		props.Queued, props.Rate = op.Queued, rateOf(l)
		props.Health = vds.HealthRebuilding
	}
	for i, p := range l.Copies() {
		plex := PlexProperties{ID: p.ID, Type: plexType(p), Status: vds.StatusOffline, Health: vds.HealthHealthy, Drives: plexDrives(p)}
		for _, e := range p.Data {
			plex.Size += e.Length
		}
		if filled(l)[i] {
			plex.Health = vds.HealthRebuilding
		}
		if m.out(p) {
			plex.Status, plex.Health = vds.StatusFailed, vds.HealthFailed
			props = props.without(l, p, m)
		}
		props.Plexes = append(props.Plexes, plex)
	}
	return props
}

// without is p of a LUN one of whose plexes takes no part.
func (p Properties) without(l catalog.LUN, plex catalog.Plex, m *machine) Properties {
	p.Health = vds.HealthFailedRedundancy
	p.Problem = &vds.Error{
		Code: vds.ErrObjectStatusFailed, Reason: "plex " + plex.ID.String() + " is out of date", Hint: failedHint(l),
	}
	for _, id := range plexDrives(plex) {
		if m.absent(id) {
			p.Problem.Reason = driveObject(id) + " is missing"
			p.Problem.Hint = "attach the drive and run `plexctl lun recover " + l.Name + "`"
		}
	}
	return p
}

// apply adds what the kernel says about a mirror.
func (p *Properties) apply(l catalog.LUN, status dm.RaidStatus, complete, mirrored bool) {
	if !mirrored {
		p.Health = vds.HealthFailedRedundancy
		p.Problem = &vds.Error{
			Code: vds.ErrProviderCacheCorrupt, Reason: "the kernel has another table than the catalog", Hint: cacheHint,
		}
		return
	}
	if len(p.Plexes) == 1 && status.Health[0] == dm.LegSyncing { // at first the kernel shows any leg so; there is nothing to copy
		complete, status.Health, status.Done = true, []dm.LegHealth{dm.LegInSync}, status.Total
	}
	p.Action, p.Done = status.Action, min(status.Done, p.Size)
	p.Health = vds.HealthHealthy
	if l.Operation != nil || !complete {
		p.Health = vds.HealthRebuilding
	}
	for i, letter := range status.Health[:len(p.Plexes)] { // without a vacant one
		if p.Plexes[i].Status == vds.StatusFailed { // its drive is missing; the kernel finds out at its next I/O
			p.Health = vds.HealthFailedRedundancy
			continue
		}
		p.Plexes[i].Status, p.Plexes[i].Health = vds.StatusOnline, vds.HealthHealthy
		switch letter {
		case dm.LegInSync:
			if filled(l)[i] {
				p.Plexes[i].Health = vds.HealthRebuilding
			}
		case dm.LegSyncing:
			// Before a recovery begins the kernel shows every leg as not in sync, the one that it copies from too.
			if l.Operation == nil || filled(l)[i] {
				p.Plexes[i].Health = vds.HealthRebuilding
			}
		case dm.LegFailed, dm.LegMissing:
			p.lost(l, i)
		}
	}
}

// lost notes that the kernel has dropped a plex.
func (p *Properties) lost(l catalog.LUN, i int) {
	p.Plexes[i].Status, p.Plexes[i].Health = vds.StatusFailed, vds.HealthFailed
	p.Health = vds.HealthFailedRedundancy
	p.Problem = &vds.Error{
		Code: vds.ErrObjectStatusFailed, Reason: "plex " + l.Plexes[i].ID.String() + " has failed",
		Hint: failedHint(l),
	}
}

func typeOf(l catalog.LUN) vds.LUNType {
	if len(l.Copies()) > 1 {
		return vds.TypeMirror
	}
	return plexType(l.Plexes[0])
}

func plexType(p catalog.Plex) vds.LUNType {
	if len(plexDrives(p)) > 1 {
		return vds.TypeSpan
	}
	return vds.TypeSimple
}

func plexDrives(p catalog.Plex) []uuid.UUID { return catalog.LUN{Plexes: []catalog.Plex{p}}.Drives() }
