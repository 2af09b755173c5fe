package lun_test

import (
	"errors"
	"testing"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

func TestRecoverCopiesOnlyWhatWasWritten(t *testing.T) {
	w, target, source := pair(t)
	if _, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if err := w.kernel.Age(); err != nil {
		t.Fatal(err)
	}
	w.mem.Fail(w.path(1), blocktest.Fault{Kind: "write"})
	w.write(7)
	props, err := target.Properties(t.Context())
	if err != nil || props.Health != vds.HealthFailedRedundancy || props.Plexes[1].Health != vds.HealthFailed {
		t.Fatalf("after a failure: %+v, %v", props, err)
	}
	w.mem.Heal(w.path(1))
	op, err := target.Recover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if op.Type != vds.AsyncRecoverLUN {
		t.Errorf("type %v", op.Type)
	}
	if err := op.Cancel(t.Context()); !errors.Is(err, vds.ErrNotSupported) {
		t.Errorf("cancel: %v, want VDS_E_NOT_SUPPORTED", err)
	}
	w.mem.Fail(w.path(1), blocktest.Fault{Kind: "write"}) // and again
	w.write(8)
	if err := op.Wait(t.Context()); !errors.Is(err, vds.ErrObjectStatusFailed) {
		t.Errorf("wait: %v, want VDS_E_OBJECT_STATUS_FAILED", err)
	}
	w.mem.Heal(w.path(1))
	if op, err = target.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.verify()
	if err := op.Wait(t.Context()); err != nil {
		t.Errorf("wait for the second attempt: %v", err)
	}
	idle, err := target.Recover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(t.Context()); err != nil || idle.Type != vds.AsyncRecoverLUN {
		t.Errorf("recover of a healthy mirror: %v, %v", err, idle.Type)
	}
	lone := w.create("lone", size.MiB, 0)
	if _, err := lone.Recover(t.Context()); !errors.Is(err, vds.ErrInvalidOperation) {
		t.Errorf("recover of one plex: %v, want VDS_E_INVALID_OPERATION", err)
	}
}

func TestAMirrorWithoutAPlexIsNotStartedByItself(t *testing.T) {
	w, target, source := pair(t)
	if _, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.cut(blocktest.Kept)
	w.mem.Vanish(w.path(1))
	w.restart()
	results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{})
	if err != nil || len(results) != 1 || !errors.Is(results[0].Err, vds.ErrObjectStatusFailed) {
		t.Fatalf("assemble: %+v, %v; want VDS_E_OBJECT_STATUS_FAILED", results, err)
	}
	if len(w.devices()) > 0 {
		t.Errorf("devices: %v", w.devices())
	}
	results, err = w.p.Assemble(t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}, Force: true})
	if err != nil || results[0].Err != nil {
		t.Fatalf("assemble degraded: %+v, %v", results, err)
	}
	w.verify()
	w.write(9)
	w.mem.Return(w.path(1))
	w.restart()
	w.rest()
	if _, err := w.find("web1").Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.verify()
}

// The plex being filled must never be served alone.
func TestAnUnfilledPlexIsNeverStartedAlone(t *testing.T) {
	w, target, source := pair(t)
	if _, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	w.cut(blocktest.Kept)
	w.mem.Vanish(w.path(0))
	w.restart()
	results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}, Force: true})
	if err != nil || !errors.Is(results[0].Err, vds.ErrObjectStatusFailed) {
		t.Fatalf("assemble: %+v, %v; want VDS_E_OBJECT_STATUS_FAILED", results, err)
	}
	if len(w.devices()) > 0 {
		t.Errorf("devices: %v", w.devices())
	}
}

// A leg that fails while its LUN is started is known to have failed before anything is written to the LUN: Linux 6.1 itself would
// write that down only later.
func TestALegThatFailsAtTheStart(t *testing.T) {
	for _, release := range []dmtest.Release{dmtest.Linux6_1, dmtest.Linux6_12} {
		for _, drive := range []int{0, 1} {
			w, target, source := pairOn(t, release)
			_, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
			w.must(err)
			w.settle()
			w.must(deactivate(w))
			w.mem.OnEffect = func(e blocktest.Effect) error {
				if e.Kind == "load" && e.Object == "plex-web1" {
					w.mem.Vanish(w.path(drive))
				}
				return nil
			}
			w.assemble()
			w.mem.OnEffect = nil
			w.write(9)
			w.cut(blocktest.Lost)
			w.mem.Return(w.path(drive))
			w.restart()
			w.assemble()
			w.verify()
			w.rest()
			_, err = w.find("web1").Recover(t.Context())
			w.must(err)
			w.settle()
			w.verify()
		}
	}
}
