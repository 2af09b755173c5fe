package lun

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/vds"
)

// Plex finds a plex of l by its GUID, a unique beginning of it (at least 4 digits), or the drive it lies on (path or
// GUID). vds.ErrObjectNotFound when there is none, vds.ErrInvalidArg when several match.
func (l *LUN) Plex(ref string) (uuid.UUID, error) {
	m := l.p.machine()
	record, err := l.in(m, "find plex of")
	if err != nil {
		return uuid.Nil, err
	}
	drive, driveErr := m.findDrive(ref)
	var found []uuid.UUID
	for _, p := range record.Copies() {
		onDrive := driveErr == nil && slices.Contains(plexDrives(p), drive.store.Label.Drive)
		if onDrive || len(ref) >= 4 && strings.HasPrefix(p.ID.String(), strings.ToLower(ref)) {
			found = append(found, p.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return uuid.Nil, noPlex(record, ref)
	default:
		return uuid.Nil, &vds.Error{
			Code: vds.ErrInvalidArg, Op: "find", Object: fmt.Sprintf("plex %q", ref), Reason: "several plexes match",
			Hint: "name it by its whole GUID",
		}
	}
}

func noPlex(l catalog.LUN, ref string) error {
	return &vds.Error{
		Code: vds.ErrObjectNotFound, Op: "find", Object: fmt.Sprintf("plex %q", ref),
		Reason: lunObject(l.Name) + " has no such plex", Hint: "`plexctl plex list " + l.Name + "` shows all",
	}
}

// RemovePlex takes a plex away from l while l is in use (IVdsLun::RemovePlex): the plex ceases to exist and its room is
// free. The handle has ended with vds.OK. Codes: vds.ErrObjectNotFound (no such plex), vds.ErrInvalidOperation (the only
// plex), vds.ErrPlexLastActive (the others do not hold all of the data), vds.ErrAnotherCallInProgress,
// vds.ErrObjectStatusFailed (l is not active), vds.ErrObjectDeleted.
func (l *LUN) RemovePlex(ctx context.Context, plex uuid.UUID) (*resync.Async, error) {
	return l.begin(ctx, "remove plex from", func(ctx context.Context, m *machine, record catalog.LUN) (catalog.LUN, error) {
		have, err := m.checkRemove(ctx, record, plex, "remove plex from")
		if err != nil {
			return record, err
		}
		under := without(record, plex)
		under.Operation = newOperation(vds.AsyncRemoveLUNPlex, l.p.now())
		next := m.next(m.flippedIf(have, markFailed(conclude(under, vds.OK, l.p.now()), have.was)))
		tx := &transaction{put: []catalog.LUN{next}, back: []catalog.LUN{record}}
		steps, err := m.transition(next, have, move{commit: tx.step(fmt.Sprintf("commit: %s is without plex %s", record.Name, plex))})
		if err != nil {
			return record, err
		}
		return next, m.carryOut(ctx, "remove plex from", record.Name, steps, tx, record)
	})
}

// Split takes a plex away from l while l is in use, and makes a LUN of it, with the content of l at that moment; a file
// system that is mounted from l is frozen for it, so that the new LUN's is clean. Codes as for RemovePlex, and
// vds.ErrInvalidArg and vds.ErrNameNotUnique for the name.
func (l *LUN) Split(ctx context.Context, plex uuid.UUID, name string) (*LUN, error) {
	var made catalog.LUN
	_, err := l.begin(ctx, "split", func(ctx context.Context, m *machine, record catalog.LUN) (catalog.LUN, error) {
		if err := m.checkName("split", name); err != nil {
			return record, err
		}
		have, err := m.checkRemove(ctx, record, plex, "split")
		if err != nil {
			return record, err
		}
		if made, err = m.splitOff(record, plex, name, have.was); err != nil {
			return record, err
		}
		under := without(record, plex)
		under.Operation = newOperation(vds.AsyncRemoveLUNPlex, l.p.now())
		next := m.next(m.flippedIf(have, markFailed(conclude(under, vds.OK, l.p.now()), have.was)))
		tx := &transaction{put: []catalog.LUN{next, made}, first: made.Drives(), back: []catalog.LUN{record}}
		steps, err := m.transition(next, have, move{
			commit: tx.step(fmt.Sprintf("commit: plex %s of %s is LUN %s", plex, record.Name, name)), freeze: true,
		})
		if err != nil {
			return record, err
		}
		return next, m.carryOut(ctx, "split", record.Name, append(steps, m.revive(made)), tx, record)
	})
	if err != nil || l.p.dry != nil {
		return nil, err
	}
	return l.p.handle(made), nil
}

// splitOff is the LUN that a plex of l becomes.
func (m *machine) splitOff(l catalog.LUN, plex uuid.UUID, name string, was standing) (catalog.LUN, error) {
	if !was.holds(plex) {
		return catalog.LUN{}, &vds.Error{
			Code: vds.ErrObjectStatusFailed, Op: "split", Object: "plex " + plex.String(),
			Reason: "it does not hold all of the data", Hint: "`plexctl lun recover " + l.Name + "` first",
		}
	}
	i := slices.IndexFunc(l.Plexes, func(p catalog.Plex) bool { return p.ID == plex })
	made := catalog.LUN{ID: uuid.New(), Name: name, Size: l.Size, Plexes: []catalog.Plex{l.Plexes[i]}}
	if l.Tracked() {
		made = withVacancy(made)
		made.RegionSize = l.RegionSize
	}
	made = m.next(made)
	return made, made.Validate()
}

// markFailed is l with the plexes marked that the kernel has given up or never had. It is pure.
func markFailed(l catalog.LUN, was standing) catalog.LUN {
	l.Plexes = slices.Clone(l.Plexes)
	for i, p := range l.Plexes {
		l.Plexes[i].Stale = p.Stale || len(l.Plexes) > 1 && was.mirror && !was.holds(p.ID)
	}
	return l
}

// checkRemove says everything that speaks against taking a plex away from l.
func (m *machine) checkRemove(ctx context.Context, l catalog.LUN, plex uuid.UUID, op string) (held, error) {
	why := reasons{op: op, object: lunObject(l.Name)}
	if !slices.ContainsFunc(l.Copies(), func(p catalog.Plex) bool { return p.ID == plex }) {
		return held{}, noPlex(l, plex.String())
	}
	if len(l.Copies()) == 1 {
		why.add(vds.ErrInvalidOperation, "`plexctl lun delete` deletes the LUN", "plex %s is its only one", plex)
		return held{}, why.err()
	}
	m.checkRecords(l, &why)
	checkIdle(l, &why)
	have, err := m.holdIdle(ctx, l, &why)
	if err != nil {
		return have, err
	}
	others := without(l, plex).Plexes
	if have.was.live && !slices.ContainsFunc(others, func(p catalog.Plex) bool { return have.was.holds(p.ID) }) {
		why.add(vds.ErrPlexLastActive, "`plexctl lun recover "+l.Name+"` first", "no other plex holds all of the data")
	}
	return have, why.err()
}
