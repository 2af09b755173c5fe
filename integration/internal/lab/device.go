package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// NewMapping makes a device-mapper device that is no LUN and returns its path.
func NewMapping(t testing.TB, name string, table dm.Table) string {
	t.Helper()
	name = "lab-" + name
	RunTool(t, "dmsetup", "create", name, "--table", table.String())
	t.Cleanup(func() { RunTool(t, "dmsetup", "remove", "--retry", name) })
	Settle(t)
	return "/dev/mapper/" + name
}

// StatDevice is what blockdev says of a device.
func StatDevice(t testing.TB, device string) blockdev.Info {
	t.Helper()
	info, err := blockdev.Host{}.Stat(t.Context(), device)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// ScsiDebug is the disk that the module scsi_debug makes.
func ScsiDebug(t testing.TB) string {
	t.Helper()
	var found []string
	WaitFor(t, "the disk of scsi_debug", 10*time.Second, func() bool {
		found = Glob(t, "/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*")
		return len(found) > 0
	})
	path := "/dev/" + filepath.Base(found[0])
	WaitFor(t, path, 10*time.Second, func() bool { _, err := os.Stat(path); return err == nil })
	return path
}

// NewLoop makes a loop device of the given length and logical block size (512 or 4096) on a sparse file, and returns its
// path. It is detached when the test ends.
func NewLoop(t testing.TB, length, block size.Bytes) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := vm.CreateImage(image, length); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device, err := AttachLoop(file, block)
	if err != nil {
		t.Fatalf("attach loop device: %v", err)
	}
	t.Cleanup(func() {
		if err := DetachLoop(device); err != nil {
			t.Errorf("detach %s: %v", device, err)
		}
	})
	return device
}

// AttachLoop attaches file to a free loop device. Another process may take the free device first: then it tries the next.
func AttachLoop(file *os.File, block size.Bytes) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", err
		}
		device := fmt.Sprintf("/dev/loop%d", n)
		err = OnDevice(device, func(fd int) error {
			return unix.IoctlLoopConfigure(fd, &unix.LoopConfig{Fd: uint32(file.Fd()), Size: uint32(block)})
		})
		if !errors.Is(err, unix.EBUSY) {
			return device, err
		}
	}
}

// DetachLoop detaches a loop device from its file.
func DetachLoop(device string) error {
	return OnDevice(device, func(fd int) error { return unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0) })
}

// OnDevice calls do with a descriptor of the device.
func OnDevice(device string, do func(fd int) error) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(int(f.Fd())), f.Close())
}

// DiskPath is the virtio disk with the given serial: one of Machine.Disks of the test on the host that booted this guest.
func DiskPath(t testing.TB, serial string) string {
	t.Helper()
	path, err := vm.DiskPath(serial)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// LoadModule loads a kernel module: "brd rd_nr=4 rd_size=65536".
func LoadModule(t testing.TB, line string) {
	t.Helper()
	if !vm.InGuest() {
		RunTool(t, "modprobe", strings.Fields(line)...)
		return
	}
	if err := vm.LoadModule(line); err != nil {
		t.Fatal(err)
	}
}

// NewDevice makes a device-mapper device with dmsetup and returns its path. It is removed when the test ends.
func NewDevice(t *testing.T, name, table string) string {
	t.Helper()
	RunTool(t, "dmsetup", "create", name, "--table", table)
	t.Cleanup(func() { RunTool(t, "dmsetup", "remove", "--retry", name) })
	Settle(t)
	return "/dev/mapper/" + name
}

// RAMDisks is the module of RAM disks as every test of them loads it: a second load changes nothing.
const RAMDisks = "brd rd_nr=2 rd_size=16384"
