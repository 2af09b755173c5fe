package integration

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

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// addFaults is what goes wrong while AddPlex is carried out, and is then taken back.
func addFaults() provocations {
	return provocations{
		vds.ErrDiskConfigurationNotSaved: {"add_plex": own(catalogUnwritable)},
		vds.ErrIO:                        {"metadata": own(metadataUnwritable)},
		vds.ErrDeviceInUse:               {"drive_claimed": own(driveClaimed)},
		vds.ErrProviderFailure:           {"add_plex": own(noRaidTarget)},
	}
}

// resultsOfOperations is how operations end, and what is said of them meanwhile.
func resultsOfOperations() provocations {
	return provocations{
		vds.ErrOperationPending:   {"query_status": shared(queryPending)},
		vds.ErrObjectStatusFailed: {"leg_fails": own(legFails)},
		vds.ErrIO:                 {"unreadable_source": own(unreadableSource)},
		vds.ErrOperationCanceled:  {"wait": own(waitForCanceled), "cancel_twice": own(cancelTwice)},
		vds.ErrObjectDeleted:      {"wait": own(waitForDeleted), "cancel": own(cancelDeleted)},
	}
}

// onFragile is a LUN web1 on a good drive, and spare3 on one that can be made to misbehave.
func onFragile(t *testing.T) (r *rig, target, source *lun.LUN, f *fragile) {
	t.Helper()
	newLab(t)
	f = newFragile(t, "fragile")
	r = labelled(t, newLoop(t, codesDrive, 512), f.path)
	return r, r.create("web1", codesLUN, 0), r.create("spare3", codesLUN, 1), f
}

// luns is what every LUN is made of.
func (r *rig) luns() map[string][]uuid.UUID {
	r.t.Helper()
	r.refresh()
	made := map[string][]uuid.UUID{}
	for _, l := range r.p.LUNs() {
		record, err := l.Record()
		if err != nil {
			r.t.Fatal(err)
		}
		made[l.Name()] = []uuid.UUID{l.ID()}
		for _, p := range record.Plexes {
			made[l.Name()] = append(made[l.Name()], p.ID)
		}
	}
	return made
}

// tookBack fails the test unless a change that failed has left the LUNs, and AddPlex works when its cause is gone.
func (r *rig) tookBack(before map[string][]uuid.UUID, target, source *lun.LUN) {
	r.t.Helper()
	if diff := cmp.Diff(before, r.luns()); diff != "" {
		r.t.Errorf("LUNs (-before +after):\n%s", diff)
	}
	r.end(target.AddPlex(r.t.Context(), source.ID(), lun.AttachOptions{}))
	r.equalLegs(r.record(target.Name()))
}

// The first write of a catalog may or may not have reached the drive: what was before is written as something newer.
func catalogUnwritable(t *testing.T, code vds.Code) {
	r, target, source, f := onFragile(t)
	before := r.luns()
	f.unreadable(64*size.KiB, size.MiB) // the first slot of its catalog: a broken one is written next
	r.refused(refusal{
		code: code, hint: "check the drive", call: adding(target, source), args: addArgs(target, source.ID().String()), scope: devices,
	})
	f.mend()
	r.tookBack(before, target, source)
}

func metadataUnwritable(t *testing.T, code vds.Code) {
	r, target, source, f := onFragile(t)
	before, meta := r.luns(), r.record("spare3").Plexes[0].Meta
	f.unwritable(meta.Start.Bytes(), meta.Length.Bytes())
	r.refused(refusal{
		code: code, says: []string{"input/output error"}, call: adding(target, source), args: addArgs(target, source.ID().String()),
		scope: catalogs,
	})
	f.mend()
	r.tookBack(before, target, source)
}

// Of a source that is not active nothing holds the drive, so that somebody else can claim it; the kernel then refuses the
// table.
func driveClaimed(t *testing.T, code vds.Code) {
	r, target, source := pair(t)
	before := r.luns()
	r.deactivate("spare3")
	claim, err := os.OpenFile(r.drives[1], os.O_RDONLY|unix.O_EXCL, 0)
	must(t, err)
	r.refused(refusal{
		code: code, says: []string{"device or resource busy"}, call: adding(target, source),
		args: addArgs(target, source.ID().String()), scope: catalogs,
	})
	must(t, claim.Close())
	r.tookBack(before, target, source)
}

// A kernel without the target for mirrors says so in words of its own.
func noRaidTarget(t *testing.T, code vds.Code) {
	r, target, source := pair(t)
	before := r.luns()
	const loader = "/proc/sys/kernel/modprobe"
	program, err := os.ReadFile(loader)
	must(t, err)
	if err := unix.DeleteModule("dm_raid", unix.O_NONBLOCK); err != nil && !errors.Is(err, unix.ENOENT) {
		t.Fatalf("unload dm_raid: %v", err)
	}
	must(t, os.WriteFile(loader, []byte("/nowhere"), 0o600))
	t.Cleanup(func() { must(t, os.WriteFile(loader, program, 0o600)) })
	r.refused(refusal{
		code: code, says: []string{"unknown target type"}, call: adding(target, source), args: addArgs(target, source.ID().String()),
		scope: catalogs,
	})
	must(t, os.WriteFile(loader, program, 0o600))
	loadModule(t, "dm_raid")
	r.tookBack(before, target, source)
}

func queryPending(t *testing.T, w *world, code vds.Code) {
	st, err := w.op.QueryStatus(t.Context())
	if err != nil || st.Result != code || !st.Pending() || st.Percent < 0 || st.Percent > 99 {
		t.Errorf("status %+v, %v", st, err)
	}
	for _, args := range [][]string{{"op", "show", "busy"}, {"op", "list"}} {
		if out := w.run(append([]string{"-o", "json"}, args...)...); !strings.Contains(out, code.String()) {
			t.Errorf("plexctl %s does not say %v:\n%s", strings.Join(args, " "), code, out)
		}
	}
}

// ended fails the test unless an operation has ended with a failure: for the library, for the command, and for good.
func (r *rig) ended(op *resync.Async, code vds.Code) {
	r.t.Helper()
	for range 2 {
		if err := op.Wait(within(r.t, syncLimit)); vds.CodeOf(err) != code {
			r.t.Fatalf("wait: %v, %v, want %v", vds.CodeOf(err), err, code)
		}
	}
	if st, err := op.QueryStatus(r.t.Context()); err != nil || st.Result != code || st.Percent != 0 {
		r.t.Errorf("status %+v, %v, want %v at 0 %%", st, err, code)
	}
	r.refuse(exitStatuses[code], []string{"op", "wait", op.ID.String(), "--timeout", syncLimit.String()}, code.String())
}

// lost is a LUN web1 whose AddPlex has lost the new plex.
func lost(t *testing.T) (r *rig, op *resync.Async) {
	t.Helper()
	newLab(t)
	f := newFragile(t, "fragile")
	r = labelled(t, newLoop(t, codesDrive, 512), f.path)
	_, op = r.busy("web1", 0, 1)
	r.failLeg("web1", f)
	return r, op
}

func legFails(t *testing.T, code vds.Code) {
	r, op := lost(t)
	r.ended(op, code)
	r.refuse(20, []string{"status"}, "web1", "failed-redundancy")
	writeBlock(t, "/dev/mapper/plex-web1", 0)
	r.readable()
}

// A sector of the only good plex cannot be read: the kernel gives up the copy, and the LUN goes on. When the sector is
// there again, so does the copy.
func unreadableSource(t *testing.T, code vds.Code) {
	newLab(t)
	f := newFragile(t, "fragile")
	r := labelled(t, newLoop(t, codesDrive, 512), f.path)
	target := r.create("web1", codesLUN, 1)
	f.unreadable(r.record("web1").Plexes[0].Data[0].Start.Bytes()+3*size.MiB, 4*size.KiB)
	op, err := target.AddNewPlex(t.Context(), r.drives[:1], lun.AttachOptions{})
	must(t, err)
	r.ended(op, code)
	r.refuse(20, []string{"status"}, "web1", "failed-redundancy")
	writeBlock(t, "/dev/mapper/plex-web1", 0)
	f.mend()
	r.end(target.Recover(t.Context()))
	r.equalLegs(r.record("web1"))
}

func waitForCanceled(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	_, op := r.busy("web1", 0, 1)
	r.run("op", "cancel", "web1", "--yes") // by another process
	r.ended(op, code)
}

func cancelTwice(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	_, op := r.busy("web1", 0, 1)
	must(t, op.Cancel(t.Context()))
	r.refused(refusal{code: code, says: []string{"cancelled before"}, call: op.Cancel, args: []string{"op", "cancel", op.ID.String(), "--yes"}})
}

// orphan is the handle of an operation whose LUN another process has deleted. It is of a Provider that does not look after
// it any more, which else would see the cancel in between.
func orphan(t *testing.T) (*lun.Provider, *resync.Async) {
	t.Helper()
	r := newCodesRig(t, 2)
	r.busy("web1", 0, 1)
	p := r.ofHost()
	op, err := p.Operation("web1")
	must(t, err)
	p.Close()
	r.run("op", "cancel", "web1", "--yes")
	r.run("lun", "delete", "web1", "--yes")
	return p, op
}

func waitForDeleted(t *testing.T, code vds.Code) {
	p, op := orphan(t)
	must(t, p.Refresh(t.Context()))
	if st, err := op.QueryStatus(t.Context()); err != nil || st.Result != code || st.Percent != 0 {
		t.Errorf("status %+v, %v, want %v at 0 %%", st, err, code)
	}
	if err := op.Wait(briefly(t)); vds.CodeOf(err) != code {
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
		vds.ErrTimeout:       {"wait": shared(waitTooLong)},
		vds.ErrAbort:         {"wait": shared(waitInterrupted)},
	}
}

func cancelAfterSuccess(t *testing.T, code vds.Code) {
	r, target, source := pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	r.end(op, err)
	r.refused(refusal{code: code, says: []string{"it has ended"}, call: op.Cancel, args: []string{"op", "cancel", "web1", "--yes"}})
}

func cancelAfterFailure(t *testing.T, code vds.Code) {
	r, op := lost(t)
	r.ended(op, vds.ErrObjectStatusFailed)
	r.refused(refusal{code: code, says: []string{"it has ended"}, call: op.Cancel})
	r.refuse(exitStatuses[code], []string{"op", "cancel", "web1", "--yes"}, code.String(), "plexctl lun recover web1", "plexctl plex remove web1")
}

// cancelRefused tries to cancel an operation that takes nothing from anybody, while it runs.
func (r *rig) cancelRefused(code vds.Code, op *resync.Async) {
	r.t.Helper()
	r.refused(refusal{
		code: code, says: []string{op.Type.String() + " cannot be cancelled"}, call: op.Cancel,
		args: []string{"op", "cancel", op.ID.String(), "--yes"},
	})
}

func cancelRecover(t *testing.T, code vds.Code) {
	newLab(t)
	f := newFragile(t, "fragile")
	r := labelled(t, newLoop(t, codesDrive, 512), f.path, newLoop(t, codesDrive, 512))
	l := r.mirrored("web1", 0, 1)
	r.failLeg("web1", f)
	f.mend()
	_, rival := r.busy("web2", 0, 2)
	op, err := l.Recover(t.Context()) // waits for its rival
	must(t, err)
	r.cancelRefused(code, op)
	must(t, rival.Cancel(t.Context()))
	r.end(op, nil)
}

func cancelExtend(t *testing.T, code vds.Code) {
	newLab(t)
	r := labelled(t, newLoop(t, size.GiB, 512), newLoop(t, size.GiB, 512))
	l := r.mirrored("web1", 0, 1)
	op, err := l.Extend(t.Context(), 960*size.MiB, nil)
	must(t, err)
	must(t, l.SetRate(t.Context(), lun.Paused))
	r.cancelRefused(code, op)
}

func waitTooLong(t *testing.T, w *world, code vds.Code) {
	w.refused(refusal{
		code: code, hint: "plexctl op show", args: []string{"op", "wait", "busy", "--timeout", "300ms"},
		call: func(context.Context) error { return w.op.Wait(briefly(t)) },
	})
	if st, err := w.op.QueryStatus(t.Context()); err != nil || !st.Pending() {
		t.Errorf("the end of the wait has ended the operation: %+v, %v", st, err)
	}
}

func waitInterrupted(t *testing.T, w *world, code vds.Code) {
	cmd := exec.Command("plexctl", "op", "wait", "busy")
	talk, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(talk)
	if !lines.Scan() { // how the copy gets on: now it waits
		t.Error("the command says nothing")
	}
	must(t, cmd.Process.Signal(unix.SIGINT))
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
	}
	out := strings.Join(said, "\n")
	if got := exitStatus(cmd.Wait()); got != exitStatuses[code] || !strings.Contains(out, code.String()) || !strings.Contains(out, "op wait") {
		t.Errorf("exit status %d, want %d, %v and how to come back:\n%s", got, exitStatuses[code], code, out)
	}
	if st, err := w.op.QueryStatus(t.Context()); err != nil || !st.Pending() {
		t.Errorf("the interrupt has ended the operation: %+v, %v", st, err)
	}
}
