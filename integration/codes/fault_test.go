package codes

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// addFaults is what goes wrong while AddPlex is carried out, and is then taken back.
func addFaults() provocations {
	return provocations{
		vds.ErrDiskConfigurationNotSaved: {"add_plex": own(catalogUnwritable).onKernel()},
		vds.ErrIO:                        {"metadata": own(metadataUnwritable).onKernel()},
		vds.ErrDeviceInUse:               {"drive_claimed": own(driveClaimed).onKernel()},
		vds.ErrNotSupported:              {"module": own(noRaidTarget)},
	}
}

// resultsOfOperations is how operations end, and what is said of them meanwhile.
func resultsOfOperations() provocations {
	return provocations{
		vds.ErrOperationPending:   {"query_status": shared(queryPending)},
		vds.ErrObjectStatusFailed: {"leg_fails": own(legFails).onKernel()},
		vds.ErrIO:                 {"unreadable_source": own(unreadableSource).onKernel()},
		vds.ErrOperationCanceled:  {"wait": own(waitForCanceled), "cancel_twice": own(cancelTwice)},
		vds.ErrObjectDeleted:      {"wait": own(waitForDeleted), "cancel": own(cancelDeleted)},
	}
}

// onFragile is a LUN web1 on a good drive, and spare3 on one that can be made to misbehave.
func onFragile(t *testing.T) (r *lab.Rig, target, source *lun.LUN, f *lab.Brittle) {
	t.Helper()
	lab.NewLab(t)
	f = lab.NewBrittle(t, "fragile", lab.SmallDrive)
	r = lab.Labelled(t, lab.NewLoop(t, lab.SmallDrive, 512), f.Path)
	return r, r.Create("web1", lab.SmallLUN, 0), r.Create("spare3", lab.SmallLUN, 1), f
}

// tookBack fails the test unless a change that failed has left the LUNs, and AddPlex works when its cause is gone.
func tookBack(r *lab.Rig, before map[string][]uuid.UUID, target, source *lun.LUN) {
	r.T.Helper()
	if diff := cmp.Diff(before, r.LUNs()); diff != "" {
		r.T.Errorf("LUNs (-before +after):\n%s", diff)
	}
	r.End(target.AddPlex(r.T.Context(), source.ID(), lun.AttachOptions{}))
	r.EqualLegs(r.Record(target.Name()))
}

// The first write of a catalog may or may not have reached the drive: what was before is written as something newer.
func catalogUnwritable(t *testing.T, code vds.Code) {
	r, target, source, f := onFragile(t)
	before := r.LUNs()
	f.Unreadable(64*size.KiB, size.MiB) // the first slot of its catalog: a broken one is written next
	refused(r, refusal{
		code: code, hint: "check the drive", call: adding(target, source), args: lab.AddArgs(target, source.ID().String()), scope: lab.Devices,
	})
	f.Heal()
	tookBack(r, before, target, source)
}

func metadataUnwritable(t *testing.T, code vds.Code) {
	r, target, source, f := onFragile(t)
	before, meta := r.LUNs(), r.Record("spare3").Plexes[0].Meta
	f.Unwritable(meta.Start.Bytes(), meta.Length.Bytes())
	refused(r, refusal{
		code: code, says: []string{"input/output error"}, call: adding(target, source), args: lab.AddArgs(target, source.ID().String()),
		scope: lab.Catalogs,
	})
	f.Heal()
	tookBack(r, before, target, source)
}

// Of a source that is not active nothing holds the drive, so that somebody else can claim it; the kernel then refuses the
// table.
func driveClaimed(t *testing.T, code vds.Code) {
	r, target, source := lab.Pair(t)
	before := r.LUNs()
	deactivate(r, "spare3")
	claim, err := os.OpenFile(r.Drives[1], os.O_RDONLY|unix.O_EXCL, 0)
	lab.Must(t, err)
	refused(r, refusal{
		code: code, says: []string{"device or resource busy"}, call: adding(target, source),
		args: lab.AddArgs(target, source.ID().String()), scope: lab.Catalogs,
	})
	lab.Must(t, claim.Close())
	tookBack(r, before, target, source)
}

// A kernel without the target for mirrors is found out before anything is changed.
func noRaidTarget(t *testing.T, code vds.Code) {
	r, target, source := lab.Pair(t)
	before := r.LUNs()
	const loader = "/proc/sys/kernel/modprobe"
	program, err := os.ReadFile(loader)
	lab.Must(t, err)
	if err := unix.DeleteModule("dm_raid", unix.O_NONBLOCK); err != nil && !errors.Is(err, unix.ENOENT) {
		t.Fatalf("unload dm_raid: %v", err)
	}
	lab.Must(t, os.WriteFile(loader, []byte("/nowhere"), 0o600))
	t.Cleanup(func() { lab.Must(t, os.WriteFile(loader, program, 0o600)) })
	refused(r, refusal{
		code: code, hint: "modprobe dm-raid", says: []string{`target "raid"`}, call: adding(target, source),
		args: lab.AddArgs(target, source.ID().String()), scope: lab.Everything,
	})
	lab.Must(t, os.WriteFile(loader, program, 0o600))
	lab.LoadModule(t, "dm_raid")
	tookBack(r, before, target, source)
}

func queryPending(t *testing.T, w *world, code vds.Code) {
	st, err := w.op.QueryStatus(t.Context())
	if err != nil || st.Result != code || !st.Pending() || st.Percent < 0 || st.Percent > 99 {
		t.Errorf("status %+v, %v", st, err)
	}
	for _, args := range [][]string{{"op", "show", "busy"}, {"op", "list"}} {
		if out := w.Run(append([]string{"-o", "json"}, args...)...); !strings.Contains(out, code.String()) {
			t.Errorf("plexctl %s does not say %v:\n%s", strings.Join(args, " "), code, out)
		}
	}
}

// ended fails the test unless an operation has ended with a failure: for the library, for the command, and for good.
func ended(r *lab.Rig, op *resync.Async, code vds.Code) {
	r.T.Helper()
	for range 2 {
		if err := op.Wait(lab.Within(r.T, lab.SyncLimit)); vds.CodeOf(err) != code {
			r.T.Fatalf("wait: %v, %v, want %v", vds.CodeOf(err), err, code)
		}
	}
	if st, err := op.QueryStatus(r.T.Context()); err != nil || st.Result != code || st.Percent != 0 {
		r.T.Errorf("status %+v, %v, want %v at 0 %%", st, err, code)
	}
	r.Refuse(lab.ExitStatuses[code], []string{"op", "wait", op.ID.String(), "--timeout", lab.SyncLimit.String()}, code.String())
}

// lost is a LUN web1 whose AddPlex has lost the new plex.
func lost(t *testing.T) (r *lab.Rig, op *resync.Async) {
	t.Helper()
	lab.NewLab(t)
	f := lab.NewBrittle(t, "fragile", lab.SmallDrive)
	r = lab.Labelled(t, lab.NewLoop(t, lab.SmallDrive, 512), f.Path)
	_, op = r.Busy("web1", 0, 1)
	failLeg(r, "web1", f)
	return r, op
}

func legFails(t *testing.T, code vds.Code) {
	r, op := lost(t)
	ended(r, op, code)
	r.Refuse(20, []string{"status"}, "web1", "failed-redundancy")
	writeBlock(t, "/dev/mapper/plex-web1", 0)
	r.Readable()
}

// A sector of the only good plex cannot be read: the kernel gives up the copy, and the LUN goes on. When the sector is
// there again, so does the copy.
func unreadableSource(t *testing.T, code vds.Code) {
	lab.NewLab(t)
	f := lab.NewBrittle(t, "fragile", lab.SmallDrive)
	r := lab.Labelled(t, lab.NewLoop(t, lab.SmallDrive, 512), f.Path)
	target := r.Create("web1", lab.SmallLUN, 1)
	f.Unreadable(r.Record("web1").Plexes[0].Data[0].Start.Bytes()+3*size.MiB, 4*size.KiB)
	op, err := target.AddNewPlex(t.Context(), r.Drives[:1], lun.AttachOptions{})
	lab.Must(t, err)
	ended(r, op, code)
	r.Refuse(20, []string{"status"}, "web1", "failed-redundancy")
	writeBlock(t, "/dev/mapper/plex-web1", 0)
	f.Heal()
	r.End(target.Recover(t.Context()))
	r.EqualLegs(r.Record("web1"))
}

func waitForCanceled(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 2)
	_, op := r.Busy("web1", 0, 1)
	r.Run("op", "cancel", "web1", "--yes") // by another process
	ended(r, op, code)
}

func cancelTwice(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 2)
	_, op := r.Busy("web1", 0, 1)
	lab.Must(t, op.Cancel(t.Context()))
	refused(r, refusal{code: code, says: []string{"cancelled before"}, call: op.Cancel, args: []string{"op", "cancel", op.ID.String(), "--yes"}})
}

// orphan is the handle of an operation whose LUN another process has deleted. It is of a Provider that does not look after
// it any more, which else would see the cancel in between.
func orphan(t *testing.T) (*lun.Provider, *resync.Async) {
	t.Helper()
	r := lab.NewSmallRig(t, 2)
	r.Busy("web1", 0, 1)
	p := ofHost(r)
	op, err := p.Operation("web1")
	lab.Must(t, err)
	p.Close()
	r.Run("op", "cancel", "web1", "--yes")
	r.Run("lun", "delete", "web1", "--yes")
	return p, op
}

func waitForDeleted(t *testing.T, code vds.Code) {
	p, op := orphan(t)
	lab.Must(t, p.Refresh(t.Context()))
	if st, err := op.QueryStatus(t.Context()); err != nil || st.Result != code || st.Percent != 0 {
		t.Errorf("status %+v, %v, want %v at 0 %%", st, err, code)
	}
	if err := op.Wait(lab.Briefly(t)); vds.CodeOf(err) != code {
		t.Errorf("wait: %v, want %v", err, code)
	}
}

func cancelDeleted(t *testing.T, code vds.Code) {
	_, op := orphan(t)
	if err := op.Cancel(t.Context()); vds.CodeOf(err) != code {
		t.Errorf("cancel: %v, want %v", err, code)
	}
}

// asyncAnswers is what Cancel and Wait answer.
func asyncAnswers() provocations {
	return provocations{
		vds.ErrCancelTooLate: {"after_success": own(cancelAfterSuccess), "after_failure": own(cancelAfterFailure)},
		vds.ErrNotSupported:  {"cancel_recover": own(cancelRecover), "cancel_extend": own(cancelExtend)},
		vds.ErrNameNotUnique: {"cancel_name": own(cancelName)},
		vds.ErrTimeout:       {"wait": shared(waitTooLong)},
		vds.ErrAbort:         {"wait": shared(waitInterrupted).onKernel()},
	}
}

// Another device has taken the name of the LUN that a cancel gives back.
func cancelName(t *testing.T, code vds.Code) {
	r, target, source := lab.Pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{Rate: lun.Paused})
	lab.Must(t, err)
	_, err = r.Control.Create(t.Context(), "plex-spare3", "")
	lab.Must(t, err)
	refused(r, refusal{
		code: code, hint: "give that device another name", says: []string{"plex-spare3"}, call: op.Cancel, args: []string{"op", "cancel", "web1", "--yes"},
	})
	lab.Must(t, r.Control.Remove(t.Context(), "plex-spare3"))
	r.Run("op", "cancel", "web1", "--yes")
}

func cancelAfterSuccess(t *testing.T, code vds.Code) {
	r, target, source := lab.Pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	r.End(op, err)
	refused(r, refusal{code: code, says: []string{"it has ended"}, call: op.Cancel, args: []string{"op", "cancel", "web1", "--yes"}})
}

func cancelAfterFailure(t *testing.T, code vds.Code) {
	r, op := lost(t)
	ended(r, op, vds.ErrObjectStatusFailed)
	refused(r, refusal{code: code, says: []string{"it has ended"}, call: op.Cancel})
	r.Refuse(lab.ExitStatuses[code], []string{"op", "cancel", "web1", "--yes"}, code.String(), "plexctl lun recover web1", "plexctl plex remove web1")
}

// cancelRefused tries to cancel an operation that takes nothing from anybody, while it runs.
func cancelRefused(r *lab.Rig, code vds.Code, op *resync.Async) {
	r.T.Helper()
	refused(r, refusal{
		code: code, says: []string{op.Type.String() + " cannot be cancelled"}, call: op.Cancel,
		args: []string{"op", "cancel", op.ID.String(), "--yes"},
	})
}

func cancelRecover(t *testing.T, code vds.Code) {
	lab.NewLab(t)
	f := lab.NewBrittle(t, "fragile", lab.SmallDrive)
	r := lab.Labelled(t, lab.NewLoop(t, lab.SmallDrive, 512), f.Path, lab.NewLoop(t, lab.SmallDrive, 512))
	l := r.Mirrored("web1", 0, 1)
	failLeg(r, "web1", f)
	f.Heal()
	_, rival := r.Busy("web2", 0, 2)
	op, err := l.Recover(t.Context()) // waits for its rival
	lab.Must(t, err)
	cancelRefused(r, code, op)
	lab.Must(t, rival.Cancel(t.Context()))
	r.End(op, nil)
}

func cancelExtend(t *testing.T, code vds.Code) {
	lab.NewLab(t)
	r := lab.Labelled(t, lab.NewLoop(t, size.GiB, 512), lab.NewLoop(t, size.GiB, 512))
	l := r.Mirrored("web1", 0, 1)
	op, err := l.Extend(t.Context(), 960*size.MiB, nil)
	lab.Must(t, err)
	lab.Must(t, l.SetRate(t.Context(), lun.Paused))
	cancelRefused(r, code, op)
}

func waitTooLong(t *testing.T, w *world, code vds.Code) {
	refused(w.Rig, refusal{
		code: code, hint: "plexctl op show", args: []string{"op", "wait", "busy", "--timeout", "300ms"},
		call: func(context.Context) error { return w.op.Wait(lab.Briefly(t)) },
	})
	if st, err := w.op.QueryStatus(t.Context()); err != nil || !st.Pending() {
		t.Errorf("the end of the wait has ended the operation: %+v, %v", st, err)
	}
}

func waitInterrupted(t *testing.T, w *world, code vds.Code) {
	cmd := exec.Command("plexctl", "op", "wait", "busy")
	talk, err := cmd.StderrPipe()
	lab.Must(t, err)
	lab.Must(t, cmd.Start())
	lines := bufio.NewScanner(talk)
	if !lines.Scan() { // how the copy gets on: now it waits
		t.Error("the command says nothing")
	}
	lab.Must(t, cmd.Process.Signal(unix.SIGINT))
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	out := strings.Join(said, "\n")
	if got := lab.ExitStatus(cmd.Wait()); got != lab.ExitStatuses[code] || !strings.Contains(out, "op wait") {
		t.Errorf("exit status %d, want %d and how to come back:\n%s", got, lab.ExitStatuses[code], out)
	}
	if st, err := w.op.QueryStatus(t.Context()); err != nil || !st.Pending() {
		t.Errorf("the interrupt has ended the operation: %+v, %v", st, err)
	}
}
