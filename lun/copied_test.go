package lun_test

import (
	"testing"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/lun"
)

// The kernel has filled the new plex, and no process has looked yet, when the source fails. From then on only the new plex has
// the writes. It must count as the holder of the data for every process, and at every start of the LUN.
func TestTheFirstPlexFailsBeforeAnyoneSeesTheEnd(t *testing.T) {
	for name, between := range map[string]func(t *testing.T, w *world){
		"looked at while the plex is gone": func(t *testing.T, w *world) {
			op, err := w.find("web1").Operation()
			if err != nil {
				t.Fatal(err)
			}
			if err := op.Wait(t.Context()); err != nil {
				t.Errorf("the copy is at its end: %v", err)
			}
			w.mem.Heal(w.path(0))
		},
		"looked at with the plex back": func(t *testing.T, w *world) {
			w.mem.Heal(w.path(0))
			op, err := w.find("web1").Operation()
			if err != nil {
				t.Fatal(err)
			}
			if err := op.Wait(t.Context()); err != nil {
				t.Errorf("the copy is at its end: %v", err)
			}
		},
		"never looked at": func(_ *testing.T, w *world) { w.mem.Heal(w.path(0)) },
	} {
		for _, cut := range []bool{false, true} {
			t.Run(map[bool]string{false: "in use, ", true: "power cut, "}[cut]+name, func(t *testing.T) {
				w, target, source := pair(t)
				if _, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{}); err != nil {
					t.Fatal(err)
				}
				if err := w.kernel.RunToEnd(); err != nil {
					t.Fatal(err)
				}
				w.mem.Fail(w.path(0), blocktest.Fault{Kind: "write"})
				w.write(7)
				between(t, w)
				if cut {
					w.cut(blocktest.Kept)
					w.restart()
				}
				results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{})
				if err != nil || results[0].Err != nil {
					t.Fatalf("assemble: %+v, %v", results, err)
				}
				w.verify()
				w.settle()
				if _, err := w.find("web1").Recover(t.Context()); err != nil {
					t.Fatalf("recover: %v", err)
				}
				w.settle()
				w.verify()
			})
		}
	}
}
