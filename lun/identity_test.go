package lun_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

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
	if d.Changed || d.Label.Hardware != "serial:new" || d.State != lun.DriveUsed {
		t.Errorf("%+v", d)
	}
	w.must(assemble(w))
	w.verify()
	w.must(deactivate(w))
	w.clone(2, 3, driveSize) // the chosen one fails, and is copied, while the first is on the shelf
	w.mem.Vanish(w.path(2))
	w.is(0, "serial:web1")
	w.cut(blocktest.Kept)
	if d, err := w.p.Drive(w.path(3)); err != nil || d.State != lun.DriveUsed || !d.Changed {
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
