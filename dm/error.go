package dm

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors that callers tell apart with errors.Is. An *Error matches them by the kernel's errno; the errno itself matches
// too, so errors.Is(err, unix.EINVAL) and errors.Is(err, os.ErrPermission) work.
var (
	// ErrNotExist means that there is no such device-mapper device, or that it was removed meanwhile (ENXIO).
	ErrNotExist = errors.New("no such device-mapper device")
	// ErrBusy means that a device to remove is open, that a name or UUID to use is taken, or that a device which a table
	// names is claimed by somebody outside device-mapper (EBUSY).
	ErrBusy = errors.New("device-mapper device is busy")
	// ErrNotSupported means that this kernel lacks what was asked for: device-mapper itself, a command, or a target.
	ErrNotSupported = errors.New("not supported by this kernel")
)

// Error is what every method of Control returns: the operation, its object, the cause, and what the kernel logged
// about it. A message reads `load table of "plex-web1": invalid argument (kernel: device-mapper: table: 254:3: raid: …)`.
type Error struct {
	Op        string // "create", "load table of"
	Device    string // name of the device or target; empty for operations on all of them
	Err       error  // a unix.Errno where the kernel refused; else a context's error or one that says what is wrong
	InTable   bool   // Err is about a device that the table names, not about Device
	KernelLog string // lines of the kernel's log, joined by "; "; empty when there were none or they cannot be read
}

// Error is operation, object, cause, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Device != "" {
		b.WriteString(" " + strconv.Quote(e.Device)) // which any program may have named, with any byte
	}
	b.WriteString(": ")
	if e.InTable {
		b.WriteString("device in the table: ")
	}
	b.WriteString(e.Err.Error())
	if e.KernelLog != "" {
		b.WriteString(" (kernel: " + e.KernelLog + ")")
	}
	return b.String()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether the errno of e means what target, one of this package's sentinels, says.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotExist:
		return errors.Is(e.Err, unix.ENXIO) && !e.InTable
	case ErrBusy:
		return errors.Is(e.Err, unix.EBUSY)
	case ErrNotSupported:
		return unknownCommand(e.Err)
	}
	return false
}

// unknownCommand reports whether the kernel does not have a command: ENOTTY, and ENOSYS from what emulates a kernel.
func unknownCommand(err error) bool {
	return errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOSYS)
}
