package lun

import (
	"context"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

// AttachOptions say how AddPlex copies.
type AttachOptions struct {
	Rate size.Bytes // see SetRate
	Now  bool       // copy at once, though another LUN is being rebuilt on one of the drives
}

// AddPlex makes the LUN source a plex of l (IVdsLun::AddPlex) while l is in use. When it returns, source is no LUN any
// more, every write to l goes to both, and the kernel copies the rest; the handle follows that. All data on source is
// lost. A larger source leaves l's size as it is. Of a mirrored source every plex becomes a plex of l, and l may be a mirror
// itself, also one that has lost a plex.
//
// On an error nothing has changed. Codes: vds.ErrObjectNotFound (no such source), vds.ErrObjectDeleted (l is gone),
// vds.ErrInvalidOperation (source is l, is smaller, shares a drive with l, or l has no place for so many plexes),
// vds.ErrDeviceInUse (source is open), vds.ErrInvalidSectorSize (larger logical blocks), vds.ErrObjectStatusFailed
// (a drive is missing, or a plex of source has failed), vds.ErrAnotherCallInProgress (an operation or a resync runs on
// either, or another process holds the lock past ctx), vds.ErrNotSupported (zoned, DAX or integrity-protected drives),
// vds.ErrProviderCacheCorrupt (the kernel has another table than the catalog says), vds.ErrInvalidArg (the rate).
func (l *LUN) AddPlex(ctx context.Context, source uuid.UUID, opts AttachOptions) (*resync.Async, error) {
	return l.begin(ctx, "add plex to", ops.Attach(source, ops.AttachOptions(opts)))
}

// AddNewPlex makes room for a plex on drives, as CreateLUN does, and adds it to l, as AddPlex does. A cancel frees the room.
func (l *LUN) AddNewPlex(ctx context.Context, drives []string, opts AttachOptions) (*resync.Async, error) {
	return l.begin(ctx, "add plex to", ops.AttachRoom(drives, ops.AttachOptions(opts)))
}

// RemovePlex takes a plex away from l while l is in use (IVdsLun::RemovePlex): the plex ceases to exist and its room is
// free. The handle has ended with vds.OK. Codes: vds.ErrObjectNotFound (no such plex), vds.ErrInvalidOperation (the only
// plex), vds.ErrPlexLastActive (the others do not hold all of the data), vds.ErrAnotherCallInProgress,
// vds.ErrObjectStatusFailed (l is not active), vds.ErrObjectDeleted.
func (l *LUN) RemovePlex(ctx context.Context, plex uuid.UUID) (*resync.Async, error) {
	return l.begin(ctx, "remove plex from", ops.Remove(plex))
}

// Split takes a plex away from l while l is in use, and makes a LUN of it, with the content of l at that moment; a file
// system that is mounted from l is frozen for it, so that the new LUN's is clean. Codes as for RemovePlex, and
// vds.ErrInvalidArg and vds.ErrNameNotUnique for the name.
func (l *LUN) Split(ctx context.Context, plex uuid.UUID, name string) (*LUN, error) {
	var made catalog.LUN
	_, err := l.change(ctx, "split", ops.Split(plex, name, &made))
	if err != nil || l.p.isDry() {
		return nil, err
	}
	return l.p.handle(made), nil
}

// Recover brings plexes back that have failed or were missing, while the LUN is in use (IVdsLun::Recover): the kernel
// copies the regions that were written meanwhile, and no others; everything, to a plex that was never filled to the end or
// without which the LUN was started by force. When nothing is to be recovered the handle has ended with vds.OK. Codes:
// vds.ErrInvalidOperation (one plex), vds.ErrObjectStatusFailed (the LUN is not active, or the drives of all failed plexes
// are missing), vds.ErrAnotherCallInProgress, vds.ErrObjectDeleted.
func (l *LUN) Recover(ctx context.Context) (*resync.Async, error) {
	return l.begin(ctx, "recover", ops.Recover)
}

// Plex finds a plex of l by its GUID, a unique beginning of it (at least 4 digits), or the drive it lies on (path or
// GUID). vds.ErrObjectNotFound when there is none, vds.ErrInvalidArg when several match.
func (l *LUN) Plex(ref string) (uuid.UUID, error) {
	h := l.p.host()
	now, err := l.ref().In(h, "find plex of")
	if err != nil {
		return uuid.Nil, err
	}
	return ops.FindPlex(h, now, ref)
}

// ScanOptions say what a scan is for, and how it reads.
type ScanOptions struct {
	Source uuid.UUID          // the LUN that is to become a plex afterwards; Nil: room on drives
	Drives []string           // these drives, as AddNewPlex has it
	Rate   size.Bytes         // to read at most so much a second; Unlimited: 256 MiB
	Report func(ScanProgress) // is called about once a second and at the end; may be nil
}

// ScanProgress is how far a scan is.
type ScanProgress struct {
	Done  size.Bytes // read, or known before
	Total size.Bytes
	Zero  size.Bytes // of Done; the rest would be copied
}

// Scan finds out what of l is zero, so that AddPlex or AddNewPlex copies nothing else; call that next. It returns when all of
// l is read. When ctx ends before, l stays as it is and keeps what was found: Scan goes on later, also in another process,
// EndScan gives it up, and AddPlex makes do with what is known. A tracked LUN needs no scan. Codes: those of AddPlex;
// vds.ErrNotSupported for a LUN with several plexes, and where the drives of the new plex cannot zero by themselves;
// vds.ErrOperationCanceled when somebody else gives the scan up.
func (l *LUN) Scan(ctx context.Context, opts ScanOptions) error {
	inner := ops.ScanOptions{Source: opts.Source, Drives: opts.Drives, Rate: opts.Rate}
	if opts.Report != nil {
		inner.Report = func(p ops.ScanProgress) { opts.Report(ScanProgress(p)) }
	}
	return ops.Scan(ctx, l.p.env, l.ref(), inner)
}

// EndScan gives up a scan that has not led to a plex: l is what it was before. vds.ErrInvalidOperation when there is none.
func (l *LUN) EndScan(ctx context.Context) error {
	_, err := l.change(ctx, "end scan of", ops.EndScan)
	return err
}

// Written is how much of l was ever written, in whole regions, as far as it is noted on the drives: that is what a new plex would
// get. Of a LUN that is not tracked it is everything.
func (l *LUN) Written(ctx context.Context) (size.Bytes, error) {
	h := l.p.host()
	now, err := l.ref().In(h, "read")
	if err != nil || !now.Tracked() {
		return now.Size.Bytes(), err
	}
	return ops.Written(ctx, h, now), nil
}
