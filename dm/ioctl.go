//go:build linux

package dm

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/internal/eintr"
)

// ioctl is the system call. It is repeated after EINTR, because the kernel has then undone what it began. buf has the request
// and receives the reply. Nothing else in the package needs unsafe.
func ioctl(fd uintptr, command uint, buf []byte) error {
	return eintr.Retry(func() error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(command), uintptr(unsafe.Pointer(&buf[0])))
		if errno != 0 {
			return errno
		}
		return nil
	})
}
