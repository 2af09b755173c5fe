//go:build linux

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

// Flags for udev's rules (lvm2, libdevmapper.h). They are sent in the upper half of event_nr. The lower half is a cookie; 0
// means that nobody waits for udev on a semaphore.
const (
	udevNoSubsystem = 0x0002 << 16
	udevNoDisk      = 0x0004 << 16
	udevNoOther     = 0x0008 << 16
	udevLesser      = 0x0010 << 16 // the links of this device have a lower priority
	udevPrimary     = 0x0040 << 16 // marks a real event; without it udev drops the link at the next coldplug
)

// Pauses between attempts to remove a device that is open.
const (
	firstBusyPause = 50 * time.Millisecond
	maxBusyPause   = 200 * time.Millisecond
)

// udevFlags is what event_nr tells udev's rules about a device. Every event that udev acts on carries them: after one
// without, udev would probe a private device.
func (v Visibility) udevFlags() uint32 {
	switch v {
	case Private:
		return udevPrimary | udevNoSubsystem | udevNoDisk | udevNoOther
	case Copy:
		return udevPrimary | udevLesser
	default:
		return udevPrimary
	}
}

// Create makes a device without a table and returns its number. A name has 1 to 127 bytes and a UUID 0 to 128, out of
// letters, digits and #+-.:=@_. The kernel takes other bytes too, but udev would replace them in links. It fails with
// ErrBusy when the name or the UUID is taken.
func (c *Control) Create(ctx context.Context, name, uuid string) (devno.No, error) {
	const op = "create"
	if err := errors.Join(checkName(name), checkUUID(uuid)); err != nil {
		return devno.No{}, &Error{Op: op, Device: name, Err: err}
	}
	rep, err := c.device(ctx, op, name, request{command: unix.DM_DEV_CREATE, uuid: uuid})
	return rep.dev, err
}

// Load builds t in the kernel and puts it into the inactive slot of the device, in place of a table that waits there. The
// live table is not touched. The kernel opens the devices that t names, and its targets check their parameters.
//
// The kernel does not check everything (measured on 5.10, 6.1 and 6.12). The caller has to:
//
//   - It does not compare the size of t with that of the live table.
//   - It checks that a linear segment lies inside its device only on the first load of a device. Later the Resume fails
//     instead, and leaves the device suspended.
//   - Up to 6.1 it lets a running device be mapped onto itself.
//
// The error carries the lines of the kernel's log that say why it refused t. Load fails with ErrBusy when a device that t
// names is claimed outside device-mapper. It fails with ErrNotExist only when the device called name is missing.
func (c *Control) Load(ctx context.Context, name string, t Table) error {
	const op = "load table of"
	if err := checkTable(t); err != nil {
		return &Error{Op: op, Device: name, Err: err}
	}
	_, err := c.explained(ctx, op, name, request{
		command: unix.DM_TABLE_LOAD,
		targets: uint32(len(t)),
		payload: encodeTable(t),
	})
	return err
}

// opening lists the errnos of a table that names a device which the kernel cannot open.
var opening = []error{unix.ENXIO, unix.ENODEV, unix.ENOENT, unix.ENOTBLK, unix.EBUSY, unix.EROFS, unix.EACCES}

// explained is device with an error that carries what the kernel's log says about it.
func (c *Control) explained(ctx context.Context, op, name string, r request) (reply, error) {
	if err := ready(ctx, op, name); err != nil {
		return reply{}, err
	}
	log := c.logs.open()
	defer c.logs.put(log)
	r.name = name
	rep, err := c.call(r)
	if err == nil {
		return rep, nil
	}
	status, gone := c.call(request{command: unix.DM_DEV_STATUS, name: name})
	return reply{}, &Error{
		Op:        op,
		Device:    name,
		Err:       err,
		InTable:   gone == nil && slices.Contains(opening, err),
		KernelLog: log.lines(status.dev),
	}
}

// Clear empties the inactive slot. An empty slot is no error.
func (c *Control) Clear(ctx context.Context, name string) error {
	_, err := c.device(ctx, "clear inactive table of", name, request{command: unix.DM_TABLE_CLEAR})
	return err
}

// Suspend flushes the device, waits for I/O in flight, and makes later I/O wait until Resume. With freeze, it first makes a
// file system that is mounted from the device clean and freezes it, until Resume. A device that is suspended already is no
// error.
//
// The wait for I/O in flight has no limit and does not end with ctx. While the device is suspended, every process that uses
// it hangs, the caller too. Prepare everything before, and call Resume in every case.
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
	return fault(op, name, c.libraryFreeze(name))
}

// Resume makes the inactive table the live one, if there is one, and lets I/O continue. Then it takes care of the device's
// name in /dev: it waits for udev's link to a device for users, or makes one. A link that cannot be made is logged and is no
// error. So an error means that the kernel did not resume the device.
//
// Resume is one ioctl. On a running device the kernel suspends, swaps the tables and resumes inside it, without freezing the
// file system (drivers/md/dm-ioctl.c, do_resume). So a process that is killed cannot leave the device suspended. A device
// that was suspended before needs this call: give it a context that cannot end (context.WithoutCancel).
//
// If it fails with an inactive table loaded, the device may be left suspended, and nothing shows with which table. It is the
// old one if the new one did not fit its devices (EINVAL). It is the new one if a target could not start (EIO), because its
// bitmap cannot be read, say. In the second case another Resume would succeed, without what was missing (measured). So do not
// try again: load the table that ran before, and resume with that.
//
// No signal interrupts the swap: see despiteSignals.
func (c *Control) Resume(ctx context.Context, name string, v Visibility) error {
	rep, err := c.explained(ctx, "resume", name, request{
		command: unix.DM_DEV_SUSPEND,
		flags:   unix.DM_SKIP_LOCKFS_FLAG,
		event:   v.udevFlags(),
	})
	if err != nil {
		return err
	}
	c.links.follow(ctx, name, rep.dev, v)
	return nil
}

// Remove destroys a device and its link. While the device is open, which udev's probes do for moments, it tries again for
// three seconds. Then it fails with ErrBusy. Remove stacked devices from the top down: the removal of a raid device
// writes to its legs, which must not be suspended.
func (c *Control) Remove(ctx context.Context, name string) error {
	const op = "remove"
	rep, err := c.device(ctx, op, name, request{command: unix.DM_DEV_STATUS})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(busyWait)
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

// Name repairs the link of a running device for users. A process that was killed right after a change may not have made it, or
// may have left it under the old name. If the link is right, Name does nothing.
func (c *Control) Name(ctx context.Context, name string, v Visibility) error {
	rep, err := c.device(ctx, "name", name, request{command: unix.DM_DEV_STATUS})
	if err != nil {
		return err
	}
	c.links.repair(ctx, name, rep.dev, v)
	return nil
}

// Rename gives a device another name, see Create, and moves its link. The device may be open and stays so. It fails with
// ErrBusy when the new name is taken.
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

// Message sends message to the target that serves sector, and returns its answer, which is empty for most messages. It fails
// with ErrBusy when the target cannot do it now.
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
	return answer, fault(op, name, err)
}
