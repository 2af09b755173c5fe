package lun

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

var errNotBuilt = errors.New("not built")

// Unlimited and Paused are the two ends of a rate.
const (
	Unlimited size.Bytes = 0 // as fast as the drives are
	Paused    size.Bytes = 1 // next to nothing: the copy stands still until the rate is set again
)

// AttachOptions say how AddPlex copies.
type AttachOptions struct {
	Rate size.Bytes // most that is copied to each new plex, a second; Unlimited, Paused, or at least 1 KiB
	Now  bool       // copy at once, though another LUN is being rebuilt on one of the drives
}

// AddNewPlex makes room for a plex on drives, as CreateLUN does, and adds it to l, as AddPlex does. A cancel frees the room.
func (l *LUN) AddNewPlex(ctx context.Context, drives []string, opts AttachOptions) (*resync.Async, error) {
	return nil, errNotBuilt
}

// Plex finds a plex of l by its GUID, a unique beginning of it (at least 4 digits), or the drive it lies on (path or
// GUID). vds.ErrObjectNotFound when there is none, vds.ErrInvalidArg when several match.
func (l *LUN) Plex(ref string) (uuid.UUID, error) { return uuid.Nil, errNotBuilt }

// RemovePlex takes a plex away from l while l is in use (IVdsLun::RemovePlex): the plex ceases to exist and its room is
// free. The handle has ended with vds.OK. Codes: vds.ErrObjectNotFound (no such plex), vds.ErrInvalidOperation (the only
// plex), vds.ErrPlexLastActive (the others do not hold all of the data), vds.ErrAnotherCallInProgress, vds.ErrObjectDeleted.
func (l *LUN) RemovePlex(ctx context.Context, plex uuid.UUID) (*resync.Async, error) {
	return nil, errNotBuilt
}

// Split takes a plex away from l while l is in use, and makes a LUN of it, with the content of l at that moment; a file
// system that is mounted from l is frozen for it, so that the new LUN's is clean. Codes as for RemovePlex, and
// vds.ErrInvalidArg and vds.ErrNameNotUnique for the name.
func (l *LUN) Split(ctx context.Context, plex uuid.UUID, name string) (*LUN, error) {
	return nil, errNotBuilt
}

// Rename gives l another name while it is in use. Codes: vds.ErrInvalidArg, vds.ErrNameNotUnique, vds.ErrObjectDeleted.
func (l *LUN) Rename(ctx context.Context, name string) error { return errNotBuilt }

// Extend makes l larger by a size, rounded up to a MiB, while it is in use (IVdsLun::Extend): every plex grows, on the
// drives named where it lies on one of them or they have room, else on its own. Of a mirror the new part is resynced, and
// nothing else; the handle follows that.
func (l *LUN) Extend(ctx context.Context, by size.Bytes, drives []string) (*resync.Async, error) {
	return nil, errNotBuilt
}

// SetRate limits how fast l's running operation copies to each plex, a second, without starting it anew: Unlimited,
// Paused, or at least 1 KiB. vds.ErrInvalidOperation when none runs.
func (l *LUN) SetRate(ctx context.Context, rate size.Bytes) error { return errNotBuilt }

// Reenumerate looks for drives anew, brings all catalogs to agree, and the kernel's devices of every active LUN to what its
// record says. It is the first half of the cure for vds.ErrProviderCacheCorrupt (IVdsHwProvider::Reenumerate); Refresh is
// the other.
func (p *Provider) Reenumerate(ctx context.Context) ([]Result, error) { return nil, errNotBuilt }

// TakeOver makes drives that were last used by another host this one's, so that their LUNs can be started here. refs are
// paths or GUIDs; none: all. The other host must not use them any more.
func (p *Provider) TakeOver(ctx context.Context, refs ...string) ([]Drive, error) {
	return nil, errNotBuilt
}

// DryRun is a Provider that carries no change out: it checks what p would check, plans what p would plan, and keeps the
// steps, which Plan returns. Its methods that return a handle on what they made return nil instead.
func (p *Provider) DryRun() *Provider { return p }

// Plan is the steps of all changes that were asked of a DryRun Provider.
func (p *Provider) Plan() []PlannedStep { return nil }

// PlannedStep is one step of a change, as it is shown to a user.
type PlannedStep struct {
	Text   string // what is done
	Table  string // the device-mapper table that is loaded, a line each segment; empty where none is
	Undo   string // how plexctl takes the step back when a later one fails; empty where nothing has to be
	Commit bool   // from here on the change is carried out, before it it is taken back
}
