package lun

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// checkAttach says everything that speaks against an attachment. The order of the checks is the order of precedence of
// their codes.
func (m *machine) checkAttach(ctx context.Context, a attachment) error {
	t, s := a.target, a.source
	why := reasons{op: "add plex to", object: lunObject(t.Name)}
	if t.ID == s.ID {
		why.add(vds.ErrInvalidOperation, "name another LUN as the source", "a LUN cannot be a plex of itself")
		return why.err()
	}
	m.checkTarget(t, a.have, &why)
	m.checkSource(s, a.from, &why)
	m.checkShape(t, s, &why)
	m.checkDrives(t, s, &why)
	if err := m.refuseOpen(ctx, s, &why); err != nil {
		return err
	}
	return why.err()
}

// checkTarget checks the LUN that gets plexes. It may have lost some: getting one is how it is repaired.
func (m *machine) checkTarget(t catalog.LUN, have held, why *reasons) {
	m.checkRecords(t, why)
	checkIdle(t, why)
	checkActive(t, have.was, why)
	checkQuiet(t, have.was, why)
	m.checkKernel(t, have, why)
	if have.was.live && !slices.ContainsFunc(t.Plexes, func(p catalog.Plex) bool { return have.was.holds(p.ID) }) {
		why.add(vds.ErrObjectStatusFailed, "see `plexctl status`", "%s: no plex of it holds all of the data", lunObject(t.Name))
	}
}

// checkSource checks the LUN that is absorbed.
func (m *machine) checkSource(s catalog.LUN, have held, why *reasons) {
	if s.ID == uuid.Nil {
		return
	}
	m.checkUsable(s, why)
	checkIdle(s, why)
	checkScan(s, why)
	m.checkKernel(s, have, why)
	for id, letter := range have.was.health {
		if letter == dm.LegFailed {
			why.add(vds.ErrObjectStatusFailed, "see to its drive", "%s: plex %s has failed", lunObject(s.Name), id)
		}
	}
}

// checkUsable adds a reason when a drive of l is missing or its records conflict.
func (m *machine) checkUsable(l catalog.LUN, why *reasons) {
	for _, id := range l.MissingDrives(m.set) {
		why.add(vds.ErrObjectStatusFailed, "attach the drive and try again", "%s: %s is missing", lunObject(l.Name), driveObject(id))
	}
	m.checkRecords(l, why)
}

// checkRecords adds a reason when the records of l conflict, or a drive of it is another host's.
func (m *machine) checkRecords(l catalog.LUN, why *reasons) {
	if err := m.unusable(l.ID); err != nil {
		why.add(vds.ErrDiskConfigurationNotSync, "see `plexctl status`", "%s: %v", lunObject(l.Name), err)
	}
}

// checkScan adds a reason when a scan of l has begun.
func checkScan(l catalog.LUN, why *reasons) {
	if l.Scan != uuid.Nil {
		why.add(vds.ErrAnotherCallInProgress, scanHint(l), "%s: a scan of it has begun", lunObject(l.Name))
	}
}

func checkIdle(l catalog.LUN, why *reasons) {
	if l.Operation != nil {
		why.add(vds.ErrAnotherCallInProgress, cancelHint(l), "%s: %s is running", lunObject(l.Name), l.Operation.Type)
	}
}

// checkShape compares sizes, counts and places.
func (m *machine) checkShape(t, s catalog.LUN, why *reasons) {
	if s.Size < t.Size {
		why.add(vds.ErrInvalidOperation, "the source must be at least as large as the target",
			"%s has %s, less than the %s of %s", lunObject(s.Name), s.Size, t.Size, lunObject(t.Name))
	}
	if n := len(t.Plexes) + len(s.Copies()); n > catalog.MaxPlexes {
		why.add(vds.ErrInvalidOperation, "", "%d plexes, at most %d are possible", n, catalog.MaxPlexes)
	}
	for _, id := range s.Drives() {
		if slices.Contains(t.Drives(), id) {
			why.add(vds.ErrInvalidOperation, "a plex on the same drive protects from nothing; use a source on another drive",
				"%s and %s share %s", lunObject(t.Name), lunObject(s.Name), driveObject(id))
		}
	}
}

// checkDrives refuses what the raid target cannot carry, because the kernel would find out too late or not at all.
func (m *machine) checkDrives(t, s catalog.LUN, why *reasons) {
	if have, most := m.logicalBlock(s), m.logicalBlock(t); have > most && most > 0 {
		why.add(vds.ErrInvalidSectorSize, "use a source on drives with the target's sector size",
			"%s has logical blocks of %d bytes, the target of %d", lunObject(s.Name), have, most)
	}
	for _, l := range []catalog.LUN{t, s} {
		for _, p := range l.Plexes {
			if plexType(p) == vds.TypeSpan {
				why.add(vds.ErrNotSupported, "use LUNs of which each lies on one drive",
					"a plex of %s spans drives: the kernel flushes only one of them before it forgets what it copied", lunObject(l.Name))
			}
		}
		for _, id := range l.Drives() {
			if d, ok := m.drives[id]; ok {
				checkKind(d, why)
			}
		}
	}
}

func checkKind(d *drive, why *reasons) {
	if d.info.ReadOnly {
		why.add(vds.ErrMediaWriteProtected, "", "%s is read-only", d.info.Path)
	}
	for kind, is := range map[string]bool{
		"zoned": d.info.Zoned, "a DAX device": d.info.DAX, "integrity-protected": d.info.Integrity,
	} {
		if is {
			why.add(vds.ErrNotSupported, "", "%s is %s, which the kernel's raid target does not support", d.info.Path, kind)
		}
	}
}

// logicalBlock is the largest logical block of l's drives, 0 when none is here.
func (m *machine) logicalBlock(l catalog.LUN) size.Bytes {
	var most size.Bytes
	for _, id := range l.Drives() {
		if d, ok := m.drives[id]; ok {
			most = max(most, d.info.LogicalBlock)
		}
	}
	return most
}

// checkKernel adds a reason when the kernel runs another table than the record wants. A leg whose plex has failed or whose
// drive is gone may still be in it.
func (m *machine) checkKernel(l catalog.LUN, have held, why *reasons) {
	out := m.outOf(l, have.was)
	want := layout(l, func(p catalog.Plex) bool {
		_, leg := have.was.health[p.ID]
		return !leg && out(p)
	})
	c := change{want: want, have: have.view, at: m.at}
	if have.was.live && !c.matches(want[len(want)-1]) {
		why.add(vds.ErrProviderCacheCorrupt, cacheHint, "%s: the kernel has another table than the catalog", lunObject(l.Name))
	}
}

// driveIDs finds drives by path, GUID or unique beginning of a GUID.
func (m *machine) driveIDs(refs []string) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	for _, ref := range refs {
		d, err := m.findDrive(ref)
		if err != nil {
			return nil, err
		}
		if d.foreign {
			return nil, foreignDriveFault(d)
		}
		if id := d.store.Label.Drive; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
