//go:build linux

package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/internal/eintr"
)

// Host is the machine's own block devices, as sysfs, procfs and /dev show them. The zero Host is the real machine. It keeps no
// state: every call looks anew.
type Host struct {
	Root string // the folder above /sys, /proc, /dev and /etc: empty, but for tests
}

func (h Host) sys(path string) string  { return h.Root + "/sys/" + path }
func (h Host) proc(path string) string { return h.Root + "/proc/" + path }
func (h Host) dev(path string) string  { return h.Root + "/dev/" + path }

// Scan is every block device that could be a drive, in order of name. Partitions and stacked devices are among them. Not
// among them are
//
//   - devices that hold no data now: size zero, hidden paths of multipath NVMe
//   - devices that are no disks: CD, floppy
//   - devices whose kernel path is in but; Scan skips them unread, to save time where there are thousands of nodes
func (h Host) Scan(ctx context.Context, but ...string) ([]Info, error) {
	known := make(map[string]bool, len(but))
	for _, path := range but {
		known[path] = true
	}
	entries, err := os.ReadDir(h.sys("class/block"))
	if err != nil {
		return nil, fmt.Errorf("scan block devices: %w", err)
	}
	var found []Info
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("scan block devices: %w", err)
		}
		n := h.node(e.Name())
		if known[n.path()] || n.number("size") == 0 {
			continue
		}
		info, err := n.info()
		if err == nil && n.usable(info) { // an error means that the device has just gone
			found = append(found, info)
		}
	}
	return found, nil
}

// Stat describes the device at path, which may be a link. The error is ErrNotExist, ErrNotBlock, or what the kernel says
// about the path.
func (h Host) Stat(_ context.Context, path string) (Info, error) {
	dev, err := nodeDevice(path)
	if err != nil {
		return Info{}, pathError("stat", path, err)
	}
	info, err := h.byNumber(dev)
	if err != nil {
		return Info{}, fmt.Errorf("stat %s: %w", path, err)
	}
	return info, nil
}

// nodeDevice is the number of the block device whose node is at path.
func nodeDevice(path string) (devno.No, error) {
	return blockDevice(func(st *unix.Stat_t) error { return unix.Stat(path, st) })
}

// blockDevice is the number of the block device that a stat is of.
func blockDevice(stat func(*unix.Stat_t) error) (devno.No, error) {
	var st unix.Stat_t
	if err := eintr.Retry(func() error { return stat(&st) }); err != nil {
		return devno.No{}, err
	}
	dev, ok := devno.FromStat(&st)
	if !ok {
		return devno.No{}, ErrNotBlock
	}
	return dev, nil
}

// byNumber describes the device with this number.
func (h Host) byNumber(dev devno.No) (Info, error) {
	n, err := h.nodeOf(dev)
	if err != nil {
		return Info{}, err
	}
	return n.info()
}

// nodeOf is the device with this number.
func (h Host) nodeOf(dev devno.No) (node, error) {
	target, err := os.Readlink(h.sys("dev/block/" + dev.String()))
	if err != nil {
		return node{}, fmt.Errorf("device %s: %w", dev, ErrNotExist)
	}
	return h.node(filepath.Base(target)), nil
}

// pathError wraps the error of a system call on a path. Causes that callers tell apart become errors of this package.
func pathError(op, path string, err error) error {
	why := cause(err)
	switch {
	case errors.Is(err, unix.EBUSY):
		why = ErrBusy
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		why = ErrNotExist
	case errors.Is(err, unix.EROFS):
		why = ErrReadOnly
	}
	return fmt.Errorf("%s %s: %w", op, path, why)
}

// cause is err without operation and path: the caller names both.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// IDs name this host for good: the machine id, and the UUID in its firmware. An initramfs may know only the latter. An id is
// lower case and at most 64 letters, digits and dashes. A host may have none.
func (h Host) IDs() []string {
	var ids []string
	for _, path := range []string{h.Root + "/etc/machine-id", h.sys("class/dmi/id/product_uuid")} {
		if id := strings.ToLower(readLine(path)); validID(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// validID reports whether id can belong to one host only. Firmware that was never set up has all zeros or all ones. An image
// that has not booted yet has "uninitialized".
func validID(id string) bool {
	digits := strings.ReplaceAll(id, "-", "")
	if len(digits) < 16 || len(id) > 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return false
	}
	return strings.Trim(digits, digits[:1]) != ""
}
