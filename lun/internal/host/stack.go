package host

import (
	"context"
	"slices"
	"strings"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/layout"
)

// stack notes that a device lies on another one. plexctl's own are no drives, and there may be thousands.
func (c *census) stack(below, upper devno.No) {
	if _, own := layout.OwnerOf(c.mapped[upper].UUID); !own && !slices.Contains(c.above[below], upper) {
		c.above[below] = append(c.above[below], upper)
	}
}

// under reports whether device a is below device b, which shows what is on a. A device that shows a content of its own, such as a
// snapshot, is not above what it was made from in this sense.
func (c *census) under(ctx context.Context, a, b devno.No) bool {
	return slices.Contains(c.underAny(ctx, a), b)
}

// underAny is the devices that a device is under.
func (c *census) underAny(ctx context.Context, dev devno.No) []devno.No {
	seen := []devno.No{dev}
	for i := 0; i < len(seen); i++ {
		for _, upper := range c.above[seen[i]] {
			if !slices.Contains(seen, upper) && !c.isOverlay(ctx, upper) {
				seen = append(seen, upper)
			}
		}
	}
	return seen[1:]
}

// underFailed reports whether a device is under one whose label cannot be read. Use of the lower one would be wrong once the upper
// one is back.
func (c *census) underFailed(ctx context.Context, dev devno.No) bool {
	return slices.ContainsFunc(c.underAny(ctx, dev), func(upper devno.No) bool { return c.failed[upper] != nil })
}

// isOverlay reports whether a device shows another content than the device below: writes to the one are not seen on the other. A
// device of device-mapper that does not say counts as one.
func (c *census) isOverlay(ctx context.Context, dev devno.No) bool {
	d, mapped := c.mapped[dev]
	if !mapped {
		return false
	}
	table, err := c.Kernel.Table(ctx, d.Name)
	if err != nil {
		return true
	}
	return slices.ContainsFunc(table, func(s dm.Segment) bool {
		other, ok := s.Target.(dm.Other)
		if !ok {
			return false
		}
		const withOrigin = 3 // arguments of a thin volume that is a snapshot of a device outside of its pool
		return slices.Contains([]string{"snapshot", "snapshot-merge", "clone"}, other.Name) ||
			other.Name == "thin" && len(strings.Fields(other.Args)) >= withOrigin
	})
}

// underFound reports whether a device is below one with a label. The content of the lower one belongs to the upper one, and need
// not make sense by itself. So the devices of a thin pool show parts of its volumes.
func (c *census) underFound(dev devno.No) bool {
	for seen, i := []devno.No{dev}, 0; i < len(seen); i++ {
		for _, upper := range c.above[seen[i]] {
			if slices.ContainsFunc(c.found, func(d *Drive) bool { return d.Info.Dev == upper }) {
				return true
			}
			if !slices.Contains(seen, upper) {
				seen = append(seen, upper)
			}
		}
	}
	return false
}
