package dmtest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// table is a table as the kernel has built it: devices opened, metadata read.
type table struct {
	kernel   *Kernel
	holder   *device
	segments []segment
	uses     []devno.No // devices opened for it, each once
}

// segment is one target and the bytes of the device that it serves.
type segment struct {
	start, length int64
	kind          string
	target        target
}

// target is what a segment does. Offsets are bytes from the segment's start.
type target interface {
	params() string
	status() string
	read(b []byte, off int64) error
	write(b []byte, off int64) error
	flush() error
	postsuspend() error
	preresume() error
	resume() error
	destroy() error
	message(text string) error
}

// Load builds t and puts it in the inactive slot.
func (k *Kernel) Load(ctx context.Context, name string, t dm.Table) error {
	const op = "load table of"
	if len(t) == 0 {
		return wrap(op, name, errors.New("table is empty"))
	}
	return k.change(ctx, op, "load", name, func(d *device) error {
		built := &table{kernel: k, holder: d}
		err := built.build(t)
		if err == nil && d.live == nil {
			err = built.fits() // with a live table that waits for the swap (dm-ioctl.c, table_load)
		}
		if err != nil {
			return errors.Join(err, built.destroy())
		}
		old := d.inactive
		d.inactive = built
		return old.destroy()
	})
}

// Clear empties the inactive slot.
func (k *Kernel) Clear(ctx context.Context, name string) error {
	return k.change(ctx, "clear inactive table of", "clear", name, func(d *device) error {
		old := d.inactive
		d.inactive = nil
		return old.destroy()
	})
}

// build constructs the targets of t in order.
func (t *table) build(spec dm.Table) error {
	var end size.Sectors
	for _, s := range spec {
		if s.Start != end || s.Length == 0 {
			return refuse("gap in table or empty target at %d", s.Start)
		}
		end += s.Length
		target, err := t.construct(s.Target.Type(), strings.Fields(s.Target.Params()), s.Length)
		if err != nil {
			return err
		}
		t.segments = append(t.segments, segment{
			start: int64(s.Start.Bytes()), length: int64(s.Length.Bytes()), kind: s.Target.Type(), target: target,
		})
	}
	return nil
}

func (t *table) construct(kind string, words []string, length size.Sectors) (target, error) {
	switch kind {
	case "linear":
		return newLinear(t, words, length)
	case "error":
		return failing{}, nil
	case "zero":
		return zeroes{}, nil
	case "raid":
		if err := t.lacking(); err != nil {
			return nil, err
		}
		return newRaid(t, words, length)
	}
	return nil, refuse("%v: unknown target type", t.holder.dev)
}

// open opens the device that a word of the table names and holds it until the table is destroyed.
func (t *table) open(word string) (lower, error) {
	dev, err := devno.Parse(word)
	if err != nil {
		return nil, &refusal{errno: unix.ENODEV, inTable: true}
	}
	if dev == t.holder.dev && t.kernel.release == Linux6_1 {
		return nil, &refusal{errno: unix.ENXIO, inTable: true, log: "device-mapper: table: linear: Device lookup failed (-ENXIO)"}
	}
	if dev == t.holder.dev {
		return nil, refuse("%v: linear: Device lookup failed (-EINVAL)", dev)
	}
	if !slices.Contains(t.uses, dev) {
		if err := t.claim(dev); err != nil {
			return nil, err
		}
	}
	if d := t.kernel.numbered(dev); d != nil {
		return &upper{d}, nil
	}
	medium, err := t.kernel.mem.Medium(dev)
	if err != nil {
		return nil, &refusal{errno: unix.ENXIO, inTable: true}
	}
	return &drive{medium}, nil
}

// claim holds dev for the table.
func (t *table) claim(dev devno.No) error {
	err := t.kernel.mem.Claim(dev, t.holder.dev, t.holder.name)
	d := t.kernel.numbered(dev)
	switch {
	case errors.Is(err, blockdev.ErrBusy), d != nil && d.exclusive():
		return &refusal{errno: unix.EBUSY, inTable: true}
	case err != nil:
		return &refusal{errno: unix.ENXIO, inTable: true}
	}
	if d != nil {
		d.stacked[t.holder]++
	}
	t.uses = append(t.uses, dev)
	return nil
}

// destroy ends the targets and lets go of the devices. A nil table has none.
func (t *table) destroy() error {
	if t == nil {
		return nil
	}
	var err error
	for _, s := range t.segments {
		err = errors.Join(err, s.target.destroy())
	}
	for _, dev := range t.uses {
		t.kernel.mem.Release(dev, t.holder.dev)
		if d := t.kernel.numbered(dev); d != nil {
			if d.stacked[t.holder]--; d.stacked[t.holder] == 0 {
				delete(d.stacked, t.holder)
			}
		}
	}
	return err
}

// each calls do for every target, in order, until one fails.
func (t *table) each(do func(target) error) error {
	if t == nil {
		return nil
	}
	for _, s := range t.segments {
		if err := do(s.target); err != nil {
			return err
		}
	}
	return nil
}

// length is in bytes; 0 of a nil table.
func (t *table) length() int64 {
	if t == nil {
		return 0
	}
	last := t.segments[len(t.segments)-1]
	return last.start + last.length
}

// Table is the live table as the kernel prints it.
func (k *Kernel) Table(ctx context.Context, name string) (dm.Table, error) {
	_, t, err := k.table(ctx, "read table of", name, func(d *device) *table { return d.live })
	return t, err
}

// Observe is the state of one device and its live table, by one call.
func (k *Kernel) Observe(ctx context.Context, name string) (dm.Info, dm.Table, error) {
	return k.table(ctx, "observe", name, func(d *device) *table { return d.live })
}

// Waiting is the table in the inactive slot as the kernel prints it.
func (k *Kernel) Waiting(ctx context.Context, name string) (dm.Table, error) {
	_, t, err := k.table(ctx, "read waiting table of", name, func(d *device) *table { return d.inactive })
	return t, err
}

func (k *Kernel) table(ctx context.Context, op, name string, which func(*device) *table) (dm.Info, dm.Table, error) {
	status, err := k.lines(ctx, op, name, which, target.params)
	if err != nil {
		return dm.Info{}, nil, err
	}
	var t dm.Table
	for _, l := range status.Targets {
		target, err := dm.ParseTarget(l.Type, l.Line)
		if err != nil {
			return dm.Info{}, nil, wrap(op, name, err)
		}
		t = append(t, dm.Segment{Start: l.Start, Length: l.Length, Target: target})
	}
	return status.Info, t, nil
}

// Status is the state of a device and the status of its live table.
func (k *Kernel) Status(ctx context.Context, name string) (dm.Status, error) {
	return k.lines(ctx, "read status of", name, func(d *device) *table { return d.live }, target.status)
}

// lines asks every target of one of the two tables for a line.
func (k *Kernel) lines(ctx context.Context, op, name string, which func(*device) *table, line func(target) string) (status dm.Status, err error) {
	err = k.look(ctx, op, name, func(d *device) error {
		status.Info = k.info(d)
		t := which(d)
		if t == nil {
			return nil
		}
		for _, s := range t.segments {
			status.Targets = append(status.Targets, dm.TargetStatus{
				Start:  size.Bytes(s.start).Sectors(),
				Length: size.Bytes(s.length).Sectors(),
				Type:   s.kind,
				Line:   line(s.target),
			})
		}
		return nil
	})
	return status, err
}
