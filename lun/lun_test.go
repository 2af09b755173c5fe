package lun_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// pair is a world with two LUNs of one size on two drives, the first written to.
func pair(t *testing.T) (w *world, target, source *lun.LUN) {
	t.Helper()
	return pairOn(t, dmtest.Linux6_12)
}

// pairOn is pair on a given kernel.
func pairOn(t *testing.T, release dmtest.Release) (w *world, target, source *lun.LUN) {
	t.Helper()
	w = newWorld(t, release, 2)
	target, source = w.create("web1", lunSize, 0), w.create("spare3", lunSize, 1)
	for at := range int64(20) {
		w.write(at * 70)
	}
	return w, target, source
}

func TestAttachFillsThePlexAndKeepsTheData(t *testing.T) {
	w, target, source := pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.LUN("spare3"); !errors.Is(err, vds.ErrObjectNotFound) {
		t.Errorf("the source: %v, want VDS_E_OBJECT_NOT_FOUND", err)
	}
	for _, copied := range []int{1, 2, 3} {
		if err := w.kernel.Tick(copied); err != nil {
			t.Fatal(err)
		}
		w.write(int64(copied) * 300)
		st, err := op.QueryStatus(t.Context())
		if err != nil || !st.Pending() {
			t.Errorf("status %+v, %v; want pending", st, err)
		}
	}
	props, err := target.Properties(t.Context())
	if err != nil || props.Health != vds.HealthRebuilding || props.Status != vds.StatusOnline || props.Type != vds.TypeMirror {
		t.Errorf("properties while copying: %+v, %v", props, err)
	}
	w.settle()
	w.verify()
	if st, _ := op.QueryStatus(t.Context()); st.Result != vds.OK || st.Percent != 100 {
		t.Errorf("status at the end %+v", st)
	}
	if props, err = target.Properties(t.Context()); err != nil || props.Health != vds.HealthHealthy {
		t.Errorf("properties at the end: %+v, %v", props, err)
	}
}

func TestTheOperationIsFoundByTheNextProcess(t *testing.T) {
	w, target, source := pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	again, err := w.p.Operation(op.ID.String()[:8])
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != op.ID || again.Type != vds.AsyncAddLUNPlex {
		t.Errorf("found %+v", again.Descriptor)
	}
	w.settle()
	w.restart()
	ended, err := w.p.Operation("web1")
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := ended.QueryStatus(t.Context()); st.Result != vds.OK {
		t.Errorf("in the third process: %+v", st)
	}
}

func TestCancelRestoresTables(t *testing.T) {
	w, target, source := pair(t)
	before := w.tables()
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.kernel.Tick(2); err != nil {
		t.Fatal(err)
	}
	if err := op.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, w.tables()); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	w.verify()
	if back := w.find("spare3"); back.ID() != source.ID() {
		t.Errorf("the source came back as %v", back.ID())
	}
	if err := op.Cancel(t.Context()); !errors.Is(err, vds.ErrOperationCanceled) {
		t.Errorf("second cancel: %v", err)
	}
	w.restart()
	late, err := w.p.Operation(op.ID.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Cancel(t.Context()); !errors.Is(err, vds.ErrOperationCanceled) {
		t.Errorf("cancel in another process: %v", err)
	}
	if _, err := w.find("web1").AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
		t.Fatalf("attach after a cancel: %v", err)
	}
	w.settle()
	w.verify()
}

func TestCancelAfterTheEndIsTooLate(t *testing.T) {
	w, target, source := pair(t)
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.kernel.RunToEnd(); err != nil {
		t.Fatal(err)
	}
	w.restart() // nobody has noticed the end
	if op, err = w.p.Operation(op.ID.String()); err != nil {
		t.Fatal(err)
	}
	if err := op.Cancel(t.Context()); !errors.Is(err, vds.ErrCancelTooLate) {
		t.Errorf("cancel: %v, want VDS_E_CANCEL_TOO_LATE", err)
	}
	if l := w.record("web1"); len(l.Plexes) != 2 || l.Operation != nil {
		t.Errorf("record %+v", l)
	}
}

// tables is the live table of every device.
func (w *world) tables() map[string]string {
	w.t.Helper()
	tables := map[string]string{}
	for name := range w.devices() {
		table, err := w.kernel.Table(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		tables[name] = table.String()
	}
	return tables
}

func TestAttachRefusals(t *testing.T) {
	tests := map[string]struct {
		prepare func(w *world) uuid.UUID
		code    vds.Code
	}{
		"unknown":    {func(*world) uuid.UUID { return uuid.New() }, vds.ErrObjectNotFound},
		"itself":     {func(w *world) uuid.UUID { return w.find("web1").ID() }, vds.ErrInvalidOperation},
		"smaller":    {func(w *world) uuid.UUID { return w.create("small", lunSize-size.MiB, 1).ID() }, vds.ErrInvalidOperation},
		"same drive": {func(w *world) uuid.UUID { return w.create("near", lunSize, 0).ID() }, vds.ErrInvalidOperation},
		"open": {
			func(w *world) uuid.UUID {
				if _, err := w.kernel.Hold("plex-spare3"); err != nil {
					w.t.Fatal(err)
				}
				return w.find("spare3").ID()
			}, vds.ErrDeviceInUse,
		},
		"coarser sectors": {
			func(w *world) uuid.UUID {
				w.mem.Change(w.path(1), func(i *blockdev.Info) { i.LogicalBlock = 4096 })
				return w.find("spare3").ID()
			}, vds.ErrInvalidSectorSize,
		},
		"zoned": {
			func(w *world) uuid.UUID {
				w.mem.Change(w.path(1), func(i *blockdev.Info) { i.Zoned = true })
				return w.find("spare3").ID()
			}, vds.ErrNotSupported,
		},
		"drive missing": {
			func(w *world) uuid.UUID {
				id := w.find("spare3").ID()
				w.mem.AddDisk(blockdev.Info{Path: w.path(2), Size: driveSize})
				if _, err := w.p.InitDrive(w.t.Context(), w.path(2), lun.InitOptions{}); err != nil {
					w.t.Fatal(err)
				}
				spans, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "spans", Size: 30 * size.MiB, Drives: []string{w.path(1), w.path(2)}})
				if err != nil {
					w.t.Fatal(err)
				}
				w.mem.Vanish(w.path(2))
				_ = id
				return spans.ID()
			}, vds.ErrObjectStatusFailed,
		},
		"busy target": {
			func(w *world) uuid.UUID {
				w.mem.AddDisk(blockdev.Info{Path: w.path(2), Size: driveSize})
				if _, err := w.p.InitDrive(w.t.Context(), w.path(2), lun.InitOptions{}); err != nil {
					w.t.Fatal(err)
				}
				if _, err := w.find("web1").AddPlex(w.t.Context(), w.find("spare3").ID(), lun.AttachOptions{}); err != nil {
					w.t.Fatal(err)
				}
				return w.create("third", lunSize, 2).ID()
			}, vds.ErrAnotherCallInProgress,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, target, _ := pair(t)
			source := test.prepare(w)
			before, records := w.tables(), w.mem.Cut(blocktest.Kept)
			effects := 0
			w.mem.OnEffect = func(blocktest.Effect) error { effects++; return nil }
			if _, err := target.AddPlex(t.Context(), source, lun.AttachOptions{}); !errors.Is(err, test.code) {
				t.Errorf("AddPlex: %v (%v), want %v", err, vds.CodeOf(err), test.code)
			}
			if effects > 0 {
				t.Errorf("a refused attach had %d effects", effects)
			}
			w.mem.OnEffect = nil
			if diff := cmp.Diff(before, w.tables()); diff != "" {
				t.Errorf("tables (-before +after):\n%s", diff)
			}
			_ = records
		})
	}
}

func TestCreateRefusals(t *testing.T) {
	tests := map[string]struct {
		spec lun.Spec
		code vds.Code
	}{
		"no name":        {lun.Spec{Size: size.MiB}, vds.ErrInvalidArg},
		"bad name":       {lun.Spec{Name: "a/b", Size: size.MiB}, vds.ErrInvalidArg},
		"colon":          {lun.Spec{Name: "a:b", Size: size.MiB}, vds.ErrInvalidArg},
		"no size":        {lun.Spec{Name: "x"}, vds.ErrInvalidArg},
		"taken":          {lun.Spec{Name: "web1", Size: size.MiB}, vds.ErrNameNotUnique},
		"too large":      {lun.Spec{Name: "x", Size: size.GiB}, vds.ErrNotEnoughSpace},
		"largest of all": {lun.Spec{Name: "x", Size: lun.AllRoom - 1}, vds.ErrInvalidArg},
		"unknown drive":  {lun.Spec{Name: "x", Size: size.MiB, Drives: []string{"/dev/nope"}}, vds.ErrObjectNotFound},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, _, _ := pair(t)
			before := w.tables()
			if _, err := w.p.CreateLUN(t.Context(), test.spec); !errors.Is(err, test.code) {
				t.Errorf("create: %v (%v), want %v", err, vds.CodeOf(err), test.code)
			}
			if diff := cmp.Diff(before, w.tables()); diff != "" {
				t.Errorf("tables (-before +after):\n%s", diff)
			}
		})
	}
	t.Run("no drive at all", func(t *testing.T) {
		w := newWorld(t, dmtest.Linux6_12, 0)
		if _, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "x", Size: size.MiB}); !errors.Is(err, vds.ErrNotEnoughDrive) {
			t.Errorf("create: %v, want VDS_E_NOT_ENOUGH_DRIVE", err)
		}
	})
}

func TestDeletedLUNLeavesNothing(t *testing.T) {
	w, target, source := pair(t)
	free := w.p.Drives()[1].Free
	if err := source.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.p.Drives()[1].Free; got <= free {
		t.Errorf("free %v, before %v", got, free)
	}
	for _, call := range []func() error{
		func() error { return source.Delete(t.Context()) },
		func() error { _, err := source.Properties(t.Context()); return err },
		func() error { _, err := source.AddPlex(t.Context(), target.ID(), lun.AttachOptions{}); return err },
		func() error { _, err := source.Recover(t.Context()); return err },
	} {
		if err := call(); !errors.Is(err, vds.ErrObjectDeleted) {
			t.Errorf("through an old handle: %v, want VDS_E_OBJECT_DELETED", err)
		}
	}
	w.restart()
	if luns := w.p.LUNs(); len(luns) != 1 || luns[0].Name() != "web1" {
		t.Errorf("LUNs after a restart: %v", luns)
	}
}
