package measure

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/lab"
)

// suspends is how the kernel stops a device and lets it go on.
type suspends struct {
	stop, goOn []string // names of the function, the first of which that the kernel has is the one to watch
	device     string   // name of the device-mapper device; empty for the only array of md
}

func mapperSuspends(device string) suspends {
	return suspends{[]string{"dm_suspend"}, []string{"dm_resume"}, device}
}

// arraySuspends is for md, where the compiler has put parts of the functions into their callers: what is left of them
// is what all callers go through.
func arraySuspends() suspends {
	return suspends{[]string{"mddev_suspend.part.0", "mddev_suspend"}, []string{"mddev_resume.part.0", "__mddev_resume", "mddev_resume"}, ""}
}

// windowProbe watches when a device is suspended, by probes on the functions of the kernel that do it: a single ioctl may
// suspend, swap tables and resume, so that nothing can be seen from outside.
type windowProbe struct {
	traceFiles
	device string // as the functions get it, in hexadecimal; empty: whichever there is
}

// watchWindows begins to watch the volume of c.
func (b *bench) watchWindows(c contender) *windowProbe {
	b.t.Helper()
	s := c.suspends()
	p := &windowProbe{traceFiles: traceFiles{b.t}}
	stop, goOn := p.function(s.stop), p.function(s.goOn)
	p.put("trace_clock", "mono")
	p.put("kprobe_events", "p:bench/stop "+stop+" device=%di")
	p.add("kprobe_events", "p:bench/goon "+goOn+" device=%di")
	p.add("kprobe_events", "r:bench/went "+goOn)
	p.put("trace", "")
	p.put("events/bench/enable", "1")
	if s.device != "" {
		p.device = p.recognise(s.device)
		p.put("trace", "")
	}
	return p
}

// recognise suspends a device and lets it go on, to see what it is for the kernel.
func (p *windowProbe) recognise(device string) string {
	p.t.Helper()
	lab.RunTool(p.t, "dmsetup", "suspend", "--nolockfs", device)
	lab.RunTool(p.t, "dmsetup", "resume", device)
	events := traceEvents(p.trace())
	if len(events) == 0 || len(windowsOf(events, events[0].device)) != 1 {
		p.t.Fatalf("trace of a suspend of %s: %+v", device, events)
	}
	return events[0].device
}

// function is the first of the names of functions that the kernel has.
func (p *windowProbe) function(names []string) string {
	p.t.Helper()
	symbols := readValue(p.t, "/proc/kallsyms")
	for _, name := range names {
		if strings.Contains(symbols, " t "+name+"\t") || strings.Contains(symbols, " T "+name+"\t") {
			return name
		}
	}
	p.t.Fatalf("the kernel has none of %q", names)
	return ""
}

// end ends the watch, and returns how long the device was suspended each time.
func (p *windowProbe) end() []time.Duration {
	p.t.Helper()
	p.put("events/bench/enable", "0")
	text := p.trace()
	p.put("kprobe_events", "")
	p.put("trace", "")
	return windowsOf(traceEvents(text), p.device)
}

func (p *windowProbe) trace() string {
	p.t.Helper()
	return p.read("trace")
}

// traceEvent is a line of the trace.
type traceEvent struct {
	task   string
	at     time.Duration
	what   string // stop, goon, went
	device string // not of went
}

// traceLine is: "plexctl-201  [001] d..2.  12.345678: stop: (dm_suspend+0x0/0x120 [dm_mod]) device=0xffff8b3fc1a2b000".
var traceLine = regexp.MustCompile(`(?m)-(\d+)\s+\[\d+\]\s.*?\s(\d+\.\d+): (stop|goon|went): \(.*?\)(?: device=(0x[0-9a-f]+))?$`)

// traceEvents takes a trace apart.
func traceEvents(text string) []traceEvent {
	var events []traceEvent
	for _, m := range traceLine.FindAllStringSubmatch(text, -1) {
		at, err := time.ParseDuration(m[2] + "s")
		if err != nil {
			panic(err) // the expression takes numbers only
		}
		events = append(events, traceEvent{m[1], at, m[3], m[4]})
	}
	return events
}

// windowsOf is how long a device was suspended each time: from the moment that it was asked to stop first until it went on,
// as often as it had been asked to.
func windowsOf(events []traceEvent, device string) []time.Duration {
	var windows []time.Duration
	var from time.Duration
	depth := 0
	going := map[string]string{} // task: the device that it lets go on
	for _, e := range events {
		switch {
		case e.what == "goon":
			going[e.task] = e.device
		case e.what == "stop" && (device == "" || e.device == device):
			if depth == 0 {
				from = e.at
			}
			depth++
		case e.what == "went" && depth > 0 && (device == "" || going[e.task] == device):
			depth--
			if device != "" { // device-mapper does not count: one resume is enough
				depth = 0
			}
			if depth == 0 {
				windows = append(windows, e.at-from)
			}
		}
	}
	return windows
}

//gate:when harness
func TestWindowsOf(t *testing.T) {
	trace := strings.Join([]string{
		"# traceFiles: nop",
		"         plexctl-201     [001] d..2.    12.000100: stop: (dm_suspend+0x0/0x120 [dm_mod]) device=0xffff8b3fc1a2b000",
		"             lvm-202     [000] d..2.    12.000200: stop: (dm_suspend+0x0/0x120 [dm_mod]) device=0xffff8b3fc1a2c000",
		"             lvm-202     [000] d..2.    12.000250: goon: (dm_resume+0x0/0x90 [dm_mod]) device=0xffff8b3fc1a2c000",
		"         plexctl-201     [001] d..2.    12.000300: goon: (dm_resume+0x0/0x90 [dm_mod]) device=0xffff8b3fc1a2b000",
		"             lvm-202     [000] d..2.    12.000400: went: (do_resume+0x11/0x200 [dm_mod] <- dm_resume)",
		"         plexctl-201     [001] d..2.    12.000600: went: (do_resume+0x11/0x200 [dm_mod] <- dm_resume)",
		"         plexctl-201     [001] d..2.    13.000000: stop: (dm_suspend+0x0/0x120 [dm_mod]) device=0xffff8b3fc1a2b000",
		"         plexctl-201     [001] d..2.    13.000001: stop: (dm_suspend+0x0/0x120 [dm_mod]) device=0xffff8b3fc1a2b000",
		"         plexctl-201     [001] d..2.    13.000002: goon: (dm_resume+0x0/0x90 [dm_mod]) device=0xffff8b3fc1a2b000",
		"         plexctl-201     [001] d..2.    13.000100: went: (do_resume+0x11/0x200 [dm_mod] <- dm_resume)",
	}, "\n")
	for name, tt := range map[string]struct {
		device string
		want   []time.Duration
	}{
		"one of two devices":    {"0xffff8b3fc1a2b000", []time.Duration{500 * time.Microsecond, 100 * time.Microsecond}},
		"the other":             {"0xffff8b3fc1a2c000", []time.Duration{200 * time.Microsecond}},
		"no such device":        {"0xffff8b3fc1a2d000", nil},
		"whichever, which nest": {"", []time.Duration{500 * time.Microsecond}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, windowsOf(traceEvents(trace), tt.device)); diff != "" {
				t.Errorf("windows (-want +got):\n%s", diff)
			}
		})
	}
}
