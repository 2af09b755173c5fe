package product

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// A drive is pulled while its LUNs are in use: the only one of a LUN, and one of an idle mirror. It comes back under another number.
// At each point status tells what is true, and what to run.
func TestDriveComesBackElsewhere(t *testing.T) {
	lab.NewLab(t)
	disk := lab.NewSCSI(t, "dev_size_mb=48")
	r := lab.Labelled(t, disk, lab.NewLoop(t, lab.SmallDrive, 512))
	r.Create("one", lab.SmallLUN, 0)
	m := r.Create("m", lab.SmallLUN, 1)
	lab.FillWith(t, "/dev/mapper/plex-one", "what the LUN holds ", lab.SmallLUN)
	lab.FillWith(t, "/dev/mapper/plex-m", "what the mirror holds ", lab.SmallLUN)
	sum := lab.DeviceSum(t, "/dev/mapper/plex-one")
	r.AddOn(m, 0)
	r.StatusSays(0, "all is healthy")

	quiet()
	lab.PullSCSI(t, disk)
	t.Log(statusOf(r))
	r.StatusSays(21, "failed-redundancy", "missing: was "+disk+", scsi_debug, serial ", "is missing", "no drive here has its record", "plexctl reenumerate")
	r.Refuse(21, []string{"status", "one", "-o", "json"}, `"health":"failed"`, `"orphan":true`)
	r.Refuse(20, []string{"status", "m"}, "failed-redundancy", "plexctl reenumerate")
	r.Refuse(0, []string{"drive", "show", disk}, "last path: "+disk, "model:     scsi_debug", "serial:    2000", "LUNs:      m")
	r.Refuse(1, []string{"doctor"}, "plex-one")
	r.Refuse(6, []string{"deactivate"}, "plex-one stays", "m is inactive")
	r.Refuse(21, []string{"status"}, "one ", "plex-one", "m ", "is missing")

	again := lab.PlugSCSI(t)
	if again == disk {
		t.Fatalf("the drive is %s again, though a LUN uses it", disk)
	}
	r.Run("assemble", "m") // it was stopped without its drive
	r.Run("lun", "recover", "m", "--wait")
	t.Log(statusOf(r))
	r.StatusSays(21, "its drive is "+again+" now", "plexctl reenumerate")
	if err := readBlock("/dev/mapper/plex-one"); !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ENXIO) {
		t.Errorf("read of one: %v, want an error", err)
	}
	corrects(r, "one was not as recorded, and is corrected", "one is as recorded")
	r.StatusSays(0, "all is healthy")
	if now := lab.DeviceSum(t, "/dev/mapper/plex-one"); now != sum {
		t.Error("one holds something else now")
	}
	r.Drives[0] = again
	r.EqualLegs(r.Record("m"))

	quiet()
	lab.PullSCSI(t, again) // the mirror is idle
	r.Refuse(20, []string{"status", "m"}, "missing: was "+again+", scsi_debug, serial ", "plexctl reenumerate")
	third := lab.PlugSCSI(t)
	t.Log(statusOf(r))
	r.Refuse(20, []string{"status", "m"}, "failed-redundancy", "its drive is "+third+" now", "plexctl reenumerate")
	corrects(r, "m was not as recorded, and is corrected", "m is as recorded")
	r.StatusSays(0, "all is healthy")
	r.Drives[0] = third
	r.EqualLegs(r.Record("m"))

	lab.PullSCSI(t, third) // it misses a write
	lab.FillWith(t, "/dev/mapper/plex-m", "other ", lab.SmallLUN)
	r.AwaitLoss("m", 1)
	r.Refuse(20, []string{"status", "m"}, "is missing", "plexctl lun recover m")
	r.Drives[0] = lab.PlugSCSI(t)
	t.Log(statusOf(r))
	r.Refuse(20, []string{"status", "m"}, "has failed", "plexctl lun recover m")
	r.Run("lun", "recover", "m", "--wait")
	r.Run("reenumerate")
	r.StatusSays(0, "all is healthy")
	r.EqualLegs(r.Record("m"))
	if now := lab.DeviceSum(t, "/dev/mapper/plex-one"); now != sum {
		t.Error("one holds something else now")
	}
}

// quiet waits until the kernel writes nothing more to an idle mirror: it clears the bitmap some seconds after the last write, in two
// passes (drivers/md/md-bitmap.c, bitmap_daemon_work). A leg whose drive goes before that fails at once.
func quiet() { time.Sleep(16 * time.Second) }

// statusOf is what status says, whatever its exit status.
func statusOf(r *lab.Rig) string {
	out, _ := lab.TryTool(r.T, "plexctl", "status")
	return out
}

// corrects runs reenumerate twice, which says something else the second time.
func corrects(r *lab.Rig, first, second string) {
	r.T.Helper()
	r.Refuse(0, []string{"reenumerate"}, first)
	r.Refuse(0, []string{"reenumerate"}, second)
}

// readBlock reads the first block of a device, past the page cache.
func readBlock(device string) error {
	f, err := lab.OpenDirect(device, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	b := lab.AlignedBuffer(size.MiB)
	defer unix.Munmap(b)
	_, err = f.ReadAt(b, 0)
	return err
}
