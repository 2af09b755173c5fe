//go:build linux

package allocation

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/internal/eintr"
	"github.com/plexctl/plexctl/size"
)

// loopFile knows a loop device by the holes of the file behind it.
type loopFile struct {
	fileHoles
	device *os.File // open, so that it stays attached
	status unix.LoopInfo64
}

// Loop knows a loop device by the holes of the file behind it. backing is the name that the kernel gives this file. Another
// file may have the name by now, or the name may lead elsewhere in this process's namespace. Loop compares the two files.
//
// ErrUnknown means that it is not the same file, or that its file system is not known to tell all holes right. The Extents
// keep device and close it; after an error the caller still has to.
func Loop(device *os.File, backing string) (Extents, error) {
	status, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
	if err != nil {
		return nil, fmt.Errorf("%w: status of the loop device: %w", ErrUnknown, err)
	}
	if status.Encrypt_type != 0 { // a hole does not read as zeros (up to Linux 5.15)
		return nil, fmt.Errorf("%w: the loop device encrypts", ErrUnknown)
	}
	file, err := openRegular(backing)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	l := &loopFile{fileHoles{file: file, offset: size.Bytes(status.Offset)}, device, *status}
	if err := l.checkFile(); err != nil {
		_ = file.Close() // err says more
		return nil, fmt.Errorf("%w: %s: %w", ErrUnknown, backing, err)
	}
	return l, nil
}

// openRegular opens a regular file. To open a device or a FIFO could block or have effects.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	return os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// checkFile makes sure that the open file is the one behind the device, and that its file system tells holes right. The
// kernel encodes device numbers alike in the status of a loop device and in a stat (huge_encode_dev in
// include/linux/kdev_t.h).
func (l *loopFile) checkFile() error {
	var st unix.Stat_t
	if err := eintr.Retry(func() error { return unix.Fstat(int(l.file.Fd()), &st) }); err != nil {
		return err
	}
	dev := devno.FromDev(uint64(st.Dev)) //nolint:unconvert // 32 bits on some machines
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Ino != l.status.Inode || dev != devno.FromDev(l.status.Device) {
		return errors.New("not the file behind the loop device")
	}
	return trustHoles(l.file)
}

// trustHoles makes sure that SEEK_DATA finds, on this file system, everything that was ever written:
//
//	ext4, xfs  fs/iomap/seek.c: what is allocated is data, and so is what waits to be (IOMAP_DELALLOC); of what was reserved
//	           by fallocate and not written (IOMAP_UNWRITTEN), the pages in the page cache are. A direct write has its extents
//	           marked as written before it completes. Files of ext2 and ext3 are the same, or all data.
//	tmpfs      mapping_seek_hole_data in mm/filemap.c: the page cache is the file; what was swapped out is data
//
// It trusts no others. Linux 6.1 rewrote the search of btrfs, and later versions corrected it. Network file systems answer
// from the knowledge of the client. ZFS has called fresh data a hole.
func trustHoles(file *os.File) error {
	var fs unix.Statfs_t
	if err := eintr.Retry(func() error { return unix.Fstatfs(int(file.Fd()), &fs) }); err != nil {
		return err
	}
	switch kind := uint32(fs.Type); kind {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return nil
	default:
		return fmt.Errorf("holes of file system %#x are not known", kind)
	}
}

// Check makes sure that the device still shows the same part of the same file. LOOP_SET_STATUS64 can move it, and
// LOOP_CHANGE_FD gives it another file.
func (l *loopFile) Check() error {
	now, err := unix.IoctlLoopGetStatus64(int(l.device.Fd()))
	if err != nil {
		return fmt.Errorf("status of the loop device: %w", err)
	}
	if now.Device != l.status.Device || now.Inode != l.status.Inode || now.Offset != l.status.Offset ||
		now.Sizelimit != l.status.Sizelimit || now.Encrypt_type != 0 {
		return errors.New("the loop device has been set up anew")
	}
	return l.look()
}

// Close closes the file and the device.
func (l *loopFile) Close() error { return errors.Join(l.file.Close(), l.device.Close()) }

// fileHoles is the holes of a file, seen from an offset on.
type fileHoles struct {
	file   *os.File
	offset size.Bytes
	length size.Bytes // of the file at the last look; nothing is known of the rest
}

// look takes the file's length.
func (f *fileHoles) look() error {
	var st unix.Stat_t
	if err := eintr.Retry(func() error { return unix.Fstat(int(f.file.Fd()), &st) }); err != nil {
		return err
	}
	f.length = size.Bytes(st.Size)
	return nil
}

// Extent takes one system call where there is a hole, and two elsewhere.
func (f *fileHoles) Extent(at, end size.Bytes) (blank bool, until size.Bytes, err error) {
	from, to := at+f.offset, min(end+f.offset, f.length)
	if from >= to {
		return false, end, nil
	}
	data, err := unix.Seek(int(f.file.Fd()), int64(from), unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // none up to the end of the file
		return true, to - f.offset, nil
	case err != nil:
		return false, 0, fmt.Errorf("look for data at %d: %w", from, err)
	case size.Bytes(data) > from:
		return true, min(size.Bytes(data), to) - f.offset, nil
	}
	hole, err := unix.Seek(int(f.file.Fd()), int64(from), unix.SEEK_HOLE)
	if err != nil { // ENXIO: the file has been cut off in between
		return false, 0, fmt.Errorf("look for a hole at %d: %w", from, err)
	}
	// The data may have become a hole between the two calls. To call it data is the safe answer.
	return false, max(size.Bytes(hole), from+1) - f.offset, nil
}
