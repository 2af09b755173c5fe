//go:build linux

package allocation

import "github.com/plexctl/plexctl/size"

// Range is a part of a device.
type Range struct{ Start, Length size.Bytes }

// End is the first byte behind r.
func (r Range) End() size.Bytes { return r.Start + r.Length }
