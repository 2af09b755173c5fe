//go:build linux

package blockdev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
)

// Below is the devices that the device at path lies on, directly or through others:
//
//   - the disk of a partition
//   - the devices that a stacked one is made of
//   - the device behind a loop device, or the one with the file system of the file behind it. A file system may have a number that
//     is no device's, as btrfs does; then the device is not known
func (h Host) Below(ctx context.Context, path string) ([]devno.No, error) {
	top, err := nodeDevice(path)
	if err != nil {
		return nil, pathError("stat", path, err)
	}
	all := []devno.No{top}
	for i := 0; i < len(all); i++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("look below %s: %w", path, err)
		}
		n, err := h.nodeOf(all[i])
		if errors.Is(err, ErrNotExist) {
			continue // a file system without a device
		}
		if err != nil {
			return nil, fmt.Errorf("look below %s: %w", path, err)
		}
		for _, dev := range n.below() {
			if !slices.Contains(all, dev) {
				all = append(all, dev)
			}
		}
	}
	return all[1:], nil
}

// below is the devices directly below a device.
func (n node) below() []devno.No {
	lower := n.related("slaves")
	if n.partition() {
		lower = append(lower, n.disk())
	}
	devs := devNos(lower)
	if strings.HasPrefix(n.name, "loop") {
		devs = append(devs, n.behindLoop()...)
	}
	return devs
}

// behindLoop is the device behind a loop device, or the one that the file behind it lies on. It is what the kernel says of the file
// that it has open (drivers/block/loop.c, loop_get_status), so that no path matters.
func (n node) behindLoop() []devno.No {
	file, err := os.OpenFile(n.path(), os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer file.Close() //nolint:errcheck // nothing was written
	status, err := unix.IoctlLoopGetStatus64(int(file.Fd()))
	if err != nil {
		return nil // nothing is behind it
	}
	return []devno.No{devno.FromDev(cmp.Or(status.Rdevice, status.Device))}
}
