package ops

import (
	"context"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/engine"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/raid1"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// A scan finds out what of a LUN is zero, while the LUN is in use, so that a plex which is added afterwards gets the rest and
// nothing else. From its begin on the LUN is a mirror with a vacant plex, whose bitmap, empty at first, gets a bit for every
// region before it is written to. Then each region is read. What reads as zeros and has no bit when all I/O is suspended for the
// new plex is zero: it was when it was read, and nobody has written to it since.
//
//	begin    write the map: nothing is known │ write metadata without a bit │ commit │ swap │ flush the drive
//	scan     read; under the lock, now and then: take what is zero out of the map
//	Attach   what is zero by the map and has no bit in the window is not copied
//
// A scan that was interrupted has cost nothing but time: the LUN goes on, its bits too, also after a restart, and a next scan
// goes on where this one has stopped. Where the LUN may have run without its bitmap, the map is not used any more: that is so
// when its slot was written for another table, and where all bits are set.

// ScanOptions say what a scan is for, and how it reads; see lun.ScanOptions.
type ScanOptions struct {
	Source uuid.UUID
	Drives []string
	Rate   size.Bytes
	Report func(ScanProgress)
}

// ScanProgress is how far a scan is; see lun.ScanProgress.
type ScanProgress struct {
	Done  size.Bytes
	Total size.Bytes
	Zero  size.Bytes
}

// Scan finds out what of a LUN is zero. It returns when all of it is read, or when ctx ends; what was found until then is kept.
func Scan(ctx context.Context, env *Env, l LUN, opts ScanOptions) error {
	var reader *scanReader
	var path string
	_, err := env.ChangeLUN(ctx, l, "scan", func(ctx context.Context, s *Session, now catalog.LUN) (catalog.LUN, error) {
		if now.Tracked() {
			return now, nil
		}
		var err error
		if reader, err = beginScan(ctx, s, now, opts); reader != nil {
			path = s.Drives[reader.l.Plexes[0].Meta.Drive].Info.Path
		}
		return now, err
	})
	if err != nil || reader == nil {
		return err
	}
	return reader.run(ctx, env, path)
}

// EndScan gives a scan up that has not led to a plex.
func EndScan(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
	if l.Scan == uuid.Nil {
		return l, &vds.Error{Code: vds.ErrInvalidOperation, Op: "end scan of", Object: record.LUNObject(l.Name), Reason: "no scan of it has begun"}
	}
	return endScan(ctx, s, l)
}

// beginScan has l note what is written from now on, unless it does already. It makes sure that a plex could be added.
func beginScan(ctx context.Context, s *Session, l catalog.LUN, opts ScanOptions) (*scanReader, error) {
	if opts.Rate != record.Unlimited && opts.Rate < size.KiB {
		return nil, &vds.Error{Code: vds.ErrInvalidArg, Op: "scan", Object: record.LUNObject(l.Name), Reason: "a scan reads at least 1 KiB a second"}
	}
	var source catalog.LUN
	var err error
	if opts.Source != uuid.Nil {
		source, err = sourceOf(s, "scan for", opts.Source)
	} else {
		source, err = roomFor(s, l, opts.Drives)
	}
	if err != nil {
		return nil, err
	}
	a, err := prepareAttach(ctx, s, l, source)
	if err != nil {
		return nil, err
	}
	if err := worthScanning(ctx, s, l, a.source); err != nil {
		return nil, err
	}
	left, known := s.ScanLeft(ctx, l, a.have.Legs)
	if !known {
		if l, err = restartScan(ctx, s, l); err != nil {
			return nil, err
		}
		left = raid1.AllRegions(l)
	}
	if s.Dry != nil {
		return nil, nil
	}
	drive := l.Plexes[0].Meta.Drive
	if err := s.Flush(ctx, drive); err != nil { // what is read must not get lost
		return nil, err
	}
	return newScanReader(l, left, opts), nil
}

// worthScanning refuses a scan that would be of no use.
func worthScanning(ctx context.Context, s *Session, l, source catalog.LUN) error {
	if len(l.Copies()) > 1 {
		return &vds.Error{
			Code: vds.ErrNotSupported, Op: "scan", Object: record.LUNObject(l.Name), Reason: "it has several plexes", Hint: "leave --scan out: everything is copied",
		}
	}
	for _, id := range source.Drives() {
		if err := s.CanZero(ctx, id); err != nil {
			return &vds.Error{
				Code: vds.ErrNotSupported, Op: "scan", Object: record.LUNObject(l.Name),
				Reason: record.DriveObject(id) + " cannot zero by itself, so everything is copied to it", Hint: "leave --scan out",
			}
		}
	}
	return nil
}

// restartScan is l after the begin of a scan; one that has begun before is given up.
func restartScan(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
	var err error
	if l.Scan != uuid.Nil {
		if l, err = endScan(ctx, s, l); err != nil {
			return l, err
		}
	}
	have, err := s.Inspect(ctx, l)
	if err != nil {
		return l, err
	}
	next := record.BeginScan(l)
	if err := next.Validate(); err != nil {
		return l, err
	}
	return s.Swap(ctx, engine.Swap{
		Op: "scan", Before: l, Next: next, Have: have, SwitchSlots: true, Forget: true, Commit: "a scan of " + l.Name + " has begun",
		First: []layout.Step{engine.ForgetScan{LUN: raid1.SwitchSlots(next, s.Roles(next), have.Legs)}},
	})
}

// endScan is l, which has a scan, without it.
func endScan(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
	have, err := s.Inspect(ctx, l)
	if err != nil {
		return l, err
	}
	return s.Swap(ctx, engine.Swap{
		Op: "end scan of", Before: l, Next: record.EndScan(l), Have: have, Commit: "the scan of " + l.Name + " is given up",
	})
}
