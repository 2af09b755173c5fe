//go:build linux

package apart

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A reader that waits for a device holds a lock on a file that has the device's name, its mark. While there is one, no other reader
// begins to wait for the device. So readers do not pile up, however often a command is run. The lock ends with the reader.

// markAfter is how long a reader waits for a device before it marks it, and markPause the pause between two looks at a mark.
const (
	markAfter = time.Second
	markPause = 100 * time.Millisecond
)

// markFile is the file of a device's mark.
func markFile(dir, device string) string {
	return filepath.Join(dir, "silent"+strings.ReplaceAll(device, "/", "-"))
}

// mark marks a device after some time, and returns the function that ends that. Without a folder for marks it does nothing.
func mark(dir, device string) (unmark func()) {
	made := make(chan *os.File, 1)
	timer := time.AfterFunc(markAfter, func() {
		_ = os.MkdirAll(dir, 0o700) // as the host's lock makes it
		f, err := os.OpenFile(markFile(dir, device), os.O_CREATE|os.O_RDONLY, 0o600)
		if err == nil {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		if err != nil && f != nil {
			_ = f.Close() // another reader has marked it
			f = nil
		}
		made <- f
	})
	return func() {
		if timer.Stop() {
			return
		}
		if f := <-made; f != nil {
			_ = os.Remove(f.Name()) // a file without a lock is no mark
			_ = f.Close()
		}
	}
}

// marked reports whether a reader waits for a device.
func marked(dir, device string) bool {
	f, err := os.Open(markFile(dir, device))
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
