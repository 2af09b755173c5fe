//go:build linux

package dm

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// unreadableLine is the record that the kernel writes about a sector of a leg that no leg could give.
func unreadableLine(leg devno.No, sector size.Sectors) string {
	return fmt.Sprintf("2,1,1,-;md/raid1:mdX: dm-%d: unrecoverable I/O read error for block %d\n", leg.Minor, uint64(sector))
}

// The search begins at the marker, whatever the clocks say. What is missing of the log is not known.
func TestReadCopyLog(t *testing.T) {
	const op, other = "8b6c7a52-0000-4000-8000-000000000001", "8b6c7a52-0000-4000-8000-000000000002"
	legs := []devno.No{dmDev(6), dmDev(8)}
	mark := func(operation string, begins bool, legs ...devno.No) string {
		return "14,1,0,-;" + Marker{Operation: operation, Begins: begins, Legs: legs}.String() + "\n"
	}
	begin := mark(op, true, legs...)
	line := func(text string) string { return "2,1234,9223372036854775807,-;" + text + "\n SUBSYSTEM=block\n" }
	bad := unreadableLine(dmDev(6), 40960)
	tests := map[string]struct {
		records []string
		want    Passed
	}{
		"nothing since":         {[]string{bad, begin}, Passed{Known: true}},
		"a sector":              {[]string{begin, bad}, Passed{Known: true, Found: true, Leg: dmDev(6), Sector: 40960}},
		"of the other leg":      {[]string{begin, unreadableLine(dmDev(8), 1)}, Passed{Known: true, Found: true, Leg: dmDev(8), Sector: 1}},
		"the first one":         {[]string{begin, bad, unreadableLine(dmDev(8), 1)}, Passed{Known: true, Found: true, Leg: dmDev(6), Sector: 40960}},
		"of another mirror":     {[]string{begin, unreadableLine(dmDev(66), 40960)}, Passed{Known: true}},
		"no marker":             {[]string{bad}, Passed{}},
		"an empty log":          {nil, Passed{}},
		"of another operation":  {[]string{mark(other, true, legs...)}, Passed{}},
		"it only goes on":       {[]string{mark(op, false, legs...)}, Passed{}},
		"on the same devices":   {[]string{begin, mark(op, false, legs...)}, Passed{Known: true}},
		"on others for a while": {[]string{begin, mark(op, false, dmDev(6), dmDev(9)), mark(op, false, legs...)}, Passed{}},
		"began on others":       {[]string{mark(op, true, dmDev(5), dmDev(8))}, Passed{}},
		"one leg has gone":      {[]string{mark(op, true, dmDev(6), dmDev(8), dmDev(9))}, Passed{Known: true}},
		"lines may be left out": {append([]string{begin}, manyOf(passedLimit)...), Passed{}},
		"not yet":               {append([]string{begin}, manyOf(passedLimit-1)...), Passed{Known: true}},
		"another message":       {[]string{begin, line("md/raid1:mdX: dm-6: redirecting sector 8 to other mirror: dm-6")}, Passed{Known: true}},
		"by another driver":     {[]string{begin, line("sda: dm-6: unrecoverable I/O read error for block 1")}, Passed{Known: true}},
		"not about dm":          {[]string{begin, line("md/raid1:md0: sda6: unrecoverable I/O read error for block 1")}, Passed{Known: true}},
		"no number":             {[]string{begin, line("md/raid1:mdX: dm-6: unrecoverable I/O read error for block x")}, Passed{Known: true}},
		"too large a number":    {[]string{begin, line("md/raid1:mdX: dm-6: unrecoverable I/O read error for block 99999999999999999999")}, Passed{Known: true}},
		"no marker's legs":      {[]string{"14,1,0,-;plexctl: operation " + op + " begins: reads x\n"}, Passed{}},
		"no marker's verb":      {[]string{"14,1,0,-;plexctl: operation " + op + " ends: reads 253:6 253:8\n"}, Passed{}},
		"not a record":          {[]string{"", begin}, Passed{Known: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ReadCopyLog(test.records, op, legs); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func manyOf(n int) []string {
	var lines []string
	for range n {
		lines = append(lines, unreadableLine(dmDev(66), 8))
	}
	return lines
}

// A part of the log that was overwritten while it was read is not known; before the marker it does not matter.
func TestGapInTheLog(t *testing.T) {
	legs := []devno.No{dmDev(6)}
	begin := "14,1,0,-;" + Marker{Operation: "a", Begins: true, Legs: legs}.String()
	for name, test := range map[string]struct {
		play func(*copyLog)
		want Passed
	}{
		"before the marker": {func(l *copyLog) { l.gap(); l.add(begin) }, Passed{Known: true}},
		"after it":          {func(l *copyLog) { l.add(begin); l.gap() }, Passed{}},
		"after a sector": {
			func(l *copyLog) { l.add(begin); l.add(unreadableLine(dmDev(6), 7)); l.gap() },
			Passed{Known: true, Found: true, Leg: dmDev(6), Sector: 7},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := copyLog{operation: "a", legs: legs}
			test.play(&l)
			if got := l.result(); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// A log that cannot be read or written says nothing, and a marker that was written is found.
func TestMarkInAFile(t *testing.T) {
	dir := t.TempDir()
	at := func(path string) *Control { return &Control{logs: kernelLogs{path: path}} }
	m := Marker{Operation: "a", Begins: true, Legs: []devno.No{dmDev(6)}}
	missing := at(filepath.Join(dir, "missing"))
	if err := missing.Mark(t.Context(), m); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a log: %v", err)
	}
	if got := missing.Passed(t.Context(), "a", m.Legs); got != (Passed{}) {
		t.Errorf("without a log: %+v", got)
	}
	write(t, filepath.Join(dir, "kmsg"), "")
	if err := at(filepath.Join(dir, "kmsg")).Mark(t.Context(), m); err != nil {
		t.Error(err)
	}
	if got := at(dir).Passed(t.Context(), "a", m.Legs); got != (Passed{}) {
		t.Errorf("a log that opens and cannot be read: %+v", got)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	log := kernelLog{fd: fds[0]}
	defer log.close()
	for _, record := range []string{"14,1,1,-;" + m.String() + "\n", unreadableLine(dmDev(6), 7)} {
		if _, err := unix.Write(fds[1], []byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := log.passed("a", m.Legs), (Passed{Known: true, Found: true, Leg: dmDev(6), Sector: 7}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
