package crash

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// driveOps are those that say which drives and which plexes hold the data.
func driveOps() []killOp {
	keep := func(drive string) func(k *killRig) []string {
		return command("lun recover web1 --keep " + drive + " --yes")
	}
	return []killOp{
		{
			name: "keep a plex in use", from: "web1=01", prepare: func(k *killRig) { k.fork(1, 0); k.writeOn() },
			args: keep("@0"), again: func(k *killRig) { k.repeat(keep("@0")) }, done: "web1=01", maybe: true, stale: true,
		},
		{
			name: "keep a plex", from: "web1=01", prepare: func(k *killRig) { k.fork(0, 1); k.Run("deactivate") },
			args: keep("@1"), again: func(k *killRig) { k.repeat(keep("@1")) }, done: "web1=01", stale: true,
		},
		{
			name: "grow a drive", from: "web1=01", prepare: (*killRig).growDevice, args: command("drive grow @0"), done: "web1=01",
			check: (*killRig).checkGrown,
		},
		{
			name: "repair a drive", from: "web1=01", prepare: func(k *killRig) { k.loseLabel(0); k.loseLabel(1) }, args: command("drive repair @0"),
			again: func(k *killRig) { k.repeat(command("drive repair @0")) }, done: "web1=01", check: (*killRig).checkLabels,
		},
		{
			name: "assemble without labels", from: "web1=01",
			prepare: func(k *killRig) { k.Down(true); k.loseLabel(0); k.loseLabel(1) },
			args:    command("assemble"), done: "web1=01", check: (*killRig).checkLabels,
		},
		{
			name: "choose a drive", from: "web1=01", prepare: func(k *killRig) { k.Down(false); k.copyDrive() },
			args: command("drive choose @0 --yes"), again: (*killRig).chooseAgain, done: "web1=01",
		},
	}
}

// repeat runs a command again that may have done its work already.
func (k *killRig) repeat(args func(k *killRig) []string) {
	k.T.Helper()
	const nothingToDo = 5
	if out, err := lab.TryTool(k.T, "plexctl", args(k)...); err != nil && lab.ExitStatus(err) != nothingToDo {
		k.T.Errorf("plexctl %s, again: %v\n%s", strings.Join(args(k), " "), err, out)
	}
}

// fork uses two plexes without each other: first that on one drive, to which it writes junk, then that on another drive, which stays in
// use and gets the writer's writes.
func (k *killRig) fork(junk, good int) {
	k.T.Helper()
	k.Down(false)
	back := k.hide(good)
	k.Run("assemble", "--force", cut.WebName, "--yes")
	for at := size.Bytes(0); at < cut.KillLength; at += size.MiB {
		overwrite(k.T, "/dev/mapper/plex-"+cut.WebName, at)
	}
	k.Run("deactivate")
	back()
	back = k.hide(junk)
	k.Run("assemble", "--force", cut.WebName, "--yes")
	k.writeOn()
	k.Writer.Stop()
	back()
	k.Refresh()
}

// hide makes a drive one without a label, until back is called.
func (k *killRig) hide(drive int) (back func()) {
	k.T.Helper()
	device := k.Drives[drive]
	var were [][]byte
	for _, at := range k.labels(drive) {
		label := lab.AlignedBuffer(lab.BlockSize)
		lab.Must(k.T, direct(device, func(f *os.File) error { _, err := f.ReadAt(label, at); return err }))
		were = append(were, bytes.Clone(label))
		clear(label)
		lab.Must(k.T, direct(device, func(f *os.File) error { _, err := f.WriteAt(label, at); return err }))
		lab.Must(k.T, unix.Munmap(label))
	}
	places := k.labels(drive)
	k.Refresh()
	return func() {
		k.T.Helper()
		for i, at := range places {
			label := lab.AlignedBuffer(lab.BlockSize)
			copy(label, were[i])
			lab.Must(k.T, direct(device, func(f *os.File) error { _, err := f.WriteAt(label, at); return err }))
			lab.Must(k.T, unix.Munmap(label))
		}
	}
}

// loseLabel zeroes the start of a drive, with its label.
func (k *killRig) loseLabel(drive int) {
	k.T.Helper()
	b := lab.AlignedBuffer(size.MiB)
	defer unix.Munmap(b)
	lab.Must(k.T, direct(k.Drives[drive], func(f *os.File) error { _, err := f.WriteAt(b, 0); return err }))
}

// checkLabels expects no label to be lost.
func (k *killRig) checkLabels(uint64) error {
	k.T.Helper()
	k.Refresh()
	if problems := k.Provider.Problems(); len(problems) > 0 {
		return fmt.Errorf("problems %v", problems)
	}
	return nil
}

// labels is where a drive has its label, and the copy of it.
func (k *killRig) labels(drive int) []int64 {
	k.T.Helper()
	d, err := k.Provider.Drive(k.Drives[drive])
	lab.Must(k.T, err)
	const label = 4 * size.KiB
	return []int64{int64(label), int64(catalog.TailStart(d.Label.Size) + label)}
}

// direct opens a device past the page cache, and makes durable what do writes.
func direct(device string, do func(f *os.File) error) error {
	f, err := lab.OpenDirect(device, os.O_RDWR|unix.O_SYNC)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

// growDevice makes the device of drive 0 larger.
func (k *killRig) growDevice() {
	k.T.Helper()
	device := k.Drives[0]
	backing, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/loop/backing_file")
	lab.Must(k.T, err)
	length := lab.StatDevice(k.T, device).Size + size.MiB
	lab.Must(k.T, os.Truncate(strings.TrimSpace(string(backing)), int64(length)))
	lab.Must(k.T, lab.OnDevice(device, func(fd int) error { return unix.IoctlSetInt(fd, unix.LOOP_SET_CAPACITY, 0) }))
}

// checkGrown grows drive 0, if that is left to do, and compares it with its device.
func (k *killRig) checkGrown(uint64) error {
	k.T.Helper()
	k.repeat(command("drive grow @0"))
	k.Refresh()
	d, err := k.Provider.Drive(k.Drives[0])
	if problems := k.Provider.Problems(); err != nil || d.Grown != 0 || d.Label.Size != d.Info.Size || len(problems) > 0 {
		return fmt.Errorf("drive %+v, %w; problems %v", d, err, problems)
	}
	return nil
}

// copyDrive makes another device one with the label and the catalog of drive 0.
func (k *killRig) copyDrive() {
	k.T.Helper()
	length := lab.StatDevice(k.T, k.Drives[0]).Size
	if k.copied == "" || lab.StatDevice(k.T, k.copied).Size != length {
		k.copied = lab.NewLoop(k.T, length, 512)
	}
	const part = 4 * size.MiB
	b := lab.AlignedBuffer(part)
	defer unix.Munmap(b)
	for _, at := range []int64{0, int64(length - part)} {
		lab.Must(k.T, direct(k.Drives[0], func(f *os.File) error { _, err := f.ReadAt(b, at); return err }))
		lab.Must(k.T, direct(k.copied, func(f *os.File) error { _, err := f.WriteAt(b, at); return err }))
	}
}

// chooseAgain chooses drive 0 again, and takes the copy away.
func (k *killRig) chooseAgain() {
	k.T.Helper()
	k.repeat(command("drive choose @0 --yes"))
	const part = 4 * size.MiB
	b := lab.AlignedBuffer(part)
	defer unix.Munmap(b)
	for _, at := range []int64{0, int64(lab.StatDevice(k.T, k.copied).Size - part)} {
		lab.Must(k.T, direct(k.copied, func(f *os.File) error { _, err := f.WriteAt(b, at); return err }))
	}
}
