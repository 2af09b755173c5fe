package codes

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// addRefusalsOfDrives is what speaks against AddPlex and has to do with drives, or with what the kernel has.
func addRefusalsOfDrives() provocations {
	return provocations{
		vds.ErrAccessDenied:             {"other_host": own(driveOfOtherHost), "lun_of_other_host": own(sourceOfOtherHost)},
		vds.ErrNotEnoughSpace:           {"add_plex": shared(noSpace)},
		vds.ErrNotEnoughDrive:           {"add_plex": own(noDrive), "create": own(noDriveAtAll)},
		vds.ErrDiskConfigurationNotSync: {"conflict": own(recordsConflict), "copies": own(severalDevices)},
		vds.ErrObjectStatusFailed: {
			"target_inactive": shared(targetInactive), "source_drive_missing": shared(sourceDriveMissing), "source_plex_failed": shared(sourcePlexFailed).onKernel(),
		},
		vds.ErrProviderCacheCorrupt: {"target_table": own(targetTable).onKernel(), "source_table": own(sourceTable).onKernel()},
		vds.ErrInvalidSectorSize:    {"larger_blocks": shared(largerBlocks).onKernel()},
		vds.ErrNotSupported:         {"zoned": shared(zoned).onKernel(), "integrity": shared(protected).onKernel()},
		vds.ErrMediaWriteProtected:  {"add_plex": shared(readOnly).onKernel()},
	}
}

// refusedNew is refused for AddNewPlex on a drive.
func refusedNew(r *lab.Rig, code vds.Code, target *lun.LUN, drive, hint string, says ...string) {
	r.T.Helper()
	refused(r, refusal{
		code: code, hint: hint, says: says, args: []string{"plex", "add", target.Name(), "--drive", drive},
		call: func(ctx context.Context) error {
			_, err := target.AddNewPlex(ctx, []string{drive}, lun.AttachOptions{})
			return err
		},
	})
}

func noSpace(_ *testing.T, w *world, code vds.Code) {
	refusedNew(w.Rig, code, w.web, w.Drives[1], "plexctl drive init", "has room for")
}

// The only drive has a plex of the target already. The command wants drives to be named.
func noDrive(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 1)
	target := r.Create("web1", lab.SmallLUN, 0)
	refused(r, refusal{code: code, hint: "plexctl drive init", call: func(ctx context.Context) error {
		_, err := target.AddNewPlex(ctx, nil, lun.AttachOptions{})
		return err
	}})
}

func noDriveAtAll(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 0)
	refused(r, refusal{
		code: code, hint: "plexctl drive init", says: []string{"no drive"}, args: []string{"lun", "create", "web1", "--size", "4MiB"},
		call: func(ctx context.Context) error {
			_, err := r.Provider.CreateLUN(ctx, lun.Spec{Name: "web1", Size: lab.SmallLUN})
			return err
		},
	})
}

// ofHost is another Provider on the rig's devices, of a host with these ids.
func ofHost(r *lab.Rig, ids ...string) *lun.Provider {
	r.T.Helper()
	p, err := lun.Open(r.T.Context(), lun.Options{Kernel: r.Control, Hosts: ids, Guard: lun.Unguarded})
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(p.Close)
	return p
}

// otherHost is two drives, the first one of this host with a LUN web1, the second one another's with a LUN theirs. The
// target is a handle of a Provider that knows which host it is on, as the command does.
func otherHost(t *testing.T) (r *lab.Rig, target *lun.LUN, theirs uuid.UUID) {
	t.Helper()
	lab.HasID(t)
	lab.NewLab(t)
	r = lab.OpenRig(t, lab.NewLoop(t, lab.SmallDrive, 512), lab.NewLoop(t, lab.SmallDrive, 512))
	here, there := ofHost(r, (blockdev.Host{}).IDs()...), ofHost(r, "0123456789abcdef0123456789abcdef")
	_, err := here.InitDrive(t.Context(), r.Drives[0], lun.InitOptions{})
	lab.Must(t, err)
	_, err = there.InitDrive(t.Context(), r.Drives[1], lun.InitOptions{})
	lab.Must(t, err)
	l, err := there.CreateLUN(t.Context(), lun.Spec{Name: "theirs", Size: lab.SmallLUN, Drives: r.Drives[1:]})
	lab.Must(t, err)
	results, err := there.Deactivate(t.Context())
	r.Worked("deactivate", results, err)
	target, err = here.CreateLUN(t.Context(), lun.Spec{Name: "web1", Size: lab.SmallLUN, Drives: r.Drives[:1]})
	lab.Must(t, err)
	return r, target, l.ID()
}

func driveOfOtherHost(t *testing.T, code vds.Code) {
	r, target, _ := otherHost(t)
	refusedNew(r, code, target, r.Drives[1], "plexctl drive take-over", "used it last")
}

func sourceOfOtherHost(t *testing.T, code vds.Code) {
	r, target, theirs := otherHost(t)
	refused(r, refusal{
		code: code, hint: "plexctl drive take-over", says: []string{"host 0123456789abcdef0123456789abcdef used it last"},
		args: lab.AddArgs(target, theirs.String()), call: func(ctx context.Context) error {
			_, err := target.AddPlex(ctx, theirs, lun.AttachOptions{})
			return err
		},
	})
}

// No LUN uses the drive of the source, and its copy is there.
func severalDevices(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 2)
	target, spare := r.Create("web1", lab.SmallLUN, 0), r.Create("spare3", lab.SmallLUN, 1)
	deactivate(r, "spare3")
	again := lab.NewCopy(t, r.Drives[1])
	lab.Must(t, r.Provider.Refresh(t.Context()))
	refused(r, refusal{
		code: code, hint: "plexctl drive choose", says: []string{r.Drives[1], again}, args: lab.AddArgs(target, spare.ID().String()),
		call: func(ctx context.Context) error {
			_, err := target.AddPlex(ctx, spare.ID(), lun.AttachOptions{})
			return err
		},
	})
	refusedNew(r, code, target, again, "plexctl drive choose", r.Drives[1])
}

// A LUN uses the drive, and not its copy.
func chooseBesideOneInUse(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 1)
	r.Create("web1", lab.SmallLUN, 0)
	again := lab.NewCopy(t, r.Drives[0])
	refused(r, refusal{
		code: code, hint: "plexctl deactivate", says: []string{r.Drives[0]}, args: []string{"drive", "choose", again, "--yes"},
		call: func(ctx context.Context) error { _, err := r.Provider.Choose(ctx, again); return err },
	})
}

// Two copies of a drive of another host: this one takes the first.
func takeOverBoth(t *testing.T, code vds.Code) {
	r, _, _ := otherHost(t)
	again := lab.NewCopy(t, r.Drives[1])
	here := ofHost(r, (blockdev.Host{}).IDs()...)
	_, err := here.TakeOver(t.Context(), r.Drives[1])
	lab.Must(t, err)
	refused(r, refusal{
		code: code, hint: "detach", says: []string{r.Drives[1]}, args: []string{"drive", "take-over", again, "--yes"},
		call: func(ctx context.Context) error { _, err := here.TakeOver(ctx, again); return err },
	})
}

// Each half of a mirror gets another name while the other half is away.
func recordsConflict(t *testing.T, code vds.Code) {
	lab.NewLab(t)
	a, b := lab.NewBrittle(t, "a", lab.SmallDrive), lab.NewBrittle(t, "b", lab.SmallDrive)
	r := lab.Labelled(t, a.Path, b.Path, lab.NewLoop(t, lab.SmallDrive, 512))
	torn, target := r.Mirrored("torn", 0, 1), r.Create("web1", lab.SmallLUN, 2)
	deactivate(r, "torn")
	for f, name := range map[*lab.Brittle]string{a: "left", b: "right"} {
		f.Pull()
		lab.Must(t, torn.Rename(t.Context(), name))
		f.Heal()
	}
	refusedAdd(r, code, target, torn, "--keep PLEX", "2 different records")
}

func targetInactive(_ *testing.T, w *world, code vds.Code) {
	deactivate(w.Rig, "web1")
	refusedAdd(w.Rig, code, w.web, w.spare, "plexctl assemble", "is not active")
	w.Assemble("web1")
}

func sourceDriveMissing(_ *testing.T, w *world, code vds.Code) {
	w.fragile.Pull()
	refusedAdd(w.Rig, code, w.spare, w.half, "attach the drive", "is missing")
	w.Refuse(20, []string{"status", "half"}, "failed-redundancy")
	w.fragile.Heal()
}

func sourcePlexFailed(_ *testing.T, w *world, code vds.Code) {
	refusedAdd(w.Rig, code, w.spare, w.half, "see to its drive", "has failed")
}

// Somebody has replaced the table of a LUN. Reenumerate in one process and a refresh in every other put it right.
func targetTable(t *testing.T, code vds.Code) {
	r, target, source := lab.Pair(t)
	foreignLinear(r, target)
	refusedAdd(r, code, target, source, "run `plexctl reenumerate`", "another table")
	r.Run("reenumerate")
	r.Run("refresh")
	r.Refresh()
	r.End(target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}))
	r.EqualLegs(r.Record("web1"))
}

func sourceTable(t *testing.T, code vds.Code) {
	r, target, source := lab.Pair(t)
	foreignLinear(r, source)
	refusedAdd(r, code, target, source, "run `plexctl reenumerate`", "another table")
	r.Run("reenumerate")
}

func largerBlocks(t *testing.T, w *world, code vds.Code) {
	device := lab.NewLoop(t, lab.SmallDrive, 4096)
	w.Label(device)
	refusedNew(w.Rig, code, w.web, device, "logical blocks of that size", "4096", "512")
}

// specialDrive makes a device a drive that InitDrive would refuse.
func specialDrive(r *lab.Rig, path string, length size.Bytes) {
	r.T.Helper()
	d, err := blockdev.Host{}.Open(r.T.Context(), path, blockdev.Exclusive)
	if err != nil {
		r.T.Fatal(err)
	}
	defer d.Close()
	label := catalog.Label{Drive: uuid.New(), Size: length, Created: time.Now().UTC().Truncate(time.Second)}
	if err := catalog.Init(d, label); err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() {
		d, err := blockdev.Host{}.Open(context.Background(), path, blockdev.Exclusive)
		if err != nil {
			r.T.Error(err)
			return
		}
		defer d.Close()
		if err := catalog.Wipe(d, length); err != nil {
			r.T.Error(err)
		}
	})
	r.Refresh()
}

func zoned(t *testing.T, w *world, code vds.Code) {
	lab.LoadModule(t, "null_blk nr_devices=1 gb=1 memory_backed=1 zoned=1 zone_size=4 zone_nr_conv=128")
	specialDrive(w.Rig, "/dev/nullb0", lab.SmallDrive)
	refusedNew(w.Rig, code, w.web, "/dev/nullb0", "", "/dev/nullb0 is zoned")
	w.Refuse(lab.ExitStatuses[code], []string{"drive", "init", "/dev/nullb0", "--yes", "--force"}, "is zoned")
}

func protected(t *testing.T, w *world, code vds.Code) {
	lab.LoadModule(t, "sd_mod")
	lab.LoadModule(t, "scsi_debug dev_size_mb=48 dif=1 dix=1 delay=0")
	path := lab.ScsiDebug(t)
	specialDrive(w.Rig, path, lab.SmallDrive)
	refusedNew(w.Rig, code, w.web, path, "", "is integrity-protected")
}

func readOnly(t *testing.T, w *world, code vds.Code) {
	whileReadOnly(t, w.Drives[1], func() { refusedAdd(w.Rig, code, w.web, w.spare, setWritable, w.Drives[1]+isProtected) })
}
