//go:build linux

package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/size"
)

// lockWait is how long Open waits for a flock: udevd holds one for moments while it looks at a device.
const lockWait = 5 * time.Second

// bounceSize is how much is transferred at once when the caller's memory is not aligned.
const bounceSize = size.MiB

// hostDisk is an open device of the machine.
type hostDisk struct {
	file *os.File
	disk *os.File // the whole disk of a partition, which carries the flock; nil otherwise
	node node
	path string      // the kernel's own name
	info func() Info // reads some twenty attributes when it is first called; most users of a disk never call it
}

// Open opens the device at path, which may be a link. Reads and writes bypass the page cache (O_DIRECT).
//
// A node in /dev may lead to another device than the one that the kernel has under this name. Open refuses it with
// ErrNotExist. Exclusive claims the device (O_EXCL) and takes the flock that udevd respects, for a partition on its whole
// disk. ErrBusy means that somebody else has a claim, or has held the flock for five seconds or until ctx ended.
func (h Host) Open(ctx context.Context, path string, mode Mode) (Disk, error) {
	d, err := h.open(ctx, path, mode)
	if err != nil {
		return nil, err // a nil *hostDisk in the interface would not be nil
	}
	return d, nil
}

func (h Host) open(ctx context.Context, path string, mode Mode) (*hostDisk, error) {
	dev, err := nodeDevice(path)
	if err != nil { // to open something else may block: a FIFO, for example
		return nil, pathError("open", path, err)
	}
	file, err := os.OpenFile(path, openFlags(mode), 0)
	if err != nil {
		return nil, h.openError(path, dev, mode, err)
	}
	d, err := h.opened(ctx, path, file, mode)
	if err != nil {
		_ = file.Close() // err says more
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return d, nil
}

// openError is why a device cannot be opened. The kernel may refuse to open a read-only device for writing with EACCES.
func (h Host) openError(path string, dev devno.No, mode Mode, err error) error {
	if mode != Read && mode != Look && errors.Is(err, fs.ErrPermission) {
		if n, nodeErr := h.nodeOf(dev); nodeErr == nil && n.readOnly() {
			err = unix.EROFS
		}
	}
	return pathError("open", path, err)
}

func openFlags(mode Mode) int {
	flags := unix.O_DIRECT | unix.O_CLOEXEC
	if mode == Read || mode == Look {
		return flags | os.O_RDONLY
	}
	if mode == Exclusive {
		flags |= unix.O_EXCL
	}
	return flags | os.O_RDWR
}

// opened makes a disk of an open file. It asks the file which device it is, so that nobody can swap the node in between.
func (h Host) opened(ctx context.Context, path string, file *os.File, mode Mode) (*hostDisk, error) {
	dev, err := blockDevice(func(st *unix.Stat_t) error { return unix.Fstat(int(file.Fd()), st) })
	if err != nil {
		return nil, err
	}
	n, err := h.nodeOf(dev)
	if err != nil {
		return nil, err
	}
	if err := h.checkNode(path, dev); err != nil {
		return nil, err
	}
	d := &hostDisk{file: file, node: n, path: n.known(dev), info: sync.OnceValue(func() Info { return n.infoOf(dev) })}
	if mode == Exclusive {
		err = h.lockDisk(ctx, d)
	}
	return d, err
}

// checkNode makes sure that a path that is a kernel's name leads to the device of that name. A node that was made by hand or
// left over may lead elsewhere.
func (h Host) checkNode(path string, dev devno.No) error {
	name, ok := strings.CutPrefix(path, h.dev(""))
	if !ok {
		return nil
	}
	want, err := h.nodeCalled(name).devNo()
	if err == nil && want != dev {
		return fmt.Errorf("node leads to device %s, %s is %s: %w", dev, name, want, ErrNotExist)
	}
	return nil
}

// nodeCalled is the device with a kernel's name, or with a name of device-mapper, in /dev. Its number is an error if there is none.
func (h Host) nodeCalled(name string) node {
	mapped, ok := strings.CutPrefix(name, mapperFolder)
	if !ok {
		return h.node(strings.ReplaceAll(name, "/", "!"))
	}
	all, _ := filepath.Glob(h.sys("class/block/dm-*")) // the pattern is right
	for _, dir := range all {
		if n := h.node(filepath.Base(dir)); n.text("dm/name") == mapped {
			return n
		}
	}
	return h.node(mapperFolder)
}

// lockDisk takes the flock that udevd respects: on the whole disk (systemd, "Locking Block Device Access").
func (h Host) lockDisk(ctx context.Context, d *hostDisk) error {
	locked := d.file
	if d.node.partition() {
		var err error
		d.disk, err = os.OpenFile(d.node.disk().path(), os.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("lock whole disk: %w", err)
		}
		locked = d.disk
	}
	limited, stop := context.WithTimeout(ctx, lockWait)
	defer stop()
	if err := hostlock.Flock(limited, locked); err != nil {
		d.closeDisk()
		return lockError(ctx, limited, err)
	}
	return nil
}

// lockError is why a flock could not be had. The deadline is this package's own unless ctx has ended too.
func lockError(ctx, limited context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("lock: %w: %w", ErrBusy, ctx.Err())
	case limited.Err() != nil:
		return fmt.Errorf("lock: %w by a process that holds its flock", ErrBusy)
	}
	return fmt.Errorf("lock: %w", err)
}

// ReadAt fills p from off on. At the end of the device the error is io.EOF.
func (d *hostDisk) ReadAt(p []byte, off int64) (int, error) {
	return d.transfer("read", p, off, func(b, rest []byte, at int64) (int, error) {
		n, err := d.file.ReadAt(b, at)
		copy(rest, b[:n])
		return n, err
	})
}

// WriteAt writes p at off. It is durable after Sync.
func (d *hostDisk) WriteAt(p []byte, off int64) (int, error) {
	return d.transfer("write", p, off, func(b, rest []byte, at int64) (int, error) {
		copy(b, rest)
		n, err := d.file.WriteAt(b, at)
		return n, writeError(err)
	})
}

// writeError is the error of a write. The kernel answers a write to a read-only device with EPERM (block/fops.c,
// blkdev_write_iter). It asks for no permission to write any more once the device is open.
func writeError(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) {
		return ErrReadOnly
	}
	return cause(err)
}

// transfer calls move for p piece by piece. b is aligned memory as long as the piece; the piece starts at rest. If p itself
// is aligned, it is one piece, and b is that piece.
func (d *hostDisk) transfer(op string, p []byte, off int64, move func(b, rest []byte, at int64) (int, error)) (int, error) {
	if off < 0 || off%Align != 0 || len(p)%Align != 0 {
		return 0, fmt.Errorf("%s %d bytes of %s at %d: %w", op, len(p), d.path, off, ErrAlign)
	}
	buffer := p
	if !isAligned(p) {
		buffer = alignedBuffer(min(len(p), int(bounceSize)))
	}
	for done := 0; done < len(p); {
		rest := p[done:]
		n, err := move(buffer[:min(len(buffer), len(rest))], rest, off+int64(done))
		done += n
		if errors.Is(err, io.EOF) {
			return done, io.EOF
		}
		if err != nil {
			return done, fmt.Errorf("%s %s at %d: %w", op, d.path, off+int64(done), cause(err))
		}
	}
	return len(p), nil
}

// Sync flushes the drive's cache (fsync).
func (d *hostDisk) Sync() error {
	if err := d.file.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", d.path, cause(err))
	}
	return nil
}

// Close releases the claim and the flock. It does not flush.
func (d *hostDisk) Close() error {
	d.closeDisk()
	return d.file.Close()
}

// closeDisk drops a flock that is on another file than the device's own.
func (d *hostDisk) closeDisk() {
	if d.disk != nil {
		_ = d.disk.Close() // nothing was written through it
	}
}

// RereadPartitions makes the kernel forget partitions whose table is gone. It does nothing to a device that cannot have any.
func (d *hostDisk) RereadPartitions() error {
	err := unix.IoctlSetInt(int(d.file.Fd()), unix.BLKRRPART, 0)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return fmt.Errorf("reread partitions of %s: %w", d.path, err)
}

// Info is the device as it was when Info was first called.
func (d *hostDisk) Info() Info { return d.info() }
