// Package devno is the number by which the kernel knows a block device, in all its forms:
//
//	Parse, String   text, as in sysfs and in device-mapper tables: "253:4"
//	FromDev, Dev    the dev_t of stat, mknod and ioctls
//	FromStat        the node in /dev that leads to the device
package devno

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// No is the number of a block device. The zero No names no device. The kernel reuses numbers: never persist one.
type No struct {
	Major uint32
	Minor uint32
}

// String is the form of device-mapper tables and of sysfs: "253:4".
func (n No) String() string { return fmt.Sprintf("%d:%d", n.Major, n.Minor) }

// IsZero reports whether n names no device.
func (n No) IsZero() bool { return n == No{} }

// Dev is n as the dev_t of stat, mknod and the device-mapper ioctls.
func (n No) Dev() uint64 { return unix.Mkdev(n.Major, n.Minor) }

// FromDev is the device of a dev_t.
func FromDev(dev uint64) No { return No{Major: unix.Major(dev), Minor: unix.Minor(dev)} }

// FromStat is the device that a node stands for. It reports false for what is not a block device.
func FromStat(st *unix.Stat_t) (No, bool) {
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return No{}, false
	}
	return FromDev(uint64(st.Rdev)), true //nolint:unconvert // 32 bits on some machines
}

// Parse reads a number as the kernel prints it: "8:16". Text that names no device is an error, "0:0" too.
func Parse(text string) (No, error) {
	major, minor, _ := strings.Cut(text, ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	n := No{Major: uint32(a), Minor: uint32(b)}
	if errors.Join(errA, errB) != nil || n.IsZero() {
		return No{}, fmt.Errorf("device %q: not a number such as 253:4", text)
	}
	return n, nil
}
