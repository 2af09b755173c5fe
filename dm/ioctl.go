//go:build linux

package dm

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/internal/eintr"
)

// ioctl is the system call. buf has the request and receives the reply. Nothing else in the package needs unsafe.
func ioctl(fd uintptr, command uint, buf []byte) error {
	return despiteSignals(command, func() error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(command), uintptr(unsafe.Pointer(&buf[0])))
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// despiteSignals makes a system call again after EINTR, because the kernel has then undone what it began.
//
// No signal interrupts a swap. Kernels older than the stable releases of August 2024 answer EINVAL then, and the new table is
// gone ("dm resume: don't return EINVAL when signalled").
func despiteSignals(command uint, call func() error) error {
	if command == unix.DM_DEV_SUSPEND {
		return eintr.Shield(call)
	}
	return eintr.Retry(call)
}
