//go:build linux

package dm

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// List is every device-mapper device of the machine, in no order. Other programs have made some of them.
func (c *Control) List(ctx context.Context) ([]Device, error) {
	const op = "list devices"
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	rep, err := c.call(request{command: unix.DM_LIST_DEVICES, flags: unix.DM_UUID_FLAG, room: firstRoom})
	if err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	entries, err := decodeList(rep.payload)
	if err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	return c.complete(ctx, entries)
}

// complete asks for each UUID that the list did not carry, which up to Linux 5.10 are all. It leaves out a device that was
// removed meanwhile.
func (c *Control) complete(ctx context.Context, entries []listed) ([]Device, error) {
	devices := make([]Device, 0, len(entries))
	for _, e := range entries {
		var err error
		info := Info{Device: e.Device}
		if !e.uuidKnown {
			info, err = c.Info(ctx, e.Name)
		}
		switch {
		case err == nil:
			devices = append(devices, info.Device)
		case !errors.Is(err, ErrNotExist):
			return nil, err
		}
	}
	return devices, nil
}

// Info is the state of one device.
func (c *Control) Info(ctx context.Context, name string) (Info, error) {
	rep, err := c.device(ctx, "ask for state of", name, request{command: unix.DM_DEV_STATUS})
	return rep.info(), err
}

// Observe is the state of one device and its live table, at one moment. See Table.
func (c *Control) Observe(ctx context.Context, name string) (Info, Table, error) {
	return c.table(ctx, "observe", name, 0)
}

// Table is the live table, empty when there is none. The kernel prints the devices in it as numbers, whatever Load was given,
// and the options of a raid target in its own order.
func (c *Control) Table(ctx context.Context, name string) (Table, error) {
	_, t, err := c.table(ctx, "read table of", name, 0)
	return t, err
}

// Waiting is the table in the inactive slot, empty when there is none. See Table.
func (c *Control) Waiting(ctx context.Context, name string) (Table, error) {
	_, t, err := c.table(ctx, "read waiting table of", name, unix.DM_QUERY_INACTIVE_TABLE_FLAG)
	return t, err
}

func (c *Control) table(ctx context.Context, op, name string, flags uint32) (Info, Table, error) {
	status, err := c.lines(ctx, op, name, flags|unix.DM_STATUS_TABLE_FLAG)
	if err != nil {
		return Info{}, nil, err
	}
	var t Table
	for _, l := range status.Targets {
		target, err := ParseTarget(l.Type, l.Line)
		if err != nil {
			return Info{}, nil, &Error{Op: op, Device: name, Err: err}
		}
		t = append(t, Segment{Start: l.Start, Length: l.Length, Target: target})
	}
	return status.Info, t, nil
}

// Status is the state of a device and the status of its live table, at one moment. It does not flush the device.
func (c *Control) Status(ctx context.Context, name string) (Status, error) {
	return c.lines(ctx, "read status of", name, 0)
}

// lines does TABLE_STATUS, which gives status lines or table lines.
func (c *Control) lines(ctx context.Context, op, name string, flags uint32) (Status, error) {
	rep, err := c.device(ctx, op, name, request{
		command: unix.DM_TABLE_STATUS,
		flags:   flags | unix.DM_NOFLUSH_FLAG,
		room:    statusRoom,
	})
	if err != nil {
		return Status{}, err
	}
	status := Status{Info: rep.info()}
	there := status.Live
	if flags&unix.DM_QUERY_INACTIVE_TABLE_FLAG != 0 {
		there = status.Inactive
	}
	if !there {
		return status, nil
	}
	status.Targets, err = decodeTargets(rep.payload, rep.targets)
	if err != nil {
		return Status{}, &Error{Op: op, Device: name, Err: err}
	}
	return status, nil
}
