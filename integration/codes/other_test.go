package codes

import (
	"context"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// otherRefusals is those of the calls that are not about plexes.
func otherRefusals() provocations {
	return provocations{
		vds.ErrObjectStatusFailed: {"extend": shared(extendFailed)},
		vds.ErrNotEnoughSpace:     {"extend": shared(extendNoSpace), "extend_max": own(extendToTheEnd), "drive_init": shared(driveTooSmall)},
		vds.ErrNameNotUnique:      {"rename": shared(renameTaken), "create": shared(createTaken)},
		vds.ErrInvalidArg:         {"rename": shared(renameInvalid), "create": shared(createGUID), "set_rate": shared(setRateInvalid), "extend": shared(extendInvalid)},
		vds.ErrObjectDeleted:      {"rename": shared(renameDeleted)},
		vds.ErrInvalidOperation:   {"set_rate": shared(setRateIdle)},
		vds.ErrDeviceInUse:        {"drive_init": shared(initMounted).onKernel(), "lun_delete": shared(deleteOpen).onKernel(), "deactivate": shared(deactivateOpen).onKernel(), "drive_choose": own(chooseBesideOneInUse)},
		vds.ErrDiskNotEmpty:       {"drive_init": shared(initFull), "drive_remove": shared(removeFull)},
		vds.ErrObjectExists:       {"drive_init": own(initAgain), "take_over": own(takeOverBoth)},
	}
}

// refusedExtend is refused for Extend.
func refusedExtend(r *lab.Rig, code vds.Code, l *lun.LUN, by size.Bytes, drives []string, hint string, says ...string) {
	r.T.Helper()
	args := []string{"lun", "extend", l.Name(), "--by", by.String()}
	for _, d := range drives {
		args = append(args, "--drive", d)
	}
	refused(r, refusal{
		code: code, hint: hint, says: says, args: args,
		call: func(ctx context.Context) error { _, err := l.Extend(ctx, by, drives); return err },
	})
}

func extendFailed(_ *testing.T, w *world, code vds.Code) {
	refusedExtend(w.Rig, code, w.half, size.MiB, nil, "plexctl lun recover half", "does not hold all of the data")
}

// A plex of a mirror stays on its drive, also when another one with room is named.
func extendNoSpace(_ *testing.T, w *world, code vds.Code) {
	refusedExtend(w.Rig, code, w.web, 40*size.MiB, nil, "--size max", "and no more")
	refusedExtend(w.Rig, code, w.pairs, 16*size.MiB, w.Drives[:1], "plexctl plex add", "and no more")
}

func extendToTheEnd(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 1)
	l := r.Create("web1", lab.SmallLUN, 0)
	args := []string{"lun", "extend", "web1", "--size", "max"}
	r.Run(args...)
	refused(r, refusal{
		code: code, hint: "plexctl drive init", says: []string{"has no room left"}, args: args,
		call: func(ctx context.Context) error { _, err := l.Extend(ctx, lun.AllRoom, nil); return err },
	})
}

func extendInvalid(_ *testing.T, w *world, code vds.Code) {
	refused(w.Rig, refusal{
		code: code, says: []string{"cannot grow by"},
		call: func(ctx context.Context) error { _, err := w.web.Extend(ctx, 0, nil); return err },
	})
	w.Refuse(lab.ExitStatuses[code], []string{"lun", "extend", "web1", "--by", "0B"}, code.String())
}

// refusedRename is refused for Rename.
func refusedRename(r *lab.Rig, code vds.Code, l *lun.LUN, name, hint string, says ...string) {
	r.T.Helper()
	refused(r, refusal{
		code: code, hint: hint, says: says, args: []string{"lun", "rename", l.Name(), name},
		call: func(ctx context.Context) error { return l.Rename(ctx, name) },
	})
}

func renameTaken(_ *testing.T, w *world, code vds.Code) {
	refusedRename(w.Rig, code, w.web, "spare3", "", "the name is taken")
}

func renameInvalid(_ *testing.T, w *world, code vds.Code) {
	for _, name := range []string{"a/b", "a:b"} {
		refusedRename(w.Rig, code, w.web, name, "letters, digits", "cannot have this name")
	}
}

func renameDeleted(_ *testing.T, w *world, code vds.Code) {
	l := w.Create("doomed", size.MiB, 0)
	w.Run("lun", "delete", "doomed", "--yes")
	refused(w.Rig, refusal{code: code, says: []string{"deleted"}, call: func(ctx context.Context) error { return l.Rename(ctx, "other") }})
}

func createTaken(_ *testing.T, w *world, code vds.Code) {
	refused(w.Rig, refusal{
		code: code, says: []string{"the name is taken"}, args: []string{"lun", "create", "web1", "--size", "1MiB"},
		call: func(ctx context.Context) error {
			_, err := w.Provider.CreateLUN(ctx, lun.Spec{Name: "web1", Size: size.MiB})
			return err
		},
	})
}

func createGUID(_ *testing.T, w *world, code vds.Code) {
	refused(w.Rig, refusal{
		code: code, hint: "lun-cafe-cafe", says: []string{"reads as a GUID"}, args: []string{"lun", "create", "cafe-cafe", "--size", "1MiB"},
		call: func(ctx context.Context) error {
			_, err := w.Provider.CreateLUN(ctx, lun.Spec{Name: "cafe-cafe", Size: size.MiB})
			return err
		},
	})
}

func setRateIdle(_ *testing.T, w *world, code vds.Code) {
	refused(w.Rig, refusal{
		code: code, hint: "plexctl op list", says: []string{"no operation runs"},
		call: func(ctx context.Context) error { return w.web.SetRate(ctx, size.MiB) },
	})
}

func setRateInvalid(_ *testing.T, w *world, code vds.Code) {
	refused(w.Rig, refusal{
		code: code, says: []string{"at least 1 KiB"}, call: func(ctx context.Context) error { return w.busy.SetRate(ctx, 100) },
	})
	w.Refuse(lab.ExitStatuses[code], []string{"op", "set-rate", "busy", "100B"}, code.String())
}

// refusedInit is refused for InitDrive.
func refusedInit(r *lab.Rig, code vds.Code, device string, opts lun.InitOptions, hint string, says ...string) {
	r.T.Helper()
	args := []string{"drive", "init", device, "--yes"}
	if opts.Force {
		args = append(args, "--force")
	}
	refused(r, refusal{
		code: code, hint: hint, says: says, args: args,
		call: func(ctx context.Context) error { _, err := r.Provider.InitDrive(ctx, device, opts); return err },
	})
}

func initMounted(t *testing.T, w *world, code vds.Code) {
	device := lab.NewLoop(t, lab.SmallDrive, 512)
	dir := lab.MountNew(t, device)
	refusedInitOf(w.Rig, code, device, dir)
	lab.Unmount(t, dir)
}

// refusedInitOf is refused for a device that is mounted, by force too. What its file system writes by itself is no change.
func refusedInitOf(r *lab.Rig, code vds.Code, device, dir string) {
	r.T.Helper()
	refused(r, refusal{
		code: code, hint: "unmount it", says: []string{"mounted at " + dir}, args: []string{"drive", "init", device, "--yes", "--force"},
		call: func(ctx context.Context) error {
			_, err := r.Provider.InitDrive(ctx, device, lun.InitOptions{Force: true})
			return err
		},
		scope: lab.Devices,
	})
}

func initFull(t *testing.T, w *world, code vds.Code) {
	device := lab.NewLoop(t, lab.SmallDrive, 512)
	lab.RunTool(t, "mkfs.ext4", "-q", device)
	refusedInit(w.Rig, code, device, lun.InitOptions{}, "--force", "ext4")
}

func initAgain(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 1)
	refusedInit(r, code, r.Drives[0], lun.InitOptions{}, "--force", "a drive already")
	r.Create("web1", lab.SmallLUN, 0)
	deactivate(r, "web1")
	refusedInit(r, code, r.Drives[0], lun.InitOptions{Force: true}, "delete them first", "plexes of web1")
}

func driveTooSmall(t *testing.T, w *world, code vds.Code) {
	refusedInit(w.Rig, code, lab.NewLoop(t, 15*size.MiB, 512), lun.InitOptions{}, "", "a drive needs")
}

func removeFull(_ *testing.T, w *world, code vds.Code) {
	refused(w.Rig, refusal{
		code: code, hint: "delete these LUNs first", says: []string{"web1"}, args: []string{"drive", "remove", w.Drives[0], "--yes"},
		call: func(ctx context.Context) error { return w.Provider.RemoveDrive(ctx, w.Drives[0]) },
	})
}

func deleteOpen(_ *testing.T, w *world, code vds.Code) {
	w.hold(w.web)
	refused(w.Rig, refusal{
		code: code, hint: "unmount or close", says: []string{"in use"}, call: w.web.Delete, args: []string{"lun", "delete", "web1", "--yes"},
	})
}

func deactivateOpen(_ *testing.T, w *world, code vds.Code) {
	w.hold(w.web)
	refused(w.Rig, refusal{
		code: code, hint: "unmount or close", says: []string{"in use"}, args: []string{"deactivate", "web1"},
		call: func(ctx context.Context) error {
			results, err := w.Provider.Deactivate(ctx, w.web.Name())
			if err != nil {
				return err
			}
			return results[0].Err
		},
	})
}
