package lun_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// untouched fails the test at each write to a drive from now on.
func (w *world) untouched(drive int) {
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Object == w.path(drive) {
			w.t.Errorf("%s of %s", e.Kind, e.Object)
		}
		return nil
	}
}

// names reports whether a text names every one of these.
func named(text string, all ...string) bool {
	return !slices.ContainsFunc(all, func(one string) bool { return !strings.Contains(text, one) })
}

// both expects one problem, which names two devices and the way out.
func (w *world) both(a, b int) {
	w.t.Helper()
	problems := w.p.Problems()
	if len(problems) != 1 || !errors.Is(problems[0], catalog.ErrDuplicateDrive) || !named(problems[0].Error(), w.path(a), w.path(b)) ||
		!strings.Contains(vds.HintOf(problems[0]), "drive choose") {
		w.t.Errorf("problems %v, want one about %s and %s", problems, w.path(a), w.path(b))
	}
}

// A clone of a drive in use changes nothing: the LUNs go on, every verb works, and only the drive itself is written. The clone
// stays known.
func TestACloneOfADriveInUse(t *testing.T) {
	w := quartet(t)
	w.clone(0, 4, driveSize)
	w.restart()
	w.untouched(4)
	steps := map[string]func() error{
		"rename":      func() error { return w.find("spare3").Rename(t.Context(), "more") },
		"extend":      func() error { return extend(w) },
		"assemble":    func() error { return assemble(w) },
		"reenumerate": func() error { return reenumerate(w) },
		"attach":      func() error { defer w.finishAll(); return addPlex("web1", "third")(w) },
		"create": func() error {
			_, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "new", Size: size.MiB, Drives: []string{w.path(0)}})
			return err
		},
	}
	for _, name := range []string{"reenumerate", "rename", "attach", "extend", "assemble", "create"} {
		if err := steps[name](); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w.both(0, 4)
		props, err := w.find("web1").Properties(t.Context())
		if err != nil || props.Status != vds.StatusOnline || props.Health == vds.HealthFailed || props.Problem != nil {
			t.Errorf("after %s: %+v, %v", name, props, err)
		}
		w.write(70)
		w.verify()
	}
	original, err := w.p.Drive(w.path(0))
	w.must(err)
	copied, err := w.p.Drive(w.path(4))
	w.must(err)
	if original.State != lun.DriveUsed || !slices.Equal(original.Rivals, []string{w.path(4)}) || copied.State != lun.DriveCopy || !slices.Equal(copied.Rivals, []string{w.path(0)}) {
		t.Errorf("drives %+v and %+v", original, copied)
	}
	w.must(deactivate(w))
	if left := w.devices(); len(left) > 0 {
		t.Errorf("devices %v", left)
	}
	w.mem.Vanish(w.path(4))
	w.restart()
	w.must(assemble(w))
	w.settle()
	w.verify()
}

// While no LUN uses either of two devices with one label, nothing is started from them before one is chosen.
func TestAnAmbiguousDriveIsNotStarted(t *testing.T) {
	for _, choice := range []int{0, 2} {
		t.Run(fmt.Sprint(choice), func(t *testing.T) {
			w := ownWorld(t)
			w.must(deactivate(w))
			w.clone(0, 2, driveSize)
			w.cut(blocktest.Kept)
			err := assembleOnly("web1")(w)
			if !errors.Is(err, vds.ErrDiskConfigurationNotSync) || !named(err.Error(), w.path(0), w.path(2)) || !strings.Contains(vds.HintOf(err), "drive choose") {
				t.Errorf("assemble: %v, hint %q", err, vds.HintOf(err))
			}
			w.must(assembleOnly("other")(w))
			w.both(0, 2)
			for name, act := range map[string]func() error{
				"init": func() error {
					_, err := w.p.InitDrive(t.Context(), w.path(0), lun.InitOptions{Force: true})
					return err
				},
				"remove": func() error { return w.p.RemoveDrive(t.Context(), w.path(2)) },
				"create": func() error {
					_, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "x", Size: size.MiB, Drives: []string{w.path(0)}})
					return err
				},
				"delete": func() error { return w.find("web1").Delete(t.Context()) },
			} {
				if err := act(); err == nil {
					t.Errorf("%s: no error", name)
				}
			}
			if _, err := w.p.Choose(t.Context(), w.path(choice)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				w.must(assemble(w))
				w.verify()
				if table := w.tables()["plex-web1"]; !strings.Contains(table, w.dev(choice).String()) {
					t.Errorf("table %q, want the device %s", table, w.dev(choice))
				}
				w.must(deactivate(w))
				w.cut(blocktest.Kept) // the choice holds
			}
			w.both(0, 2)
		})
	}
}

// The other leg of a mirror is there, and that is not enough: the ambiguous one may be newer.
func TestAMirrorWithAnAmbiguousLeg(t *testing.T) {
	w := ownWorld(t)
	w.must(addPlex("web1", "other")(w))
	w.finishAll()
	w.must(deactivate(w))
	w.clone(0, 2, driveSize)
	w.cut(blocktest.Kept)
	err := assembleOnly("web1")(w)
	if !errors.Is(err, vds.ErrDiskConfigurationNotSync) || !named(err.Error(), w.path(0), w.path(2)) {
		t.Errorf("assemble: %v", err)
	}
	_, err = w.p.Choose(t.Context(), w.path(0))
	w.must(err)
	w.must(assemble(w))
	w.verify()
}

// A LUN in use is not moved to a copy by choosing it, and a copy can be made an empty drive or no drive.
func TestTheDriveThatIsNamedCounts(t *testing.T) {
	w := ownWorld(t)
	w.clone(0, 2, driveSize)
	w.restart()
	if _, err := w.p.Choose(t.Context(), w.path(2)); !errors.Is(err, vds.ErrDeviceInUse) || !strings.Contains(err.Error(), w.path(0)) {
		t.Errorf("choose the copy: %v", err)
	}
	if _, err := w.p.Choose(t.Context(), w.path(0)); err != nil {
		t.Errorf("choose the drive: %v", err)
	}
	_, err := w.p.Deactivate(t.Context(), "web1")
	w.must(err)
	if _, err := w.p.InitDrive(t.Context(), w.path(0), lun.InitOptions{Force: true}); !errors.Is(err, vds.ErrObjectExists) {
		t.Errorf("init the drive: %v", err)
	}
	if err := w.p.RemoveDrive(t.Context(), w.path(0)); !errors.Is(err, vds.ErrDiskNotEmpty) {
		t.Errorf("remove the drive: %v", err)
	}
	if _, err := w.p.InitDrive(t.Context(), w.path(2), lun.InitOptions{}); !errors.Is(err, vds.ErrObjectExists) || !strings.Contains(err.Error(), "copy") {
		t.Errorf("init the copy: %v", err)
	}
	w.must(w.p.RemoveDrive(t.Context(), w.path(2)))
	w.must(assemble(w))
	w.clone(0, 3, driveSize)
	w.restart()
	if _, err := w.p.InitDrive(t.Context(), w.path(3), lun.InitOptions{Force: true}); err != nil {
		t.Errorf("init the copy by force: %v", err)
	}
	if problems := w.p.Problems(); len(problems) > 0 {
		t.Errorf("problems %v", problems)
	}
	w.verify()
}

// The clone is older and has a LUN that is gone, and lacks one that is new. Neither comes back nor goes.
func TestWhatACloneRemembersIsNotSeen(t *testing.T) {
	w := ownWorld(t)
	w.create("old", size.MiB, 0)
	w.clone(0, 2, driveSize)
	_, err := w.p.Deactivate(t.Context(), "old")
	w.must(err)
	w.must(w.find("old").Delete(t.Context()))
	w.create("new", size.MiB, 0)
	w.must(w.find("web1").Rename(t.Context(), "web2"))
	w.restart()
	var got []string
	for _, l := range w.p.LUNs() {
		got = append(got, l.Name())
	}
	if diff := cmp.Diff([]string{"new", "other", "web2"}, got); diff != "" {
		t.Errorf("LUNs (-want +got):\n%s", diff)
	}
}

// The label of a drive in use cannot be read any more, and a clone turns up. The LUN stays where it is, and is not failed.
func TestACloneOfADriveThatCannotBeRead(t *testing.T) {
	for name, harm := range map[string]func(w *world){
		"unreadable": func(w *world) { w.mem.Fail(w.path(0), blocktest.Fault{Kind: "read"}) },
		"overwritten": func(w *world) {
			for _, at := range []int64{4096, int64(driveSize-4*size.MiB) + 4096} {
				_, err := w.medium(0).WriteAt(make([]byte, 4096), at)
				w.must(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := ownWorld(t)
			before := w.tables()
			w.clone(0, 2, driveSize)
			harm(w)
			w.restart()
			w.untouched(2)
			for name, act := range map[string]func(*world) error{"assemble": assemble, "reenumerate": reenumerate, "extend": extend} {
				if err := act(w); err == nil {
					t.Errorf("%s: no error", name)
				}
			}
			if _, err := w.p.Choose(t.Context(), w.path(2)); !errors.Is(err, vds.ErrDeviceInUse) || !strings.Contains(err.Error(), w.path(0)) {
				t.Errorf("choose: %v", err)
			}
			if _, err := w.p.InitDrive(t.Context(), w.path(2), lun.InitOptions{Force: true}); !errors.Is(err, vds.ErrObjectExists) {
				t.Errorf("init: %v", err)
			}
			if err := w.p.RemoveDrive(t.Context(), w.path(2)); err == nil {
				t.Error("remove: no error")
			}
			if diff := cmp.Diff(before, w.tables()); diff != "" {
				t.Errorf("tables (-before +after):\n%s", diff)
			}
			props, err := w.find("web1").Properties(t.Context())
			if err != nil || props.Status != vds.StatusOnline || props.Health == vds.HealthFailed || props.Problem == nil || !named(props.Problem.Reason, w.path(0), w.path(2)) {
				t.Errorf("%+v, %v", props, err)
			}
			w.must(deactivate(w))
			if left := w.devices(); len(left) > 0 {
				t.Errorf("devices %v", left)
			}
		})
	}
}

// A drive of another host has the label of one of this host's.
func TestTakeOverOfACopy(t *testing.T) {
	w := ownWorld(t)
	w.clone(0, 2, driveSize)
	w.clone(0, 3, driveSize)
	for drive := 2; drive < 4; drive++ {
		d, err := catalog.ReadDrive(w.medium(drive), driveSize)
		w.must(err)
		to := d.Label
		to.Host = "their"
		w.must(d.Relabel(w.medium(drive), to))
	}
	w.must(deactivate(w))
	w.cut(blocktest.Kept)
	w.must(assemble(w)) // a drive of another host does not make this one's ambiguous
	w.verify()
	for _, refs := range [][]string{nil, {w.path(2)}} {
		if _, err := w.p.TakeOver(t.Context(), refs...); !errors.Is(err, vds.ErrObjectExists) {
			t.Errorf("take over %v: %v", refs, err)
		}
	}
	w.must(deactivate(w))
	w.mem.Vanish(w.path(0))
	w.cut(blocktest.Kept)
	if _, err := w.p.TakeOver(t.Context()); !errors.Is(err, vds.ErrObjectExists) {
		t.Errorf("take over both: %v", err)
	}
	if taken, err := w.p.TakeOver(t.Context(), w.path(2)); err != nil || len(taken) != 1 || taken[0].Info.Path != w.path(2) {
		t.Errorf("take over one: %v, %v", taken, err)
	}
	w.must(assemble(w))
	w.verify()
}

// The label of a drive in use cannot be read any more, and there is a copy of it from before a LUN got a plex there. The other drive
// of the LUN knows. So the LUN is not moved to the copy, to which nothing is written.
func TestACloneFromBeforeTheLUN(t *testing.T) {
	for name, act := range map[string]func(*world) error{"assemble": assemble, "reenumerate": reenumerate} {
		t.Run(name, func(t *testing.T) {
			w := ownWorld(t)
			w.clone(1, 2, driveSize)
			w.restart()
			w.must(addPlex("web1", "other")(w))
			w.finishAll()
			for _, at := range []size.Bytes{0, driveSize - 4*size.MiB} {
				w.mem.Fail(w.path(1), blocktest.Fault{Kind: "read", Offset: at, Length: 4 * size.MiB})
			}
			w.restart()
			w.untouched(2)
			if err := act(w); vds.CodeOf(err) != vds.ErrObjectStatusFailed || w.record("web1").Plexes[1].Stale {
				t.Errorf("the kernel writes to a plex whose drive cannot be read: %v, record %+v", err, w.record("web1"))
			}
			if tables := fmt.Sprint(w.tables()); strings.Contains(tables, w.dev(2).String()) {
				t.Errorf("web1 is on the copy: %s", tables)
			}
			w.verify()
		})
	}
}
