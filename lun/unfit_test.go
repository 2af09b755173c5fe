package lun_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// force starts a LUN by force.
func (w *world) force(name string) error {
	results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{LUNs: []string{name}, Force: true})
	return errors.Join(err, resultErrors(results))
}

// describe edits what the machine says about a drive, and has it seen.
func (w *world) describe(drive int, change func(*blockdev.Info)) {
	w.t.Helper()
	w.mem.Change(w.path(drive), change)
	w.must(w.p.Refresh(w.t.Context()))
}

func blocksOf(n size.Bytes) func(*blockdev.Info) {
	return func(i *blockdev.Info) { i.LogicalBlock, i.PhysicalBlock = n, n }
}

func readOnly(is bool) func(*blockdev.Info) { return func(i *blockdev.Info) { i.ReadOnly = is } }

func sized(n size.Bytes) func(*blockdev.Info) { return func(i *blockdev.Info) { i.Size = n } }

// shows expects the problem of a LUN to have a code and a text.
func (w *world) shows(name string, code vds.Code, text string) lun.Properties {
	w.t.Helper()
	p, err := w.find(name).Properties(w.t.Context())
	w.must(err)
	if p.Problem == nil || p.Problem.Code != code || !strings.Contains(p.Problem.Error(), text) {
		w.t.Errorf("%s shows %v (%v), want %v with %q", name, p.Problem, vds.CodeOf(p.Problem), code, text)
	}
	return p
}

// TestUnfitDriveOfAMirror has one drive of a mirror come back so that it cannot serve the LUN: the mirror is started without it by
// force only, status names it and why, nothing is written to it where that must not be, and it is filled when it is well again.
func TestUnfitDriveOfAMirror(t *testing.T) {
	tests := map[string]struct {
		ill, well func(*blockdev.Info)
		code      vds.Code
		text      string
		written   bool // its catalog is
	}{
		"4Kn":       {blocksOf(4096), blocksOf(512), vds.ErrInvalidSectorSize, "logical blocks of 4096", true},
		"read-only": {readOnly(true), readOnly(false), vds.ErrMediaWriteProtected, "write-protected", false},
		"shrunk":    {sized(driveSize - size.MiB), sized(driveSize), vds.ErrObjectStatusFailed, "its label says", false},
		"shrunk into the LUN": {
			sized(catalog.MinDriveSize - 4*size.MiB + lunSize), sized(driveSize), vds.ErrObjectStatusFailed, "its label says", false,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, _, _ := pair(t)
			attached(w, -1)
			w.must(deactivate(w))
			w.describe(1, tt.ill)
			if err := assemble(w); !errors.Is(err, tt.code) || !strings.Contains(err.Error(), w.path(1)) || !strings.Contains(vds.HintOf(err), "--force web1") {
				t.Errorf("assemble: %v (%v), hint %q; want %v", err, vds.CodeOf(err), vds.HintOf(err), tt.code)
			}
			w.shows("web1", tt.code, tt.text)
			wrote := false
			w.mem.OnEffect = func(e blocktest.Effect) error {
				wrote = wrote || e.Object == w.path(1)
				return nil
			}
			w.must(w.force("web1"))
			w.mem.OnEffect = nil
			if wrote != tt.written {
				t.Errorf("the drive is written: %t", wrote)
			}
			w.verify()
			if p := w.shows("web1", tt.code, w.path(1)); p.Health != vds.HealthFailedRedundancy || p.Status != vds.StatusOnline {
				t.Errorf("health %v, status %v", p.Health, p.Status)
			}
			if _, err := w.find("web1").Recover(t.Context()); !errors.Is(err, tt.code) {
				t.Errorf("recover: %v, want %v", err, tt.code)
			}
			w.write(70)
			w.must(deactivate(w))
			w.must(assemble(w)) // the plex does not count any more
			w.write(140)
			w.describe(1, tt.well)
			w.settle()
			w.verify()
		})
	}
}

// TestUnfitDriveOfALUN has the only drive of a LUN come back so that it cannot serve it.
func TestUnfitDriveOfALUN(t *testing.T) {
	tests := map[string]struct {
		ill    func(*blockdev.Info)
		code   vds.Code
		forced vds.Code
	}{
		"4Kn":       {blocksOf(4096), vds.ErrInvalidSectorSize, vds.ErrInvalidSectorSize},
		"read-only": {readOnly(true), vds.ErrMediaWriteProtected, vds.ErrMediaWriteProtected},
		"shrunk":    {sized(driveSize - size.MiB), vds.ErrObjectStatusFailed, vds.OK},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, _, _ := pair(t)
			w.must(deactivate(w))
			w.describe(0, tt.ill)
			if err := assemble(w); !errors.Is(err, tt.code) {
				t.Errorf("assemble: %v (%v), want %v", err, vds.CodeOf(err), tt.code)
			}
			if p := w.shows("web1", tt.code, w.path(0)); p.Status != vds.StatusFailed {
				t.Errorf("status %v", p.Status)
			}
			if err := w.force("web1"); vds.CodeOf(err) != tt.forced {
				t.Fatalf("by force: %v, want %v", err, tt.forced)
			}
			if tt.forced == vds.OK {
				w.verify()
				w.must(deactivate(w))
				if err := assemble(w); !errors.Is(err, tt.code) {
					t.Errorf("assemble once more: %v", err)
				}
			}
		})
	}
}

// TestALUNThatReachesBeyondTheEnd is not started on a drive that has lost a part of it, by force neither.
func TestALUNThatReachesBeyondTheEnd(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	w.create("web1", 20*size.MiB, 0)
	w.must(deactivate(w))
	w.describe(0, sized(20*size.MiB))
	if err := w.force("web1"); !errors.Is(err, vds.ErrObjectStatusFailed) {
		t.Errorf("by force: %v, want %v", err, vds.ErrObjectStatusFailed)
	}
	w.shows("web1", vds.ErrObjectStatusFailed, "beyond its end")
}

// TestAPlexThatDoesNotCountNeedsNoForce has a drive become read-only whose plex has failed before.
func TestAPlexThatDoesNotCountNeedsNoForce(t *testing.T) {
	w, _, _ := pair(t)
	attached(w, -1)
	broken(w, 1)
	w.write(70)
	w.must(deactivate(w))
	w.mem.Heal(w.path(1))
	w.describe(1, readOnly(true))
	w.must(assemble(w))
	w.verify()
}

// TestADriveThatRefusesWrites is not called read-only by the kernel, and refuses the first write all the same.
func TestADriveThatRefusesWrites(t *testing.T) {
	w, _, _ := pair(t)
	attached(w, -1)
	w.cut(blocktest.Kept) // so that the start writes metadata
	w.mem.Fail(w.path(1), blocktest.Fault{Kind: "write", Err: blockdev.ErrReadOnly})
	err := assemble(w)
	if !errors.Is(err, vds.ErrMediaWriteProtected) || !strings.Contains(err.Error(), w.path(1)) || strings.Contains(vds.HintOf(err), "root") {
		t.Errorf("assemble: %v (%v), hint %q", err, vds.CodeOf(err), vds.HintOf(err))
	}
	w.must(w.force("web1"))
	w.verify()
}

// TestNothingNewOnAProtectedDrive expects one code and one text, whatever wants to use the drive.
func TestNothingNewOnAProtectedDrive(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 3)
	w.create("web1", lunSize, 0)
	w.create("spare3", lunSize, 1)
	for _, drive := range []int{1, 2} {
		w.describe(drive, readOnly(true))
	}
	ctx := t.Context()
	web1, wants := w.find("web1"), map[string]error{}
	_, wants["create"] = w.p.CreateLUN(ctx, lun.Spec{Name: "new", Size: size.MiB, Drives: []string{w.path(2)}})
	_, wants["add"] = web1.AddPlex(ctx, w.find("spare3").ID(), lun.AttachOptions{})
	_, wants["add new"] = web1.AddNewPlex(ctx, []string{w.path(2)}, lun.AttachOptions{})
	_, wants["extend"] = web1.Extend(ctx, 30*size.MiB, []string{w.path(2)})
	_, wants["extend its LUN"] = w.find("spare3").Extend(ctx, size.MiB, nil)
	_, wants["init"] = w.p.InitDrive(ctx, w.path(2), lun.InitOptions{Force: true})
	wants["remove"] = w.p.RemoveDrive(ctx, w.path(2))
	wants["grow"] = w.p.GrowDrive(ctx, w.path(2))
	wants["rename its LUN"] = w.find("spare3").Rename(ctx, "spare4")
	for what, err := range wants {
		if !errors.Is(err, vds.ErrMediaWriteProtected) || !strings.Contains(err.Error(), blockdev.ErrReadOnly.Error()) || !strings.Contains(vds.HintOf(err), "writable") {
			t.Errorf("%s: %v (%v), hint %q; want %v", what, err, vds.CodeOf(err), vds.HintOf(err), vds.ErrMediaWriteProtected)
		}
	}
}

// TestBlockSizeIsRecorded looks at what the records say, and that it never rises.
func TestBlockSizeIsRecorded(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 3)
	w.create("old", size.MiB, 1)
	w.must(deactivate(w))
	w.describe(1, blocksOf(4096))
	w.create("web1", size.MiB, 1)
	w.create("spare3", size.MiB, 0)
	for name, want := range map[string]size.Bytes{"web1": 4096, "spare3": 512, "old": 512} {
		if got := w.record(name).BlockSize; got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	w.must(w.find("old").Rename(t.Context(), "older"))
	if got := w.record("older").BlockSize; got != 512 {
		t.Errorf("after a change it is %d", got)
	}
	_, err := w.find("spare3").Extend(t.Context(), 30*size.MiB, []string{w.path(1)})
	if !errors.Is(err, vds.ErrInvalidSectorSize) {
		t.Errorf("extend onto larger blocks: %v, want %v", err, vds.ErrInvalidSectorSize)
	}
	_, err = w.find("spare3").AddNewPlex(t.Context(), []string{w.path(1)}, lun.AttachOptions{})
	if !errors.Is(err, vds.ErrInvalidSectorSize) {
		t.Errorf("add a plex with larger blocks: %v, want %v", err, vds.ErrInvalidSectorSize)
	}
	_, err = w.find("web1").AddNewPlex(t.Context(), []string{w.path(2)}, lun.AttachOptions{})
	w.must(err)
	w.finishAll()
	if got := w.record("web1").BlockSize; got != 4096 {
		t.Errorf("with a plex of smaller blocks it is %d", got)
	}
	_, err = w.find("web1").RemovePlex(t.Context(), w.record("web1").Plexes[0].ID)
	w.must(err)
	if got := w.record("web1").BlockSize; got != 512 {
		t.Errorf("on smaller blocks alone it is %d", got)
	}
}

// TestGrowDrive makes the room of a larger device usable, while a LUN on it is in use.
func TestGrowDrive(t *testing.T) {
	w, _, _ := pair(t)
	ctx := t.Context()
	if err := w.p.GrowDrive(ctx, w.path(0)); !errors.Is(err, vds.ErrInvalidOperation) {
		t.Errorf("a device that has not grown: %v, want %v", err, vds.ErrInvalidOperation)
	}
	before, err := w.p.Drive(w.path(0))
	w.must(err)
	w.describe(0, sized(driveSize+40*size.MiB))
	if d, err := w.p.Drive(w.path(0)); err != nil || d.Grown.Bytes() != 40*size.MiB || d.Free != before.Free {
		t.Errorf("grown by %s, free %s, %v", d.Grown, d.Free, err)
	}
	dry := w.p.DryRun()
	if err := dry.GrowDrive(ctx, w.path(0)); err != nil || len(dry.Plan()) != 1 {
		t.Errorf("dry run: %v, %v", dry.Plan(), err)
	}
	w.must(w.p.GrowDrive(ctx, w.path(0)))
	if d, err := w.p.Drive(w.path(0)); err != nil || d.Grown != 0 || d.Free.Bytes() != before.Free.Bytes()+40*size.MiB {
		t.Errorf("afterwards grown by %s, free %s, %v", d.Grown, d.Free, err)
	}
	_, err = w.find("web1").Extend(ctx, 50*size.MiB, nil)
	w.must(err)
	w.verify()
	w.cut(blocktest.Lost)
	w.must(assemble(w))
	w.verify()
}

// TestGrownDriveWithoutItsFirstLabel finds the drive by the copy where it ended.
func TestGrownDriveWithoutItsFirstLabel(t *testing.T) {
	w, _, _ := pair(t)
	w.must(deactivate(w))
	w.edit(0, func(b []byte) { clear(b) }, false, headLabel)
	w.describe(0, sized(driveSize+40*size.MiB))
	if d, err := w.p.Drive(w.path(0)); err != nil || len(d.LUNs) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	w.must(assemble(w))
	w.verify()
}

// TestADriveBecomesUnfitInUse has a drive become unfit under a running mirror. The kernel goes on with it; nothing that plexctl does
// meanwhile hurts the data, and afterwards everything is whole.
func TestADriveBecomesUnfitInUse(t *testing.T) {
	for name, change := range map[string][2]func(*blockdev.Info){
		"read-only": {readOnly(true), readOnly(false)}, "shrunk": {sized(driveSize - size.MiB), sized(driveSize)},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w, _, _ := pair(t)
				attached(w, -1)
				w.describe(1, change[0])
				w.must(assemble(w))
				w.write(70)
				w.must(w.find("web1").Rename(t.Context(), "web2"))
				w.must(w.find("web2").Rename(t.Context(), "web1"))
				w.verify()
				if _, err := w.find("web1").Extend(t.Context(), size.MiB, nil); err == nil && name == "read-only" {
					t.Error("extended on a drive that takes no writes")
				}
				if _, err := w.find("web1").Properties(t.Context()); err != nil {
					t.Error(err)
				}
				if restart {
					w.must(deactivate(w))
				}
				w.describe(1, change[1])
				w.must(assemble(w))
				w.settle()
				w.verify()
				w.oracle().inOrder()
			})
		}
	}
}
