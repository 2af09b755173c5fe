//go:build linux

package dm

import (
	"encoding/binary"
	"fmt"
)

// Version is a version of device-mapper's interface, or of a target. It does not show everything: kernels change what a
// target does without changing its version. "raid" has been 1.15.1 since Linux 5.9.
type Version struct {
	Major, Minor, Patch uint32
}

// decodeVersion is a version as structures of the kernel carry it: three numbers of 32 bits.
func decodeVersion(b []byte) Version {
	number := binary.NativeEndian.Uint32
	return Version{Major: number(b), Minor: number(b[4:]), Patch: number(b[8:])}
}

// String is "4.48.0".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }
