package host

import (
	"context"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
)

// Kernel is the device-mapper that plexctl drives: *dm.Control on a real machine, *dmtest.Kernel in tests. Devices are
// addressed by name. Errors satisfy errors.Is with dm.ErrNotExist and dm.ErrBusy where they apply.
type Kernel interface {
	// List is every device-mapper device of the machine.
	List(ctx context.Context) ([]dm.Device, error)
	// Info is the state of one device.
	Info(ctx context.Context, name string) (dm.Info, error)
	// Create makes a device without a table.
	Create(ctx context.Context, name, uuid string) (devno.No, error)
	// CanMirror fails when the kernel lacks what a mirror's table needs.
	CanMirror(ctx context.Context) error
	// Load builds t and puts it in the inactive slot. The live table is not touched.
	Load(ctx context.Context, name string, t dm.Table) error
	// Clear empties the inactive slot.
	Clear(ctx context.Context, name string) error
	// Suspend makes I/O wait until the next Resume. With freeze the kernel first makes a file system on the device clean.
	Suspend(ctx context.Context, name string, freeze bool) error
	// Resume makes the table in the inactive slot live, if there is one, and ends a suspend. On a running device the kernel
	// swaps the tables in one atomic step.
	Resume(ctx context.Context, name string, v dm.Visibility) error
	// Remove destroys a device that is not open.
	Remove(ctx context.Context, name string) error
	// Observe is the state of one device and its live table, in one call. The table is empty when there is none.
	Observe(ctx context.Context, name string) (dm.Info, dm.Table, error)
	// Table is the live table; empty when there is none.
	Table(ctx context.Context, name string) (dm.Table, error)
	// Waiting is the table in the inactive slot; empty when there is none.
	Waiting(ctx context.Context, name string) (dm.Table, error)
	// Name makes the name in /dev of a running device, if a process was killed before it did that.
	Name(ctx context.Context, name string, v dm.Visibility) error
	// RefuseDiscards disables discards on a running device until it gets another table, and on devices stacked on it later.
	RefuseDiscards(ctx context.Context, name string) error
	// Rename gives a device another name. Open files stay valid.
	Rename(ctx context.Context, name, newName string, v dm.Visibility) error
	// Status is the state of one device and the status of its live table, in one call.
	Status(ctx context.Context, name string) (dm.Status, error)
	// Mark writes into the kernel's log that a copy begins or goes on.
	Mark(ctx context.Context, m dm.Marker) error
	// Passed is what the kernel's log says about sectors of these legs that the copy of an operation could not read.
	Passed(ctx context.Context, operation string, legs []devno.No) dm.Passed
	// WaitEvent returns when a device-mapper device has had an event since the last call of WaitEvent.
	WaitEvent(ctx context.Context) error
}

// Devices finds and opens block devices: blockdev.Host on a real machine, *blocktest.Mem in tests.
type Devices interface {
	// Scan is every block device of the machine that could be a drive, except those at the paths in but.
	Scan(ctx context.Context, but ...string) ([]blockdev.Info, error)
	// Stat describes the device at path, which may be a link.
	Stat(ctx context.Context, path string) (blockdev.Info, error)
	// Open opens the device at path.
	Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error)
	// Allocation is what is known about blank parts of the device at path; allocation.ErrUnknown when nothing is known.
	Allocation(ctx context.Context, path string) (allocation.Map, error)
	// Users is the users of a device: mounts, swap, holders, partitions.
	Users(ctx context.Context, dev devno.No) ([]blockdev.User, error)
	// Below is the devices that the device at path lies on, directly or through others.
	Below(ctx context.Context, path string) ([]devno.No, error)
	// Signatures is what plexctl recognises in the content of the device at path.
	Signatures(ctx context.Context, path string) ([]signature.Signature, error)
}
