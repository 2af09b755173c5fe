package lun

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/raidmeta"
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
//	AddPlex  what is zero by the map and has no bit in the window is not copied
//
// A scan that was interrupted has cost nothing but time: the LUN goes on, its bits too, also after a restart, and a next scan
// goes on where this one has stopped. Where the LUN may have run without its bitmap, the map is not used any more: that is so
// when its slot was written for another table, and where all bits are set.
const (
	scanRate     = 256 * size.MiB   // a second, where nothing else is asked for
	tellPeriod   = time.Second      // between reports
	scanChunk    = size.MiB         // read at once
	notePeriod   = 10 * time.Second // between notes of what was found
	notePatience = 30 * time.Second
)

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
	var s *scan
	err := l.p.change(ctx, "scan "+lunObject(l.name), func(ctx context.Context, m *machine) error {
		record, err := l.in(m, "scan")
		if err != nil || record.Tracked() {
			return err
		}
		if err := m.wake(ctx, record); err != nil {
			return err
		}
		if record, err = l.in(m, "scan"); err != nil {
			return err
		}
		if record, err = m.settleEnded(ctx, record, l.p.now()); err != nil {
			return err
		}
		s, err = m.beginScan(ctx, record, opts, l.p.now())
		return err
	})
	if err != nil || s == nil || l.p.dry != nil {
		return err
	}
	return s.run(ctx, l)
}

// EndScan gives up a scan that has not led to a plex: l is what it was before. vds.ErrInvalidOperation when there is none.
func (l *LUN) EndScan(ctx context.Context) error {
	return l.p.change(ctx, "end scan of "+lunObject(l.name), func(ctx context.Context, m *machine) error {
		record, err := l.in(m, "end scan of")
		if err != nil {
			return err
		}
		if record.Scan == uuid.Nil {
			return &vds.Error{Code: vds.ErrInvalidOperation, Op: "end scan of", Object: lunObject(record.Name), Reason: "no scan of it has begun"}
		}
		_, err = m.endScan(ctx, record)
		return err
	})
}

// beginScan lets l note what is written from now on, unless it does already. It makes sure that a plex could be added.
func (m *machine) beginScan(ctx context.Context, l catalog.LUN, opts ScanOptions, now time.Time) (*scan, error) {
	if opts.Rate != Unlimited && opts.Rate < size.KiB {
		return nil, &vds.Error{Code: vds.ErrInvalidArg, Op: "scan", Object: lunObject(l.Name), Reason: "a scan reads at least 1 KiB a second"}
	}
	a := attachment{target: l}
	var err error
	if opts.Source != uuid.Nil {
		a.source, err = m.sourceOf("scan for", opts.Source)
	} else {
		a.source, err = m.roomFor(l, opts.Drives)
	}
	if err != nil {
		return nil, err
	}
	if err := m.prepareAttach(ctx, &a, now); err != nil {
		return nil, err
	}
	if err := m.worthScanning(ctx, l, a.source); err != nil {
		return nil, err
	}
	left, known := m.scanLeft(ctx, l, a.have.was)
	if !known {
		if l, err = m.restartScan(ctx, l); err != nil {
			return nil, err
		}
		left = raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), true)
	}
	if m.dry != nil {
		return nil, nil
	}
	drive := l.Plexes[0].Meta.Drive
	if err := m.withDisk(ctx, drive, func(blockdev.Disk) error { return nil }); err != nil { // what is read must not get lost
		return nil, err
	}
	s := &scan{id: l.Scan, l: l, path: m.drives[drive].info.Path, left: left, opts: opts}
	s.zero = raidmeta.NewBits(raidmeta.Regions(l.Size, l.RegionSize), false)
	return s, nil
}

// worthScanning refuses a scan that would be of no use.
func (m *machine) worthScanning(ctx context.Context, l, source catalog.LUN) error {
	if len(l.Copies()) > 1 {
		return &vds.Error{
			Code: vds.ErrNotSupported, Op: "scan", Object: lunObject(l.Name), Reason: "it has several plexes", Hint: "leave --scan out: everything is copied",
		}
	}
	for _, id := range source.Drives() {
		if err := m.zeroes(ctx, id); err != nil {
			return &vds.Error{
				Code: vds.ErrNotSupported, Op: "scan", Object: lunObject(l.Name),
				Reason: driveObject(id) + " cannot zero by itself, so everything is copied to it", Hint: "leave --scan out",
			}
		}
	}
	return nil
}

// scanLeft is what l's scan has left to read or has found to be data; false when l has no scan that can go on.
func (m *machine) scanLeft(ctx context.Context, l catalog.LUN, was standing) (raidmeta.Bits, bool) {
	if l.Scan == uuid.Nil {
		return nil, false
	}
	left, ok := m.readMap(ctx, l)
	written := m.writtenSince(ctx, l, was)
	if !ok || written == nil || written.Count() == raidmeta.Regions(l.Size, l.RegionSize) {
		return nil, false
	}
	return left, true
}

// restartScan is l after the begin of a scan; one that has begun before is given up.
func (m *machine) restartScan(ctx context.Context, l catalog.LUN) (catalog.LUN, error) {
	var err error
	if l.Scan != uuid.Nil {
		if l, err = m.endScan(ctx, l); err != nil {
			return l, err
		}
	}
	have, err := m.hold(ctx, l)
	if err != nil {
		return l, err
	}
	next := withVacancy(l)
	next.Scan = uuid.New()
	next = m.next(m.flip(next, have.was))
	if err := next.Validate(); err != nil {
		return l, err
	}
	tx := &transaction{put: []catalog.LUN{next}, back: []catalog.LUN{l}}
	steps, err := m.transition(next, have, move{commit: tx.step("commit: a scan of " + l.Name + " has begun"), forget: true})
	if err != nil {
		return l, err
	}
	nothingIsKnown := funcStep{text: "note that nothing is known of " + l.Name, do: func(ctx context.Context, m *machine) error {
		return m.writeMap(ctx, next, raidmeta.NewBits(raidmeta.Regions(l.Size, next.RegionSize), true))
	}}
	return next, m.carryOut(ctx, "scan", l.Name, slices.Concat([]step{nothingIsKnown}, steps), tx, l)
}

// endScan is l, which has a scan, without it.
func (m *machine) endScan(ctx context.Context, l catalog.LUN) (catalog.LUN, error) {
	have, err := m.hold(ctx, l)
	if err != nil {
		return l, err
	}
	next := untracked(l)
	next.Scan = uuid.Nil
	next = m.next(next)
	tx := &transaction{put: []catalog.LUN{next}, back: []catalog.LUN{l}}
	steps, err := m.transition(next, have, move{commit: tx.step("commit: the scan of " + l.Name + " is given up")})
	if err != nil {
		return l, err
	}
	return next, m.carryOut(ctx, "end scan of", l.Name, steps, tx, l)
}

// writtenSince is the regions of l that were written since its scan has begun, by the live table's metadata; nil when that
// cannot be told.
func (m *machine) writtenSince(ctx context.Context, l catalog.LUN, was standing) raidmeta.Bits {
	p := l.Plexes[0]
	if !was.mirror || was.slots[p.ID] != p.Slot {
		return nil
	}
	slot := m.reread(ctx, l, was.slots)[p.ID]
	if b := slot.Bitmap; !slot.Tracks() || b.RegionSize != l.RegionSize || b.ArraySize != l.Size {
		return nil
	}
	return slot.Bitmap.Bits
}

// scanHint is what to do about a LUN that has a scan.
func scanHint(l catalog.LUN) string {
	return fmt.Sprintf("`plexctl plex add %s SOURCE --scan` goes on with it, `plexctl op cancel %s` gives it up", l.Name, l.Name)
}
