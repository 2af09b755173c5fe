//go:build linux

package dm

import "fmt"

// KernelFault is a fault of some releases of Linux that hurts mirrors.
type KernelFault struct {
	Text string // what happens, and where it is fixed
	Link string // where it is reported

	from, before [2]int // versions: 6.7 is {6, 7}
}

// kernelFaults is the faults that plexctl refuses to work with. A distribution may have fixed one in its own kernel.
var kernelFaults = []KernelFault{
	{
		Text: "replacing the table of a mirror while it resyncs can hang for good; fixed in 6.9",
		Link: "https://www.spinics.net/lists/dm-devel/msg57033.html", // the hang is in md's stop_sync_thread
		from: [2]int{6, 7}, before: [2]int{6, 9},
	},
}

// FaultOf returns the fault of a release such as "6.8.0-45-generic"; false if none is known.
func FaultOf(release string) (KernelFault, bool) {
	var v [2]int
	if n, _ := fmt.Sscanf(release, "%d.%d", &v[0], &v[1]); n < 2 {
		return KernelFault{}, false
	}
	for _, f := range kernelFaults {
		if !less(v, f.from) && less(v, f.before) {
			return f, true
		}
	}
	return KernelFault{}, false
}

// less reports whether a is the older version.
func less(a, b [2]int) bool { return a[0] < b[0] || a[0] == b[0] && a[1] < b[1] }
