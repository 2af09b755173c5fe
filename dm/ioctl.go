package dm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl is the system call, repeated after EINTR, because the kernel has then undone what it began. buf has the request and
// receives the reply. Nothing else in the package needs unsafe.
func ioctl(fd uintptr, command uint, buf []byte) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(command), uintptr(unsafe.Pointer(&buf[0])))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		default:
			return errno
		}
	}
}
