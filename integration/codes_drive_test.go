package integration

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// addRefusalsOfDrives is what speaks against AddPlex and has to do with drives, or with what the kernel has.
func addRefusalsOfDrives() provocations {
	return provocations{
		vds.ErrAccessDenied:             {"other_host": own(driveOfOtherHost)},
		vds.ErrNotEnoughSpace:           {"add_plex": shared(noSpace)},
		vds.ErrNotEnoughDrive:           {"add_plex": own(noDrive), "create": own(noDriveAtAll)},
		vds.ErrDiskConfigurationNotSync: {"conflict": own(recordsConflict), "other_host": own(sourceOfOtherHost)},
		vds.ErrObjectStatusFailed: {
			"target_inactive": shared(targetInactive), "source_drive_missing": shared(sourceDriveMissing), "source_plex_failed": shared(sourcePlexFailed),
		},
		vds.ErrProviderCacheCorrupt: {"target_table": own(targetTable), "source_table": own(sourceTable)},
		vds.ErrInvalidSectorSize:    {"larger_blocks": shared(largerBlocks)},
		vds.ErrNotSupported:         {"zoned": shared(zoned), "integrity": shared(protected)},
		vds.ErrMediaWriteProtected:  {"add_plex": shared(readOnly)},
	}
}

// unchanged fails the test when something is not as it was.
func (r *rig) unchanged(of scope, before state) {
	r.t.Helper()
	if diff := cmp.Diff(before, r.state(of)); diff != "" {
		r.t.Errorf("something has changed (-before +after):\n%s", diff)
	}
}

// refusedNew is refused for AddNewPlex on a drive.
func (r *rig) refusedNew(code vds.Code, target *lun.LUN, drive, hint string, says ...string) {
	r.t.Helper()
	r.refused(refusal{
		code: code, hint: hint, says: says, args: []string{"plex", "add", target.Name(), "--drive", drive},
		call: func(ctx context.Context) error {
			_, err := target.AddNewPlex(ctx, []string{drive}, lun.AttachOptions{})
			return err
		},
	})
}

func noSpace(_ *testing.T, w *world, code vds.Code) {
	w.refusedNew(code, w.web, w.drives[1], "plexctl drive init", "has room for")
}

// The only drive has a plex of the target already. The command wants drives to be named.
func noDrive(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 1)
	target := r.create("web1", codesLUN, 0)
	r.refused(refusal{code: code, hint: "plexctl drive init", call: func(ctx context.Context) error {
		_, err := target.AddNewPlex(ctx, nil, lun.AttachOptions{})
		return err
	}})
}

func noDriveAtAll(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 0)
	r.refused(refusal{
		code: code, hint: "plexctl drive init", says: []string{"no drive"}, args: []string{"lun", "create", "web1", "--size", "4MiB"},
		call: func(ctx context.Context) error {
			_, err := r.p.CreateLUN(ctx, lun.Spec{Name: "web1", Size: codesLUN})
			return err
		},
	})
}

// ofHost is another Provider on the rig's devices, of a host with these ids.
func (r *rig) ofHost(ids ...string) *lun.Provider {
	r.t.Helper()
	p, err := lun.Open(r.t.Context(), lun.Options{Kernel: r.control, Devices: host, Hosts: ids})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Close)
	return p
}

// otherHost is two drives, the first one of this host with a LUN web1, the second one another's with a LUN theirs. The
// target is a handle of a Provider that knows which host it is on, as the command does.
func otherHost(t *testing.T) (r *rig, target *lun.LUN, theirs uuid.UUID) {
	t.Helper()
	if len(host.IDs()) == 0 { // a machine without a file system of its own
		const path = "/etc/machine-id"
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("this host has no id, but %s: %v", path, err)
		}
		must(t, os.WriteFile(path, []byte("5ca1ab1e0ddba11c0ffee0fadeddecaf\n"), 0o600))
		t.Cleanup(func() { _ = os.Remove(path) })
	}
	newLab(t)
	r = openRig(t, newLoop(t, codesDrive, 512), newLoop(t, codesDrive, 512))
	here, there := r.ofHost(host.IDs()...), r.ofHost("0123456789abcdef0123456789abcdef")
	_, err := here.InitDrive(t.Context(), r.drives[0], lun.InitOptions{})
	must(t, err)
	_, err = there.InitDrive(t.Context(), r.drives[1], lun.InitOptions{})
	must(t, err)
	l, err := there.CreateLUN(t.Context(), lun.Spec{Name: "theirs", Size: codesLUN, Drives: r.drives[1:]})
	must(t, err)
	results, err := there.Deactivate(t.Context())
	r.worked("deactivate", results, err)
	target, err = here.CreateLUN(t.Context(), lun.Spec{Name: "web1", Size: codesLUN, Drives: r.drives[:1]})
	must(t, err)
	return r, target, l.ID()
}

func driveOfOtherHost(t *testing.T, code vds.Code) {
	r, target, _ := otherHost(t)
	r.refusedNew(code, target, r.drives[1], "plexctl drive take-over", "used it last")
}

func sourceOfOtherHost(t *testing.T, code vds.Code) {
	r, target, theirs := otherHost(t)
	r.refused(refusal{
		code: code, hint: "plexctl status", says: []string{"last used by host 0123456789abcdef", "plexctl drive take-over"},
		args: addArgs(target, theirs.String()), call: func(ctx context.Context) error {
			_, err := target.AddPlex(ctx, theirs, lun.AttachOptions{})
			return err
		},
	})
}

// Each half of a mirror gets another name while the other half is away.
func recordsConflict(t *testing.T, code vds.Code) {
	newLab(t)
	a, b := newFragile(t, "a"), newFragile(t, "b")
	r := labelled(t, a.path, b.path, newLoop(t, codesDrive, 512))
	torn, target := r.mirrored("torn", 0, 1), r.create("web1", codesLUN, 2)
	r.deactivate("torn")
	for f, name := range map[*fragile]string{a: "left", b: "right"} {
		f.fail()
		must(t, torn.Rename(t.Context(), name))
		f.mend()
	}
	r.refusedAdd(code, target, torn, "plexctl status", "lun ")
}

func targetInactive(_ *testing.T, w *world, code vds.Code) {
	w.deactivate("web1")
	w.refusedAdd(code, w.web, w.spare, "plexctl assemble", "is not active")
	w.assemble("web1")
}

func sourceDriveMissing(_ *testing.T, w *world, code vds.Code) {
	w.fragile.fail()
	w.refusedAdd(code, w.spare, w.half, "attach the drive", "is missing")
	w.refuse(20, []string{"status", "half"}, "failed-redundancy")
	w.fragile.mend()
}

func sourcePlexFailed(_ *testing.T, w *world, code vds.Code) {
	w.refusedAdd(code, w.spare, w.half, "see to its drive", "has failed")
}

// Somebody has replaced the table of a LUN. Reenumerate in one process and a refresh in every other put it right.
func targetTable(t *testing.T, code vds.Code) {
	r, target, source := pair(t)
	r.foreignLinear(target)
	r.refusedAdd(code, target, source, "run `plexctl reenumerate`, then `plexctl refresh`", "another table")
	r.run("reenumerate")
	r.run("refresh")
	r.refresh()
	r.end(target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}))
	r.equalLegs(r.record("web1"))
}

func sourceTable(t *testing.T, code vds.Code) {
	r, target, source := pair(t)
	r.foreignLinear(source)
	r.refusedAdd(code, target, source, "run `plexctl reenumerate`, then `plexctl refresh`", "another table")
	r.run("reenumerate")
}

func largerBlocks(t *testing.T, w *world, code vds.Code) {
	device := newLoop(t, codesDrive, 4096)
	w.label(device)
	w.refusedNew(code, w.web, device, "the target's sector size", "4096", "512")
}

// specialDrive makes a device a drive that InitDrive would refuse.
func (r *rig) specialDrive(path string, length size.Bytes) {
	r.t.Helper()
	d, err := host.Open(r.t.Context(), path, blockdev.Exclusive)
	if err != nil {
		r.t.Fatal(err)
	}
	defer d.Close()
	label := catalog.Label{Drive: uuid.New(), Size: length, Created: time.Now().UTC().Truncate(time.Second)}
	if err := catalog.Init(d, label); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		d, err := host.Open(context.Background(), path, blockdev.Exclusive)
		if err != nil {
			r.t.Error(err)
			return
		}
		defer d.Close()
		if err := catalog.Wipe(d, length); err != nil {
			r.t.Error(err)
		}
	})
	r.refresh()
}

func zoned(t *testing.T, w *world, code vds.Code) {
	loadModule(t, "null_blk nr_devices=1 gb=1 memory_backed=1 zoned=1 zone_size=4 zone_nr_conv=128")
	w.specialDrive("/dev/nullb0", codesDrive)
	w.refusedNew(code, w.web, "/dev/nullb0", "", "/dev/nullb0 is zoned")
	w.refuse(exitStatuses[code], []string{"drive", "init", "/dev/nullb0", "--yes", "--force"}, "is zoned")
}

func protected(t *testing.T, w *world, code vds.Code) {
	loadModule(t, "sd_mod")
	loadModule(t, "scsi_debug dev_size_mb=48 dif=1 dix=1 delay=0")
	path := scsiDebug(t)
	w.specialDrive(path, codesDrive)
	w.refusedNew(code, w.web, path, "", "is integrity-protected")
}

// scsiDebug is the disk that the module scsi_debug makes.
func scsiDebug(t testing.TB) string {
	t.Helper()
	var found []string
	waitFor(t, "the disk of scsi_debug", 10*time.Second, func() bool {
		found = glob(t, "/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*")
		return len(found) > 0
	})
	path := "/dev/" + filepath.Base(found[0])
	waitFor(t, path, 10*time.Second, func() bool { _, err := os.Stat(path); return err == nil })
	return path
}

func readOnly(t *testing.T, w *world, code vds.Code) {
	protect := func(on int) {
		must(t, onDevice(w.drives[1], func(fd int) error { return unix.IoctlSetPointerInt(fd, unix.BLKROSET, on) }))
	}
	protect(1)
	w.refusedAdd(code, w.web, w.spare, "", w.drives[1]+" is read-only")
	protect(0)
}
