package lun

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Rename gives l another name while it is in use: its device has the new name when Rename returns, and whoever has it open
// or mounted keeps it. Codes: vds.ErrInvalidArg, vds.ErrNameNotUnique, vds.ErrObjectDeleted.
func (l *LUN) Rename(ctx context.Context, name string) error {
	return l.p.change(ctx, "rename "+lunObject(l.name), func(ctx context.Context, m *machine) error {
		record, err := l.in(m, "rename")
		if err != nil {
			return err
		}
		if err := m.checkName("rename", name); err != nil {
			return err
		}
		why := reasons{op: "rename", object: lunObject(record.Name)}
		if m.checkRecords(record, &why); why.err() != nil {
			return why.err()
		}
		next := record
		next.Name = name
		return m.rename(ctx, record, m.next(next))
	})
}

// rename commits the new name, and gives it to the devices: a plan of the new record does that at any time.
func (m *machine) rename(ctx context.Context, l, next catalog.LUN) error {
	have, err := m.settled(ctx, l)
	if err != nil {
		return err
	}
	tx := &transaction{put: []catalog.LUN{next}, back: []catalog.LUN{l}}
	steps := []step{tx.step("commit: " + l.Name + " is " + next.Name)}
	if c := (change{want: m.wants(next), have: have.view}); len(have.view) > 0 {
		steps = append(steps, tidy(c.renames())...)
	}
	return m.carryOut(ctx, "rename", l.Name, steps, tx)
}

// checkName refuses a name that a LUN cannot have or another one has.
func (m *machine) checkName(op, name string) error {
	if slices.ContainsFunc(m.set.LUNs, func(l catalog.LUN) bool { return l.Name == name }) {
		return &vds.Error{Code: vds.ErrNameNotUnique, Op: op, Object: lunObject(name), Reason: "the name is taken"}
	}
	if !catalog.ValidName(name) {
		return &vds.Error{
			Code: vds.ErrInvalidArg, Op: op, Object: lunObject(name), Reason: "a LUN cannot have this name",
			Hint: fmt.Sprintf("up to %d letters, digits, '.', '_' and '-', the first a letter or a digit", catalog.MaxName),
		}
	}
	return nil
}

// Extend makes l larger by a size, rounded up to a MiB, while it is in use (IVdsLun::Extend): every plex grows, on its own
// drives, or on those named that no other plex lies on. Of a mirror the new part is resynced, and nothing else; the handle
// follows that. The first and the last MiB of the new part are not zeroed: a file system grows into it. On an error nothing
// has changed. Codes: vds.ErrInvalidArg, vds.ErrNotEnoughSpace, vds.ErrObjectNotFound (a drive), vds.ErrObjectStatusFailed
// (a plex has failed or a drive is missing), vds.ErrNotSupported (a plex of a mirror would span drives),
// vds.ErrAnotherCallInProgress, vds.ErrObjectDeleted.
func (l *LUN) Extend(ctx context.Context, by size.Bytes, drives []string) (*resync.Async, error) {
	return l.begin(ctx, "extend", func(ctx context.Context, m *machine, record catalog.LUN) (catalog.LUN, error) {
		have, err := m.checkExtend(ctx, record)
		if err != nil {
			return record, err
		}
		next, err := m.grown(record, by, drives)
		if err != nil {
			return record, err
		}
		if err := m.refuseTaken(ctx, next); err != nil {
			return record, err
		}
		next.Operation = newOperation(vds.AsyncExtendLUN, l.p.now())
		next.Last, next.MaxRate = nil, 0
		if len(next.Plexes) == 1 || next.Tracked() {
			next = conclude(next, vds.OK, l.p.now())
		}
		next = m.next(m.flippedIf(have, next))
		tx := &transaction{put: []catalog.LUN{next}, first: record.Drives(), back: []catalog.LUN{record}}
		steps, err := m.transition(next, have, move{commit: tx.step(fmt.Sprintf("commit: %s has %s", record.Name, next.Size))})
		if err != nil {
			return record, err
		}
		return next, m.carryOut(ctx, "extend", record.Name, slices.Concat(present(clearGrowth(record, next)), steps), tx, record)
	})
}

// checkExtend says everything that speaks against making l larger.
func (m *machine) checkExtend(ctx context.Context, l catalog.LUN) (held, error) {
	why := reasons{op: "extend", object: lunObject(l.Name)}
	m.checkUsable(l, &why)
	checkIdle(l, &why)
	checkScan(l, &why)
	have, err := m.holdIdle(ctx, l, &why)
	if err != nil {
		return have, err
	}
	for _, p := range l.Copies() {
		if p.Stale || have.was.live && !have.was.holds(p.ID) {
			why.add(vds.ErrObjectStatusFailed, "`plexctl lun recover "+l.Name+"` first", "plex %s does not hold all of the data", p.ID)
		}
	}
	return have, why.err()
}

// grown is l with larger plexes.
func (m *machine) grown(l catalog.LUN, by size.Bytes, drives []string) (catalog.LUN, error) {
	more := by.RoundUp(size.MiB).Sectors()
	if more == 0 || l.Size+more < l.Size {
		return l, &vds.Error{Code: vds.ErrInvalidArg, Op: "extend", Object: lunObject(l.Name), Reason: fmt.Sprintf("it cannot grow by %s", by)}
	}
	ids, err := m.driveIDs(drives)
	if err != nil {
		return l, err
	}
	next := l
	next.Size += more
	next.Plexes = slices.Clone(l.Plexes)
	for i, p := range next.Copies() {
		if next.Plexes[i], err = m.growPlex(next, p, ids); err != nil {
			return l, err
		}
	}
	if len(l.Plexes) > 1 {
		if region := raidmeta.RegionSize(next.Size); region > next.RegionSize {
			next.RegionSize = region
		}
	}
	if err := next.Validate(); err != nil {
		return l, &vds.Error{Code: vds.ErrInvalidArg, Op: "extend", Object: lunObject(l.Name), Err: err}
	}
	return next, nil
}

// SetRate limits how fast l's running operation copies to each plex, a second, without starting it anew: Unlimited,
// Paused, or at least 1 KiB. vds.ErrInvalidOperation when none runs.
func (l *LUN) SetRate(ctx context.Context, rate size.Bytes) error {
	_, err := l.begin(ctx, "set rate of", func(ctx context.Context, m *machine, record catalog.LUN) (catalog.LUN, error) {
		if record.Operation == nil {
			return record, &vds.Error{
				Code: vds.ErrInvalidOperation, Op: "set rate of", Object: lunObject(record.Name), Reason: "no operation runs",
				Hint: "`plexctl op list` shows all",
			}
		}
		kib, err := rateKiB(rate)
		if err != nil {
			return record, err
		}
		next := record
		next.MaxRate = kib
		return m.pace(ctx, record, next)
	})
	return err
}

// pace swaps in the table of next, which is l with another rate. The copy goes on where it is: the bits say what is left.
func (m *machine) pace(ctx context.Context, l, next catalog.LUN) (catalog.LUN, error) {
	have, err := m.hold(ctx, l)
	if err != nil {
		return l, err
	}
	next = m.next(m.flippedIf(have, next))
	tx := &transaction{put: []catalog.LUN{next}, back: []catalog.LUN{l}}
	steps, err := m.transition(next, have, move{commit: tx.step("commit: " + l.Name + " copies " + rateText(next))})
	if err != nil {
		return l, err
	}
	return next, m.carryOut(ctx, "set rate of", l.Name, steps, tx, l)
}

// rateOf is the limit of l's operation, a second.
func rateOf(l catalog.LUN) size.Bytes {
	if l.MaxRate == pausedRate {
		return Paused
	}
	return size.Bytes(l.MaxRate) * size.KiB
}

// rateText says how fast l's operation copies.
func rateText(l catalog.LUN) string {
	switch {
	case l.Operation != nil && l.Operation.Queued:
		return "after others"
	case l.MaxRate == 0:
		return "at full speed"
	case l.MaxRate == pausedRate:
		return "nothing for now"
	default:
		return "at most " + rateOf(l).String() + " a second"
	}
}

// Unlimited and Paused are the two ends of a rate.
const (
	Unlimited size.Bytes = 0 // as fast as the drives are
	Paused    size.Bytes = 1 // next to nothing: some 20 KiB a second, until the rate is set again
)

// rateKiB is a rate as records have it.
func rateKiB(rate size.Bytes) (uint64, error) {
	switch {
	case rate == Unlimited:
		return 0, nil
	case rate == Paused:
		return pausedRate, nil
	case rate < size.KiB || rate > maxRate:
		return 0, &vds.Error{
			Code: vds.ErrInvalidArg, Op: "limit to", Object: rate.String() + " a second",
			Reason: "a rate is at least 1 KiB and at most " + maxRate.String() + " a second",
		}
	default:
		return max(pausedRate+1, uint64(rate/size.KiB)), nil
	}
}

// maxRate is the highest limit there is: rates are signed 32-bit numbers of KiB in the kernel.
const maxRate = 1 * size.TiB

// rivals is the LUNs on whose operations l's has to wait: they copy, and share a drive with l.
func (m *machine) rivals(l catalog.LUN) []catalog.LUN {
	var found []catalog.LUN
	drives := l.Drives()
	for _, other := range m.set.LUNs {
		if op := other.Operation; other.ID != l.ID && op != nil && !op.Queued && len(op.Plexes) > 0 &&
			slices.ContainsFunc(other.Drives(), func(id uuid.UUID) bool { return slices.Contains(drives, id) }) {
			found = append(found, other)
		}
	}
	return found
}

// queued is how an operation stands that waits for others: it may begin when they have ended.
func (o *operation) queued(ctx context.Context) (resync.Observation, error) {
	if err := o.p.Refresh(ctx); err != nil {
		return resync.Observation{}, err
	}
	m := o.p.machine()
	l, ok := m.record(o.lun)
	if !ok || l.Operation == nil || l.Operation.ID != o.id {
		return o.outcome(l)
	}
	state := resync.Running
	if l.Operation.Queued {
		state = resync.Queued
	}
	return resync.Observation{State: state, Total: l.Size, Ready: len(m.unfinished(ctx, m.rivals(l))) == 0}, nil
}

// unfinished is those of luns whose operations have something left to do. The end of one that nobody watches is recorded by
// whoever looks next.
func (m *machine) unfinished(ctx context.Context, luns []catalog.LUN) []catalog.LUN {
	return slices.DeleteFunc(luns, func(l catalog.LUN) bool {
		seen, known, err := m.observeOperation(ctx, l)
		return err == nil && known && (seen.State == resync.Done || seen.State == resync.Failed)
	})
}

// Start lets a queued operation begin, if nobody is changing anything: the next look tries again.
func (o *operation) Start(ctx context.Context) error {
	err := o.p.changeSoon(ctx, "start operation "+o.id.String(), func(ctx context.Context, m *machine) error {
		l, ok := m.record(o.lun)
		if !ok || l.Operation == nil || l.Operation.ID != o.id {
			return nil
		}
		return m.unqueue(ctx, l)
	})
	if errors.Is(err, vds.ErrAnotherCallInProgress) {
		return nil
	}
	return err
}

// unqueue lets l's operation begin if it waits for nothing any more.
func (m *machine) unqueue(ctx context.Context, l catalog.LUN) error {
	if l.Operation == nil || !l.Operation.Queued || len(m.unfinished(ctx, m.rivals(l))) > 0 {
		return nil
	}
	next := l
	op := *l.Operation
	op.Queued = false
	next.Operation = &op
	_, err := m.pace(ctx, l, next)
	return err
}
