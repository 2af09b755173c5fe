package integration

import (
	"context"
	"testing"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// otherRefusals is those of the calls that are not about plexes.
func otherRefusals() provocations {
	return provocations{
		vds.ErrObjectStatusFailed: {"extend": extendFailed},
		vds.ErrNotSupported:       {"extend": extendSpans},
		vds.ErrNotEnoughSpace:     {"extend": extendNoSpace, "drive_init": driveTooSmall},
		vds.ErrNameNotUnique:      {"rename": renameTaken, "create": createTaken},
		vds.ErrInvalidArg:         {"rename": renameInvalid, "set_rate": setRateInvalid, "extend": extendInvalid},
		vds.ErrObjectDeleted:      {"rename": renameDeleted},
		vds.ErrInvalidOperation:   {"set_rate": setRateIdle},
		vds.ErrDeviceInUse:        {"drive_init": initMounted, "lun_delete": deleteOpen, "deactivate": deactivateOpen},
		vds.ErrDiskNotEmpty:       {"drive_init": initFull, "drive_remove": removeFull},
		vds.ErrObjectExists:       {"drive_init": initAgain},
	}
}

// refusedExtend is refused for Extend.
func (r *rig) refusedExtend(code vds.Code, l *lun.LUN, by size.Bytes, drives []string, hint string, says ...string) {
	r.t.Helper()
	args := []string{"lun", "extend", l.Name(), "--by", by.String()}
	for _, d := range drives {
		args = append(args, "--drive", d)
	}
	r.refused(refusal{
		code: code, hint: hint, says: says, args: args,
		call: func(ctx context.Context) error { _, err := l.Extend(ctx, by, drives); return err },
	})
}

func extendFailed(t *testing.T, code vds.Code) {
	r, l := halfFailed(t)
	r.refusedExtend(code, l, size.MiB, nil, "plexctl lun recover web1", "does not hold all of the data")
}

// A plex of a mirror stays on its drive, also when another one with room is named.
func extendSpans(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 3)
	l := r.mirrored("web1", 0, 1)
	r.create("big", 25*size.MiB, 1)
	r.refusedExtend(code, l, 8*size.MiB, r.drives[2:], "", "")
}

func extendNoSpace(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 1)
	r.refusedExtend(code, r.create("web1", codesLUN, 0), 40*size.MiB, nil, "plexctl drive init", "has room for")
}

func extendInvalid(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 1)
	l := r.create("web1", codesLUN, 0)
	r.refused(refusal{
		code: code, says: []string{"cannot grow by"},
		call: func(ctx context.Context) error { _, err := l.Extend(ctx, 0, nil); return err },
	})
	r.refuse(exitStatuses[code], []string{"lun", "extend", "web1", "--by", "0"}, code.String())
}

// refusedRename is refused for Rename.
func (r *rig) refusedRename(code vds.Code, l *lun.LUN, name, hint string, says ...string) {
	r.t.Helper()
	r.refused(refusal{
		code: code, hint: hint, says: says, args: []string{"lun", "rename", l.Name(), name},
		call: func(ctx context.Context) error { return l.Rename(ctx, name) },
	})
}

func renameTaken(t *testing.T, code vds.Code) {
	r, l, _ := pair(t)
	r.refusedRename(code, l, "spare3", "", "the name is taken")
}

func renameInvalid(t *testing.T, code vds.Code) {
	r, l, _ := pair(t)
	for _, name := range []string{"a/b", ".", "a b", "a:b"} {
		r.refusedRename(code, l, name, "letters, digits", "cannot have this name")
	}
}

func renameDeleted(t *testing.T, code vds.Code) {
	r, l, _ := pair(t)
	r.run("lun", "delete", "web1", "--yes")
	r.refused(refusal{code: code, says: []string{"deleted"}, call: func(ctx context.Context) error { return l.Rename(ctx, "other") }})
}

func createTaken(t *testing.T, code vds.Code) {
	r, _, _ := pair(t)
	r.refused(refusal{
		code: code, says: []string{"the name is taken"}, args: []string{"lun", "create", "web1", "--size", "1MiB"},
		call: func(ctx context.Context) error {
			_, err := r.p.CreateLUN(ctx, lun.Spec{Name: "web1", Size: size.MiB})
			return err
		},
	})
}

func setRateIdle(t *testing.T, code vds.Code) {
	r, l, _ := pair(t)
	r.refused(refusal{
		code: code, hint: "plexctl op list", says: []string{"no operation runs"},
		call: func(ctx context.Context) error { return l.SetRate(ctx, size.MiB) },
	})
}

func setRateInvalid(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	l, _ := r.busy("web1", 0, 1)
	r.refused(refusal{
		code: code, says: []string{"at least 1 KiB"}, call: func(ctx context.Context) error { return l.SetRate(ctx, 100) },
	})
	r.refuse(exitStatuses[code], []string{"op", "set-rate", "web1", "100B"}, code.String())
}

// refusedInit is refused for InitDrive.
func (r *rig) refusedInit(code vds.Code, device string, opts lun.InitOptions, hint string, says ...string) {
	r.t.Helper()
	args := []string{"drive", "init", device, "--yes"}
	if opts.Force {
		args = append(args, "--force")
	}
	r.refused(refusal{
		code: code, hint: hint, says: says, args: args,
		call: func(ctx context.Context) error { _, err := r.p.InitDrive(ctx, device, opts); return err },
	})
}

func initMounted(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 0)
	device := newLoop(t, codesDrive, 512)
	dir := mountNew(t, device)
	r.refusedInitOf(code, device, dir)
	unmount(t, dir)
}

// refusedInitOf is refused for a device that is mounted, by force too. What its file system writes by itself is no change.
func (r *rig) refusedInitOf(code vds.Code, device, dir string) {
	r.t.Helper()
	r.refused(refusal{
		code: code, hint: "unmount it", says: []string{"mounted at " + dir}, args: []string{"drive", "init", device, "--yes", "--force"},
		call: func(ctx context.Context) error {
			_, err := r.p.InitDrive(ctx, device, lun.InitOptions{Force: true})
			return err
		},
		scope: devices,
	})
}

func initFull(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 0)
	device := newLoop(t, codesDrive, 512)
	runTool(t, "mkfs.ext4", "-q", device)
	r.refusedInit(code, device, lun.InitOptions{}, "--force", "ext4")
}

func initAgain(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 1)
	r.refusedInit(code, r.drives[0], lun.InitOptions{}, "--force", "a drive already")
	r.create("web1", codesLUN, 0)
	r.deactivate("web1")
	r.refusedInit(code, r.drives[0], lun.InitOptions{Force: true}, "delete them first", "plexes of web1")
}

func driveTooSmall(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 0)
	r.refusedInit(code, newLoop(t, 15*size.MiB, 512), lun.InitOptions{}, "", "a drive needs")
}

func removeFull(t *testing.T, code vds.Code) {
	r, _, _ := pair(t)
	r.refused(refusal{
		code: code, hint: "delete these LUNs first", says: []string{"web1"}, args: []string{"drive", "remove", r.drives[0], "--yes"},
		call: func(ctx context.Context) error { return r.p.RemoveDrive(ctx, r.drives[0]) },
	})
}

func deleteOpen(t *testing.T, code vds.Code) {
	r, l, _ := pair(t)
	defer openDevice(t, "/dev/mapper/plex-web1").Close()
	r.refused(refusal{
		code: code, hint: "unmount or close", says: []string{"in use"}, call: l.Delete, args: []string{"lun", "delete", "web1", "--yes"},
	})
}

func deactivateOpen(t *testing.T, code vds.Code) {
	r, l, _ := pair(t)
	defer openDevice(t, "/dev/mapper/plex-web1").Close()
	r.refused(refusal{
		code: code, hint: "unmount or close", says: []string{"in use"}, args: []string{"deactivate", "web1"},
		call: func(ctx context.Context) error {
			results, err := r.p.Deactivate(ctx, l.Name())
			if err != nil {
				return err
			}
			return results[0].Err
		},
	})
}
