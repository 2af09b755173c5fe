//go:build linux

package dm

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
)

// Device-mapper returns only an errno. Why it refused a table is in the kernel's log alone.

// Limits of what a kernelLog takes from the log, so that a flood does not end up in an error.
const (
	maxRecord = 8192 // bytes of one record; the kernel's own limit (CONSOLE_EXT_LOG_MAX)
	maxLines  = 4
)

// markerPriority is the level of a marker: informational.
const markerPriority = "<6>"

// severityWarning is the least urgent level that says why something failed (include/linux/kern_levels.h).
const severityWarning = 4

// echo is a line that follows every refusal and says nothing about it.
const echo = "device-mapper: ioctl: error adding target to table"

// kernelLog is /dev/kmsg, positioned behind what had been logged when it was taken from kernelLogs.
type kernelLog struct {
	fd int // -1 where the log cannot be read
}

// kernelLogs keeps descriptors of the kernel's log for reuse, so that the start of hundreds of devices opens it once.
type kernelLogs struct {
	path string

	mu     sync.Mutex
	idle   []kernelLog
	closed bool
}

// open is a descriptor at the end of the kernel's log; the caller gives it back with put. It never fails: without the
// privilege, or in a container that hides the log, errors carry no line of it.
func (p *kernelLogs) open() kernelLog {
	log, ok := p.take()
	if !ok {
		log = openLog(p.path)
	}
	if _, err := unix.Seek(log.fd, 0, unix.SEEK_END); err != nil {
		log.close()
		return kernelLog{fd: -1}
	}
	return log
}

// openLog is the log at path from its start; fd is -1 if it cannot be read.
func openLog(path string) kernelLog {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	return kernelLog{fd}
}

func (p *kernelLogs) take() (kernelLog, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return kernelLog{}, false
	}
	log := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return log, true
}

// put gives back what open has given.
func (p *kernelLogs) put(log kernelLog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || log.fd < 0 {
		log.close()
		return
	}
	p.idle = append(p.idle, log)
}

// close closes the descriptors; one in use is closed when it is put back.
func (p *kernelLogs) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, log := range p.idle {
		log.close()
	}
	p.idle = nil
}

// close gives the descriptor back.
func (l kernelLog) close() {
	if l.fd >= 0 {
		_ = unix.Close(l.fd) // read only
	}
}

// lines is what was logged since the log was opened about dev, or about no device in particular.
func (l kernelLog) lines(dev devno.No) string {
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

// Mark writes a marker into the kernel's log. It opens the log anew, because the kernel limits how many lines one opener may
// write. It fails where the log cannot be written; then nothing will be known about the copy.
func (c *Control) Mark(_ context.Context, m Marker) error {
	fd, err := unix.Open(c.logs.path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		_, err = unix.Write(fd, []byte(markerPriority+m.String()+"\n"))
		err = errors.Join(err, unix.Close(fd))
	}
	return fault("write to the log of", "kernel", err)
}

// Passed looks in the kernel's log for a sector that the copy of an operation could not read from any leg. legs is the data
// devices that it reads from. The search begins at the operation's marker.
//
// Nothing but the log shows such a sector. md normally ends the resync there. But if writes to the leg that it fills are in
// flight at that moment, it continues after the sector. In the end it calls the leg in sync (seen on 6.1 and 6.12). See
// fix_sync_read_error in drivers/md/raid1.c. In drivers/md/md.c md_do_sync moves recovery_offset past what was in flight.
func (c *Control) Passed(_ context.Context, operation string, legs []devno.No) Passed {
	log := openLog(c.logs.path)
	defer log.close()
	return log.passed(operation, legs)
}

// passed reads the log from where it is positioned on.
func (l kernelLog) passed(operation string, legs []devno.No) Passed {
	found := copyLog{operation: operation, legs: legs}
	for buf := make([]byte, maxRecord); ; {
		n, err := unix.Read(l.fd, buf)
		switch {
		case err == unix.EINTR:
		case err == unix.EPIPE:
			found.gap()
		case err == unix.EAGAIN, err == nil && n <= 0:
			return found.result()
		case err != nil:
			return Passed{}
		default:
			found.add(string(buf[:n]))
		}
	}
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
	by := func(prefix string) bool { return strings.HasPrefix(line, prefix) }
	if line == echo || !slices.ContainsFunc([]string{"device-mapper:", "md:", "md/"}, by) {
		return "", false
	}
	return line, true
}

// about reports whether line is not about another device's table.
func about(line string, dev devno.No) bool {
	rest, ok := strings.CutPrefix(line, "device-mapper: table: ")
	if !ok {
		return true
	}
	number, _, ok := strings.Cut(rest, ": ")
	other, err := devno.Parse(number)
	return !ok || err != nil || other == dev
}
