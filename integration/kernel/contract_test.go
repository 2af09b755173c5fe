package kernel

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// TestContract runs on the real device-mapper what dmtest's own tests run on the simulated one.
// udevd opens each device that it makes, which takes four times as long and shows nothing of the kernel.
//
//gate:kernels others
//gate:when model
func TestContract(t *testing.T) {
	lab.NewLab(t)
	lab.LoadModule(t, "raid1")
	control, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Close(); err != nil {
			t.Error(err)
		}
	})
	dmtest.RunContract(t, &contractLab{control: control})
}

// contractLab is the real machine for the contract.
type contractLab struct {
	control *dm.Control
	host    blockdev.Host
	names   atomic.Int64
}

func (l *contractLab) Kernel() dmtest.DeviceMapper { return l.control }

// Release is the kernel's series, such as 6.12.
func (l *contractLab) Release() dmtest.Release {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	parts := strings.SplitN(unix.ByteSliceToString(name.Release[:]), ".", 3)
	return dmtest.Release(strings.Join(parts[:min(2, len(parts))], "."))
}

func (l *contractLab) Name() string { return fmt.Sprintf("contract-%d", l.names.Add(1)) }

func (l *contractLab) Pass() { time.Sleep(20 * time.Millisecond) }

func (l *contractLab) Disk(t testing.TB, length size.Bytes) dmtest.Disk {
	path := lab.NewLoop(t, length, 512)
	return &contractDisk{Disk: l.open(t, path, blockdev.Write), lab: l, path: path}
}

func (l *contractLab) Open(t testing.TB, name string) dmtest.File {
	info, err := l.control.Info(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return l.open(t, "/dev/dm-"+strconv.FormatUint(uint64(info.Dev.Minor), 10), blockdev.Write)
}

func (l *contractLab) open(t testing.TB, path string, mode blockdev.Mode) blockdev.Disk {
	t.Helper()
	disk, err := l.host.Open(context.Background(), path, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.Close() }) // the test may have closed it
	return disk
}

// contractDisk is a loop device.
type contractDisk struct {
	blockdev.Disk
	lab  *contractLab
	path string
}

func (d *contractDisk) Dev() devno.No { return d.Info().Dev }

func (d *contractDisk) Hold(t testing.TB) func() {
	held := d.lab.open(t, d.path, blockdev.Exclusive)
	return func() { _ = held.Close() }
}
