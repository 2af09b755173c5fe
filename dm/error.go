//go:build linux

package dm

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors that callers tell apart with errors.Is. An *Error also matches the kernel's errno, so that errors.Is works with
// unix.EINVAL and os.ErrPermission too.
var (
	// ErrNotExist means that there is no such device-mapper device (ENXIO). It may have been removed a moment ago.
	ErrNotExist = errors.New("no such device-mapper device")
	// ErrBusy means that a device is open and cannot be removed, or that a name or UUID is taken (EBUSY). For a table it
	// means that a device in it is claimed outside device-mapper: by a mount, or as swap.
	ErrBusy = errors.New("device-mapper device is busy")
	// ErrNotSupported means that the running kernel does not have device-mapper, a command, or a target.
	ErrNotSupported = errors.New("not supported by this kernel")
)

// Error is the error of every method of Control. As text:
//
//	load table of "plex-web1": invalid argument (kernel: device-mapper: table: 254:3: raid: …)
type Error struct {
	Op        string // operation: "create", "load table of"
	Device    string // name of the device or target; empty for operations on all of them
	Err       error  // a unix.Errno if the kernel refused; else the error of a context, or one that says what is wrong
	InTable   bool   // Err is about a device that the table names, not about Device
	KernelLog string // lines of the kernel's log, joined by "; "; empty if there were none, or if the log cannot be read
}

// Error is operation, device, cause and kernel log in one line. The device is quoted as in Go source, because other programs
// may give a device a name with control characters.
func (e *Error) Error() string {
	text := e.Op
	if e.Device != "" {
		text += " " + strconv.Quote(e.Device)
	}
	if e.InTable {
		text += ": device in the table"
	}
	text += ": " + e.Err.Error()
	if e.KernelLog != "" {
		text += " (kernel: " + e.KernelLog + ")"
	}
	return text
}

// fault is err as an *Error, nil for nil.
func fault(op, device string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Device: device, Err: err}
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether e is what target says, which is one of the errors of this package.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotExist:
		return errors.Is(e.Err, unix.ENXIO) && !e.InTable
	case ErrBusy:
		return errors.Is(e.Err, unix.EBUSY)
	case ErrNotSupported:
		return unknownCommand(e.Err) || e.module() != ""
	}
	return false
}

// MissingModule is the kernel module without which a call failed: "dm-raid", "raid1"; "" if err does not tell.
func MissingModule(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.module()
	}
	return ""
}

// module finds the module in what the kernel logs (drivers/md/dm-table.c, dm_table_add_target; drivers/md/md.c, md_run), or in the
// question that was answered with ErrNotSupported.
func (e *Error) module() string {
	for name, module := range map[string]string{"linear": "dm-mod", "raid": "dm-raid", "raid1": "raid1"} {
		if strings.Contains(e.KernelLog, ": "+name+": unknown target type") || e.Device == name && errors.Is(e.Err, ErrNotSupported) {
			return module
		}
	}
	if strings.Contains(e.KernelLog, "personality for level 1 is not loaded") {
		return "raid1"
	}
	return ""
}

// unknownCommand reports whether the kernel does not have a command: ENOTTY, and ENOSYS from what emulates a kernel.
func unknownCommand(err error) bool {
	return errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.ENOSYS)
}
