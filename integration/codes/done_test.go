package codes

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// addSuccesses is everything that ends with S_OK.
func addSuccesses() provocations {
	return provocations{vds.OK: {
		"add_plex": own(addDone).onKernel(), "add_plex_of_mirror": own(addMirror).onKernel(), "add_plex_to_degraded": own(addToDegraded).onKernel(), "add_plex_on_drive": own(addOnDrive).onKernel(),
		"remove_plex": own(removeDone).onKernel(), "recover": own(recoverDone).onKernel(), "recover_healthy": shared(recoverHealthy),
		"cancel": own(cancelDone).onKernel(), "cancel_on_drive": own(cancelOnDrive).onKernel(), "cancel_of_mirror": own(cancelOfMirror).onKernel(),
	}}
}

// A larger source leaves the target's size as it is.
func addDone(t *testing.T, code vds.Code) {
	r := lab.NewSmallRig(t, 2)
	target, source := r.Create("web1", lab.SmallLUN, 0), r.Create("spare3", lab.SmallLUN+size.MiB, 1)
	r.Succeeded(target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}))
	r.Refuse(lab.ExitStatuses[code], []string{"op", "wait", "web1"}, "healthy")
	r.Refuse(lab.ExitStatuses[code], []string{"op", "show", "web1"}, code.String(), "100 %")
	if record := r.Record("web1"); record.Size != lab.SmallLUN.Sectors() {
		t.Errorf("the target has %v, want %v", record.Size, lab.SmallLUN)
	}
	r.EqualLegs(r.Record("web1"))
}

// All plexes of a mirror become plexes of another one.
func addMirror(t *testing.T, _ vds.Code) {
	r := lab.NewSmallRig(t, 4)
	target, source := r.Mirrored("web1", 0, 1), r.Mirrored("spare3", 2, 3)
	r.Succeeded(target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}))
	if n := len(r.Record("web1").Plexes); n != 4 {
		t.Errorf("%d plexes, want 4", n)
	}
	r.EqualLegs(r.Record("web1"))
}

// A LUN that has lost a plex gets another one, which is how it is repaired without its drive.
func addToDegraded(t *testing.T, _ vds.Code) {
	lab.NewLab(t)
	f := lab.NewBrittle(t, "fragile", lab.SmallDrive)
	r := lab.Labelled(t, lab.NewLoop(t, lab.SmallDrive, 512), f.Path, lab.NewLoop(t, lab.SmallDrive, 512))
	l := r.Mirrored("web1", 0, 1)
	failLeg(r, "web1", f)
	r.Succeeded(l.AddNewPlex(t.Context(), r.Drives[2:], lun.AttachOptions{}))
	f.Heal()
	if sums := r.Legs(r.Record("web1")); len(sums) != 3 || sums[0] != sums[2] {
		t.Errorf("checksums of the plexes %x, want the first and the last one equal", sums)
	}
}

func addOnDrive(t *testing.T, _ vds.Code) {
	r := lab.NewSmallRig(t, 2)
	r.Create("web1", lab.SmallLUN, 0)
	r.Run("plex", "add", "web1", "--drive", r.Drives[1], "--wait")
	r.EqualLegs(r.Record("web1"))
}

func removeDone(t *testing.T, _ vds.Code) {
	r := lab.NewSmallRig(t, 2)
	l := r.Create("web1", lab.SmallLUN, 0)
	before, room := r.Tables(), r.Free(1)
	r.AddOn(l, 1)
	r.Succeeded(l.RemovePlex(t.Context(), r.PlexOn(l, 1)))
	if diff := cmp.Diff(before, r.Tables()); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	if got := r.Free(1); got != room {
		t.Errorf("room %v, want %v", got, room)
	}
}

func recoverDone(t *testing.T, _ vds.Code) {
	r, l := halfFailed(t)
	r.Succeeded(l.Recover(t.Context()))
	r.EqualLegs(r.Record("web1"))
}

func recoverHealthy(t *testing.T, w *world, _ vds.Code) {
	before := w.State(lab.Everything)
	w.Succeeded(w.pairs.Recover(t.Context()))
	w.Run("lun", "recover", "pairs")
	w.Unchanged(lab.Everything, before)
}

// The source is a LUN again, with its GUID and its size.
func cancelDone(t *testing.T, _ vds.Code) {
	r := lab.NewSmallRig(t, 2)
	target, source := r.CreateFull("web1", 0), r.Create("spare3", lab.BusyLength+size.MiB, 1)
	before, tables := r.LUNs(), r.Tables()
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{Rate: lun.Paused})
	lab.Must(t, err)
	r.Run("op", "cancel", "web1", "--yes")
	ended(r, op, vds.ErrOperationCanceled)
	r.GaveBack(before, tables)
}

func cancelOnDrive(t *testing.T, _ vds.Code) {
	r := lab.NewSmallRig(t, 2)
	l := r.CreateFull("web1", 0)
	before, tables, room := r.LUNs(), r.Tables(), r.Free(1)
	op, err := l.AddNewPlex(t.Context(), r.Drives[1:], lun.AttachOptions{Rate: lun.Paused})
	lab.Must(t, err)
	lab.Must(t, op.Cancel(t.Context()))
	ended(r, op, vds.ErrOperationCanceled)
	r.GaveBack(before, tables)
	if got := r.Free(1); got != room {
		t.Errorf("room %v, want %v", got, room)
	}
}

// A mirror that was a source comes back whole: with all of its plexes, under their GUIDs.
func cancelOfMirror(t *testing.T, _ vds.Code) {
	r := lab.NewSmallRig(t, 3)
	target, source := r.CreateFull("web1", 0), r.Create("spare3", lab.BusyLength, 1)
	r.AddOn(source, 2)
	before := r.LUNs()
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{Rate: lun.Paused})
	lab.Must(t, err)
	lab.Must(t, op.Cancel(t.Context()))
	ended(r, op, vds.ErrOperationCanceled)
	if diff := cmp.Diff(before, r.LUNs()); diff != "" {
		t.Errorf("LUNs (-before +after):\n%s", diff)
	}
}
