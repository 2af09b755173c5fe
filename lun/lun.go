package lun

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// LUN is a handle on a LUN (IVdsLun). It stays valid, and answers vds.ErrObjectDeleted, when the LUN is deleted or
// absorbed, by this process or another.
type LUN struct {
	p    *Provider
	id   uuid.UUID
	name string
}

// LUNs is a handle on every LUN, sorted by name.
func (p *Provider) LUNs() []*LUN {
	var all []*LUN
	for _, l := range p.machine().set.LUNs {
		all = append(all, p.handle(l))
	}
	slices.SortFunc(all, func(a, b *LUN) int { return cmp.Compare(a.name, b.name) })
	return all
}

// LUN finds a LUN by name, GUID, or a unique beginning of its GUID (at least 4 digits). vds.ErrObjectNotFound when there
// is none, vds.ErrInvalidArg when several match.
func (p *Provider) LUN(ref string) (*LUN, error) {
	l, err := p.machine().find(ref)
	if err != nil {
		return nil, err
	}
	return p.handle(l), nil
}

func (p *Provider) handle(l catalog.LUN) *LUN { return &LUN{p: p, id: l.ID, name: l.Name} }

// ID is the LUN's GUID, which never changes.
func (l *LUN) ID() uuid.UUID { return l.id }

// Name is the LUN's name when the handle was made.
func (l *LUN) Name() string { return l.name }

// Record is the LUN's record in the catalog as last read.
func (l *LUN) Record() (catalog.LUN, error) {
	return l.in(l.p.machine(), "read")
}

// in is the LUN's record on m.
func (l *LUN) in(m *machine, op string) (catalog.LUN, error) {
	record, ok := m.record(l.id)
	if !ok {
		return catalog.LUN{}, &vds.Error{
			Code: vds.ErrObjectDeleted, Op: op, Object: lunObject(l.name), Reason: "it was deleted or has become a plex of another LUN",
		}
	}
	return record, nil
}

// Operation is the handle of the LUN's running operation, or of its last one when none runs; nil when there was none.
func (l *LUN) Operation() (*resync.Async, error) {
	record, err := l.Record()
	if err != nil {
		return nil, err
	}
	switch {
	case record.Operation != nil:
		return l.p.watch(record), nil
	case record.Last != nil:
		return ended(record), nil
	default:
		return nil, nil
	}
}

// Spec describes a LUN to make.
type Spec struct {
	Name   string     // letters, digits, '.', '_' and '-'; starts with a letter or digit; at most catalog.MaxName bytes
	Size   size.Bytes // rounded up to a MiB
	Drives []string   // drives to use, each used up before the next; empty: the one with the most room
	// Track has every MiB that is ever written noted, so that a plex which is added gets these and no others. All of the LUN is
	// zeroed then, by its drive, or with writes where that cannot, which takes as long as writing it does.
	Track bool
}

// CreateLUN makes a LUN with one plex and activates it. The first and the last MiB are zeroed, the rest is as it was; of a LUN
// that is tracked everything is zeroed.
// On an error nothing of the LUN remains. Codes: vds.ErrInvalidArg (name, size), vds.ErrNameNotUnique,
// vds.ErrObjectNotFound (drive), vds.ErrNotEnoughSpace, vds.ErrNotEnoughDrive.
func (p *Provider) CreateLUN(ctx context.Context, spec Spec) (*LUN, error) {
	var made catalog.LUN
	patience, done := untilCanceled(ctx)
	defer done()
	err := p.change(ctx, "create "+lunObject(spec.Name), func(ctx context.Context, m *machine) error {
		var err error
		made, err = m.newLUN(spec)
		if err != nil {
			return err
		}
		if err := m.refuseTaken(ctx, made); err != nil {
			return err
		}
		return m.create(ctx, made, readyExtents(patience, made))
	})
	if err != nil || p.dry != nil {
		return nil, err
	}
	return p.handle(made), nil
}

// newLUN is the record of the LUN that spec asks for.
func (m *machine) newLUN(spec Spec) (catalog.LUN, error) {
	object := lunObject(spec.Name)
	if err := m.checkName("create", spec.Name); err != nil {
		return catalog.LUN{}, err
	}
	length := spec.Size.RoundUp(size.MiB).Sectors()
	if length == 0 {
		return catalog.LUN{}, &vds.Error{Code: vds.ErrInvalidArg, Op: "create", Object: object, Reason: "the size is zero"}
	}
	drives, err := m.driveIDs(spec.Drives)
	if err != nil {
		return catalog.LUN{}, err
	}
	plex, err := m.allocate(length, drives)
	if err != nil {
		return catalog.LUN{}, err
	}
	made := catalog.LUN{ID: uuid.New(), Name: spec.Name, Size: length, Plexes: []catalog.Plex{plex}}
	if spec.Track {
		if err := checkTracked(made); err != nil {
			return catalog.LUN{}, err
		}
		made = withVacancy(made)
	}
	made = m.next(made)
	if err := made.Validate(); err != nil {
		return catalog.LUN{}, &vds.Error{Code: vds.ErrInvalidArg, Op: "create", Object: object, Err: err}
	}
	return made, nil
}

// readyExtents is the steps that prepare the extents of a new LUN.
func readyExtents(patience context.Context, l catalog.LUN) []step {
	if l.Tracked() {
		return []step{readyTracked(patience, l)}
	}
	return []step{wipe(l), funcStep{text: "zero the room for the metadata of " + l.Name, do: func(ctx context.Context, m *machine) error {
		return m.zero(ctx, l.Plexes[0].Meta)
	}}}
}

// create readies the extents of l, commits it and activates it. If activation fails, l is deleted again.
func (m *machine) create(ctx context.Context, l catalog.LUN, ready []step) error {
	tx := &transaction{put: []catalog.LUN{l}}
	steps := plan(change{want: m.wants(l), at: m.at, commit: tx.step("commit: " + l.Name + " is a LUN")})
	err := m.execute(ctx, slices.Concat(ready, steps))
	if err == nil {
		return nil
	}
	err = fault("create", lunObject(l.Name), err)
	if !tx.begun {
		return err
	}
	return joinUndo(err, m.discard(ctx, l))
}

// Delete removes the LUN and all its plexes (IVdsLun::Delete); the space is free again and the data is lost. Codes:
// vds.ErrDeviceInUse when it is open, vds.ErrAnotherCallInProgress under an operation, vds.ErrObjectDeleted.
func (l *LUN) Delete(ctx context.Context) error {
	return l.p.change(ctx, "delete "+lunObject(l.name), func(ctx context.Context, m *machine) error {
		record, err := l.in(m, "delete")
		if err != nil {
			return err
		}
		if record, err = m.settleEnded(ctx, record, l.p.now()); err != nil {
			return err
		}
		why := reasons{op: "delete", object: lunObject(record.Name)}
		if err := m.foreignDrive(record); err != nil {
			why.add(vds.ErrDiskConfigurationNotSync, "", "%v", err)
		}
		if record.Operation != nil {
			why.add(vds.ErrAnotherCallInProgress, cancelHint(record), "%s is running", record.Operation.Type)
		}
		if err := m.refuseOpen(ctx, record, &why); err != nil {
			return err
		}
		if err := why.err(); err != nil {
			return err
		}
		return m.discard(ctx, record)
	})
}

// discard takes a LUN down and commits that it is gone, also to those of its drives of which nobody knows whether they have
// ever got its record.
func (m *machine) discard(ctx context.Context, l catalog.LUN) error {
	have, err := m.settled(ctx, l)
	if err != nil {
		return err
	}
	gone := l
	gone.Deleted = true
	gone = m.next(gone)
	tx := &transaction{put: []catalog.LUN{gone}, first: l.Drives()}
	if err := m.execute(ctx, plan(change{have: have.view, settle: have.settle, at: m.at, commit: tx.step("commit that " + l.Name + " is deleted")})); err != nil {
		return fault("delete", lunObject(l.Name), err)
	}
	return nil
}

// passingOpen is how long an opener may take to go that is neither a mount nor anything else that stays: udevd looks into
// every device that was written to.
const (
	passingOpen  = 2 * time.Second
	passingPause = 50 * time.Millisecond
)

// refuseOpen adds a reason when somebody has the LUN's device open, and goes on having it.
func (m *machine) refuseOpen(ctx context.Context, l catalog.LUN, why *reasons) error {
	for deadline := time.Now().Add(passingOpen); ; time.Sleep(passingPause) {
		info, err := m.kernel.Info(ctx, lunName(l.Name))
		if isGone(err) || err == nil && info.OpenCount == 0 {
			return nil
		}
		if err != nil {
			return fault(why.op, lunObject(l.Name), err)
		}
		users, err := m.devices.Users(ctx, info.Dev)
		if err != nil {
			m.log.Warn("find users", "device", info.Name, "error", err)
		}
		if time.Now().After(deadline) || slices.ContainsFunc(users, stays) {
			why.add(vds.ErrDeviceInUse, "unmount or close it first", "%s is in use: %s", lunObject(l.Name), userText(users))
			return nil
		}
	}
}

// stays reports whether a user does not go by itself in a moment.
func stays(u blockdev.User) bool { return u.Kind != "process" }

// cancelHint is what to do about the operation that l is under.
func cancelHint(l catalog.LUN) string {
	id := l.Operation.ID.String()
	if l.Operation.Type != vds.AsyncAddLUNPlex {
		return "wait for it with `plexctl op wait " + id + "`"
	}
	return "wait for it with `plexctl op wait " + id + "` or end it with `plexctl op cancel " + id + "`"
}
