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

// A scan finds out which regions of a LUN are zero, while the LUN is in use. A plex that is added afterwards gets only the
// other regions.
//
// During a scan the LUN is a mirror with a vacant plex and an empty bitmap. The kernel sets the bit of a region before the
// first write to it. The scan reads each region and records which ones read as zeros. To add the plex, I/O is suspended. A
// region that read as zeros, and has no bit then, is still zero: nothing has been written to it since.
//
//	begin    write the map: nothing is known │ write metadata without a bit │ commit │ swap │ flush the drive
//	scan     read; under the lock, now and then: take what is zero out of the map
//	Attach   what is zero by the map and has no bit in the window is not copied
//
// An interrupted scan loses only time. The LUN and its bitmap stay in use, also after a restart, and the next scan continues
// from the same place.
//
// The map is not used after the LUN may have run without its bitmap. There are two signs of that: the map's slot was written
// for another table, or all bits are set.

// ScanOptions say what a scan is for and how it reads.
type ScanOptions struct {
	Source uuid.UUID          // the LUN that will become a plex afterwards; Nil: space on drives
	Drives []string           // the drives for that space, as for lun.LUN.AddNewPlex
	Rate   size.Bytes         // the most that is read in a second; record.Unlimited: 256 MiB
	Report func(ScanProgress) // called about once a second and at the end; may be nil
}

// ScanProgress is how far a scan has got.
type ScanProgress struct {
	Done  size.Bytes // read, or known from before
	Total size.Bytes
	Zero  size.Bytes // part of Done; the rest would be copied
}

// Scan finds out which regions of a LUN are zero. It returns when it has read all of the LUN, or when ctx ends. It keeps what
// it has found.
func Scan(ctx context.Context, env *Env, l LUN, opts ScanOptions) error {
	var reader *scanReader
	_, err := env.ChangeLUN(ctx, l, "scan", func(ctx context.Context, s *Session, now catalog.LUN) (catalog.LUN, error) {
		if now.Tracked() {
			return now, nil
		}
		var err error
		reader, err = beginScan(ctx, s, now, opts)
		return now, err
	})
	if err != nil || reader == nil {
		return err
	}
	return reader.run(ctx, env)
}

// EndScan discards a scan that has not led to a plex.
func EndScan(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
	if l.Scan == uuid.Nil {
		return l, record.LUNFault(vds.ErrInvalidOperation, "end scan of", l.Name, "no scan of it has begun", "")
	}
	return swapTo(ctx, s, "end scan of", l, record.EndScan(l), "the scan of "+l.Name+" is given up")
}

// beginScan makes the kernel record writes to l, unless it does so already. It checks that a plex could be added.
func beginScan(ctx context.Context, s *Session, l catalog.LUN, opts ScanOptions) (*scanReader, error) {
	if opts.Rate != record.Unlimited && opts.Rate < size.KiB {
		return nil, record.LUNFault(vds.ErrInvalidArg, "scan", l.Name, "a scan reads at least 1 KiB a second", "")
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
	if err := s.Flush(ctx, drive); err != nil { // a power cut must not undo the data that the scan reads
		return nil, err
	}
	path := s.Drives[drive].Info.Path
	return &scanReader{l: l, path: path, left: left, zero: raid1.NoRegions(l), opts: opts, buf: make([]byte, scanChunk)}, nil
}

// worthScanning refuses a scan that would have no effect.
func worthScanning(ctx context.Context, s *Session, l, source catalog.LUN) error {
	if len(l.Copies()) > 1 {
		return record.LUNFault(vds.ErrNotSupported, "scan", l.Name, "it has several plexes", "leave --scan out: everything is copied")
	}
	for _, id := range source.Drives() {
		if err := s.CanZero(ctx, id); err != nil {
			return record.LUNFault(vds.ErrNotSupported, "scan", l.Name,
				record.DriveObject(id)+" cannot zero by itself, so everything is copied to it", "leave --scan out")
		}
	}
	return nil
}

// restartScan begins a scan of l, and returns the record. It discards an earlier scan.
func restartScan(ctx context.Context, s *Session, l catalog.LUN) (catalog.LUN, error) {
	var err error
	if l.Scan != uuid.Nil {
		if l, err = EndScan(ctx, s, l); err != nil {
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
