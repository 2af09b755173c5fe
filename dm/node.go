//go:build linux

package dm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Numbers of the control node (drivers/char/misc.c, include/linux/miscdevice.h).
const (
	miscMajor    = 10
	controlMinor = 236
)

// openControl opens the control node at path. It makes a missing node first, in a container or an initramfs without devtmpfs.
func openControl(path, misc string) (*os.File, error) {
	f, err := openNode(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	table, _ := os.ReadFile(misc) // without it the static minor, opening which loads the module
	if err := makeControl(path, parseMisc(string(table))); err != nil {
		return nil, err
	}
	f, err = openNode(path)
	if err != nil {
		_ = os.Remove(path) // err says more
	}
	return f, err
}

// openNode opens the control node without blocking, so that WaitEvent can be interrupted.
func openNode(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("%w: no device-mapper (CONFIG_BLK_DEV_DM)", ErrNotSupported)
	case err != nil:
		return nil, privilege(errors.Unwrap(err)) // the path is named by the caller
	}
	return f, nil
}

func makeControl(path string, minor uint32) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return privilege(err)
	}
	err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(miscMajor, minor)))
	if err != nil && err != unix.EEXIST {
		return privilege(fmt.Errorf("make node: %w", err))
	}
	return nil
}

// parseMisc is device-mapper's minor number in /proc/misc, which has lines such as "236 device-mapper"; the static number if
// there is no such line.
func parseMisc(table string) uint32 {
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] != "device-mapper" {
			continue
		}
		if minor, err := strconv.ParseUint(fields[0], 10, 20); err == nil {
			return uint32(minor)
		}
	}
	return controlMinor
}
