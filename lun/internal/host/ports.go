package host

import (
	"context"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
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
	// Load builds t and puts it in the inactive slot. The live table is not touched.
	Load(ctx context.Context, name string, t dm.Table) error
	// Clear empties the inactive slot.
	Clear(ctx context.Context, name string) error
	// Suspend makes I/O wait until the next Resume; freeze has a file system on the device made clean first.
	Suspend(ctx context.Context, name string, freeze bool) error
	// Resume makes the inactive table, where there is one, the live one, and lets I/O go on. On a running device that
	// is one atomic swap inside the kernel.
	Resume(ctx context.Context, name string, v dm.Visibility) error
	// Remove destroys a device that nobody has open.
	Remove(ctx context.Context, name string) error
	// Observe is the state of one device and its live table, empty when there is none, by one call.
	Observe(ctx context.Context, name string) (dm.Info, dm.Table, error)
	// Table is the live table; empty when there is none.
	Table(ctx context.Context, name string) (dm.Table, error)
	// Waiting is the table in the inactive slot; empty when there is none.
	Waiting(ctx context.Context, name string) (dm.Table, error)
	// Name gives a device that runs its name in /dev, where a process was killed before it did.
	Name(ctx context.Context, name string, v dm.Visibility) error
	// RefuseDiscards has a device that runs take no discards until it gets another table, and so those that are stacked on it
	// from now on.
	RefuseDiscards(ctx context.Context, name string) error
	// Rename gives a device another name. Whoever has it open keeps it.
	Rename(ctx context.Context, name, newName string, v dm.Visibility) error
	// Status is the state of one device and the status of its live table, by one call.
	Status(ctx context.Context, name string) (dm.Status, error)
	// Unreadable is a sector of a leg that a resync could not read since a moment, as the kernel's log tells.
	Unreadable(ctx context.Context, leg devno.No, since time.Time) (size.Sectors, bool)
	// WaitEvent returns when any device-mapper device has had an event since WaitEvent was last called.
	WaitEvent(ctx context.Context) error
}

// Devices finds and opens block devices: blockdev.Host on a real machine, *blockdev.Mem in tests.
type Devices interface {
	// Scan is every block device of the machine that could be a drive, without those at the paths in but.
	Scan(ctx context.Context, but ...string) ([]blockdev.Info, error)
	// Stat describes the device at path, which may be a link.
	Stat(ctx context.Context, path string) (blockdev.Info, error)
	// Open opens the device at path.
	Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error)
	// Allocation is what is known about where the device at path is blank; allocation.ErrUnknown where nothing is.
	Allocation(ctx context.Context, path string) (allocation.Map, error)
	// Users says who uses a device: mounts, swap, holders, partitions. Empty when nobody does.
	Users(ctx context.Context, dev devno.No) ([]blockdev.User, error)
	// Signatures is what is recognised in the content of the device at path. Empty when nothing is.
	Signatures(ctx context.Context, path string) ([]signature.Signature, error)
}
