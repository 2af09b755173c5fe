// Package eintr repeats system calls that a signal has interrupted.
package eintr

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Retry repeats call while a signal interrupts it, and is its last error. Go's runtime itself sends signals at any time.
func Retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
