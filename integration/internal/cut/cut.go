package cut

import (
	"time"

	"github.com/plexctl/plexctl/size"
)

// What the tests of failing drives agree on: a LUN of which only the first few MiB are written to.
const (
	FailDrive  = 64 * size.MiB
	FailLength = 40 * size.MiB
	FailHot    = 3 * size.MiB
)

// Tally is what a test of kills or of cuts has to tell.
type Tally struct {
	Kills      int
	Mismatches int // lost writes, unequal plexes, LUNs in no state that they may be in
	Suspended  int // LUNs that did not go on by themselves
	Leaked     int // devices, names, processes too many
	Stall      time.Duration
}

// Sizes of what plexctl is killed over: as small as they can be, for there are many points.
const (
	KillDrive  = 40 * size.MiB
	KillLength = 4 * size.MiB
)

// WebName is the name of the LUN that is written to.
const WebName = "web1"
