package product

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// overwriteStart writes at the start of a device, durably. Without text it writes zeros.
func overwriteStart(t *testing.T, device, text string, length size.Bytes) {
	t.Helper()
	file, err := os.OpenFile(device, os.O_WRONLY|unix.O_SYNC, 0)
	lab.Must(t, err)
	defer file.Close()
	b := make([]byte, length)
	for at := 0; text != "" && at < len(b); at += 512 {
		copy(b[at:], text)
	}
	_, err = file.WriteAt(b, 0)
	lab.Must(t, err)
	lab.Settle(t)
}

// Firmware zeroes the labels of one drive of a mirror, then of both. Assemble writes them anew.
func TestLabelsZeroed(t *testing.T) {
	r := lab.NewRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	for _, drives := range [][]string{r.Drives[:1], r.Drives} {
		for _, d := range drives {
			overwriteStart(t, d, "", size.MiB)
		}
		r.StatusSays(20, "label at the start of the drive is lost", "plexctl drive repair "+r.Drives[0])
		r.Refuse(6, []string{"lun", "extend", "web1", "--by", "1MiB"}, "plexctl drive repair /dev/")
		l.Down(false)
		r.Run("assemble")
		r.StatusSays(0, "all is healthy")
		l.Writer.GoOn(t)
		l.Verify("assemble", 2)
	}
	overwriteStart(t, r.Drives[0], "", size.MiB)
	r.Run("drive", "repair", r.Drives[0])
	r.StatusSays(0, "all is healthy")
	l.More(20)
	l.Verify("repair in use", 2)
}

// Somebody makes a drive of a mirror a physical volume, and then both. Assemble leaves that alone, and drive repair leads out of it.
func TestLabelsOverwritten(t *testing.T) {
	r := lab.NewRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	const volume = "LABELONE\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00LVM2 001"
	for _, drives := range [][]string{r.Drives[:1], r.Drives} {
		l.Down(false)
		for _, d := range drives {
			overwriteStart(t, d, volume, size.MiB)
		}
		for _, d := range drives {
			r.Refuse(6, []string{"assemble"}, "plexctl drive repair ")
			r.Refuse(2, []string{"drive", "repair", d}, "lvm2", "It will be lost", "add --yes")
			r.Run("drive", "repair", d, "--yes")
		}
		r.Run("assemble")
		r.StatusSays(20, "plexctl lun recover web1")
		r.Run("lun", "recover", "web1", "--wait")
		r.StatusSays(0, "all is healthy")
		l.Writer.GoOn(t)
		l.Verify("repair", 2)
	}
}
