package lun

import (
	"context"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

// AttachOptions say how AddPlex copies: the Rate, and whether to copy Now.
type AttachOptions = ops.AttachOptions

// AddPlex makes the LUN source a plex of l (IVdsLun::AddPlex) while l is in use. When it returns, source is no longer a LUN,
// every write to l goes to both, and the kernel copies the rest. The handle follows the copy. All data on source is lost. l
// keeps its size when source is larger. If source is a mirror, every plex of it becomes a plex of l. l may be a mirror itself,
// also one that has lost a plex.
//
// On an error nothing has changed. Codes:
//
//	vds.ErrObjectNotFound         no such source
//	vds.ErrObjectDeleted          l is gone
//	vds.ErrInvalidOperation       source is l, is smaller, shares a drive with l, or l has no place for so many plexes
//	vds.ErrDeviceInUse            source is open
//	vds.ErrInvalidSectorSize      larger logical blocks
//	vds.ErrObjectStatusFailed     a drive is missing, or a plex of source has failed
//	vds.ErrAnotherCallInProgress  an operation or a resync runs on either, or another process holds the lock past ctx
//	vds.ErrNotSupported           zoned, DAX or integrity-protected drives
//	vds.ErrProviderCacheCorrupt   the kernel has another table than the catalog says
//	vds.ErrInvalidArg             the rate
func (l *LUN) AddPlex(ctx context.Context, source uuid.UUID, opts AttachOptions) (*resync.Async, error) {
	return l.begin(ctx, "add plex to", ops.Attach(source, opts))
}

// AddNewPlex allocates space for a plex on drives, as CreateLUN does, and adds it to l, as AddPlex does. A cancel frees the
// space.
func (l *LUN) AddNewPlex(ctx context.Context, drives []string, opts AttachOptions) (*resync.Async, error) {
	return l.begin(ctx, "add plex to", ops.AttachRoom(drives, opts))
}

// RemovePlex takes a plex away from l while l is in use (IVdsLun::RemovePlex). The plex ceases to exist and its space is free.
// The handle has ended with vds.OK.
//
// Codes: vds.ErrObjectNotFound (no such plex), vds.ErrInvalidOperation (the only plex), vds.ErrAnotherCallInProgress,
// vds.ErrObjectDeleted. vds.ErrPlexLastActive: the others do not hold all of the data. vds.ErrObjectStatusFailed: l is not
// active.
func (l *LUN) RemovePlex(ctx context.Context, plex uuid.UUID) (*resync.Async, error) {
	return l.begin(ctx, "remove plex from", ops.Remove(plex))
}

// Split takes a plex away from l while l is in use. It makes a LUN of the plex, with the content of l at that moment. The
// kernel freezes a file system that is mounted from l meanwhile, so that the copy on the new LUN is clean. Codes as for
// RemovePlex, and vds.ErrInvalidArg and vds.ErrNameNotUnique for the name.
func (l *LUN) Split(ctx context.Context, plex uuid.UUID, name string) (*LUN, error) {
	var made catalog.LUN
	if err := l.change(ctx, "split", ops.Split(plex, name, &made)); err != nil || l.p.isDry() {
		return nil, err
	}
	return l.p.handle(made), nil
}

// Recover brings back plexes that failed or were missing, while the LUN is in use (IVdsLun::Recover). The kernel copies only
// the regions that were written in the meantime. It copies everything to a plex that was never filled completely, or that was
// missing when the LUN was started by force. When there is nothing to recover, the handle has ended with vds.OK.
//
// Codes: vds.ErrInvalidOperation (one plex), vds.ErrAnotherCallInProgress, vds.ErrObjectDeleted. vds.ErrObjectStatusFailed: the
// LUN is not active, or the drives of all failed plexes are missing.
func (l *LUN) Recover(ctx context.Context) (*resync.Async, error) {
	return l.begin(ctx, "recover", ops.Recover)
}

// Keep decides that a plex of l holds the data, and that the others do not. It is for plexes that were used without each other. It
// is also for a LUN of which no plex can be shown to be the newest. What only the other plexes have is lost once Recover fills
// them; until then their drives keep it.
//
// Codes: vds.ErrInvalidOperation (one plex, or nothing to decide), vds.ErrObjectNotFound (no such plex on a drive that is here).
// vds.ErrPlexLastActive: the plex does not hold all of the data. vds.ErrDeviceInUse: l is in use without it.
func (l *LUN) Keep(ctx context.Context, plex uuid.UUID) error {
	return ops.Keep(ctx, l.p.env, l.ref, plex)
}

// Plex finds a plex of l by GUID, by a unique beginning of it (at least 4 digits), or by its drive (path or GUID).
// vds.ErrObjectNotFound when there is none, vds.ErrInvalidArg when several match.
func (l *LUN) Plex(ref string) (uuid.UUID, error) {
	h := l.p.host()
	now, err := l.ref.In(h, "find plex of")
	if err != nil {
		return uuid.Nil, err
	}
	return ops.FindPlex(h, now, ref)
}

// ScanOptions say what a scan is for, and how it reads: Source, Drives, Rate, and Report.
type ScanOptions = ops.ScanOptions

// ScanProgress is how far a scan has got: Done and Zero, of Total.
type ScanProgress = ops.ScanProgress

// Scan finds out which regions of l are zero, so that a following AddPlex or AddNewPlex copies only the others. It returns when
// it has read all of l. When ctx ends earlier, l stays as it is and keeps what was found. Then Scan can continue, also in
// another process; EndScan discards the scan; AddPlex uses what is known. A tracked LUN needs no scan.
//
// Codes: those of AddPlex. vds.ErrNotSupported: l has several plexes, or the drives of the new plex cannot zero by themselves.
// vds.ErrOperationCanceled: another process has discarded the scan.
func (l *LUN) Scan(ctx context.Context, opts ScanOptions) error {
	return ops.Scan(ctx, l.p.env, l.ref, opts)
}

// EndScan discards a scan that has not led to a plex, and l is as before the scan. vds.ErrInvalidOperation when there is none.
func (l *LUN) EndScan(ctx context.Context) error {
	return l.change(ctx, "end scan of", ops.EndScan)
}

// Written is how much of l was ever written, in whole regions, by the bits on the drives. A new plex would get that much. If l
// is not tracked, Written is the size of l.
func (l *LUN) Written(ctx context.Context) (size.Bytes, error) {
	h := l.p.host()
	now, err := l.ref.In(h, "read")
	if err != nil || !now.Tracked() {
		return now.Size.Bytes(), err
	}
	return ops.Written(ctx, h, now), nil
}
