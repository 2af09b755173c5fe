package product

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// The main job: a file system is in use on the target, a writer is at work in it, and another LUN becomes its plex.
//
//gate:kernels every
func TestAttachUnderAFileSystemInUse(t *testing.T) {
	r := lab.NewRig(t, 2, 96*size.MiB)
	web, spare := r.Create("web1", 48*size.MiB, 0), r.Create("spare3", 64*size.MiB, 1)
	const junk = "what the source held before "
	lab.FillWith(t, "/dev/mapper/plex-spare3", junk, 64*size.MiB)

	dir := lab.MountNew(t, "/dev/mapper/plex-web1")
	w := lab.StartWriter(t, lab.NewFile(t, dir, 16*size.MiB), 16*size.MiB)
	lab.WaitFor(t, "the writer's first writes", 10*time.Second, func() bool { return w.Acked.Load() > 50 })

	before := time.Now()
	op, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("attach call: %v", time.Since(before))
	if op.Type != vds.AsyncAddLUNPlex {
		t.Errorf("type %v", op.Type)
	}
	if st, err := op.QueryStatus(t.Context()); err != nil || st.Pending() && st.Percent > 99 {
		t.Errorf("status %+v, %v", st, err)
	}
	if err := op.Wait(lab.Within(t, lab.SyncLimit)); err != nil {
		t.Fatal(err)
	}
	t.Logf("in sync after %v; writer: %v", time.Since(before), w.Finish(t))
	if st, err := op.QueryStatus(t.Context()); err != nil || st.Result != vds.OK || st.Percent != 100 {
		t.Errorf("status at the end %+v, %v", st, err)
	}
	if err := op.Cancel(t.Context()); !errors.Is(err, vds.ErrCancelTooLate) {
		t.Errorf("cancel after the end: %v, want VDS_E_CANCEL_TOO_LATE", err)
	}

	if _, err := r.Provider.LUN(spare.ID().String()); !errors.Is(err, vds.ErrObjectNotFound) {
		t.Errorf("the source's GUID: %v, want VDS_E_OBJECT_NOT_FOUND", err)
	}
	if _, err := spare.Properties(t.Context()); !errors.Is(err, vds.ErrObjectDeleted) {
		t.Errorf("the source's handle: %v, want VDS_E_OBJECT_DELETED", err)
	}
	if _, err := os.Lstat("/dev/mapper/plex-spare3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the source's device node: %v, want none", err)
	}
	props, err := web.Properties(t.Context())
	if err != nil || props.Health != vds.HealthHealthy || props.Type != vds.TypeMirror || props.Size != (48*size.MiB).Sectors() {
		t.Errorf("properties %+v, %v", props, err)
	}

	lab.Unmount(t, dir)
	lab.RunTool(t, "e2fsck", "-fn", "/dev/mapper/plex-web1")
	r.EqualLegs(r.Record("web1"))
	if lab.Contains(t, "/dev/mapper/plex-web1", junk, 48*size.MiB) {
		t.Error("the source's old data is on the target")
	}
}

// plexctl is killed right after the attach: the kernel copies on, and a later process finds the operation and its end.
func TestAttachOutlivesAKilledPlexctl(t *testing.T) {
	r := lab.NewRig(t, 2, 160*size.MiB)
	r.Create("web1", 128*size.MiB, 0)
	r.Create("spare3", 128*size.MiB, 1)
	w := lab.StartWriter(t, "/dev/mapper/plex-web1", 128*size.MiB)

	cmd := exec.Command("plexctl", "plex", "add", "web1", "spare3", "--wait", "--yes")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, "the mirror", 20*time.Second, func() bool {
		table, err := r.Control.Table(t.Context(), "plex-web1")
		return err == nil && len(table) == 1 && table[0].Target.Type() == "raid"
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed

	r.Run("assemble")
	if out := r.Run("op", "list"); !strings.Contains(out, "add-plex") {
		t.Errorf("the operation is not found again:\n%s", out)
	}
	r.Run("op", "wait", "web1", "--timeout", lab.SyncLimit.String())
	t.Logf("writer: %v", w.Finish(t))
	r.EqualLegs(r.Record("web1"))
	if r.Record("web1").Operation != nil {
		t.Error("the operation is not settled")
	}
}

// A reader of plexctl's messages that goes away after so many lines ends no change.
//
//gate:kernels bare
func TestAChangeThatNobodyReads(t *testing.T) {
	r := lab.NewRig(t, 2, 96*size.MiB)
	r.Create("web1", 32*size.MiB, 0)
	for lines := range 4 {
		r.Create("spare3", 32*size.MiB, 1)
		for _, command := range []string{"plex add web1 spare3 --wait --yes", "plex remove web1 " + r.Record("spare3").Plexes[0].ID.String() + " --yes"} {
			script := fmt.Sprintf("plexctl --verbose %s 2>&1 | head -n %d >/dev/null; exit ${PIPESTATUS[0]}", command, lines)
			lab.RunTool(t, "bash", "-c", script)
		}
		if plexes := r.Record("web1").Plexes; len(plexes) != 1 {
			t.Errorf("plexes after both: %+v", plexes)
		}
		r.StatusSays(0, "healthy")
	}
}

// A signal at any moment leaves a change whole or taken back, and says which: the status is 0 when it was made.
func TestASignalInTheMiddleOfAChange(t *testing.T) {
	r := lab.NewRig(t, 2, 96*size.MiB)
	r.Create("web1", 32*size.MiB, 0)
	for i, signal := range []string{"INT", "TERM", "HUP", "INT", "TERM", "HUP", "INT", "TERM"} {
		r.Create("spare3", 32*size.MiB, 1)
		add := "plex add web1 spare3 --yes"
		made := signalled(t, add, signal, time.Duration(i)*30*time.Millisecond)
		if n := len(r.Record("web1").Plexes); (n == 2) != made {
			t.Errorf("%s, SIG%s: made %t, and web1 has %d plexes", add, signal, made, n)
		}
		if !made {
			r.StatusSays(0, "healthy")
			r.Run("lun", "delete", "spare3", "--yes")
			continue
		}
		r.Run("op", "wait", "web1")
		remove := "plex remove web1 " + r.Drives[1] + " --yes"
		made = signalled(t, remove, signal, time.Duration(i)*30*time.Millisecond)
		if n := len(r.Record("web1").Plexes); (n == 1) != made {
			t.Errorf("%s, SIG%s: made %t, and web1 has %d plexes", remove, signal, made, n)
		}
		r.StatusSays(0, "healthy")
		if !made {
			r.Run("plex", "remove", "web1", r.Drives[1], "--yes")
		}
	}
}

// signalled runs plexctl, sends it a signal after a time, and reports whether it ended with 0. Otherwise it must end with 130, or
// be ended by the signal before it has begun to listen.
func signalled(t *testing.T, command, signal string, after time.Duration) bool {
	t.Helper()
	script := fmt.Sprintf("trap - INT; plexctl %s & sleep %f; kill -%s $!; wait $!; echo status $?", command, after.Seconds(), signal)
	out := lab.RunTool(t, "bash", "-m", "-c", script)
	made := strings.Contains(out, "status 0")
	if made || strings.Contains(out, "status 130") || after == 0 || strings.Contains(out, "status 129") || strings.Contains(out, "status 143") {
		return made
	}
	t.Errorf("plexctl %s, SIG%s after %v: %s", command, signal, after, out)
	return false
}

// Taking everything down in mid-copy and assembling it again is what a reboot does.
//
//gate:kernels others
func TestCopyGoesOnAfterDeactivateAndAssemble(t *testing.T) {
	r := lab.NewRig(t, 2, 96*size.MiB)
	web, spare := r.Create("web1", 64*size.MiB, 0), r.Create("spare3", 64*size.MiB, 1)
	w := lab.StartWriter(t, "/dev/mapper/plex-web1", 64*size.MiB)
	if _, err := web.AddPlex(t.Context(), spare.ID(), slowCopy); err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, "some writes during the copy", 20*time.Second, func() bool { return w.Acked.Load() > 50 })
	w.Stop()
	r.Run("deactivate")
	r.Refuse(22, []string{"status"}, "offline", "rebuilding", "not active")
	r.Run("assemble")
	w.Verify(t, "/dev/mapper/plex-web1")
	r.Run("op", "wait", "web1", "--timeout", lab.SyncLimit.String())
	w.Verify(t, "/dev/mapper/plex-web1")
	r.EqualLegs(r.Record("web1"))
}

// slowCopy is a rate at which a copy of 64 MiB takes seconds, however fast the machine is.
var slowCopy = lun.AttachOptions{Rate: 8 * size.MiB}

//gate:kernels others
func TestCancelInMidCopyGivesBothLUNsBack(t *testing.T) {
	r := lab.NewRig(t, 2, 96*size.MiB)
	web, spare := r.Create("web1", 64*size.MiB, 0), r.Create("spare3", 80*size.MiB, 1)
	lab.RunTool(t, "mkfs.ext4", "-q", "-F", "/dev/mapper/plex-spare3")
	w := lab.StartWriter(t, "/dev/mapper/plex-web1", 64*size.MiB)
	before := r.Tables()

	op, err := web.AddPlex(t.Context(), spare.ID(), slowCopy)
	if err != nil {
		t.Fatal(err)
	}
	lab.WaitFor(t, "some writes during the copy", 20*time.Second, func() bool { return w.Acked.Load() > 50 })
	if st, err := op.QueryStatus(t.Context()); err != nil || !st.Pending() {
		t.Fatalf("status in mid-copy %+v, %v", st, err)
	}
	if err := op.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("writer: %v", w.Finish(t))
	if err := op.Wait(t.Context()); !errors.Is(err, vds.ErrOperationCanceled) {
		t.Errorf("wait: %v, want VDS_E_OPERATION_CANCELED", err)
	}
	if err := op.Cancel(t.Context()); !errors.Is(err, vds.ErrOperationCanceled) {
		t.Errorf("second cancel: %v, want VDS_E_OPERATION_CANCELED", err)
	}
	r.Refuse(9, []string{"op", "cancel", "web1", "--yes"}, "VDS_E_OPERATION_CANCELED")
	if diff := cmp.Diff(before, r.Tables()); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	back := r.Record("spare3")
	if back.ID != spare.ID() || back.Size != (80*size.MiB).Sectors() {
		t.Errorf("the source came back as %+v", back)
	}
	if found, err := (blockdev.Host{}).Signatures(t.Context(), "/dev/mapper/plex-spare3"); err != nil || len(found) > 0 {
		t.Errorf("the source still shows %v, %v", found, err)
	}

	again, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatalf("attach after a cancel: %v", err)
	}
	if err := again.Wait(lab.Within(t, lab.SyncLimit)); err != nil {
		t.Fatal(err)
	}
	r.EqualLegs(r.Record("web1"))
}

func TestDriveInitRefusals(t *testing.T) {
	lab.NewLab(t)
	signs := map[string]struct {
		make func(device string)
		name string
	}{
		"file system":     {func(d string) { lab.RunTool(t, "mkfs.ext4", "-q", d) }, "ext4"},
		"partition table": {func(d string) { lab.WriteDOSTable(t, d); lab.ShowPartitions(t, d) }, "dos"},
	}
	for name, sign := range signs {
		t.Run(name, func(t *testing.T) {
			device := lab.NewLoop(t, 64*size.MiB, 512)
			sign.make(device)
			before := lab.DeviceSum(t, device)
			r := lab.OpenRig(t, device)
			r.Refuse(5, []string{"drive", "init", device, "--yes"}, sign.name, "--force")
			if lab.DeviceSum(t, device) != before {
				t.Error("a refused device was written to")
			}
			r.Run("drive", "init", device, "--yes", "--force")
			found, err := (blockdev.Host{}).Signatures(t.Context(), device)
			if err != nil || !slices.Equal(found, []signature.Signature{{Type: signature.Own}}) {
				t.Errorf("a new drive shows %v, %v, and not only that it is one", found, err)
			}
			r.Refuse(5, []string{"drive", "init", device, "--yes"}, "a drive already", "--force")
			r.Run("drive", "remove", device, "--yes")
			r.Run("drive", "init", device, "--yes")
			if _, err := os.Stat("/sys/class/block/" + filepath.Base(device) + "p1"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the kernel still has a partition: %v", err)
			}
		})
	}
	t.Run("mounted", func(t *testing.T) {
		device := lab.NewLoop(t, 64*size.MiB, 512)
		dir := lab.MountNew(t, device)
		lab.OpenRig(t).Refuse(4, []string{"drive", "init", device, "--yes", "--force"}, "mounted at "+dir)
		lab.Unmount(t, dir)
	})
	t.Run("held", func(t *testing.T) {
		device := lab.NewLoop(t, 64*size.MiB, 512)
		lab.NewMapping(t, "holder", dm.Table{{Length: 2048, Target: dm.Other{Name: "linear", Args: device + " 0"}}})
		lab.OpenRig(t).Refuse(4, []string{"drive", "init", device, "--yes", "--force"}, "held by lab-holder")
	})
}

// A LUN that is gone leaves nothing: no device, no node, and its space is free.
//
//gate:kernels bare
func TestDeleteFreesEverything(t *testing.T) {
	r := lab.NewRig(t, 1, 64*size.MiB)
	free := r.Provider.Drives()[0].Free
	l := r.Create("web1", 16*size.MiB, 0)
	r.Run("lun", "delete", "web1", "--yes")
	r.Refresh()
	if got := r.Provider.Drives()[0].Free; got != free {
		t.Errorf("free %v, want %v", got, free)
	}
	if err := l.Delete(t.Context()); !errors.Is(err, vds.ErrObjectDeleted) {
		t.Errorf("delete through an old handle: %v, want VDS_E_OBJECT_DELETED", err)
	}
	if found, _ := filepath.Glob("/dev/mapper/plex-*"); len(found) > 0 {
		t.Errorf("left: %v", found)
	}
}
