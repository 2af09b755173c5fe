package lab

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NewSCSI makes a disk with the module scsi_debug, until the test ends. Another test may have left the module behind.
func NewSCSI(t testing.TB, parameters string) string {
	t.Helper()
	LoadModule(t, "sd_mod")
	unloadSCSI(t)
	LoadModule(t, "scsi_debug delay=0 "+parameters)
	t.Cleanup(func() { unloadSCSI(t) })
	return ScsiDebug(t)
}

// unloadSCSI removes the disk of scsi_debug.
func unloadSCSI(t testing.TB) {
	t.Helper()
	WaitFor(t, "scsi_debug to go", 10*time.Second, func() bool {
		err := unix.DeleteModule("scsi_debug", unix.O_NONBLOCK)
		return err == nil || errors.Is(err, unix.ENOENT)
	})
}

// PullSCSI pulls a disk of NewSCSI out.
func PullSCSI(t testing.TB, device string) {
	t.Helper()
	writeSys(t, "/sys/block/"+filepath.Base(device)+"/device/delete", "1")
	WaitFor(t, device+" to go", 10*time.Second, func() bool {
		_, err := os.Stat("/sys/block/" + filepath.Base(device))
		return err != nil
	})
	Settle(t)
}

// PlugSCSI plugs the disk of NewSCSI in again, and returns its path. It is another one while somebody uses the old device.
func PlugSCSI(t testing.TB) string {
	t.Helper()
	for _, scan := range Glob(t, "/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/scsi_host/host*/scan") {
		writeSys(t, scan, "- - -")
	}
	path := ScsiDebug(t)
	Settle(t)
	return path
}

func writeSys(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}
