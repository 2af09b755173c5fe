package integration

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// syncLimit bounds every wait for a copy.
const syncLimit = 90 * time.Second

// exitStatus is the exit status of a command that was run.
func exitStatus(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// within is a context that ends with the test or after limit.
func within(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), limit)
	t.Cleanup(stop)
	return ctx
}

// The main job: a file system is in use on the target, a writer is at work in it, and another LUN becomes its plex.
func TestAttachUnderAFileSystemInUse(t *testing.T) {
	r := newRig(t, 2, 160*size.MiB)
	web, spare := r.create("web1", 96*size.MiB, 0), r.create("spare3", 128*size.MiB, 1)
	const junk = "what the source held before "
	fillWith(t, "/dev/mapper/plex-spare3", junk, 128*size.MiB)

	dir := mountNew(t, "/dev/mapper/plex-web1")
	w := startWriter(t, newFile(t, dir, 32*size.MiB), 32*size.MiB)
	waitFor(t, "the writer's first writes", 10*time.Second, func() bool { return w.acked.Load() > 50 })

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
	if err := op.Wait(within(t, syncLimit)); err != nil {
		t.Fatal(err)
	}
	t.Logf("in sync after %v; writer: %v", time.Since(before), w.finish(t))
	if st, err := op.QueryStatus(t.Context()); err != nil || st.Result != vds.OK || st.Percent != 100 {
		t.Errorf("status at the end %+v, %v", st, err)
	}
	if err := op.Cancel(t.Context()); !errors.Is(err, vds.ErrCancelTooLate) {
		t.Errorf("cancel after the end: %v, want VDS_E_CANCEL_TOO_LATE", err)
	}

	if _, err := r.p.LUN(spare.ID().String()); !errors.Is(err, vds.ErrObjectNotFound) {
		t.Errorf("the source's GUID: %v, want VDS_E_OBJECT_NOT_FOUND", err)
	}
	if _, err := spare.Properties(t.Context()); !errors.Is(err, vds.ErrObjectDeleted) {
		t.Errorf("the source's handle: %v, want VDS_E_OBJECT_DELETED", err)
	}
	if _, err := os.Lstat("/dev/mapper/plex-spare3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the source's device node: %v, want none", err)
	}
	props, err := web.Properties(t.Context())
	if err != nil || props.Health != vds.HealthHealthy || props.Type != vds.TypeMirror || props.Size != (96*size.MiB).Sectors() {
		t.Errorf("properties %+v, %v", props, err)
	}

	unmount(t, dir)
	runTool(t, "e2fsck", "-fn", "/dev/mapper/plex-web1")
	r.equalLegs(r.record("web1"))
	if contains(t, "/dev/mapper/plex-web1", junk, 96*size.MiB) {
		t.Error("the source's old data is on the target")
	}
}

// plexctl is killed right after the attach: the kernel copies on, and a later process finds the operation and its end.
func TestAttachOutlivesAKilledPlexctl(t *testing.T) {
	r := newRig(t, 2, 160*size.MiB)
	r.create("web1", 128*size.MiB, 0)
	r.create("spare3", 128*size.MiB, 1)
	w := startWriter(t, "/dev/mapper/plex-web1", 128*size.MiB)

	cmd := exec.Command("plexctl", "plex", "add", "web1", "spare3", "--wait", "--yes")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the mirror", 20*time.Second, func() bool {
		table, err := r.control.Table(t.Context(), "plex-web1")
		return err == nil && len(table) == 1 && table[0].Target.Type() == "raid"
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed

	r.run("assemble")
	if out := r.run("op", "list"); !strings.Contains(out, "add-plex") {
		t.Errorf("the operation is not found again:\n%s", out)
	}
	r.run("op", "wait", "web1", "--timeout", syncLimit.String())
	t.Logf("writer: %v", w.finish(t))
	r.equalLegs(r.record("web1"))
	if r.record("web1").Operation != nil {
		t.Error("the operation is not settled")
	}
}

// Taking everything down in mid-copy and assembling it again is what a reboot does.
func TestCopyGoesOnAfterDeactivateAndAssemble(t *testing.T) {
	r := slowRig(t)
	web, spare := r.create("web1", 64*size.MiB, 0), r.create("spare3", 64*size.MiB, 1)
	w := startWriter(t, "/dev/mapper/plex-web1", 64*size.MiB)
	if _, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "some writes during the copy", 20*time.Second, func() bool { return w.acked.Load() > 100 })
	w.stop()
	r.run("deactivate")
	r.refuse(20, []string{"status"}, "offline", "rebuilding")
	r.run("assemble")
	w.verify(t, "/dev/mapper/plex-web1")
	r.run("op", "wait", "web1", "--timeout", syncLimit.String())
	w.verify(t, "/dev/mapper/plex-web1")
	r.equalLegs(r.record("web1"))
}

// slowRig is two drives of which the second takes 20 ms for each write.
func slowRig(t testing.TB) *rig {
	t.Helper()
	newLab(t)
	fast, loop := newLoop(t, 96*size.MiB, 512), newLoop(t, 96*size.MiB, 512)
	sectors := (96 * size.MiB).Sectors()
	slow := newMapping(t, "slow", dm.Table{{Length: sectors, Target: dm.Other{
		Name: "delay", Args: loop + " 0 0 " + loop + " 0 20",
	}}})
	return rigOn(t, fast, slow)
}

// newMapping makes a device-mapper device that is no LUN and returns its path.
func newMapping(t testing.TB, name string, table dm.Table) string {
	t.Helper()
	name = "lab-" + name
	runTool(t, "dmsetup", "create", name, "--table", table.String())
	t.Cleanup(func() { runTool(t, "dmsetup", "remove", "--retry", name) })
	return "/dev/mapper/" + name
}

func TestCancelInMidCopyGivesBothLUNsBack(t *testing.T) {
	r := slowRig(t)
	web, spare := r.create("web1", 64*size.MiB, 0), r.create("spare3", 80*size.MiB, 1)
	runTool(t, "mkfs.ext4", "-q", "-F", "/dev/mapper/plex-spare3")
	w := startWriter(t, "/dev/mapper/plex-web1", 64*size.MiB)
	before := r.tables()

	op, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "some writes during the copy", 20*time.Second, func() bool { return w.acked.Load() > 100 })
	if st, err := op.QueryStatus(t.Context()); err != nil || !st.Pending() {
		t.Fatalf("status in mid-copy %+v, %v", st, err)
	}
	if err := op.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("writer: %v", w.finish(t))
	if err := op.Wait(t.Context()); !errors.Is(err, vds.ErrOperationCanceled) {
		t.Errorf("wait: %v, want VDS_E_OPERATION_CANCELED", err)
	}
	if err := op.Cancel(t.Context()); !errors.Is(err, vds.ErrOperationCanceled) {
		t.Errorf("second cancel: %v, want VDS_E_OPERATION_CANCELED", err)
	}
	r.refuse(9, []string{"op", "cancel", "web1", "--yes"}, "VDS_E_OPERATION_CANCELED")
	if diff := cmp.Diff(before, r.tables()); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	back := r.record("spare3")
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
	if err := again.Wait(within(t, syncLimit)); err != nil {
		t.Fatal(err)
	}
	r.equalLegs(r.record("web1"))
}

// tables is every plexctl device with its live table.
func (r *rig) tables() map[string]string {
	r.t.Helper()
	list, err := r.control.List(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	tables := map[string]string{}
	for _, d := range list {
		if !strings.HasPrefix(d.UUID, "PLEX-") {
			continue
		}
		table, err := r.control.Table(r.t.Context(), d.Name)
		if err != nil {
			r.t.Fatal(err)
		}
		tables[d.Name] = table.String()
	}
	return tables
}

func TestDriveInitRefusals(t *testing.T) {
	newLab(t)
	signs := map[string]struct {
		make func(device string)
		name string
	}{
		"file system":     {func(d string) { runTool(t, "mkfs.ext4", "-q", d) }, "ext4"},
		"partition table": {func(d string) { writeDOSTable(t, d); showPartitions(t, d) }, "dos"},
	}
	for name, sign := range signs {
		t.Run(name, func(t *testing.T) {
			device := newLoop(t, 64*size.MiB, 512)
			sign.make(device)
			before := deviceSum(t, device)
			r := openRig(t, device)
			r.refuse(5, []string{"drive", "init", device, "--yes"}, sign.name, "--force")
			if deviceSum(t, device) != before {
				t.Error("a refused device was written to")
			}
			r.run("drive", "init", device, "--yes", "--force")
			if found, err := (blockdev.Host{}).Signatures(t.Context(), device); err != nil || len(found) > 0 {
				t.Errorf("a new drive still shows %v, %v", found, err)
			}
			if _, err := os.Stat("/sys/class/block/" + filepath.Base(device) + "p1"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the kernel still has a partition: %v", err)
			}
		})
	}
	t.Run("mounted", func(t *testing.T) {
		device := newLoop(t, 64*size.MiB, 512)
		dir := mountNew(t, device)
		openRig(t).refuse(4, []string{"drive", "init", device, "--yes", "--force"}, "mounted at "+dir)
		unmount(t, dir)
	})
	t.Run("held", func(t *testing.T) {
		device := newLoop(t, 64*size.MiB, 512)
		newMapping(t, "holder", dm.Table{{Length: 2048, Target: dm.Other{Name: "linear", Args: device + " 0"}}})
		openRig(t).refuse(4, []string{"drive", "init", device, "--yes", "--force"}, "held by lab-holder")
	})
}

// A LUN that is gone leaves nothing: no device, no node, and its space is free.
func TestDeleteFreesEverything(t *testing.T) {
	r := newRig(t, 1, 64*size.MiB)
	free := r.p.Drives()[0].Free
	l := r.create("web1", 16*size.MiB, 0)
	r.run("lun", "delete", "web1", "--yes")
	r.refresh()
	if got := r.p.Drives()[0].Free; got != free {
		t.Errorf("free %v, want %v", got, free)
	}
	if err := l.Delete(t.Context()); !errors.Is(err, vds.ErrObjectDeleted) {
		t.Errorf("delete through an old handle: %v, want VDS_E_OBJECT_DELETED", err)
	}
	if found, _ := filepath.Glob("/dev/mapper/plex-*"); len(found) > 0 {
		t.Errorf("left: %v", found)
	}
}
