package dm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Flags for udev's rules, sent in event_nr above a cookie of 0, which asks for no semaphore (lvm2, libdevmapper.h).
const (
	udevNoSubsystem = 0x0002 << 16
	udevNoDisk      = 0x0004 << 16
	udevNoOther     = 0x0008 << 16
	udevPrimary     = 0x0040 << 16 // a real event; without it udev drops the link at the next coldplug
)

// Pauses between the attempts to remove a device that is open.
const (
	firstBusyPause = 50 * time.Millisecond
	maxBusyPause   = 200 * time.Millisecond
)

// udevFlags is what event_nr tells udev's rules about a device. Every event carries it: one without them would have a
// private device probed again.
func (v Visibility) udevFlags() uint32 {
	if v == Private {
		return udevPrimary | udevNoSubsystem | udevNoDisk | udevNoOther
	}
	return udevPrimary
}

// Create makes a device without a table and returns its number. Names and UUIDs have 1 to 127 and 0 to 128 bytes out of
// letters, digits and #+-.:=@_; the kernel would take more, udev would change it. It fails with ErrBusy when the name or
// the UUID is taken.
func (c *Control) Create(ctx context.Context, name, uuid string) (devno.No, error) {
	fail := func(err error) (devno.No, error) {
		return devno.No{}, &Error{Op: "create", Device: name, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if err := errors.Join(checkName(name), checkUUID(uuid)); err != nil {
		return fail(err)
	}
	rep, err := c.call(request{command: unix.DM_DEV_CREATE, name: name, uuid: uuid})
	if err != nil {
		return fail(err)
	}
	return rep.dev, nil
}

// Load builds t in the kernel and puts it in the inactive slot of the device, in place of a table that is there. The live
// table is not touched. The kernel opens the devices that t names and lets their targets refuse.
//
// It checks less than one would think (measured on 5.10, 6.1 and 6.12): the size of t is not compared with that of
// the live table; whether a linear segment lies inside its device is looked at on the first load of a device only, later
// not before Resume, which then fails and leaves the device suspended; and up to 6.1 a running device may be mapped onto
// itself. Check these before.
//
// The kernel's log says why a table was refused, and the error carries it. It fails with ErrBusy when a device that t
// names is claimed outside device-mapper, and with ErrNotExist only when the device itself is missing.
func (c *Control) Load(ctx context.Context, name string, t Table) error {
	const op = "load table of"
	if err := ready(ctx, op, name); err != nil {
		return err
	}
	if err := checkTable(t); err != nil {
		return &Error{Op: op, Device: name, Err: err}
	}
	log := c.logs.open()
	defer c.logs.put(log)
	_, err := c.call(request{
		command: unix.DM_TABLE_LOAD,
		name:    name,
		targets: uint32(len(t)),
		payload: encodeTable(t),
	})
	if err != nil {
		return c.explain(op, name, err, log)
	}
	return nil
}

// opening lists what the kernel answers when it cannot open a device that a table names.
var opening = []error{unix.ENXIO, unix.ENODEV, unix.ENOENT, unix.ENOTBLK, unix.EBUSY, unix.EROFS, unix.EACCES}

// explain is the error of an operation that the kernel refused with err, and what log says about it.
func (c *Control) explain(op, name string, err error, log kernelLog) error {
	rep, gone := c.call(request{command: unix.DM_DEV_STATUS, name: name})
	return &Error{
		Op:        op,
		Device:    name,
		Err:       err,
		InTable:   gone == nil && slices.Contains(opening, err),
		KernelLog: log.lines(rep.dev),
	}
}

// Clear empties the inactive slot. It is no error when the slot is empty.
func (c *Control) Clear(ctx context.Context, name string) error {
	_, err := c.device(ctx, "clear inactive table of", name, request{command: unix.DM_TABLE_CLEAR})
	return err
}

// Suspend flushes the device, waits for I/O in flight, and makes all other I/O wait until Resume; with freeze, a file
// system mounted from the device is made clean and frozen first, until Resume. It is no error when the device is suspended.
//
// Waiting for I/O in flight has no limit and does not end with ctx. While the device is suspended whoever touches it
// hangs, this process included: prepare everything before, and resume whatever happens.
func (c *Control) Suspend(ctx context.Context, name string, freeze bool) error {
	const op = "suspend"
	if !freeze {
		_, err := c.device(ctx, op, name, request{
			command: unix.DM_DEV_SUSPEND,
			flags:   unix.DM_SUSPEND_FLAG | unix.DM_SKIP_LOCKFS_FLAG,
		})
		return err
	}
	if err := ready(ctx, op, name); err != nil {
		return err
	}
	if err := c.libraryFreeze(name); err != nil {
		return &Error{Op: op, Device: name, Err: err}
	}
	return nil
}

// Resume makes the inactive table, where there is one, the live one and lets I/O go on. Then it sees to the names in
// /dev: of a Public device it waits for udev's link, or makes one. A name that cannot be made is logged, not returned:
// when Resume fails, it is the kernel that did not resume.
//
// It is one ioctl. On a running device the kernel suspends, swaps the tables and resumes inside that ioctl, without
// freezing the file system, so a process that is killed cannot leave the device suspended in between (drivers/md/dm-ioctl.c,
// do_resume). A device that was suspended before needs this call to run again: give it a context that cannot end
// (context.WithoutCancel).
//
// When it fails with an inactive table loaded, the device may be left suspended, and nothing tells with which table: the
// old one when the new one did not fit its devices (EINVAL), the new one when a target could not start (EIO: a bitmap
// that cannot be read). In the latter case a second Resume succeeds without what was missing (measured). So do not try
// again: load the table that ran before and resume that.
func (c *Control) Resume(ctx context.Context, name string, v Visibility) error {
	const op = "resume"
	if err := ready(ctx, op, name); err != nil {
		return err
	}
	log := c.logs.open()
	defer c.logs.put(log)
	rep, err := c.call(request{
		command: unix.DM_DEV_SUSPEND,
		name:    name,
		flags:   unix.DM_SKIP_LOCKFS_FLAG,
		event:   v.udevFlags(),
	})
	if err != nil {
		return c.explain(op, name, err, log)
	}
	c.links.follow(ctx, name, rep.dev, v)
	return nil
}

// Remove destroys a device and its link. While somebody has the device open, as udev's probes do for moments, it tries
// again for Options.BusyWait, then fails with ErrBusy. A stack comes down from its top: removing a raid device writes to
// its legs, which must not be suspended.
func (c *Control) Remove(ctx context.Context, name string) error {
	const op = "remove"
	rep, err := c.device(ctx, op, name, request{command: unix.DM_DEV_STATUS})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(c.busyWait)
	for pause := firstBusyPause; ; pause = min(2*pause, maxBusyPause) {
		err := c.libraryRemove(name)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return &Error{Op: op, Device: name, Err: err}
		}
		if ended := sleep(ctx, pause); ended != nil {
			return &Error{Op: op, Device: name, Err: fmt.Errorf("%w, %w", err, ended)}
		}
	}
	c.links.drop(ctx, name, rep.dev)
	c.links.drop(ctx, draft(name), rep.dev)
	return nil
}

// Name gives a running device the link that a process did not make, or has left under another name, because it was killed
// between a change and its link. Where all is right it does nothing.
func (c *Control) Name(ctx context.Context, name string, v Visibility) error {
	rep, err := c.device(ctx, "name", name, request{command: unix.DM_DEV_STATUS})
	if err != nil {
		return err
	}
	c.links.repair(ctx, name, rep.dev, v)
	return nil
}

// Rename gives a device another name and moves its link. Whoever has it open keeps it. It fails with ErrBusy when the
// new name is taken.
func (c *Control) Rename(ctx context.Context, name, newName string, v Visibility) error {
	const op = "rename"
	if err := checkName(newName); err != nil {
		return &Error{Op: op, Device: name, Err: fmt.Errorf("new %w", err)}
	}
	rep, err := c.device(ctx, op, name, request{
		command: unix.DM_DEV_RENAME,
		event:   v.udevFlags(),
		payload: encodeName(newName),
	})
	if err != nil {
		return err
	}
	c.links.drop(ctx, name, rep.dev)
	c.links.follow(ctx, newName, rep.dev, v)
	return nil
}

// Message sends text to the target at sector and returns its answer, which most targets do not give. It fails with
// ErrBusy when the target cannot do it now.
func (c *Control) Message(ctx context.Context, name string, sector size.Sectors, message string) (string, error) {
	const op = "send message to"
	rep, err := c.device(ctx, op, name, request{
		command: unix.DM_TARGET_MSG,
		payload: encodeMessage(sector, message),
		room:    firstRoom,
	})
	if err != nil || rep.flags&unix.DM_DATA_OUT_FLAG == 0 {
		return "", err
	}
	answer, err := text(rep.payload, "answer")
	if err != nil {
		return "", &Error{Op: op, Device: name, Err: err}
	}
	return answer, nil
}
