package ops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// How a comparison reads.
const (
	compareSlice = 250 * time.Millisecond // for one call of Step
	compareChunk = size.MiB               // for one read
	compareBlock = 4 * size.KiB           // compared again when it differs
	compareTries = 100                    // for a block that differs, because users write to it
	comparePause = 10 * time.Millisecond  // between two tries
)

// Comparison proves that an operation has filled its plexes, when the kernel's log does not. It compares them with a plex that
// they were filled from. The LUN may be in use. A block that is equal once stays so, because all writes go to both plexes. The
// kernel's own check is no choice: where it cannot read the source, it writes the other plex's content over it
// (drivers/md/raid1.c, process_checks).
//
// The zero Comparison begins at the start of the LUN.
type Comparison struct {
	at size.Sectors // everything before it is equal
}

// Step compares for a moment, and reports whether it has come to the end. A difference that stays, or a block that cannot be
// read, is the verdict that the operation has failed. An error says nothing about the operation.
func (c *Comparison) Step(ctx context.Context, h *host.Host, l catalog.LUN) (done bool, verdict *vds.Error, err error) {
	r := &comparer{h: h, l: l, disks: map[uuid.UUID]blockdev.Disk{}}
	defer r.close()
	if err := r.choose(ctx); err != nil {
		return false, nil, err
	}
	for start := time.Now(); c.at < l.Size; {
		if err := ctx.Err(); err != nil {
			return false, nil, err
		}
		if time.Since(start) > compareSlice {
			return false, nil, nil
		}
		n := min(compareChunk.Sectors(), l.Size-c.at)
		if verdict := r.chunk(ctx, c.at, n); verdict != nil || ctx.Err() != nil {
			return false, verdict, ctx.Err()
		}
		c.at += n
	}
	return true, nil, nil
}

// comparer compares parts of a LUN's plexes.
type comparer struct {
	h                *host.Host
	l                catalog.LUN
	disks            map[uuid.UUID]blockdev.Disk
	sources, targets []catalog.Plex
	ours, theirs     []byte
}

func (r *comparer) close() {
	for _, d := range r.disks {
		_ = d.Close() // nothing was written
	}
}

// choose finds the plexes to compare, and opens their drives.
func (r *comparer) choose(ctx context.Context) error {
	status, known, err := r.h.RaidStatus(ctx, r.l)
	if err != nil {
		return err
	}
	if !known {
		return raid1.ForeignTable(r.l)
	}
	for i, role := range r.h.Roles(r.l) {
		p := r.l.Plexes[i]
		switch {
		case role == record.Source && status.Health[i] == dm.LegInSync:
			r.sources = append(r.sources, p)
		case role == record.Target:
			r.targets = append(r.targets, p)
		default:
			continue
		}
		for _, id := range record.PlexDrives(p) {
			if err := r.open(ctx, id); err != nil {
				return err
			}
		}
	}
	if len(r.sources) == 0 || len(r.targets) == 0 {
		return errors.New("a plex that is compared has failed")
	}
	r.ours, r.theirs = make([]byte, compareChunk), make([]byte, compareChunk)
	return nil
}

func (r *comparer) open(ctx context.Context, id uuid.UUID) error {
	d, here := r.h.Drives[id]
	if _, opened := r.disks[id]; opened || !here {
		return nil
	}
	disk, err := r.h.Devices.Open(ctx, d.Info.Path, blockdev.Read)
	if err != nil {
		return fault.Of("compare", d.Info.Path, err)
	}
	r.disks[id] = disk
	return nil
}

// chunk is the verdict on a part of the LUN; nil when it is equal on all plexes.
func (r *comparer) chunk(ctx context.Context, at, length size.Sectors) *vds.Error {
	ours, theirs := r.ours[:length.Bytes()], r.theirs[:length.Bytes()]
	for _, p := range r.targets {
		if r.source(ours, at) == nil && r.read(p, theirs, at) == nil && bytes.Equal(ours, theirs) {
			continue
		}
		for off := size.Bytes(0); off < length.Bytes(); off += compareBlock {
			n := min(compareBlock, length.Bytes()-off)
			if verdict := r.block(ctx, p, at+off.Sectors(), n); verdict != nil {
				return verdict
			}
		}
	}
	return nil
}

// block is the verdict on one block of a plex. It looks again for a while, because users may write to the block.
func (r *comparer) block(ctx context.Context, p catalog.Plex, at size.Sectors, n size.Bytes) *vds.Error {
	ours, theirs := r.ours[:n], r.theirs[:n]
	var reason string
	for try := 0; try < compareTries && ctx.Err() == nil; try++ {
		if try > 0 {
			time.Sleep(comparePause)
		}
		sourceErr, err := r.source(ours, at), r.read(p, theirs, at)
		switch {
		case sourceErr != nil:
			reason = fmt.Sprintf("sector %d of the plex that it was filled from cannot be read: %v", at, sourceErr)
		case err != nil:
			reason = fmt.Sprintf("sector %d of plex %s cannot be read: %v", at, p.ID, err)
		case bytes.Equal(ours, theirs):
			return nil
		default:
			reason = fmt.Sprintf("plex %s differs from the one that it was filled from at sector %d", p.ID, at)
		}
	}
	return &vds.Error{
		Code: vds.ErrIO, Op: r.l.Operation.Type.String(), Object: record.LUNObject(r.l.Name), Reason: reason,
		Hint: "see to the drives, then run `plexctl lun recover " + r.l.Name + "`, or give the new plex up with `plexctl plex remove`",
	}
}

// source reads a part of the LUN from the first source that can be read.
func (r *comparer) source(b []byte, at size.Sectors) (err error) {
	for _, p := range r.sources {
		if err = r.read(p, b, at); err == nil {
			return nil
		}
	}
	return err
}

// read reads a part of the LUN from a plex.
func (r *comparer) read(p catalog.Plex, b []byte, at size.Sectors) error {
	end := at + size.Bytes(len(b)).Sectors()
	for _, run := range layout.RunsAfter(layout.RunsOf(p.Data, end), at) {
		disk, ok := r.disks[run.Drive]
		if !ok {
			return fmt.Errorf("%s is missing", record.DriveObject(run.Drive))
		}
		n := run.Length.Bytes()
		if _, err := disk.ReadAt(b[:n], int64(run.Start.Bytes())); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}
