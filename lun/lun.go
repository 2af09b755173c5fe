package lun

import (
	"context"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

// LUN is a handle on a LUN (IVdsLun). When this process or another deletes or absorbs the LUN, the handle stays valid and
// answers vds.ErrObjectDeleted.
type LUN struct {
	p   *Provider
	ref ops.LUN
}

// LUNs is a handle on every LUN, sorted by name.
func (p *Provider) LUNs() []*LUN {
	var all []*LUN
	for _, l := range p.host().Set.LUNs {
		all = append(all, p.handle(l))
	}
	return all
}

// LUN finds a LUN by name, GUID, or a unique beginning of its GUID (at least 4 digits). vds.ErrObjectNotFound when there
// is none, vds.ErrInvalidArg when several match.
func (p *Provider) LUN(ref string) (*LUN, error) {
	l, err := p.host().Find(ref)
	if err != nil {
		return nil, err
	}
	return p.handle(l), nil
}

func (p *Provider) handle(l catalog.LUN) *LUN {
	return &LUN{p: p, ref: ops.LUN{ID: l.ID, Name: l.Name}}
}

// ID is the LUN's GUID, which never changes.
func (l *LUN) ID() uuid.UUID { return l.ref.ID }

// Name is the name that the LUN had when the handle was made.
func (l *LUN) Name() string { return l.ref.Name }

// Record is the LUN's record in the catalog as last read.
func (l *LUN) Record() (catalog.LUN, error) { return l.ref.In(l.p.host(), "read") }

// Operation is the handle of the LUN's running operation, or of its last one when none runs; nil when there was none.
func (l *LUN) Operation() (*resync.Async, error) {
	now, err := l.Record()
	if err != nil || now.Operation == nil && now.Last == nil {
		return nil, err
	}
	return l.p.handleOf(now), nil
}

// Spec describes a LUN to make: Name, Size, Drives, and whether to Track what is written to it.
type Spec = ops.Spec

// CreateLUN makes a LUN with one plex and activates it. It zeroes the first and the last MiB and leaves the rest; it zeroes all
// of a tracked LUN. On an error nothing of the LUN remains.
//
// The name must not read as a GUID or as the beginning of one: 4 to 32 hexadecimal digits, with dashes anywhere or without.
//
// Codes: vds.ErrInvalidArg (name, size), vds.ErrObjectNotFound (drive), vds.ErrNotEnoughSpace, vds.ErrNotEnoughDrive.
// vds.ErrNameNotUnique: another LUN has the name, or another device of device-mapper, or a LUN that a cancel can still give back.
func (p *Provider) CreateLUN(ctx context.Context, spec Spec) (*LUN, error) {
	made, err := ops.Create(ctx, p.env, spec)
	if err != nil || p.isDry() {
		return nil, err
	}
	return p.handle(made), nil
}

// Delete removes the LUN and all its plexes (IVdsLun::Delete). The space is free again and the data is lost. Codes:
// vds.ErrDeviceInUse when it is open, vds.ErrAnotherCallInProgress under an operation, vds.ErrObjectDeleted.
func (l *LUN) Delete(ctx context.Context) error { return ops.Delete(ctx, l.p.env, l.ref) }

// Rename changes the name of l while l is in use. Its device has the new name when Rename returns; open files and mounts stay
// valid. On an error l has its old name. Names are as for CreateLUN. Codes: vds.ErrInvalidArg, vds.ErrNameNotUnique,
// vds.ErrObjectDeleted.
func (l *LUN) Rename(ctx context.Context, name string) error {
	return l.change(ctx, "rename", ops.Rename(name))
}

// Extend makes l larger by a size, rounded up to a MiB, while l is in use (IVdsLun::Extend). Every plex grows: on its own
// drives, or on named drives that no other plex uses. If l is a mirror, the kernel resyncs the new part and nothing else, and
// the handle follows that. The first and the last MiB of the new part are not zeroed: a file system grows into it. On an error
// nothing has changed.
//
// Codes: vds.ErrInvalidArg, vds.ErrNotEnoughSpace, vds.ErrObjectNotFound (a drive), vds.ErrAnotherCallInProgress,
// vds.ErrObjectDeleted. vds.ErrObjectStatusFailed: a plex has failed or a drive is missing. A plex of a mirror does not grow onto
// another drive.
func (l *LUN) Extend(ctx context.Context, by size.Bytes, drives []string) (*resync.Async, error) {
	return l.begin(ctx, "extend", ops.Extend(by, drives))
}

// AllRoom is a size: all the room of the drives. CreateLUN and Extend take it.
const AllRoom = ops.AllRoom

// Unlimited and Paused are the two ends of a rate.
const (
	Unlimited = record.Unlimited // as fast as the drives are
	Paused    = record.Paused    // next to nothing: some 20 KiB a second, until the rate is set again
)

// SetRate limits how fast l's running operation copies to each plex. The rate is per second: Unlimited, Paused, or at least 1
// KiB. The operation does not start again. vds.ErrInvalidOperation when none runs.
func (l *LUN) SetRate(ctx context.Context, rate size.Bytes) error {
	return l.change(ctx, "set rate of", ops.SetRate(rate))
}

// change runs a verb on l.
func (l *LUN) change(ctx context.Context, op string, verb ops.Verb) error {
	_, err := l.p.env.ChangeLUN(ctx, l.ref, op, verb)
	return err
}

// begin runs a verb that starts an operation on l, and returns the operation's handle; nil for a DryRun Provider.
func (l *LUN) begin(ctx context.Context, op string, verb ops.Verb) (*resync.Async, error) {
	next, err := l.p.env.ChangeLUN(ctx, l.ref, op, verb)
	if err != nil || l.p.isDry() {
		return nil, err
	}
	return l.p.handleOf(next), nil
}
