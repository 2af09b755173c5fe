package lun

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// scan is what a process reads.
type scan struct {
	id    uuid.UUID
	l     catalog.LUN
	path  string // of the drive that all of it lies on
	left  raidmeta.Bits
	zero  raidmeta.Bits // found, and not noted yet
	opts  ScanOptions
	done  size.Bytes
	total ScanProgress
}

// run reads what is left to read, and notes what it finds.
func (s *scan) run(ctx context.Context, l *LUN) error {
	regions := raidmeta.Regions(s.l.Size, s.l.RegionSize)
	s.total = ScanProgress{Total: s.l.Size.Bytes()}
	for i := range regions {
		if !s.left.Get(i) {
			s.total.Done += s.length(i)
			s.total.Zero += s.length(i)
		}
	}
	disk, err := l.p.machine().devices.Open(ctx, s.path, blockdev.Read)
	if err != nil {
		return fault("scan", s.path, err)
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	start := time.Now()
	noted, told := start, start
	buffer := make([]byte, scanChunk)
	for i := uint64(0); i < regions && err == nil; i++ {
		if !s.left.Get(i) {
			continue
		}
		if err = s.pause(ctx, start); err != nil {
			break
		}
		zero := s.read(ctx, disk, i, buffer)
		s.total.Done += s.length(i)
		if zero {
			s.total.Zero += s.length(i)
			s.zero.Set(i)
		}
		if time.Since(told) > tellPeriod {
			s.tell()
			told = time.Now()
		}
		if time.Since(noted) > notePeriod {
			err = s.note(ctx, l)
			noted = time.Now()
		}
	}
	s.tell()
	if err = errors.Join(err, s.note(context.WithoutCancel(ctx), l)); ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// length is how long region i is.
func (s *scan) length(i uint64) size.Bytes {
	region := s.l.RegionSize
	return min(region, s.l.Size-size.Sectors(i)*region).Bytes()
}

// pause keeps to the rate.
func (s *scan) pause(ctx context.Context, start time.Time) error {
	rate := s.opts.Rate
	if rate == Unlimited {
		rate = scanRate
	}
	due := start.Add(time.Duration(float64(s.done) / float64(rate) * float64(time.Second)))
	wait := time.NewTimer(time.Until(due))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}

// read reports whether region i reads as zeros. What cannot be read does not.
func (s *scan) read(ctx context.Context, disk blockdev.Disk, i uint64, buffer []byte) bool {
	first := size.Sectors(i) * s.l.RegionSize
	end := first + s.length(i).Sectors()
	for _, r := range runsAfter(runsOf(s.l.Plexes[0].Data, end), first) {
		for at, left := r.start.Bytes(), r.length.Bytes(); left > 0; {
			n := min(left, size.Bytes(len(buffer)))
			if _, err := disk.ReadAt(buffer[:n], int64(at)); err != nil || ctx.Err() != nil {
				return false
			}
			s.done += n
			if !isZero(buffer[:n]) {
				return false
			}
			at, left = at+n, left-n
		}
	}
	return true
}

// isZero reports whether b holds nothing but zeros.
func isZero(b []byte) bool { return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

// note takes what was found to be zero out of the map, if l's scan is still this one: its metadata may be another LUN's by now.
func (s *scan) note(ctx context.Context, l *LUN) error {
	wait, cancel := context.WithTimeout(ctx, notePatience)
	defer cancel()
	err := l.p.changeWithin(wait, ctx, "note what a scan has found", func(ctx context.Context, m *machine) error {
		record, err := l.in(m, "scan")
		if err != nil {
			return err
		}
		if err := m.unusable(record.ID); err != nil { // its drive may be another host's
			return &vds.Error{Code: vds.ErrDiskConfigurationNotSync, Op: "scan", Object: lunObject(record.Name), Err: err}
		}
		left, ok := raidmeta.Bits(nil), record.Scan == s.id
		if ok {
			left, ok = m.readMap(ctx, record)
		}
		if !ok {
			return &vds.Error{
				Code: vds.ErrOperationCanceled, Op: "scan", Object: lunObject(record.Name), Reason: "the scan was given up, or has led to a plex",
			}
		}
		left.Without(s.zero)
		return m.writeMap(ctx, record, left)
	})
	if err == nil {
		clear(s.zero)
	}
	return err
}

// tell says how far the scan is.
func (s *scan) tell() {
	if s.opts.Report != nil {
		s.opts.Report(s.total)
	}
}
