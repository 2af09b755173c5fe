package ops

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// How a scan reads.
const (
	scanRate        = 256 * size.MiB   // in a second, without another limit
	scanChunk       = size.MiB         // for one read
	reportPeriod    = time.Second      // between two reports
	notePeriod      = 10 * time.Second // between two updates of the map
	scanLockTimeout = 30 * time.Second
)

// scanReader reads a LUN for a scan, without the host's lock.
type scanReader struct {
	l     catalog.LUN
	path  string // of the drive that holds all of the LUN
	disk  blockdev.Disk
	left  raidmeta.Bits
	zero  raidmeta.Bits // found, and not in the map yet
	opts  ScanOptions
	read  size.Bytes
	total ScanProgress
	buf   []byte
}

// run reads the regions that are left, and updates the map.
func (r *scanReader) run(ctx context.Context, env *Env) error {
	var err error
	if r.disk, err = env.Devices.Open(ctx, r.path, blockdev.Read); err != nil {
		return fault.Of("scan", r.path, err)
	}
	defer r.disk.Close() //nolint:errcheck // nothing was written
	r.count()
	start := time.Now()
	noted, reported := start, start
	for i := range raidmeta.Regions(r.l.Size, r.l.RegionSize) {
		if !r.left.Get(i) {
			continue
		}
		if err = r.pause(ctx, start); err != nil {
			break
		}
		r.region(ctx, i)
		if time.Since(reported) > reportPeriod {
			r.report()
			reported = time.Now()
		}
		if time.Since(noted) > notePeriod {
			if err = r.note(ctx, env); err != nil {
				break
			}
			noted = time.Now()
		}
	}
	r.report()
	if err = errors.Join(err, r.note(context.WithoutCancel(ctx), env)); ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// count counts the regions that were found earlier.
func (r *scanReader) count() {
	r.total = ScanProgress{Total: r.l.Size.Bytes()}
	for i := range raidmeta.Regions(r.l.Size, r.l.RegionSize) {
		if !r.left.Get(i) {
			r.total.Done += r.length(i)
			r.total.Zero += r.length(i)
		}
	}
}

// length is the length of region i.
func (r *scanReader) length(i uint64) size.Bytes {
	region := r.l.RegionSize
	return min(region, r.l.Size-size.Sectors(i)*region).Bytes()
}

// pause waits as long as the rate demands.
func (r *scanReader) pause(ctx context.Context, start time.Time) error {
	rate := r.opts.Rate
	if rate == record.Unlimited {
		rate = scanRate
	}
	due := start.Add(time.Duration(float64(r.read) / float64(rate) * float64(time.Second)))
	wait := time.NewTimer(time.Until(due))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}

// region reads region i and keeps the result.
func (r *scanReader) region(ctx context.Context, i uint64) {
	zero := r.isZero(ctx, i)
	r.total.Done += r.length(i)
	if zero {
		r.total.Zero += r.length(i)
		r.zero.Set(i)
	}
}

// isZero reports whether region i reads as zeros; false for a region that cannot be read.
func (r *scanReader) isZero(ctx context.Context, i uint64) bool {
	first := size.Sectors(i) * r.l.RegionSize
	end := first + r.length(i).Sectors()
	for _, run := range layout.RunsAfter(layout.RunsOf(r.l.Plexes[0].Data, end), first) {
		for at, left := run.Start.Bytes(), run.Length.Bytes(); left > 0; {
			n := min(left, size.Bytes(len(r.buf)))
			if _, err := r.disk.ReadAt(r.buf[:n], int64(at)); err != nil || ctx.Err() != nil {
				return false
			}
			r.read += n
			if !allZero(r.buf[:n]) {
				return false
			}
			at, left = at+n, left-n
		}
	}
	return true
}

// allZero reports whether b holds only zeros.
func allZero(b []byte) bool { return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

// note removes the zero regions from the map, if the LUN still has this scan. Otherwise its metadata slot may belong to another
// LUN.
func (r *scanReader) note(ctx context.Context, env *Env) error {
	err := env.ChangeWithin(ctx, scanLockTimeout, "note what a scan has found", func(ctx context.Context, s *Session) error {
		now, err := LUN{ID: r.l.ID, Name: r.l.Name}.In(s.Host, "scan")
		if err != nil {
			return err
		}
		if err := s.Unusable("scan", now); err != nil { // for example when its drive belongs to another host now
			return err
		}
		left, ok := raidmeta.Bits(nil), now.Scan == r.l.Scan
		if ok {
			left, ok = s.ReadMap(ctx, now)
		}
		if !ok {
			return record.LUNFault(vds.ErrOperationCanceled, "scan", now.Name, "the scan was given up, or has led to a plex", "")
		}
		left.Without(r.zero)
		return s.WriteMap(ctx, now, left)
	})
	if err == nil {
		clear(r.zero)
	}
	return err
}

// report calls the caller's function with the progress.
func (r *scanReader) report() {
	if r.opts.Report != nil {
		r.opts.Report(r.total)
	}
}
