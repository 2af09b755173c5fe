package lun_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
)

// A record with the highest generation, on a drive that passes for one of this host, keeps its LUN from being changed. It does no
// more: what plexctl writes then can be read, and other LUNs on the same drives stay.
func TestTheHighestGeneration(t *testing.T) {
	for _, below := range []uint64{0, 1} {
		t.Run(fmt.Sprint(below), func(t *testing.T) {
			w := ownWorld(t)
			w.create("beside", lunSize, 0)
			id := w.record("web1").ID.String()
			w.plug(2, "own", func(uuid.UUID) []catalog.LUN {
				l := w.record("web1")
				l.Generation = 1<<62 - below
				return []catalog.LUN{l}
			})
			w.restart()
			var last error
			for i := range 3 {
				last = w.find(id).Rename(t.Context(), fmt.Sprint("web", i+2))
				w.restart()
				w.must(w.find("beside").Rename(t.Context(), fmt.Sprint("beside", i)))
				w.must(w.find(fmt.Sprint("beside", i)).Rename(t.Context(), "beside"))
				w.restart()
			}
			if !errors.Is(last, catalog.ErrInvalid) {
				t.Errorf("a change beyond the highest generation: %v", last)
			}
			if got := len(w.recordsOn(0)); got != 2 {
				t.Errorf("%d records are on the drive, want 2", got)
			}
		})
	}
}
