// Package eintr repeats system calls that a signal has interrupted.
package eintr

import (
	"errors"
	"runtime"

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

// Shield makes call on a thread that gets no signals meanwhile, other threads do. It is for a system call that fails for good when
// a signal interrupts it. Only SIGKILL ends that.
func Shield(call func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) //nolint:errcheck // it has worked before
	return call()
}
