//go:build linux

// Package allocation tells which parts of a device have nothing allocated to them. Such parts read as zeros, and need neither
// be copied nor be zeroed.
//
//	Loop  a loop device: the holes of the file behind it
//	SCSI  a thin SCSI disk: the blocks that it has deallocated
//	New   the Map of a disk, or of a part of it, that one of these knows
//
// The package opens no device: blockdev.Host.Allocation does that.
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

// ErrUnknown means that there is no way to tell which parts of a device have nothing allocated to them.
var ErrUnknown = errors.New("allocation is not known")

// Map tells which parts of a device have nothing allocated to them, and so read as zeros. Parts of which nothing is known
// count as allocated.
//
// There are two steps, because a look at everything takes one or two system calls for each part. Survey finds the largest
// parts, while others may write. Confirm asks again about these, at a time when nobody can write, and only takes away. It
// sees every write that was complete when it was called. So the ranges that it confirms read as zeros until somebody
// writes, whatever happened since the survey.
//
// A Map sees only what has reached the device. Dirty pages in the page cache of the device, or of one stacked on it, have
// not. A Map keeps the device open, though not exclusively. One goroutine at a time may use it.
type Map interface {
	// Survey is ranges within r that read as zeros, in order. If there are more than limit of them, it is the largest. They
	// start and end at multiples of 4 KiB.
	Survey(ctx context.Context, r Range, limit int) ([]Range, error)
	// Confirm is the beginning of each candidate, up to the first place that has been allocated since the Survey that found
	// it. It opens nothing. It takes memory for one Range per candidate and a few system calls for each, however large the
	// device is. After an error nothing is known any more.
	Confirm(ctx context.Context, candidates []Range) ([]Range, error)
	io.Closer
}

// Extents is one way to know the allocation of a disk. Offsets are those of the whole disk.
type Extents interface {
	// Check fails when the device is no longer what it was when the Extents were made.
	Check() error
	// Extent reports whether the device is blank at a place before end. The same holds up to until, which is behind at and
	// may be behind end.
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

// Survey looks at every extent within r.
func (a *allocation) Survey(ctx context.Context, r Range, limit int) ([]Range, error) {
	largest := largest{limit: limit}
	if err := a.survey(ctx, r, &largest); err != nil {
		return nil, fmt.Errorf("survey the allocation of %s: %w", a.device.Path, err)
	}
	largest.cut()
	return largest.ranges, nil
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

// onDisk is the place of r on the whole disk. It cuts off the part of r that is behind the end of the device.
func (a *allocation) onDisk(r Range) Range {
	start := min(r.Start, a.device.Size)
	return Range{Start: a.device.Start + start, Length: min(r.Length, a.device.Size-start)}
}

// onPart is the place of the whole blocks of r on the device.
func (a *allocation) onPart(r Range) Range {
	start, end := (r.Start - a.device.Start).RoundUp(align), (r.End() - a.device.Start).RoundDown(align)
	return Range{Start: start, Length: max(start, end) - start}
}

// align is the unit in which a Map tells: 4 KiB, as of all I/O to devices.
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

// cut drops all but the largest. Of ranges of one length it keeps the first ones.
func (l *largest) cut() {
	byLength := func(a, b Range) int { return cmp.Compare(b.Length, a.Length) }
	slices.SortStableFunc(l.ranges, byLength)
	l.ranges = l.ranges[:min(len(l.ranges), max(0, l.limit))]
	slices.SortStableFunc(l.ranges, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
}
