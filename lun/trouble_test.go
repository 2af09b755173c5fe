package lun_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// An administrator maps a mirror's device onto one plex. The other plexes are not trusted any more.
func TestReenumerateAfterTheTableWasReplaced(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	other, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock})
	w.must(err)
	t.Cleanup(other.Close)
	w.replaceTable("plex-web1", w.plexOn(1))
	w.write(70)
	for name, act := range map[string]func(w *world) error{
		"attach": addPlex("web1", "third"), "assemble": assemble, "deactivate": deactivate, "remove": removePlex(0),
	} {
		err := act(w)
		fault, ok := errors.AsType[*vds.Error](err)
		if !errors.Is(err, vds.ErrProviderCacheCorrupt) || !ok {
			t.Errorf("%s: %v, want VDS_E_PROVIDER_CACHE_CORRUPT", name, err)
		} else if !strings.Contains(vds.HintOf(err), "plexctl reenumerate") {
			t.Errorf("%s: hint %q in %v", name, vds.HintOf(err), fault)
		}
	}
	results, err := w.p.Reenumerate(t.Context())
	w.must(errors.Join(err, resultErrors(results)))
	w.must(other.Refresh(t.Context()))
	if l := handle(t, other, "web1"); l != nil {
		record, err := l.Record()
		w.must(err)
		if !record.Plexes[0].Stale || record.Plexes[1].Stale {
			t.Errorf("plexes %+v; want the first out of date", record.Plexes)
		}
	}
	w.verify()
	w.settle()
	w.verify()
	w.must(assemble(w)) // what deactivate took down
	w.nothingToDo("after reenumerate")
}

// The only present drive refuses the cancel. It need not take it, but then no drive has: the operation continues.
func TestCancelThatNoDriveTakes(t *testing.T) {
	w, _, _ := pair(t)
	attached(w, 3)
	w.must(deactivate(w))
	w.mem.Vanish(w.path(0))
	w.restart()
	ops := w.p.Operations()
	if len(ops) != 1 {
		t.Fatalf("%d operations, want one", len(ops))
	}
	w.mem.Fail(w.path(1), blocktest.Fault{Kind: "write"})
	if err := ops[0].Cancel(t.Context()); !errors.Is(err, vds.ErrDiskConfigurationNotSaved) {
		t.Errorf("cancel: %v, want VDS_E_DISK_CONFIGURATION_UPDATE_FAILED", err)
	}
	w.mem.Heal(w.path(1))
	w.mem.Return(w.path(0))
	w.restart()
	w.must(assemble(w))
	w.settle()
	w.verify()
	if record := w.record("web1"); len(record.Plexes) != 2 {
		t.Errorf("%d plexes, want two", len(record.Plexes))
	}
}

// Drives of another host are left alone until they are taken over.
func TestTakeOver(t *testing.T) {
	w := quartet(t)
	w.p.Close()
	open := func(hosts ...string) {
		p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock, Hosts: hosts})
		w.must(err)
		t.Cleanup(p.Close)
		w.p = p
	}
	open("first")
	w.mem.AddDisk(blockdev.Info{Path: w.path(4), Size: driveSize})
	if _, err := w.p.InitDrive(t.Context(), w.path(4), lun.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	w.create("fifth", lunSize, 4)
	w.must(deactivate(w))
	open("second", "third")
	d, err := w.p.Drive(w.path(4))
	if w.must(err); d.State != lun.DriveForeign {
		t.Error("the drive of another host passes for own")
	}
	err = assemble(w)
	if !errors.Is(err, vds.ErrAccessDenied) || !strings.Contains(vds.HintOf(err), "take-over") {
		t.Errorf("assemble: %v", err)
	}
	if _, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "x", Size: size.MiB, Drives: []string{w.path(4)}}); !errors.Is(err, vds.ErrAccessDenied) {
		t.Errorf("create on a drive of another host: %v, want VDS_E_ACCESS_DENIED", err)
	}
	if err := w.p.RemoveDrive(t.Context(), w.path(4)); !errors.Is(err, vds.ErrAccessDenied) {
		t.Errorf("remove a drive of another host: %v, want VDS_E_ACCESS_DENIED", err)
	}
	taken, err := w.p.TakeOver(t.Context())
	if w.must(err); len(taken) != 5 || taken[4].Label.Host != "second" || taken[4].State == lun.DriveForeign {
		t.Errorf("taken over: %+v", taken)
	}
	w.must(assemble(w))
	open("third", "second") // the same host by its other id
	w.must(assemble(w))
	if props, err := w.find("fifth").Properties(t.Context()); err != nil || props.Status != vds.StatusOnline {
		t.Errorf("after the take-over: %+v, %v", props, err)
	}
}

// A stale plex alone is never served, not even by force, once it is known to be stale.
func TestAStalePlexIsNeverServedAlone(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	w.cut(blocktest.Kept)
	w.mem.Vanish(w.path(1))
	w.restart()
	force := lun.AssembleOptions{LUNs: []string{"web1"}, Force: true}
	if results, err := w.p.Assemble(t.Context(), force); err != nil || results[0].Err != nil {
		t.Fatalf("assemble by force: %+v, %v", results, err)
	}
	w.write(70)
	w.must(deactivate(w))
	w.mem.Return(w.path(1))
	w.mem.Vanish(w.path(0))
	w.restart()
	// The drive that was away knows nothing of the start by force: it may be the newer one, for all that can be seen.
	results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}})
	if err != nil || !errors.Is(results[0].Err, vds.ErrObjectStatusFailed) {
		t.Errorf("assemble of the old plex alone: %+v, %v", results, err)
	}
	if props, err := w.find("web1").Properties(t.Context()); err != nil || props.Health != vds.HealthFailed {
		t.Errorf("properties: %+v, %v; want FAILED", props, err)
	}
	w.mem.Return(w.path(0))
	w.restart()
	w.must(assemble(w))
	w.verify()
	if p := w.plexOn(1); !p.Stale {
		t.Errorf("plex %+v; want out of date", p)
	}
	w.settle()
	w.verify()
}

// A mirror whose plex had failed before the machine stopped starts without it, and without a question.
func TestAFailedPlexIsNotMissed(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	broken(w, 1)
	w.cut(blocktest.Lost)
	w.mem.Vanish(w.path(1))
	w.restart()
	w.must(assembleOnly("web1")(w))
	w.verify()
	w.write(71)
	w.mem.Return(w.path(1))
	w.restart()
	w.settle()
	w.verify()
}

// Names and GUIDs of plexes.
func TestFindPlex(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	want := w.plexOn(1).ID
	for _, ref := range []string{want.String(), strings.ToUpper(want.String()[:8]), w.path(1), w.plexOn(1).Meta.Drive.String()} {
		if got, err := w.find("web1").Plex(ref); err != nil || got != want {
			t.Errorf("plex %q: %v, %v; want %v", ref, got, err, want)
		}
	}
	for _, ref := range []string{"", "zzzz", w.path(2), want.String()[:3]} {
		if _, err := w.find("web1").Plex(ref); !errors.Is(err, vds.ErrObjectNotFound) {
			t.Errorf("plex %q: %v, want VDS_E_OBJECT_NOT_FOUND", ref, err)
		}
	}
}

// A command was killed between the commit and the swap. No other LUN gets the space of the removed plex before the LUN is assembled:
// the plex is still leaving, or the kernel has dropped it and has a device over it.
func TestRoomIsNotFreeBeforeTheSwap(t *testing.T) {
	uses := map[string]func(w *world) error{
		"create": func(w *world) error {
			_, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "new", Size: 8 * size.MiB, Drives: []string{w.path(1)}})
			return err
		},
		"attach": func(w *world) error {
			_, err := w.find("fourth").AddNewPlex(w.t.Context(), []string{w.path(1)}, lun.AttachOptions{})
			return err
		},
		"extend": func(w *world) error {
			_, err := w.find("filler").Extend(w.t.Context(), 8*size.MiB, nil)
			return err
		},
	}
	dropped := maps.Clone(uses)
	for name, use := range dropped {
		uses["leaving: "+name] = use
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			w := quartet(t)
			attached(w, -1)
			w.create("filler", 13*size.MiB, 1)
			code := vds.ErrNotEnoughSpace
			if dropped[name] != nil {
				code = vds.ErrProviderCacheCorrupt
				broken(w, 1)
			}
			w.mem.OnEffect = func(e blocktest.Effect) error {
				if e.Kind == "suspend" || e.Kind == "resume" && e.Object == "plex-web1" {
					return errStop
				}
				return nil
			}
			if err := removePlex(1)(w); err == nil {
				t.Fatal("the removal was not stopped")
			}
			w.restart()
			if n := len(w.record("web1").Plexes); n != 1 {
				t.Fatalf("the removal was stopped before its commit: %d plexes", n)
			}
			if err := use(w); !errors.Is(err, code) || dropped[name] != nil && !strings.Contains(vds.HintOf(err), "assemble") {
				t.Errorf("before the swap: %v", err)
			}
			w.must(assemble(w))
			if err := use(w); err != nil {
				t.Errorf("after it: %v", err)
			}
			w.verify()
		})
	}
}

// The kernel has skipped a sector that it could not read, and calls the new plex in sync although it is not.
func TestASectorThatIsPassedOverFailsTheOperation(t *testing.T) {
	w := quartet(t)
	attached(w, 2)
	op, err := w.find("web1").Operation()
	w.must(err)
	data := "plex-web1:" + w.plexOn(0).ID.String()[:8] + ":data"
	w.kernel.LogUnreadable(w.devices()[data].Dev, 40960)
	w.rest()
	if err := op.Wait(t.Context()); !errors.Is(err, vds.ErrIO) || !strings.Contains(err.Error(), "sector 40960") {
		t.Errorf("wait: %v, want VDS_E_IO_ERROR and the sector", err)
	}
	if p := w.plexOn(1); !p.Stale {
		t.Errorf("plex %+v; want out of date", p)
	}
	w.verify()
}

// After a cut in mid-copy the kernel fills the second plex too, from the first. A change of the rate does not leave it behind.
func TestRateAfterACutInMidCopy(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	w.must(addPlex("web1", "third")(w))
	w.copied(3)
	w.put(noise)
	w.cut(blocktest.Kept)
	w.must(assemble(w))
	w.must(setRate(size.MiB)(w))
	for i, p := range w.record("web1").Plexes {
		if p.Stale {
			t.Errorf("plex %d is out of date", i)
		}
	}
	w.cut(blocktest.Lost)
	w.must(assemble(w))
	w.must(setRate(lun.Unlimited)(w))
	w.copied(-1)
	w.verify()
	w.oracle().inOrder()
	w.oracle().stands()
	w.nothingToDo("in the end")
}

// A change of a LUN that a killed command has left suspended completes that command's change first.
func TestTheNextChangeEndsASuspension(t *testing.T) {
	for name, act := range map[string]func(w *world) error{
		"remove": removePlex(2), "attach": addPlex("web1", "fourth"), "extend": extend, "recover": recoverWeb,
	} {
		t.Run(name, func(t *testing.T) {
			w := quartet(t)
			attached(w, -1)
			w.must(addPlex("web1", "third")(w))
			w.copied(-1)
			w.mem.OnEffect = func(e blocktest.Effect) error {
				if e.Kind == "resume" && e.Object == "plex-web1" {
					return errStop
				}
				return nil
			}
			if err := removePlex(0)(w); err == nil {
				t.Fatal("the removal was not stopped")
			}
			w.restart()
			if !w.devices()["plex-web1"].Suspended {
				t.Fatal("the LUN is not suspended")
			}
			if err := act(w); err != nil && !errors.Is(err, vds.ErrAnotherCallInProgress) {
				t.Error(err)
			}
			w.notSuspended()
			w.settle()
			w.verify()
			if _, err := w.p.Drive(w.path(0)); err != nil || len(w.record("web1").Plexes) > 3 {
				t.Errorf("plexes %+v, %v", w.record("web1").Plexes, err)
			}
		})
	}
}

// A device on a LUN is no drive, and is not read: while the LUN is suspended, the read would wait forever.
func TestDevicesOnALUNAreNotRead(t *testing.T) {
	w, target, _ := pair(t)
	props, err := target.Properties(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	device, err := w.mem.Stat(t.Context(), props.Device)
	if err != nil {
		t.Fatal(err)
	}
	hangs := func(blockdev.Mode) (blockdev.Disk, error) {
		t.Error("a device on a LUN was opened")
		return nil, unix.EIO
	}
	crypt, vg := devno.No{Major: 253, Minor: 200}, devno.No{Major: 253, Minor: 201}
	w.mem.Stack(blockdev.Info{Path: "/dev/mapper/crypt", Dev: crypt, Size: lunSize, Slaves: []devno.No{device.Dev}}, hangs)
	w.mem.Stack(blockdev.Info{Path: "/dev/mapper/vg-root", Dev: vg, Size: lunSize, Slaves: []devno.No{crypt}}, hangs)
	w.assemble()
}

// deaf is a kernel that does not say which table waits once one has been loaded for web1, when all drives fail too.
type deaf struct {
	*dmtest.Kernel
	w  *world
	on bool
}

func (d *deaf) Waiting(ctx context.Context, name string) (dm.Table, error) {
	if d.on {
		return nil, unix.ENOMEM
	}
	return d.Kernel.Waiting(ctx, name)
}

func (d *deaf) Load(ctx context.Context, name string, t dm.Table) error {
	if name == "plex-web1" {
		d.on = true
		d.w.mem.Fail(d.w.path(0), blocktest.Fault{Kind: "write"})
		d.w.mem.Fail(d.w.path(1), blocktest.Fault{Kind: "write"})
	}
	return d.Kernel.Load(ctx, name, t)
}

// The commit of an AddPlex fails, and so does taking it back. The waiting table must not become live: it would copy over a LUN
// that still exists by its record.
func TestAWaitingTableStaysOneWhenNothingWorks(t *testing.T) {
	w, _, source := pair(t)
	p, err := lun.Open(t.Context(), lun.Options{Kernel: &deaf{Kernel: w.kernel, w: w}, Devices: w.mem, LockPath: w.lock})
	w.must(err)
	t.Cleanup(p.Close)
	target, err := p.LUN("web1")
	w.must(err)
	if _, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); !errors.Is(err, unix.EIO) || !errors.Is(err, unix.ENOMEM) {
		t.Fatalf("add plex: %v", err)
	}
	table, err := w.kernel.Table(t.Context(), "plex-web1")
	w.must(err)
	if _, linear := table[0].Target.(dm.Linear); !linear {
		t.Errorf("live table %v", table)
	}
	w.mem.Heal(w.path(0))
	w.mem.Heal(w.path(1))
	w.restart()
	w.assemble()
	w.verify()
}
