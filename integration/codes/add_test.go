package codes

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/hostlock"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// addRefusals is what speaks against AddPlex and has to do with the two LUNs.
func addRefusals() provocations {
	return provocations{
		vds.ErrAccessDenied:          {"add_plex": shared(notRoot).onKernel(), "capability": shared(withoutCapability).onKernel()},
		vds.ErrAnotherCallInProgress: {"lock": shared(lockHeld), "target_busy": shared(targetBusy), "source_busy": shared(sourceBusy), "resync": own(resyncRuns).onKernel()},
		vds.ErrObjectDeleted:         {"add_plex": shared(targetDeleted)},
		vds.ErrObjectNotFound: {
			"source_unknown": shared(sourceUnknown), "source_absorbed": own(sourceAbsorbed), "source_is_a_plex": shared(sourceIsAPlex), "drive": shared(driveUnknown),
		},
		vds.ErrInvalidOperation: {
			"source_is_target": shared(sourceIsTarget), "source_smaller": shared(sourceSmaller), "shared_drive": shared(sharedDrive),
			"nine_plexes": own(ninePlexes), "several_reasons": shared(severalReasons),
		},
		vds.ErrDeviceInUse:  {"source_mounted": shared(sourceMounted).onKernel(), "source_open": shared(sourceOpen).onKernel()},
		vds.ErrInvalidArg:   {"rate": shared(rateInvalid)},
		vds.ErrNotSupported: {"span": own(spans)},
	}
}

// An unprivileged user gets nowhere, and the drives stay as they are.
func notRoot(_ *testing.T, w *world, code vds.Code) {
	before := w.State(lab.Everything)
	cmd := exec.Command("plexctl", lab.AddArgs(w.web, w.spare.ID().String())...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	deniedTo(w.Rig, cmd, code, "run plexctl as root", before)
}

// Root without CAP_SYS_ADMIN, as in a container, gets no further.
func withoutCapability(t *testing.T, w *world, code vds.Code) {
	before := w.State(lab.Everything)
	cmd := exec.Command("plexctl", lab.AddArgs(w.web, w.spare.ID().String())...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with what it has lost
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
			t.Errorf("drop CAP_SYS_ADMIN: %v", err)
			return
		}
		deniedTo(w.Rig, cmd, code, "CAP_SYS_ADMIN", before)
	}()
	<-done
}

// deniedTo runs a command, which must be refused for lack of privilege.
func deniedTo(r *lab.Rig, cmd *exec.Cmd, code vds.Code, hint string, before lab.State) {
	r.T.Helper()
	out, err := cmd.CombinedOutput()
	if got := lab.ExitStatus(err); got != lab.ExitStatuses[code] {
		r.T.Errorf("exit status %d, %v, want %d\n%s", got, err, lab.ExitStatuses[code], out)
	}
	if !strings.Contains(string(out), hint) {
		r.T.Errorf("does not say %q:\n%s", hint, out)
	}
	r.Unchanged(lab.Everything, before)
}

// The command waits a minute for the lock, so that only the library is made to give up here. TestLock has a changer of
// another process hold it.
func lockHeld(t *testing.T, w *world, code vds.Code) {
	lock, err := hostlock.Acquire(t.Context(), lun.DefaultLockPath, "hold the lock")
	lab.Must(t, err)
	defer lock.Unlock()
	holder := []string{"process " + strconv.Itoa(os.Getpid()) + " hold the lock", "another plexctl"}
	for _, call := range []func(context.Context) error{adding(w.web, w.spare), w.op.Cancel} {
		refused(w.Rig, refusal{code: code, hint: "try again", says: holder, call: func(ctx context.Context) error {
			ctx, stop := context.WithTimeout(ctx, 200*time.Millisecond)
			defer stop()
			return call(ctx)
		}})
	}
}

func targetBusy(t *testing.T, w *world, code vds.Code) {
	refusedAdd(w.Rig, code, w.busy, w.spare, "plexctl op cancel "+w.op.ID.String(), "add-plex is running")
	if out := w.Run("plex", "list", "busy"); !strings.Contains(out, "rebuilding") {
		t.Errorf("plex list of a busy LUN:\n%s", out)
	}
}

func sourceBusy(_ *testing.T, w *world, code vds.Code) {
	refusedAdd(w.Rig, code, w.web, w.busy, "plexctl op cancel "+w.op.ID.String(), "add-plex is running")
}

// After a crash the kernel makes the plexes equal where they may differ. Until it has, both LUNs stay as they are. The crash
// is one of the metadata: what it was under a write is put back after the kernel has stopped the mirror. plexctl does not stop
// it, which would begin another run.
func resyncRuns(t *testing.T, code vds.Code) {
	lab.NewLab(t)
	f := lab.NewBrittle(t, "slow", lab.SmallDrive)
	r := lab.Labelled(t, lab.NewLoop(t, lab.SmallDrive, 512), f.Path, lab.NewLoop(t, lab.SmallDrive, 512))
	target, source := r.Mirrored("web1", 0, 1), r.Create("spare3", lab.SmallLUN, 2)
	record := r.Record("web1")
	for at := size.Bytes(0); at < lab.SmallLUN; at += size.MiB {
		writeBlock(t, "/dev/mapper/plex-web1", at)
	}
	var dirty [][]byte
	for i, p := range record.Plexes {
		dirty = append(dirty, make([]byte, p.Meta.Length.Bytes()))
		onDrive(r, i, blockdev.Read, func(d blockdev.Disk) error {
			_, err := d.ReadAt(dirty[i], int64(p.Meta.Start.Bytes()))
			return err
		})
	}
	r.Crash("web1")
	for i, p := range record.Plexes {
		onDrive(r, i, blockdev.Write, func(d blockdev.Disk) error {
			_, err := d.WriteAt(dirty[i], int64(p.Meta.Start.Bytes()))
			return err
		})
	}
	f.SlowDown(700 * time.Millisecond)
	r.Assemble("web1")
	refusedAdd(r, code, target, source, "wait until", "are being made equal")
	f.Heal()
}

// onDrive opens a drive for something.
func onDrive(r *lab.Rig, drive int, mode blockdev.Mode, do func(blockdev.Disk) error) {
	r.T.Helper()
	d, err := blockdev.Host{}.Open(r.T.Context(), r.Drives[drive], mode)
	if err != nil {
		r.T.Fatal(err)
	}
	defer d.Close()
	if err := do(d); err != nil {
		r.T.Fatal(err)
	}
}

// deactivate takes LUNs down, which must succeed.
func deactivate(r *lab.Rig, names ...string) {
	r.T.Helper()
	results, err := r.Provider.Deactivate(r.T.Context(), names...)
	r.Worked("deactivate", results, err)
}

// A handle outlives its LUN: deleted by this Provider, deleted or absorbed by another process.
func targetDeleted(t *testing.T, w *world, code vds.Code) {
	var absorber *lun.LUN
	end := map[string]func(l *lun.LUN){
		"deleted here": func(l *lun.LUN) { lab.Must(t, l.Delete(t.Context())) },
		"deleted":      func(l *lun.LUN) { w.Run("lun", "delete", l.Name(), "--yes") },
		"absorbed": func(l *lun.LUN) {
			absorber = w.Create("other", size.MiB, 2)
			w.Run("plex", "add", "other", l.Name(), "--yes", "--now", "--wait")
		},
	}
	for how, do := range end {
		t.Run(how, func(t *testing.T) {
			l := w.Create("doomed", size.MiB, 0)
			do(l)
			refused(w.Rig, refusal{code: code, says: []string{"has become a plex"}, call: adding(l, w.spare)})
			if _, err := l.Properties(t.Context()); vds.CodeOf(err) != code {
				t.Errorf("properties: %v, want %v", err, code)
			}
			if _, err := l.Operation(); vds.CodeOf(err) != code {
				t.Errorf("operation: %v, want %v", err, code)
			}
			w.Refuse(3, []string{"lun", "show", l.ID().String()}, vds.ErrObjectNotFound.String(), "lun list")
		})
	}
	lab.Must(t, absorber.Delete(t.Context()))
}

func sourceUnknown(_ *testing.T, w *world, code vds.Code) {
	refusedID(w.Rig, code, w.web, uuid.New())
}

// refusedID is refused for AddPlex of a source that is none.
func refusedID(r *lab.Rig, code vds.Code, target *lun.LUN, source uuid.UUID) {
	r.T.Helper()
	refused(r, refusal{
		code: code, hint: "plexctl lun list", says: []string{source.String(), "GUID"}, args: lab.AddArgs(target, source.String()),
		call: func(ctx context.Context) error {
			_, err := target.AddPlex(ctx, source, lun.AttachOptions{})
			return err
		},
	})
}

func sourceAbsorbed(t *testing.T, code vds.Code) {
	r, target, source := lab.Pair(t)
	r.End(target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}))
	refusedID(r, code, target, source.ID())
}

func sourceIsAPlex(_ *testing.T, w *world, code vds.Code) {
	refusedID(w.Rig, code, w.web, w.PlexOn(w.spare, 1))
}

func driveUnknown(t *testing.T, w *world, code vds.Code) {
	device := lab.NewLoop(t, lab.SmallDrive, 512)
	refused(w.Rig, refusal{
		code: code, hint: "plexctl drive init", says: []string{device}, args: []string{"plex", "add", "web1", "--drive", device},
		call: func(ctx context.Context) error {
			_, err := w.web.AddNewPlex(ctx, []string{device}, lun.AttachOptions{})
			return err
		},
	})
}

func sourceIsTarget(_ *testing.T, w *world, code vds.Code) {
	refusedAdd(w.Rig, code, w.web, w.web, "name another LUN", "cannot be a plex of itself")
}

func sourceSmaller(_ *testing.T, w *world, code vds.Code) {
	refusedAdd(w.Rig, code, w.spare, w.near, "at least as large", "less than")
}

func sharedDrive(_ *testing.T, w *world, code vds.Code) {
	refusedAdd(w.Rig, code, w.near, w.web, "on another drive", "share drive")
}

// A target of four plexes and a source of five.
func ninePlexes(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 9)
	chain := func(name string, drive int) *lun.LUN {
		l := r.Create(name, size.MiB, drive)
		r.AddOn(l, drive+1)
		return l
	}
	join := func(target, source *lun.LUN) {
		r.End(target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}))
	}
	target, source := chain("web1", 0), chain("spare3", 4)
	join(target, chain("a", 2))
	join(source, chain("b", 6))
	r.AddOn(source, 8)
	refused(r, refusal{
		code: code, says: []string{"9 plexes", "at most 8"}, call: adding(target, source), args: lab.AddArgs(target, source.ID().String()),
	})
}

// Everything that speaks against a source is said at once; the first reason gives the code.
func severalReasons(_ *testing.T, w *world, code vds.Code) {
	w.hold(w.near)
	refusedAdd(w.Rig, code, w.web, w.near, "at least as large", "less than", "share drive", "in use")
}

// hold puts a device-mapper device on a LUN until the test ends. That it is in use is seen at once; one that is only open is
// waited for.
func (w *world) hold(l *lun.LUN) {
	lab.NewMapping(w.T, "holder", dm.Table{{Length: 2048, Target: dm.Other{Name: "linear", Args: "/dev/mapper/plex-" + l.Name() + " 0"}}})
}

func sourceMounted(t *testing.T, w *world, code vds.Code) {
	dir := lab.MountNew(t, "/dev/mapper/plex-spare3")
	lab.Must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")) // what the file system writes by itself is no change
	refusedAdd(w.Rig, code, w.web, w.spare, "unmount or close", "mounted at "+dir)
	lab.Unmount(t, dir)
}

func sourceOpen(t *testing.T, w *world, code vds.Code) {
	f, err := os.Open("/dev/mapper/plex-spare3")
	lab.Must(t, err)
	defer f.Close()
	refusedAdd(w.Rig, code, w.web, w.spare, "unmount or close", "in use")
}

func rateInvalid(_ *testing.T, w *world, code vds.Code) {
	refused(w.Rig, refusal{code: code, says: []string{"at least 1 KiB"}, call: func(ctx context.Context) error {
		_, err := w.web.AddPlex(ctx, w.spare.ID(), lun.AttachOptions{Rate: 100})
		return err
	}})
	w.Refuse(lab.ExitStatuses[code], append(lab.AddArgs(w.web, w.spare.ID().String()), "--rate", "100B"), code.String())
}

func spans(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 3)
	source, err := r.Provider.CreateLUN(t.Context(), lun.Spec{Name: "wide", Size: lab.SmallDrive, Drives: r.Drives[1:]})
	lab.Must(t, err)
	refusedAdd(r, code, r.Create("web1", lab.SmallLUN, 0), source, "lies on one drive", "spans drives")
}
