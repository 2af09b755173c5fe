package lun_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// callIt gives a LUN a name that no command gives, in the records on the first two drives.
func (w *world) callIt(name, as string) {
	w.t.Helper()
	for drive := range 2 {
		w.rewrite(drive, name, func(l *catalog.LUN) { l.Name, l.Generation = as, l.Generation+1 })
	}
	w.restart()
}

// No command gives a LUN a name that reads as a GUID. LUNs that have such a name are found by their own GUID.
func TestNoNameReadsAsAGUID(t *testing.T) {
	w, target, source := pair(t)
	for _, name := range []string{source.ID().String(), source.ID().String()[:8], "2024", "BEEF", "ca-fe", strings.Repeat("a", 32)} {
		_, created := w.p.CreateLUN(t.Context(), lun.Spec{Name: name, Size: lunSize, Drives: []string{w.path(0)}})
		for verb, err := range map[string]error{"create": created, "rename": target.Rename(t.Context(), name)} {
			if !errors.Is(err, vds.ErrInvalidArg) || !strings.Contains(err.Error(), "reads as a GUID") || vds.HintOf(err) == "" {
				t.Errorf("%s %q: %v", verb, name, err)
			}
		}
	}
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	w.must(err)
	w.rest()
	w.must(op.Wait(t.Context()))
	if _, err := target.Split(t.Context(), w.plexOn(1).ID, "cafe"); !errors.Is(err, vds.ErrInvalidArg) {
		t.Errorf("split: %v", err)
	}
	for _, name := range []string{"abc", "web_2024", "cafe1x", strings.Repeat("a", 33)} {
		w.must(w.find("web1").Rename(t.Context(), name))
		w.must(w.find(name).Rename(t.Context(), "web1"))
	}
	w.verify()
}

// A word that is the name of one LUN and begins the GUID of another one is refused, and both are named. All of a GUID means
// the LUN that has it.
func TestAWordThatMayMeanTwo(t *testing.T) {
	w, target, source := pair(t)
	short := source.ID().String()[:8]
	w.callIt("web1", short)
	_, err := w.p.LUN(short)
	if !errors.Is(err, vds.ErrInvalidArg) || !strings.Contains(err.Error(), target.ID().String()) || !strings.Contains(err.Error(), source.ID().String()) {
		t.Errorf("%q: %v", short, err)
	}
	if _, err := w.p.Assemble(t.Context(), lun.AssembleOptions{LUNs: []string{short}}); !errors.Is(err, vds.ErrInvalidArg) {
		t.Errorf("assemble %q: %v", short, err)
	}
	for _, want := range []*lun.LUN{target, source} {
		if l, err := w.p.LUN(want.ID().String()); err != nil || l.ID() != want.ID() {
			t.Errorf("%s: %v, %v", want.ID(), l, err)
		}
	}
	w.callIt(short, source.ID().String())
	if l, err := w.p.LUN(source.ID().String()); err != nil || l.ID() != source.ID() {
		t.Errorf("a LUN that is called like another one's GUID: %v, %v", l, err)
	}
	l, err := w.p.LUN(target.ID().String())
	w.must(err)
	w.must(l.Rename(t.Context(), "web1"))
	w.assemble()
	w.write(3)
	w.verify()
}

// Words for plexes and operations are refused too when they may mean two.
func TestAWordForAPlexOrAnOperation(t *testing.T) {
	w, target, source := pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	w.must(err)
	w.callIt("web1", op.ID.String()[:8])
	other := w.create("other", lunSize, 0)
	if a, err := w.p.Operation(op.ID.String()[:8]); err != nil || a.ID != op.ID { // of one and the same LUN
		t.Errorf("%v, %v", a, err)
	}
	second, err := other.AddNewPlex(t.Context(), []string{w.path(1)}, lun.AttachOptions{})
	w.must(err)
	w.callIt("other", op.ID.String()[:6])
	_, err = w.p.Operation(op.ID.String()[:6])
	if !errors.Is(err, vds.ErrInvalidArg) || !strings.Contains(err.Error(), op.ID.String()) || !strings.Contains(err.Error(), second.ID.String()) {
		t.Errorf("an operation's beginning and another one's LUN: %v", err)
	}
	for id, want := range map[uuid.UUID]uuid.UUID{op.ID: op.ID, second.ID: second.ID} {
		if a, err := w.p.Operation(id.String()); err != nil || a.ID != want {
			t.Errorf("%s: %v, %v", id, a, err)
		}
	}
	l, err := w.p.LUN(target.ID().String())
	w.must(err)
	if _, err := l.Plex("nothing"); !errors.Is(err, vds.ErrObjectNotFound) {
		t.Errorf("no plex: %v", err)
	}
	drive, err := w.p.Drive(w.path(1))
	w.must(err)
	if id, err := l.Plex(drive.ID.String()); err != nil || id != w.plexOfLUN(l, 1).ID {
		t.Errorf("by its drive: %v, %v", id, err)
	}
}

// plexOfLUN is a plex of a LUN, by its place in the record.
func (w *world) plexOfLUN(l *lun.LUN, i int) catalog.Plex {
	w.t.Helper()
	record, err := l.Record()
	w.must(err)
	return record.Plexes[i]
}

// taken makes a device that is not plexctl's.
func (w *world) taken(name string) {
	w.t.Helper()
	_, err := w.kernel.Create(w.t.Context(), name, "")
	w.must(err)
}

// Whatever makes a device looks at the kernel's names first, and changes nothing when one of them is taken.
func TestANameThatTheKernelHasTaken(t *testing.T) {
	tests := map[string]struct {
		taken string
		do    func(w *world, target *lun.LUN) error
	}{
		"rename": {"plex-web2", func(w *world, target *lun.LUN) error { return target.Rename(w.t.Context(), "web2") }},
		"rename of a plex's device": {"data", func(w *world, target *lun.LUN) error {
			w.taken("plex-web2:" + w.plexOn(0).ID.String()[:8] + ":data")
			return target.Rename(w.t.Context(), "web2")
		}},
		"create": {"plex-web2", func(w *world, _ *lun.LUN) error {
			_, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "web2", Size: lunSize, Drives: []string{w.path(0)}})
			return err
		}},
		"split": {"plex-web2", func(w *world, target *lun.LUN) error {
			_, err := target.Split(w.t.Context(), w.plexOn(1).ID, "web2")
			return err
		}},
		"cancel": {"plex-spare4", func(w *world, _ *lun.LUN) error {
			op, err := w.find("web1").AddPlex(w.t.Context(), w.create("spare4", lunSize, 2).ID(), lun.AttachOptions{})
			w.must(err)
			w.taken("plex-spare4")
			return op.Cancel(w.t.Context())
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := quartet(t)
			attached(w, -1)
			if strings.HasPrefix(test.taken, "plex-web") {
				w.taken(test.taken)
			}
			before := w.record("web1")
			err := test.do(w, w.find("web1"))
			if !errors.Is(err, vds.ErrNameNotUnique) || !strings.Contains(err.Error(), "device-mapper device has the name plex-") {
				t.Fatalf("%v; want VDS_E_NAME_NOT_UNIQUE and the device", err)
			}
			if now := w.record("web1"); name != "cancel" && now.Generation != before.Generation {
				t.Errorf("generation %d, was %d", now.Generation, before.Generation)
			}
			w.assemble()
			w.write(5)
			w.verify()
		})
	}
}

// The name of a LUN that has become a plex stays its own until a cancel cannot give it back any more.
func TestTheNameOfAnAbsorbedLUN(t *testing.T) {
	w, target, source := pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	w.must(err)
	spec := lun.Spec{Name: source.Name(), Size: lunSize, Drives: []string{w.path(0)}}
	if _, err := w.p.CreateLUN(t.Context(), spec); !errors.Is(err, vds.ErrNameNotUnique) || !strings.Contains(vds.HintOf(err), op.ID.String()) {
		t.Errorf("while it can be given back: %v", err)
	}
	w.rest()
	w.must(op.Wait(t.Context()))
	if _, err := w.p.CreateLUN(t.Context(), spec); err != nil {
		t.Errorf("at the end: %v", err)
	}
}

// renamesOnce renames a device, refuses to rename the next one, and then renames all.
type renamesOnce struct {
	*dmtest.Kernel
	asked int
}

func (k *renamesOnce) Rename(ctx context.Context, name, newName string, v dm.Visibility) error {
	if k.asked++; k.asked == 2 {
		return &dm.Error{Op: "rename", Device: name, Err: unix.ENOMEM}
	}
	return k.Kernel.Rename(ctx, name, newName, v)
}

// A rename that the kernel refuses after the commit is taken back: the record, and what was renamed.
func TestARenameIsDoneOrNotAtAll(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	p, err := lun.Open(t.Context(), lun.Options{Kernel: &renamesOnce{Kernel: w.kernel}, Devices: w.mem, LockPath: w.lock})
	w.must(err)
	defer p.Close()
	l, err := p.LUN("web1")
	w.must(err)
	if err := l.Rename(t.Context(), "web2"); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("rename: %v", err)
	}
	w.restart()
	target := w.find("web1")
	if name := target.Name(); name != "web1" {
		t.Errorf("the LUN is %s", name)
	}
	for name := range w.devices() {
		if strings.Contains(name, "web2") {
			t.Errorf("there is a device %s", name)
		}
	}
	w.must(target.Rename(t.Context(), "web2"))
	for name := range w.devices() {
		if strings.Contains(name, "web1") {
			t.Errorf("when the rename returned there was a device %s", name)
		}
	}
}

// A crash between the commit of a rename and the rename itself leaves the old names. The next assemble gives the devices
// their names, or, if another device has taken one, lets the LUN go on under the old one, and says so.
func TestAssembleCompletesARename(t *testing.T) {
	for _, taken := range []bool{false, true} {
		t.Run(map[bool]string{false: "the name is free", true: "the name is taken"}[taken], func(t *testing.T) {
			w := quartet(t)
			attached(w, -1)
			w.mem.OnEffect = func(e blocktest.Effect) error {
				if e.Kind == "rename" {
					return errStop
				}
				return nil
			}
			if err := w.find("web1").Rename(t.Context(), "web2"); err == nil {
				t.Fatal("the rename was not stopped")
			}
			w.restart()
			if taken {
				w.taken("plex-web2")
			}
			props, err := w.find("web2").Properties(t.Context())
			w.must(err)
			if props.Device != "/dev/mapper/plex-web1" || props.Problem == nil {
				t.Errorf("before it: device %s, problem %v", props.Device, props.Problem)
			}
			w.assemble()
			props, err = w.find("web2").Properties(t.Context())
			w.must(err)
			want := map[bool]string{false: "/dev/mapper/plex-web2", true: "/dev/mapper/plex-web1"}[taken]
			if props.Device != want || (props.Problem != nil) != taken || props.Health != vds.HealthHealthy {
				t.Errorf("after it: device %s, want %s; %v, problem %v", props.Device, want, props.Health, props.Problem)
			}
			if !taken {
				return
			}
			if !errors.Is(props.Problem, vds.ErrNameNotUnique) || !strings.Contains(props.Problem.Error(), "plex-web2") {
				t.Errorf("problem %v", props.Problem)
			}
			w.write(9) // to plex-web1
			works(w)
		})
	}
}

// works changes web2, whose device is plex-web1 because another device has its name, in every way, and then gives it another
// name.
func works(w *world) {
	ctx := w.t.Context()
	l := w.find("web2")
	op, err := l.AddNewPlex(ctx, []string{w.path(2)}, lun.AttachOptions{})
	w.must(err)
	w.must(l.SetRate(ctx, lun.Paused))
	w.must(l.SetRate(ctx, lun.Unlimited))
	w.rest()
	w.must(op.Wait(ctx))
	_, err = l.RemovePlex(ctx, w.plexOfLUN(l, 2).ID)
	w.must(err)
	w.verify()
	if err := l.Rename(ctx, "web3"); err != nil {
		w.t.Errorf("another name: %v", err)
	}
	w.must(w.find("web3").Rename(ctx, "web1"))
	w.verify()
	release, err := w.kernel.Hold("plex-web1")
	w.must(err)
	if err := w.find("web1").Delete(ctx); !errors.Is(err, vds.ErrDeviceInUse) {
		w.t.Errorf("delete of a LUN that is open: %v", err)
	}
	release()
}

// A LUN whose device is open under an old name is in use.
func TestALUNThatIsOpenUnderItsOldName(t *testing.T) {
	w, _, _ := pair(t)
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == "rename" {
			return errStop
		}
		return nil
	}
	if err := w.find("web1").Rename(t.Context(), "web2"); err == nil {
		t.Fatal("the rename was not stopped")
	}
	w.restart()
	release, err := w.kernel.Hold("plex-web1")
	w.must(err)
	defer release()
	if err := w.find("web2").Delete(t.Context()); !errors.Is(err, vds.ErrDeviceInUse) {
		t.Errorf("delete: %v", err)
	}
	results, err := w.p.Deactivate(t.Context())
	w.must(err)
	for _, r := range results {
		if r.Name == "web2" && !errors.Is(r.Err, vds.ErrDeviceInUse) {
			t.Errorf("deactivate: %v", r.Err)
		}
	}
	w.write(4)
	w.verify()
}

// A LUN that is not active does not start while another device has its name, and says which. It starts under another name.
func TestALUNWhoseNameIsTakenDoesNotStart(t *testing.T) {
	w, target, _ := pair(t)
	_, err := w.p.Deactivate(t.Context())
	w.must(err)
	w.taken("plex-web1")
	results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{})
	w.must(err)
	for _, r := range results {
		if r.Name == "web1" && (!errors.Is(r.Err, vds.ErrNameNotUnique) || !strings.Contains(r.Err.Error(), "plex-web1")) || r.Name != "web1" && r.Err != nil {
			t.Errorf("%s: %v", r.Name, r.Err)
		}
	}
	w.must(target.Rename(t.Context(), "web2"))
	w.assemble()
	if _, err := w.kernel.Info(t.Context(), "plex-web2"); err != nil {
		t.Error(err)
	}
}
