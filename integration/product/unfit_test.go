package product

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// A label on a LUN's own device, or on a device above it, would destroy the LUN. Nothing else protects one that is idle.
func TestInitOnADeviceOfALUN(t *testing.T) {
	r := lab.NewRig(t, 2, 64*size.MiB)
	const device, length = "/dev/mapper/plex-web1", 48 * size.MiB
	l := r.Create("web1", length, 0)
	r.AddOn(l, 1)
	r.Refuse(5, []string{"drive", "init", "--yes", "--force", device}, "VDS_E_INVALID_OPERATION", "plex-web1")
	mounted := lab.MountNew(t, device)
	file, err := os.Create(filepath.Join(mounted, "image"))
	lab.Must(t, err)
	lab.Must(t, file.Truncate(int64(20*size.MiB)))
	loop, err := lab.AttachLoop(file, 512)
	lab.Must(t, err)
	lab.Must(t, file.Close())
	r.Refuse(5, []string{"drive", "init", "--yes", "--force", loop}, "VDS_E_INVALID_OPERATION", "plex-web1")
	lab.Must(t, lab.DetachLoop(loop))
	for _, name := range lab.Glob(t, "/sys/block/dm-*/dm/name") {
		r.Refuse(4, []string{"drive", "init", "--yes", "--force", "/dev/" + strings.Split(name, "/")[3]}, "VDS_E_DEVICE_IN_USE")
	}
	lab.RunTool(t, "umount", mounted)
	lab.RunTool(t, "e2fsck", "-fn", device)
	r.Whole("refused", "web1", 2)
}

// setLoop changes how a loop device shows its file.
func setLoop(t *testing.T, device string, request uint, value int) {
	t.Helper()
	lab.Must(t, lab.OnDevice(device, func(fd int) error { return unix.IoctlSetInt(fd, request, value) }))
}

// limitLoop lets a loop device end before its file does; 0: with its file.
func limitLoop(t *testing.T, device string, limit size.Bytes) {
	t.Helper()
	lab.Must(t, lab.OnDevice(device, func(fd int) error {
		status, err := unix.IoctlLoopGetStatus64(fd)
		if err != nil {
			return err
		}
		status.Sizelimit = uint64(limit)
		return unix.IoctlLoopSetStatus64(fd, status)
	}))
}

// protect sets a device read-only, or writable again.
func protect(t *testing.T, device string, on int) {
	t.Helper()
	file, err := os.Open(device)
	lab.Must(t, err)
	defer file.Close()
	lab.Must(t, unix.IoctlSetPointerInt(int(file.Fd()), unix.BLKROSET, on))
}

// unfit is a mirror that is started when its second drive cannot serve it, by force only, and is filled when the drive can again.
func unfit(t *testing.T, exit int, code, says string, ill, well func(device string)) {
	t.Helper()
	r := lab.NewRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	l.Down(false)
	lab.Settle(t)
	ill(r.Drives[1])
	r.Refuse(exit, []string{"assemble"}, code, says, r.Drives[1], "may be newer", "--force web1")
	r.StatusSays(21, says, r.Drives[1])
	r.ExactDevices("refused", l.LUN.ID(), "web1", 0)
	before := lab.WrittenTo(t, r.Drives[1])
	r.Run("assemble", "--force", "web1", "--yes")
	l.Writer.Verify(t, l.Writer.Path)
	l.Writer.GoOn(t)
	l.More(20)
	r.StatusSays(20, says, "failed-redundancy", r.Drives[1])
	r.Refuse(exit, []string{"lun", "recover", "web1"}, code, says)
	if written := lab.WrittenTo(t, r.Drives[1]) - before; written > 0 && code != "VDS_E_INVALID_SECTOR_SIZE" {
		t.Errorf("%s were written to %s", written, r.Drives[1])
	}
	l.Down(false)
	lab.Settle(t)
	well(r.Drives[1])
	r.Run("assemble")
	r.Run("lun", "recover", "web1", "--wait")
	l.Writer.GoOn(t)
	l.Verify("recover", 2)
}

// A drive that takes no writes is like one that is missing.
//
//gate:kernels others
func TestReadOnlyDrive(t *testing.T) {
	unfit(t, 5, "VDS_E_MEDIA_WRITE_PROTECTED", "write-protected", func(d string) { protect(t, d, 1) }, func(d string) { protect(t, d, 0) })
}

// A drive that comes back with larger logical blocks would give the LUN larger ones, and a file system on it could not be mounted.
//
//gate:kernels others
func TestDriveWithLargerBlocks(t *testing.T) {
	blocks := func(n int) func(string) {
		return func(d string) { setLoop(t, d, unix.LOOP_SET_BLOCK_SIZE, n) }
	}
	unfit(t, 5, "VDS_E_INVALID_SECTOR_SIZE", "logical blocks of 4096 bytes", blocks(4096), blocks(512))
}

// A drive that has shrunk is not written. A LUN that lies before its end can be read by force.
//
//gate:kernels bare
func TestShrunkDrive(t *testing.T) {
	t.Run("mirror", func(t *testing.T) {
		limit := func(n size.Bytes) func(string) { return func(d string) { limitLoop(t, d, n) } }
		unfit(t, 6, "VDS_E_OBJECT_STATUS_FAILED", "its label says", limit(cut.FailDrive-size.MiB), limit(0))
	})
	t.Run("one plex", func(t *testing.T) {
		r := lab.NewRig(t, 1, 64*size.MiB)
		l := r.LiveOn("one", 16*size.MiB, 0)
		l.Down(false)
		lab.Settle(t)
		limitLoop(t, r.Drives[0], 63*size.MiB)
		r.Refuse(6, []string{"assemble"}, "its label says", "--force one")
		r.StatusSays(21, "its label says")
		r.Run("assemble", "--force", "one", "--yes")
		l.Writer.Verify(t, l.Writer.Path)
		r.Run("deactivate")
		lab.Settle(t)
		limitLoop(t, r.Drives[0], 0)
		r.Run("assemble")
		l.Writer.Verify(t, l.Writer.Path)
	})
}

// A drive whose device has grown is found although its first label is lost, and gets its room while a LUN on it is in use.
//
//gate:kernels releases
func TestGrownDrive(t *testing.T) {
	r := lab.NewRig(t, 1, 64*size.MiB)
	l := r.LiveOn("web1", 16*size.MiB, 0)
	l.Down(false)
	lab.Settle(t)
	backing, err := os.ReadFile("/sys/block/" + filepath.Base(r.Drives[0]) + "/loop/backing_file")
	lab.Must(t, err)
	lab.Must(t, os.Truncate(strings.TrimSpace(string(backing)), int64(128*size.MiB)))
	setLoop(t, r.Drives[0], unix.LOOP_SET_CAPACITY, 0)

	file, err := os.OpenFile(r.Drives[0], os.O_RDWR|unix.O_SYNC, 0)
	lab.Must(t, err)
	label := make([]byte, lab.BlockSize)
	_, err = file.ReadAt(label, int64(lab.BlockSize))
	lab.Must(t, err)
	_, err = file.WriteAt(make([]byte, lab.BlockSize), int64(lab.BlockSize))
	lab.Must(t, err)
	r.Run("assemble")
	l.Writer.Verify(t, l.Writer.Path)
	r.Run("deactivate")
	_, err = file.WriteAt(label, int64(lab.BlockSize))
	lab.Must(t, err)
	lab.Must(t, file.Close())

	r.Run("assemble")
	l.Writer.GoOn(t)
	l.More(20)
	r.Refuse(7, []string{"lun", "extend", "web1", "--by", "64MiB"}, "VDS_E_NOT_ENOUGH_SPACE")
	r.Run("drive", "grow", r.Drives[0])
	r.Refuse(5, []string{"drive", "grow", r.Drives[0]}, "VDS_E_INVALID_OPERATION")
	r.Run("lun", "extend", "web1", "--by", "64MiB")
	l.More(20)
	l.Down(false)
	r.Run("assemble")
	l.Writer.Verify(t, l.Writer.Path)
	r.StatusSays(0, "80 MiB")
}
