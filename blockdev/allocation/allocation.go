//go:build linux

// Package allocation tells which parts of a device have nothing allocated to them, so that nobody needs to copy or to zero
// these: holes of the file behind a loop device, and what a thin SCSI disk has deallocated.
package allocation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/plexctl/plexctl/size"
)

// ErrUnknown means that nobody can tell which parts of a device have nothing allocated to them.
var ErrUnknown = errors.New("allocation is not known")

// Map tells which parts of a device have nothing allocated to them, and so read as zeros. What is not known counts
// as allocated.
//
// Which of these parts are the largest is known only after a look at all of them, and that takes a system call or two for
// each. So there are two steps. Survey finds them, while others may write. Confirm, while nobody can, asks once more about
// what was found and only takes away. A write that was complete when Confirm was called is seen by it; so what it confirms
// reads as zeros for as long as nobody writes, whatever happened since the survey.
//
// Only what has reached the device counts: dirty pages in the page cache of the device, or of one stacked on it, have not.
// A Map keeps the device open, not exclusively. It may be used by one goroutine at a time.
type Map interface {
	// Survey is ranges within r that read as zeros, in order: at most limit of them, the largest where there are more. They
	// are multiples of 4 KiB.
	Survey(ctx context.Context, r Range, limit int) ([]Range, error)
	// Confirm is what of the candidates, which a Survey found, still reads as zeros: of each the beginning, up to where
	// something has been allocated since. It opens nothing, takes memory for one Range per candidate, and a few system
	// calls for each, however large the device is. An error says that nothing is known any more.
	Confirm(ctx context.Context, candidates []Range) ([]Range, error)
	io.Closer
}

// Extents is one way to know the allocation of a disk. Offsets are those of the whole disk.
type Extents interface {
	// Check makes sure that what was learned when the device was opened still holds.
	Check() error
	// Extent tells of the place at, before end, whether it is blank, and up to where it is the same, behind at.
	Extent(at, end size.Bytes) (blank bool, until size.Bytes, err error)
	io.Closer
}

// Device is a disk, or a part of one.
type Device struct {
	Path  string     // for errors
	Start size.Bytes // of a part, on its disk
	Size  size.Bytes
}

// allocation is the Map of a device on the disk that its extents are of.
type allocation struct {
	Extents
	device Device
}

// New is the Map of a device on a disk that e knows. It closes e when it is closed.
func New(d Device, e Extents) Map { return &allocation{Extents: e, device: d} }

// Survey looks at all extents within r.
func (a *allocation) Survey(ctx context.Context, r Range, limit int) ([]Range, error) {
	largest := largest{limit: limit}
	if err := a.survey(ctx, r, &largest); err != nil {
		return nil, fmt.Errorf("survey the allocation of %s: %w", a.device.Path, err)
	}
	return largest.all(), nil
}

func (a *allocation) survey(ctx context.Context, r Range, found *largest) error {
	if err := a.Check(); err != nil {
		return err
	}
	r = a.onDisk(r)
	run := Range{Start: r.Start}
	for at := r.Start; at < r.End(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		blank, until, err := a.Extent(at, r.End())
		if err != nil {
			return err
		}
		at = min(until, r.End())
		if blank {
			run.Length = at - run.Start
			continue
		}
		found.add(a.onPart(run))
		run = Range{Start: at}
	}
	found.add(a.onPart(run))
	return nil
}

// Confirm looks at the first extent of each candidate.
func (a *allocation) Confirm(ctx context.Context, candidates []Range) ([]Range, error) {
	confirmed, err := a.confirm(ctx, candidates)
	if err != nil {
		return nil, fmt.Errorf("confirm the allocation of %s: %w", a.device.Path, err)
	}
	return confirmed, nil
}

func (a *allocation) confirm(ctx context.Context, candidates []Range) ([]Range, error) {
	confirmed := make([]Range, 0, len(candidates))
	if err := a.Check(); err != nil {
		return nil, err
	}
	for _, c := range candidates {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := a.onDisk(c)
		if r.Length == 0 {
			continue
		}
		blank, until, err := a.Extent(r.Start, r.End())
		if err != nil {
			return nil, err
		}
		r.Length = min(until, r.End()) - r.Start
		if r = a.onPart(r); blank && r.Length > 0 {
			confirmed = append(confirmed, r)
		}
	}
	return confirmed, nil
}

// onDisk is where r, without what is behind the end, is on the whole disk.
func (a *allocation) onDisk(r Range) Range {
	start := min(r.Start, a.device.Size)
	return Range{Start: a.device.Start + start, Length: min(r.Length, a.device.Size-start)}
}

// onPart is where whole blocks of r are on the part.
func (a *allocation) onPart(r Range) Range {
	start, end := (r.Start - a.device.Start).RoundUp(align), (r.End() - a.device.Start).RoundDown(align)
	return Range{Start: start, Length: max(start, end) - start}
}

// align is the unit of what a Map tells: 4 KiB, as of all I/O to devices.
const align = 4096

// largest keeps the largest of the ranges that are added in order.
type largest struct {
	limit  int
	ranges []Range
}

func (l *largest) add(r Range) {
	if r.Length == 0 {
		return
	}
	l.ranges = append(l.ranges, r)
	if len(l.ranges) >= 2*l.limit {
		l.cut()
	}
}

// cut drops all but the largest; among those of one length the first ones stay.
func (l *largest) cut() {
	byLength := func(a, b Range) int { return cmp.Compare(b.Length, a.Length) }
	slices.SortStableFunc(l.ranges, byLength)
	l.ranges = l.ranges[:min(len(l.ranges), max(0, l.limit))]
	slices.SortFunc(l.ranges, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
}

// all is what was kept, in order.
func (l *largest) all() []Range {
	l.cut()
	return l.ranges
}
