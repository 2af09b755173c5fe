//go:build linux

// Package blockdev is plexctl's access to block devices. It tells what a device is and who uses it, and it reads and writes
// metadata past the page cache.
//
//	Host               the machine's own devices, as sysfs, procfs and /dev show them
//	Disk               one open device
//	Zero, ZeroOffload  make a part of a disk read as zeros
//
// Package signature tells what is on a device, package allocation which parts of it are blank. Package blocktest has drives
// in memory, for tests that cut the power.
//
// The package knows no plexctl label and no device-mapper table. Data of users never passes through it: the kernel moves
// that.
package blockdev

import (
	"errors"
	"io"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/internal/visible"
	"github.com/plexctl/plexctl/size"
)

// Align is the unit of all I/O through a Disk: offsets and lengths are multiples of it. No drive that plexctl takes has
// larger logical blocks.
const Align = 4096

// Errors that callers tell apart. They are wrapped with the device's path and the cause.
var (
	// ErrBusy means that the device is claimed: mounted, swapped on, part of an array, or open exclusively.
	ErrBusy = errors.New("device is in use")
	// ErrNotExist means that there is no such block device.
	ErrNotExist = errors.New("no such block device")
	// ErrNotBlock means that the path names something that is not a block device.
	ErrNotBlock = errors.New("not a block device")
	// ErrReadOnly means that the device takes no writes: it is write-protected, or set read-only in the kernel.
	ErrReadOnly = errors.New("device is write-protected")
	// ErrSilent means that the device does not answer: a read of it has not ended in time, or cannot end now.
	ErrSilent = errors.New("device does not answer")
	// ErrAlign means that an offset or a length is not a multiple of Align.
	ErrAlign = errors.New("offset or length is not a multiple of 4096")
)

// Info describes a block device as the kernel sees it now.
type Info struct {
	Path          string // "/dev/sdb": the kernel's own name, not a link; of device-mapper "/dev/mapper/NAME", if that is there
	Dev           devno.No
	Size          size.Bytes
	LogicalBlock  size.Bytes // smallest addressable unit: 512 or 4096
	PhysicalBlock size.Bytes
	ReadOnly      bool
	Zoned         bool       // queue/zoned is not "none"
	DAX           bool       // queue/dax is 1
	Suspended     bool       // a device-mapper device that is suspended: a read waits until it is resumed
	Integrity     bool       // T10 protection information is formatted and in use
	Model         string     // model or backing file, for people; may be empty
	Serial        string     // may be empty
	Identity      Identity   // what the device says of itself
	DMUUID        string     // the dm UUID when the device is a device-mapper device, else empty
	Holders       []devno.No // devices stacked on this one or on a partition of it
	Slaves        []devno.No // devices this one is stacked on
}

// Mode says what an opened Disk is for.
type Mode int

// Modes of Open.
const (
	// Read opens for reading only and conflicts with nobody.
	Read Mode = iota
	// Look is Read for a device that may never answer. No signal ends a read of such a device, nor the process that reads. So package
	// apart reads in another process. Host itself reads as with Read.
	Look
	// Write opens for reading and writing and conflicts with nobody: device-mapper may hold the device.
	Write
	// Exclusive opens for reading and writing with O_EXCL and flock(LOCK_EX), as udev expects. It fails with ErrBusy when
	// anyone has claimed the device or a partition of it. Close the disk before you load a table onto the device: the kernel
	// refuses that as long as the device is claimed.
	Exclusive
)

// Disk is an open block device. Its reads and writes bypass the page cache. Offsets and lengths must be multiples of Align
// (ErrAlign otherwise); the memory need not be aligned. A write is durable only after Sync returns nil. Several goroutines
// may use one Disk.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes all completed writes durable: it flushes the drive's volatile cache. After an error, any write since the
	// last successful Sync may be lost.
	Sync() error
	// Info is the device as it was when Info was first called.
	Info() Info
}

// User is one reason why a device is in use.
type User struct {
	Kind string // "mount", "swap", "holder", "partition", "process"
	Name string // mount point, dm name, partition, or "qemu[812]"
}

// String is the user for an error text: `mounted at /srv`. Its name is escaped for a terminal.
func (u User) String() string {
	name := visible.Line(u.Name)
	switch u.Kind {
	case "mount":
		return "mounted at " + name
	case "swap":
		return "in use as swap"
	case "holder":
		return "held by " + name
	case "partition":
		return "has partition " + name
	default:
		return "open in " + name
	}
}
