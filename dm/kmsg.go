package dm

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
)

// Device-mapper tells user space only an errno; why a table was refused stands in the kernel's log alone.

// Limits of what a kernelLog takes from the log, so that a flood does not end up in an error.
const (
	maxRecord = 8192 // bytes of one record; the kernel's own limit (CONSOLE_EXT_LOG_MAX)
	maxLines  = 4
)

// severityWarning is the least urgent level that says why something failed (include/linux/kern_levels.h).
const severityWarning = 4

// echo is a line that follows every refusal and says nothing about it.
const echo = "device-mapper: ioctl: error adding target to table"

// kernelLog is /dev/kmsg, positioned behind what had been logged when it was opened.
type kernelLog struct {
	fd int // -1 where the log cannot be read
}

// openKernelLog remembers the end of the kernel's log. It never fails: without the privilege, or in a container that
// hides the log, errors carry no line of it.
func openKernelLog(path string) kernelLog {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return kernelLog{fd: -1}
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		_ = unix.Close(fd) // read only
		return kernelLog{fd: -1}
	}
	return kernelLog{fd: fd}
}

// close gives the descriptor back.
func (l kernelLog) close() {
	if l.fd >= 0 {
		_ = unix.Close(l.fd) // read only
	}
}

// lines is what was logged since the log was opened about dev, or about no device in particular.
func (l kernelLog) lines(dev blockdev.DevNo) string {
	var found []string
	for buf := make([]byte, maxRecord); l.fd >= 0 && len(found) < maxLines; {
		n, err := unix.Read(l.fd, buf)
		if err == unix.EPIPE || err == unix.EINTR {
			continue // records were overwritten before they were read; the next read goes on behind the gap
		}
		if err != nil || n <= 0 {
			break
		}
		if line, ok := parseRecord(string(buf[:n])); ok && about(line, dev) && !slices.Contains(found, line) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "; ")
}

// parseRecord is the message of a record, "priority,sequence,microseconds,flags;message\n KEY=value\n", when it is a
// warning or worse by device-mapper or md (Documentation/ABI/testing/dev-kmsg).
func parseRecord(record string) (string, bool) {
	prefix, rest, ok := strings.Cut(record, ";")
	if !ok {
		return "", false
	}
	first, _, _ := strings.Cut(prefix, ",")
	priority, err := strconv.ParseUint(first, 10, 32)
	if err != nil || priority&7 > severityWarning {
		return "", false
	}
	line, _, _ := strings.Cut(rest, "\n")
	if line == echo {
		return "", false
	}
	for _, by := range []string{"device-mapper:", "md:", "md/"} {
		if strings.HasPrefix(line, by) {
			return line, true
		}
	}
	return "", false
}

// about reports whether line is not about another device's table.
func about(line string, dev blockdev.DevNo) bool {
	rest, ok := strings.CutPrefix(line, "device-mapper: table: ")
	if !ok {
		return true
	}
	number, _, ok := strings.Cut(rest, ": ")
	return !ok || number == dev.String() || !isDevNo(number)
}

// isDevNo reports whether text has the form "253:4".
func isDevNo(text string) bool {
	rest := strings.TrimLeft(text, "0123456789")
	return strings.HasPrefix(rest, ":") && strings.TrimLeft(rest[1:], "0123456789") == ""
}
