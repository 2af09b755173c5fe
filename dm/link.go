//go:build linux

package dm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
)

// links keeps the names of devices in step with the kernel:
//
//	/dev/dm-3           block node; devtmpfs makes and removes it
//	/dev/mapper/NAME →  ../dm-3; udevd makes it if it runs and has the dm rules, else links does
type links struct {
	dir  string        // "/dev/mapper"
	udev string        // exists while udevd runs
	wait time.Duration // for udev
	log  *slog.Logger
	late atomic.Bool // a wait for udev has timed out: it lacks the dm rules, and later calls do not wait for it
}

// follow makes the names of a device that has begun to run. It logs an error and does not return it, because the caller
// would take it for a device that does not run.
func (l *links) follow(ctx context.Context, name string, dev devno.No, v Visibility) {
	err := l.ensureNode(dev)
	if err == nil && v != Private && !l.right(name, dev) && !l.await(ctx, name, dev) {
		err = l.make(name, dev)
	}
	if err != nil {
		l.log.WarnContext(ctx, "device runs without its name in /dev", "device", name, "number", dev.String(), "err", err)
	}
}

// drop removes the link of a removed device, if udev has not done so.
func (l *links) drop(ctx context.Context, name string, dev devno.No) {
	path := filepath.Join(l.dir, name)
	if l.ours(path, dev) != nil {
		return
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.WarnContext(ctx, "link of a removed device stays", "device", name, "err", err)
	}
}

// repair makes the link of a running device. It removes links that a killed process may have left: the name from before a
// rename, and a draft. If the link is right, it looks for no others.
func (l *links) repair(ctx context.Context, name string, dev devno.No, v Visibility) {
	if v == Private || l.right(name, dev) {
		return
	}
	l.follow(ctx, name, dev, v)
	l.dropOthers(ctx, name, dev)
}

// dropOthers removes links to dev with names that are related to name, but are not name.
func (l *links) dropOthers(ctx context.Context, name string, dev devno.No) {
	entries, err := os.ReadDir(l.dir)
	for _, e := range entries {
		path := filepath.Join(l.dir, e.Name())
		target, linkErr := os.Readlink(path)
		if linkErr == nil && e.Name() != name && related(e.Name(), name) && l.resolve(target) == l.node(dev) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	if err != nil {
		l.log.WarnContext(ctx, "old link of a device stays", "device", name, "err", err)
	}
}

// related reports whether two names have the same prefix, up to the first "-"; other may be a draft. Other programs may have
// links of their own to a device, which stay.
func related(other, name string) bool {
	kind, _, _ := strings.Cut(name, "-")
	return strings.HasPrefix(strings.TrimPrefix(other, "."), kind+"-")
}

// draft is the name of a link until it replaces another.
func draft(name string) string { return "." + name + ".new" }

// await waits until udev has made the link, and reports whether it did in time.
func (l *links) await(ctx context.Context, name string, dev devno.No) bool {
	if _, err := os.Lstat(l.udev); err != nil || l.late.Load() {
		return false
	}
	limited, cancel := context.WithTimeout(ctx, l.wait)
	defer cancel()
	for pause := time.Millisecond; sleep(limited, pause) == nil; pause = min(2*pause, 50*time.Millisecond) {
		if l.right(name, dev) {
			return true
		}
	}
	l.late.Store(ctx.Err() == nil)
	return false
}

// right reports whether name leads to dev.
func (l *links) right(name string, dev devno.No) bool {
	path := filepath.Join(l.dir, name)
	target, err := os.Readlink(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err == nil && l.resolve(target) == l.node(dev)
	}
	number, ok := nodeAt(path)
	return ok && number == dev
}

// make puts a link to dev at name. It replaces a wrong link in one step. It does not replace anything that is not a
// device-mapper device.
func (l *links) make(name string, dev devno.No) error {
	path, target := filepath.Join(l.dir, name), filepath.Join("..", filepath.Base(l.node(dev)))
	if err := os.Symlink(target, path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := l.ours(path, dev); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	draft := filepath.Join(l.dir, draft(name))
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, draft); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

// ours is nil if path may be replaced or removed. It is a link to a device-mapper node then, or such a node itself, as libdm
// makes them. Else the error says why not.
func (l *links) ours(path string, dev devno.No) error {
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	if target, err := os.Readlink(path); err == nil && strings.HasPrefix(filepath.Base(l.resolve(target)), "dm-") {
		return nil
	}
	if number, ok := nodeAt(path); ok && number.Major == dev.Major {
		return nil
	}
	return fmt.Errorf("%s is in the way: not a device-mapper device", path)
}

// ensureNode makes the block node of dev if there is no devtmpfs to make it.
func (l *links) ensureNode(dev devno.No) error {
	path := l.node(dev)
	if number, ok := nodeAt(path); ok && number == dev {
		return nil
	}
	err := unix.Mknod(path, unix.S_IFBLK|0o600, int(dev.Dev()))
	if err != nil {
		return &fs.PathError{Op: "mknod", Path: path, Err: err}
	}
	return nil
}

// node is the kernel's name of dev: "/dev/dm-3".
func (l *links) node(dev devno.No) string {
	return filepath.Join(filepath.Dir(l.dir), fmt.Sprintf("dm-%d", dev.Minor))
}

// resolve is the path that a link in the directory with this text leads to.
func (l *links) resolve(target string) string {
	if filepath.IsAbs(target) {
		return filepath.Clean(target)
	}
	return filepath.Join(l.dir, target)
}

// nodeAt is the device of the block node at path itself. A link is not followed.
func nodeAt(path string) (devno.No, bool) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return devno.No{}, false
	}
	return devno.FromStat(&st)
}

// sleep waits for d, or until ctx ends and says so.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
