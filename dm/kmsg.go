//go:build linux

package dm

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Device-mapper returns only an errno. Why it refused a table is in the kernel's log alone.

// Limits of what a kernelLog takes from the log, so that a flood does not end up in an error.
const (
	maxRecord = 8192 // bytes of one record; the kernel's own limit (CONSOLE_EXT_LOG_MAX)
	maxLines  = 4
)

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

// Unreadable looks in the kernel's log for a sector that a resync could not read from any leg after since. leg is the leg
// that the log names. It returns the first such sector, or false if the log has none, cannot be read, or was overwritten.
//
// Nothing but the log shows such a sector. md normally ends the resync there. But if writes to the leg that it fills are in
// flight at that moment, it continues after the sector. In the end it calls the leg in sync (seen on 6.1 and 6.12). See
// fix_sync_read_error in drivers/md/raid1.c. In drivers/md/md.c md_do_sync moves recovery_offset past what was in flight.
func (c *Control) Unreadable(_ context.Context, leg devno.No, since time.Time) (size.Sectors, bool) {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0, false
	}
	log := openLog(kmsgPath)
	defer log.close()
	return log.unreadable(leg, time.Duration(now.Nano())-time.Since(since))
}

// unreadable looks for the sector from where the log is positioned on; since is on the log's clock.
func (l kernelLog) unreadable(leg devno.No, since time.Duration) (size.Sectors, bool) {
	for buf := make([]byte, maxRecord); ; {
		n, err := unix.Read(l.fd, buf)
		if err == unix.EPIPE || err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return 0, false
		}
		if sector, ok := parseUnreadable(string(buf[:n]), leg, since); ok {
			return sector, true
		}
	}
}

// parseUnreadable is the sector in a record such as
// "2,1234,95878462,-;md/raid1:mdX: dm-6: unrecoverable I/O read error for block 40960".
func parseUnreadable(record string, leg devno.No, since time.Duration) (size.Sectors, bool) {
	prefix, rest, _ := strings.Cut(record, ";")
	fields := strings.Split(prefix, ",")
	if len(fields) < 3 {
		return 0, false
	}
	at, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || time.Duration(at)*time.Microsecond < since {
		return 0, false
	}
	line, _, _ := strings.Cut(rest, "\n")
	_, block, ok := strings.Cut(line, fmt.Sprintf(": dm-%d: unrecoverable I/O read error for block ", leg.Minor))
	if !ok || !strings.HasPrefix(line, "md/raid1:") {
		return 0, false
	}
	sector, err := strconv.ParseUint(block, 10, 64)
	if err != nil {
		return 0, false
	}
	return size.Sectors(sector), true
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
func about(line string, dev devno.No) bool {
	rest, ok := strings.CutPrefix(line, "device-mapper: table: ")
	if !ok {
		return true
	}
	number, _, ok := strings.Cut(rest, ": ")
	other, err := devno.Parse(number)
	return !ok || err != nil || other == dev
}
