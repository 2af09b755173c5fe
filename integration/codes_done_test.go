package integration

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// addSuccesses is everything that ends with S_OK.
func addSuccesses() provocations {
	return provocations{vds.OK: {
		"add_plex": own(addDone), "add_plex_of_mirror": own(addMirror), "add_plex_to_degraded": own(addToDegraded), "add_plex_on_drive": own(addOnDrive),
		"remove_plex": own(removeDone), "recover": own(recoverDone), "recover_healthy": shared(recoverHealthy),
		"cancel": own(cancelDone), "cancel_on_drive": own(cancelOnDrive), "cancel_of_mirror": own(cancelOfMirror),
	}}
}

// succeeded fails the test unless an operation ends with S_OK: for the library, for the command, and whenever asked.
func (r *rig) succeeded(op *resync.Async, err error) {
	r.t.Helper()
	for range 2 {
		r.end(op, err)
	}
	if st, err := op.QueryStatus(r.t.Context()); err != nil || st.Result != vds.OK || st.Percent != 100 {
		r.t.Errorf("status %+v, %v, want S_OK at 100 %%", st, err)
	}
}

// A larger source leaves the target's size as it is.
func addDone(t *testing.T, code vds.Code) {
	r := newCodesRig(t, 2)
	target, source := r.create("web1", codesLUN, 0), r.create("spare3", codesLUN+size.MiB, 1)
	r.succeeded(target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}))
	r.refuse(exitStatuses[code], []string{"op", "wait", "web1"}, "healthy")
	r.refuse(exitStatuses[code], []string{"op", "show", "web1"}, code.String(), "100 %")
	if record := r.record("web1"); record.Size != codesLUN.Sectors() {
		t.Errorf("the target has %v, want %v", record.Size, codesLUN)
	}
	r.equalLegs(r.record("web1"))
}

// All plexes of a mirror become plexes of another one.
func addMirror(t *testing.T, _ vds.Code) {
	r := newCodesRig(t, 4)
	target, source := r.mirrored("web1", 0, 1), r.mirrored("spare3", 2, 3)
	r.succeeded(target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}))
	if n := len(r.record("web1").Plexes); n != 4 {
		t.Errorf("%d plexes, want 4", n)
	}
	r.equalLegs(r.record("web1"))
}

// A LUN that has lost a plex gets another one, which is how it is repaired without its drive.
func addToDegraded(t *testing.T, _ vds.Code) {
	newLab(t)
	f := newFragile(t, "fragile")
	r := labelled(t, newLoop(t, codesDrive, 512), f.path, newLoop(t, codesDrive, 512))
	l := r.mirrored("web1", 0, 1)
	r.failLeg("web1", f)
	r.succeeded(l.AddNewPlex(t.Context(), r.drives[2:], lun.AttachOptions{}))
	f.mend()
	if sums := r.legs(r.record("web1")); len(sums) != 3 || sums[0] != sums[2] {
		t.Errorf("checksums of the plexes %x, want the first and the last one equal", sums)
	}
}

func addOnDrive(t *testing.T, _ vds.Code) {
	r := newCodesRig(t, 2)
	r.create("web1", codesLUN, 0)
	r.run("plex", "add", "web1", "--drive", r.drives[1], "--wait")
	r.equalLegs(r.record("web1"))
}

func removeDone(t *testing.T, _ vds.Code) {
	r := newCodesRig(t, 2)
	l := r.create("web1", codesLUN, 0)
	before, room := r.tables(), r.free(1)
	r.addOn(l, 1)
	r.succeeded(l.RemovePlex(t.Context(), r.plexOn(l, 1)))
	if diff := cmp.Diff(before, r.tables()); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	if got := r.free(1); got != room {
		t.Errorf("room %v, want %v", got, room)
	}
}

func recoverDone(t *testing.T, _ vds.Code) {
	r, l := halfFailed(t)
	r.succeeded(l.Recover(t.Context()))
	r.equalLegs(r.record("web1"))
}

func recoverHealthy(t *testing.T, w *world, _ vds.Code) {
	before := w.state(everything)
	w.succeeded(w.pairs.Recover(t.Context()))
	w.run("lun", "recover", "pairs")
	w.unchanged(everything, before)
}

// The source is a LUN again, with its GUID and its size.
func cancelDone(t *testing.T, _ vds.Code) {
	r := newCodesRig(t, 2)
	target, source := r.createFull("web1", 0), r.create("spare3", busyLength+size.MiB, 1)
	before, tables := r.luns(), r.tables()
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{Rate: lun.Paused})
	must(t, err)
	r.run("op", "cancel", "web1", "--yes")
	r.ended(op, vds.ErrOperationCanceled)
	r.gaveBack(before, tables)
}

// gaveBack fails the test unless LUNs and tables are what they were.
func (r *rig) gaveBack(luns any, tables map[string]string) {
	r.t.Helper()
	if diff := cmp.Diff(luns, any(r.luns())); diff != "" {
		r.t.Errorf("LUNs (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(tables, r.tables()); diff != "" {
		r.t.Errorf("tables (-before +after):\n%s", diff)
	}
}

func cancelOnDrive(t *testing.T, _ vds.Code) {
	r := newCodesRig(t, 2)
	l := r.createFull("web1", 0)
	before, tables, room := r.luns(), r.tables(), r.free(1)
	op, err := l.AddNewPlex(t.Context(), r.drives[1:], lun.AttachOptions{Rate: lun.Paused})
	must(t, err)
	must(t, op.Cancel(t.Context()))
	r.ended(op, vds.ErrOperationCanceled)
	r.gaveBack(before, tables)
	if got := r.free(1); got != room {
		t.Errorf("room %v, want %v", got, room)
	}
}

// A mirror that was a source comes back whole: with all of its plexes, under their GUIDs.
func cancelOfMirror(t *testing.T, _ vds.Code) {
	r := newCodesRig(t, 3)
	target, source := r.createFull("web1", 0), r.create("spare3", busyLength, 1)
	r.addOn(source, 2)
	before := r.luns()
	op, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{Rate: lun.Paused})
	must(t, err)
	must(t, op.Cancel(t.Context()))
	r.ended(op, vds.ErrOperationCanceled)
	if diff := cmp.Diff(before, r.luns()); diff != "" {
		t.Errorf("LUNs (-before +after):\n%s", diff)
	}
}
