package lun_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
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
	if original.Copy || !slices.Equal(original.Rivals, []string{w.path(4)}) || !copied.Copy || !slices.Equal(copied.Rivals, []string{w.path(0)}) {
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
	if !errors.Is(err, vds.ErrObjectStatusFailed) || !named(err.Error(), w.path(0), w.path(2)) {
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

// layered is a kernel with device-mapper devices of others.
type layered struct {
	*dmtest.Kernel
	others map[string]dm.Device
	tables map[string]dm.Table
}

func (k *layered) List(ctx context.Context) ([]dm.Device, error) {
	list, err := k.Kernel.List(ctx)
	for _, d := range k.others {
		list = append(list, d)
	}
	return list, err
}

func (k *layered) Table(ctx context.Context, name string) (dm.Table, error) {
	if t, ok := k.tables[name]; ok {
		return t, nil
	}
	return k.Kernel.Table(ctx, name)
}

// layer puts a device of device-mapper on others, which shows what the first of them holds, and has w use the kernel k.
func (w *world) layer(k *layered, name, target, args string, minor uint32, below ...devno.No) devno.No {
	w.t.Helper()
	if k.Kernel == nil {
		k.Kernel, k.others, k.tables = w.kernel, map[string]dm.Device{}, map[string]dm.Table{}
	}
	dev := devno.No{Major: 253, Minor: minor}
	info := blockdev.Info{Path: "/dev/" + name, Size: driveSize, Dev: dev, Slaves: below}
	if name == "mpath" {
		info.DMUUID = "mpath-1"
	}
	k.others[name] = dm.Device{Name: name, UUID: info.DMUUID, Dev: dev}
	k.tables[name] = dm.Table{{Length: driveSize.Sectors(), Target: dm.Other{Name: target, Args: args}}}
	w.mem.Stack(info, func(mode blockdev.Mode) (blockdev.Disk, error) {
		return w.mem.Open(context.Background(), w.pathOf(below[0]), mode)
	})
	return dev
}

// pathOf is the path of the device of a number.
func (w *world) pathOf(dev devno.No) string {
	infos, err := w.mem.Scan(context.Background())
	w.must(err)
	for _, i := range infos {
		if i.Dev == dev {
			return i.Path
		}
	}
	w.t.Fatalf("no device %s", dev)
	return ""
}

// over opens the drives through the kernel k.
func (w *world) over(k lun.Kernel) {
	w.t.Helper()
	w.p.Close()
	p, err := lun.Open(w.t.Context(), lun.Options{Kernel: k, Devices: w.mem, LockPath: w.lock, Hosts: w.hosts, Workers: 1})
	w.must(err)
	w.t.Cleanup(p.Close)
	w.p = p
}

// A snapshot of a drive in use exists for a while, as during a backup. The LUN stays on the drive, whatever is done. Without a LUN
// in use, the snapshot and its origin are two devices with one label.
func TestASnapshotOfADriveInUse(t *testing.T) {
	for _, target := range []string{"snapshot", "clone", "snapshot-merge", "thin"} {
		t.Run(target, func(t *testing.T) {
			w := ownWorld(t)
			k := &layered{}
			base := w.layer(k, "base", "linear", "", 200, w.dev(0))
			w.layer(k, "snap", target, "253:9 1 253:200", 201, base)
			w.over(k)
			before := w.tables()
			for name, act := range map[string]func() error{
				"reenumerate": func() error { return reenumerate(w) }, "assemble": func() error { return assemble(w) },
				"rename": func() error { return w.find("other").Rename(t.Context(), "other2") },
			} {
				if err := act(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if diff := cmp.Diff(before["plex-web1"], w.tables()["plex-web1"]); diff != "" {
				t.Errorf("table (-before +after):\n%s", diff)
			}
			if d, err := w.p.Drive(w.path(0)); err != nil || d.Copy || !slices.Equal(d.Rivals, []string{"/dev/base", "/dev/snap"}) {
				t.Errorf("drive %+v, %v", d, err)
			}
			w.must(deactivate(w))
			err := assembleOnly("web1")(w)
			if !errors.Is(err, vds.ErrDiskConfigurationNotSync) || !named(err.Error(), "/dev/base", "/dev/snap") {
				t.Errorf("assemble: %v", err)
			}
		})
	}
}

// Devices below one with their label are no drives: paths of a multipath device, parts of a thin pool. What cannot be made sense of
// there is no problem. When the upper one cannot be read, the lower ones are left alone.
func TestDevicesBelowADrive(t *testing.T) {
	for name, lower := range map[string]func(w *world){
		"whole": func(*world) {},
		"too small": func(w *world) { // as the data device of a thin pool, which has the same first blocks
			w.mem.Change(w.path(0), func(i *blockdev.Info) { i.Size = driveSize - size.MiB })
		},
		"damaged": func(w *world) {
			for _, at := range []int64{4096, int64(driveSize-4*size.MiB) + 4096} {
				_, err := w.medium(0).WriteAt([]byte("PLEXLABL\x01"), at)
				w.must(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := ownWorld(t)
			w.must(deactivate(w))
			k := &layered{}
			content := w.medium(0).In(w.mem.Cut(blocktest.Kept))
			pool := w.layer(k, "pool", "thin-pool", "", 200, w.dev(0))
			w.layer(k, "mpath", "multipath", "", 201, pool)
			unreadable := false
			w.mem.Stack(blockdev.Info{Path: "/dev/mpath", Size: driveSize, Dev: devno.No{Major: 253, Minor: 201}, Slaves: []devno.No{pool}},
				func(mode blockdev.Mode) (blockdev.Disk, error) {
					if unreadable {
						return unreadableDisk{}, nil
					}
					return mediumDisk{content}, nil
				})
			lower(w)
			w.over(k)
			var paths []string
			for _, d := range w.p.Drives() {
				paths = append(paths, d.Info.Path)
			}
			if problems := w.p.Problems(); !slices.Equal(paths, []string{w.path(1), "/dev/mpath"}) || len(problems) > 0 {
				t.Errorf("drives %v, problems %v", paths, problems)
			}
			unreadable = true
			w.must(w.p.Refresh(t.Context()))
			if problems := w.p.Problems(); len(w.p.Drives()) != 1 || len(problems) == 0 || !strings.Contains(problems[0].Error(), "/dev/mpath") {
				t.Errorf("drives %v, problems %v", w.p.Drives(), problems)
			}
		})
	}
}

// mediumDisk is a disk that only holds something.
type mediumDisk struct{ *blocktest.Medium }

func (mediumDisk) Close() error { return nil }

// unreadableDisk is a disk whose reads fail.
type unreadableDisk struct{ blockdev.Disk }

func (unreadableDisk) ReadAt([]byte, int64) (int, error) { return 0, blockdev.ErrBusy }
func (unreadableDisk) Close() error                      { return nil }

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

// identified is ownWorld on disks that say who they are.
func identified(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, dmtest.Linux6_12, 0)
	for i, name := range []string{"web1", "other"} {
		w.mem.AddDisk(blockdev.Info{Path: w.path(i), Size: driveSize, Identity: blockdev.Identity("serial:" + name)})
		d, err := w.p.InitDrive(t.Context(), w.path(i), lun.InitOptions{})
		w.must(err)
		if d.Label.Hardware != "serial:"+name || d.Changed {
			t.Errorf("%+v", d)
		}
		w.create(name, lunSize, i)
	}
	w.write(3)
	return w
}

// is makes a disk say that it is another one.
func (w *world) is(drive int, id blockdev.Identity) {
	w.mem.Change(w.path(drive), func(i *blockdev.Info) { i.Identity = id })
}

// Of two devices with one label, the one that the label names is the drive.
func TestTheDeviceThatTheLabelNames(t *testing.T) {
	w := identified(t)
	w.must(deactivate(w))
	w.clone(0, 2, driveSize)
	w.is(2, "serial:new")
	w.cut(blocktest.Kept)
	w.both(0, 2)
	w.untouched(2)
	w.must(assemble(w))
	w.verify()
	w.must(deactivate(w))
	w.is(0, "serial:new2") // now neither is
	w.cut(blocktest.Kept)
	if err := assembleOnly("web1")(w); !errors.Is(err, vds.ErrDiskConfigurationNotSync) {
		t.Errorf("assemble: %v", err)
	}
	_, err := w.p.Choose(t.Context(), w.path(2))
	w.must(err)
	d, err := w.p.Drive(w.path(2))
	w.must(err)
	if d.Changed || d.Label.Hardware != "serial:new" || d.Copy {
		t.Errorf("%+v", d)
	}
	w.must(assemble(w))
	w.verify()
	w.must(deactivate(w))
	w.clone(2, 3, driveSize) // the chosen one fails, and is copied, while the first is on the shelf
	w.mem.Vanish(w.path(2))
	w.is(0, "serial:web1")
	w.cut(blocktest.Kept)
	if d, err := w.p.Drive(w.path(3)); err != nil || d.Copy || !d.Changed {
		t.Errorf("the copy of the chosen one: %+v, %v", d, err)
	}
}

// A drive whose device is another one is told, works, and is confirmed.
func TestADriveOnAnotherDevice(t *testing.T) {
	w := identified(t)
	w.must(deactivate(w))
	w.is(0, "id:naa.5;serial:other-bridge")
	w.cut(blocktest.Kept)
	problems := w.p.Problems()
	if len(problems) != 1 || !named(problems[0].Error(), "serial:web1", "serial:other-bridge", w.path(0)) || !named(vds.HintOf(problems[0]), "drive choose "+w.path(0)) {
		t.Errorf("problems %v", problems)
	}
	if d, err := w.p.Drive(w.path(0)); err != nil || !d.Changed {
		t.Errorf("%+v, %v", d, err)
	}
	w.must(assemble(w))
	w.verify()
	d, err := w.p.Choose(t.Context(), w.path(0))
	if err != nil || d.Changed || d.Label.Hardware != "id:naa.5;serial:other-bridge" || len(w.p.Problems()) > 0 {
		t.Errorf("%+v, %v; problems %v", d, err, w.p.Problems())
	}
	w.verify()
}

// The device of a LUN in use is gone. The LUN is moved to the drive that is back under another number, and not to a copy of it.
func TestALUNInUseIsNotMovedToACopy(t *testing.T) {
	for _, mirror := range []bool{false, true} {
		for _, id := range []blockdev.Identity{"serial:web1", "serial:copy"} {
			t.Run(fmt.Sprintf("mirror %t/%s", mirror, id), func(t *testing.T) {
				w := identified(t)
				if mirror {
					w.must(addPlex("web1", "other")(w))
					w.finishAll()
				}
				w.clone(0, 2, driveSize)
				w.is(2, id)
				w.mem.Vanish(w.path(0))
				w.restart()
				before := w.tables()
				err := reenumerate(w)
				moved := strings.Contains(fmt.Sprint(w.tables()), " "+w.dev(2).String()+" ")
				if id == "serial:web1" {
					if err != nil || !moved {
						t.Errorf("reenumerate: %v; tables %v", err, w.tables())
					}
					w.verify()
					return
				}
				if !errors.Is(err, vds.ErrDiskConfigurationNotSync) || !named(vds.HintOf(err), "drive choose "+w.path(2)) {
					t.Errorf("reenumerate: %v", err)
				}
				if err := assemble(w); err == nil {
					t.Error("assemble: no error")
				}
				if diff := cmp.Diff(before, w.tables()); diff != "" {
					t.Errorf("tables (-before +after):\n%s", diff)
				}
				_, err = w.p.Choose(t.Context(), w.path(2))
				w.must(err)
				w.must(reenumerate(w))
			})
		}
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
