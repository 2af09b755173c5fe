package measure

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// tracing is where the kernel has its trace.
const tracing = "/sys/kernel/debug/tracing"

// traceFiles is the files there.
type traceFiles struct{ t testing.TB }

func (tr traceFiles) put(file, text string) {
	tr.t.Helper()
	lab.Must(tr.t, os.WriteFile(filepath.Join(tracing, file), []byte(text+"\n"), 0))
}

func (tr traceFiles) add(file, text string) {
	tr.t.Helper()
	f, err := os.OpenFile(filepath.Join(tracing, file), os.O_WRONLY|os.O_APPEND, 0)
	lab.Must(tr.t, err)
	defer f.Close()
	_, err = f.WriteString(text + "\n")
	lab.Must(tr.t, err)
}

func (tr traceFiles) read(file string) string {
	tr.t.Helper()
	return readValue(tr.t, filepath.Join(tracing, file))
}

// zeroProbe counts what drives are asked to zero by themselves, which the kernel's statistics count as written.
type zeroProbe struct{ traceFiles }

// Requests that neither read, write, discard nor flush begin with N (block/blktrace.c, blk_fill_rwbs).
const (
	zeroEvent   = "events/block/block_rq_issue/"
	zeroTrigger = `hist:keys=dev:vals=bytes if rwbs ~ "N*"`
)

// watchZeroed begins to count.
func watchZeroed(t testing.TB) zeroProbe {
	t.Helper()
	p := zeroProbe{traceFiles{t}}
	p.put(zeroEvent+"trigger", zeroTrigger)
	return p
}

// end ends the count, and returns how much the drive was asked to zero.
func (p zeroProbe) end(drive string) size.Bytes {
	p.t.Helper()
	text := p.read(zeroEvent + "hist")
	p.put(zeroEvent+"trigger", "!"+zeroTrigger)
	return zeroedOf(text, lab.StatDevice(p.t, drive).Dev)
}

// zeroLine is: "{ dev:  266338304 } hitcount:  1  bytes:  268435456".
var zeroLine = regexp.MustCompile(`\{ dev:\s*(\d+) \} hitcount:\s*\d+\s+bytes:\s*(\d+)`)

// zeroedOf is what a histogram says of a device, whose number stands there as the kernel has it.
func zeroedOf(text string, dev devno.No) size.Bytes {
	for _, m := range zeroLine.FindAllStringSubmatch(text, -1) {
		if m[1] == strconv.FormatUint(uint64(dev.Major)<<20|uint64(dev.Minor), 10) {
			n, _ := strconv.ParseUint(m[2], 10, 64) // digits
			return size.Bytes(n)
		}
	}
	return 0
}

//gate:when harness
func TestZeroedOf(t *testing.T) {
	const text = `# event histogram
{ dev:  266338304 } hitcount:          1  bytes:  268435456
{ dev:  266338320 } hitcount:          3  bytes:       4096

Totals:
    Hits: 4`
	for dev, want := range map[devno.No]size.Bytes{{Major: 254}: 256 * size.MiB, {Major: 254, Minor: 16}: 4096, {Major: 254, Minor: 32}: 0} {
		if got := zeroedOf(text, dev); got != want {
			t.Errorf("%s: %d, want %d", dev, got, want)
		}
	}
}
