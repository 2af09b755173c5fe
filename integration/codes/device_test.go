package codes

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// deviceRefusals is what speaks against a call, other than AddPlex, because of what a device is.
func deviceRefusals() provocations {
	return provocations{
		vds.ErrInvalidOperation: {"drive_init": shared(initLUN), "drive_grow": shared(growNothing), "drive_repair": shared(repairNothing)},
		vds.ErrNotSupported:     {"drive_init": shared(initNewer)},
		vds.ErrDeviceInUse:      {"drive_repair": own(repairOverwritten)},
		vds.ErrMediaWriteProtected: {
			"create": shared(createReadOnly), "extend": shared(extendReadOnly), "recover": shared(recoverReadOnly),
			"drive_init": shared(initReadOnly), "drive_grow": shared(growReadOnly), "drive_repair": own(repairReadOnly),
		},
		vds.ErrInvalidSectorSize: {"extend": shared(extendLargerBlocks), "recover": shared(recoverLargerBlocks)},
	}
}

// refusedGrow is refused for GrowDrive.
func refusedGrow(r *lab.Rig, code vds.Code, drive, hint string, says ...string) {
	r.T.Helper()
	refused(r, refusal{
		code: code, hint: hint, says: says, args: []string{"drive", "grow", drive},
		call: func(ctx context.Context) error { return r.Provider.GrowDrive(ctx, drive) },
	})
}

func growNothing(_ *testing.T, w *world, code vds.Code) {
	refusedGrow(w.Rig, code, w.Drives[0], "make the device larger", "no more than its label says")
}

// refusedRepair is refused for RepairDrive.
func refusedRepair(r *lab.Rig, code vds.Code, drive, hint string, says ...string) {
	r.T.Helper()
	refused(r, refusal{
		code: code, hint: hint, says: says, args: []string{"drive", "repair", drive, "--yes"},
		call: func(ctx context.Context) error { return r.Provider.RepairDrive(ctx, drive) },
	})
}

func repairNothing(_ *testing.T, w *world, code vds.Code) {
	refusedRepair(w.Rig, code, w.Drives[0], "plexctl status", "its label is in order")
}

// overwriteLabel writes over the label of a drive.
func overwriteLabel(t *testing.T, drive string, with []byte) {
	t.Helper()
	d, err := blockdev.Host{}.Open(t.Context(), drive, blockdev.Write)
	lab.Must(t, err)
	block := make([]byte, lab.BlockSize)
	copy(block, with)
	_, err = d.WriteAt(block, int64(lab.BlockSize))
	lab.Must(t, err)
	lab.Must(t, d.Close())
}

func repairReadOnly(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 1)
	overwriteLabel(t, r.Drives[0], nil)
	whileReadOnly(t, r.Drives[0], func() { refusedRepair(r, code, r.Drives[0], setWritable, r.Drives[0]+isProtected) })
}

// Somebody else has written to a drive of a mirror that is active.
func repairOverwritten(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 2)
	r.Mirrored("web1", 0, 1)
	overwriteLabel(t, r.Drives[1], []byte("of somebody else"))
	refusedRepair(r, code, r.Drives[1], "plexctl deactivate web1", "somebody else may have written to the drive")
}

func initLUN(_ *testing.T, w *world, code vds.Code) {
	refusedInit(w.Rig, code, "/dev/mapper/plex-web1", lun.InitOptions{Force: true}, "none of plexctl's", "device plex-web1 of a LUN")
}

// A newer plexctl has written the label, whose format this one does not know. It is not overwritten by force either.
func initNewer(t *testing.T, w *world, code vds.Code) {
	device := lab.NewLoop(t, lab.SmallDrive, 512)
	w.Label(device)
	d, err := blockdev.Host{}.Open(t.Context(), device, blockdev.Write)
	lab.Must(t, err)
	label := make([]byte, lab.BlockSize)
	_, err = d.ReadAt(label, int64(lab.BlockSize))
	lab.Must(t, err)
	label[8]++ // its version
	_, err = d.WriteAt(label, int64(lab.BlockSize))
	lab.Must(t, err)
	lab.Must(t, d.Close())
	refusedInit(w.Rig, code, device, lun.InitOptions{Force: true}, "use the plexctl that wrote it", "newer plexctl")
}

// whileReadOnly does something while a device is set read-only.
func whileReadOnly(t *testing.T, device string, do func()) {
	t.Helper()
	protect := func(on int) {
		t.Helper()
		lab.Must(t, lab.OnDevice(device, func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.BLKROSET, on) }))
	}
	protect(1)
	defer protect(0)
	do()
}

// What every refusal of a device that is set read-only says, and its hint.
const (
	isProtected = ": device is write-protected"
	setWritable = "blockdev --setrw"
)

func createReadOnly(t *testing.T, w *world, code vds.Code) {
	drive := w.Drives[1]
	whileReadOnly(t, drive, func() {
		refused(w.Rig, refusal{
			code: code, hint: setWritable, says: []string{drive + isProtected},
			args: []string{"lun", "create", "new", "--size", "1MiB", "--drive", drive},
			call: func(ctx context.Context) error {
				_, err := w.Provider.CreateLUN(ctx, lun.Spec{Name: "new", Size: size.MiB, Drives: []string{drive}})
				return err
			},
		})
	})
}

func extendReadOnly(t *testing.T, w *world, code vds.Code) {
	whileReadOnly(t, w.Drives[1], func() {
		refusedExtend(w.Rig, code, w.spare, size.MiB, nil, setWritable, w.Drives[1]+isProtected)
	})
}

func recoverReadOnly(t *testing.T, w *world, code vds.Code) {
	path := lab.StatDevice(t, w.fragile.Path).Path
	whileReadOnly(t, path, func() { refusedRecover(w.Rig, code, w.half, setWritable, path+isProtected) })
}

func initReadOnly(t *testing.T, w *world, code vds.Code) {
	device := lab.NewLoop(t, lab.SmallDrive, 512)
	whileReadOnly(t, device, func() { refusedInit(w.Rig, code, device, lun.InitOptions{}, setWritable, device+isProtected) })
}

func growReadOnly(t *testing.T, w *world, code vds.Code) {
	whileReadOnly(t, w.Drives[1], func() { refusedGrow(w.Rig, code, w.Drives[1], setWritable, w.Drives[1]+isProtected) })
}

func extendLargerBlocks(t *testing.T, w *world, code vds.Code) {
	device := lab.NewLoop(t, lab.SmallDrive, 4096)
	w.Label(device)
	refusedExtend(w.Rig, code, w.web, size.MiB, []string{device}, "logical blocks of that size", "4096", "512")
}

// The drive of the failed plex comes back behind a controller that has it in larger blocks.
func recoverLargerBlocks(_ *testing.T, w *world, code vds.Code) {
	w.fragile.Reblock(4096)
	refusedRecover(w.Rig, code, w.half, "logical blocks of 512 bytes", "4096", "512")
	w.fragile.Reblock(512)
}
