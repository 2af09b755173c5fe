package dm

import "fmt"

// Version is a version of device-mapper's interface or of a target. Kernels change a target's behaviour without changing
// its version: "raid" has been 1.15.1 since 5.9.
type Version struct {
	Major, Minor, Patch uint32
}

func version(v [3]uint32) Version { return Version{Major: v[0], Minor: v[1], Patch: v[2]} }

// String is "4.48.0".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }
