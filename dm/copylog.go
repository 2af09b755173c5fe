//go:build linux

package dm

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Marker is a line in the kernel's log that says where a copy begins. What md reports about the copy stands behind it. So no
// clocks are compared: the clock of the log is neither the clock of the day nor a monotonic one.
type Marker struct {
	Operation string     // the GUID of the operation that copies
	Begins    bool       // false: the copy goes on, in a table with other devices than before
	Legs      []devno.No // the data devices that the copy reads from
}

// Words of a marker. It reads: "plexctl: operation 8b6c… begins: reads 253:4 253:6".
const (
	markerPrefix = "plexctl: operation "
	markerBegins = "begins"
	markerGoesOn = "goes on"
	markerReads  = ": reads"
)

// String is the line that the log gets.
func (m Marker) String() string {
	text := markerPrefix + m.Operation + " " + markerGoesOn + markerReads
	if m.Begins {
		text = markerPrefix + m.Operation + " " + markerBegins + markerReads
	}
	for _, leg := range m.Legs {
		text += " " + leg.String()
	}
	return text
}

// parseMarker is the marker in a line of the log; false when the line is none.
func parseMarker(line string) (Marker, bool) {
	rest, ours := strings.CutPrefix(line, markerPrefix)
	head, legs, reads := strings.Cut(rest, markerReads)
	operation, verb, _ := strings.Cut(head, " ")
	if !ours || !reads || verb != markerBegins && verb != markerGoesOn {
		return Marker{}, false
	}
	m := Marker{Operation: operation, Begins: verb == markerBegins}
	for field := range strings.FieldsSeq(legs) {
		leg, err := devno.Parse(field)
		if err != nil {
			return Marker{}, false
		}
		m.Legs = append(m.Legs, leg)
	}
	return m, true
}

// Passed is what the kernel's log says about sectors that a copy could not read from any leg.
type Passed struct {
	// Known reports whether the log has everything since the copy began. Without it, neither a sector nor its absence is proof.
	Known  bool
	Found  bool // a sector was passed over; Leg and Sector say which one was the first
	Leg    devno.No
	Sector size.Sectors
}

// passedLimit is how many such lines the kernel writes in a row before it leaves some out (include/linux/ratelimit_types.h,
// DEFAULT_RATELIMIT_BURST). Other mirrors have their share of them.
const passedLimit = 10

// copyLog reads the kernel's log for one copy.
type copyLog struct {
	operation string
	legs      []devno.No // those read now
	begun     bool       // the marker of the beginning was found
	broken    bool       // something after it is missing, or the legs were others for a while
	lines     int        // about unreadable sectors, of any mirror
	passed    Passed
}

// ReadCopyLog looks through records of the kernel's log, from the oldest on, for the copy of an operation. legs is the devices
// that the copy reads from now.
func ReadCopyLog(records []string, operation string, legs []devno.No) Passed {
	l := copyLog{operation: operation, legs: legs}
	for _, r := range records {
		l.add(r)
	}
	return l.result()
}

// add takes the next record, such as "2,1234,95878462,-;md/raid1:mdX: dm-6: unrecoverable I/O read error for block 40960".
func (l *copyLog) add(record string) {
	_, rest, _ := strings.Cut(record, ";")
	line, _, _ := strings.Cut(rest, "\n")
	if m, ok := parseMarker(line); ok && m.Operation == l.operation {
		l.begun = l.begun || m.Begins
		l.broken = l.broken || slices.ContainsFunc(l.legs, func(leg devno.No) bool { return !slices.Contains(m.Legs, leg) })
		return
	}
	leg, sector, ok := parseUnreadable(line)
	if !ok || !l.begun {
		return
	}
	l.lines++
	i := slices.IndexFunc(l.legs, func(own devno.No) bool { return own.Minor == leg })
	if i >= 0 && !l.passed.Found {
		l.passed = Passed{Found: true, Leg: l.legs[i], Sector: sector}
	}
}

// gap notes that records were overwritten before they were read.
func (l *copyLog) gap() { l.broken = l.broken || l.begun }

func (l *copyLog) result() Passed {
	found := l.passed
	found.Known = l.begun && (found.Found || !l.broken && l.lines < passedLimit)
	return found
}

// parseUnreadable is the minor number of the leg and the sector in a line about a sector that a resync could not read.
func parseUnreadable(line string) (minor uint32, sector size.Sectors, ok bool) {
	rest, ours := strings.CutPrefix(line, "md/raid1:")
	before, block, about := strings.Cut(rest, ": unrecoverable I/O read error for block ")
	_, leg, named := strings.Cut(before, ": dm-")
	number, errLeg := strconv.ParseUint(leg, 10, 32)
	at, errBlock := strconv.ParseUint(block, 10, 64)
	return uint32(number), size.Sectors(at), ours && about && named && errors.Join(errLeg, errBlock) == nil
}
