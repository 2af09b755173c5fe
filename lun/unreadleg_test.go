package lun_test

import (
	"testing"
	"testing/synctest"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// TestAnUnreadLegIsNotStale has plexctl swap the table of a mirror whose first leg can be written and not read. The kernel uses this
// leg. Nothing is changed: if the other leg failed then, only this one would have the newest data.
func TestAnUnreadLegIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dmtest.Linux6_12, 2)
		web := w.create("web1", lunSize, 0)
		spare := w.create("spare3", lunSize, 1)
		_, err := web.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{Rate: size.MiB})
		w.must(err)
		w.must(w.kernel.RunToEnd())
		for _, op := range w.p.Operations() {
			_, err := op.QueryStatus(t.Context())
			w.must(err)
		}
		before := w.record("web1")
		w.mem.Fail(w.path(0), blocktest.Fault{Kind: "read"})
		w.restart()
		results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{})
		w.must(err)
		if got := vds.CodeOf(resultErrors(results)); got != vds.ErrObjectStatusFailed {
			t.Errorf("assemble: %v", resultErrors(results))
		}
		if after := w.record("web1"); after.Generation != before.Generation || after.Plexes[0].Stale {
			t.Errorf("the record is %+v", after)
		}
		removed := w.freeze().crash(t, crash{}, nil) // as the hint says
		removed.must(removePlexAt(removed, 0))
		if plexes := removed.record("web1").Plexes; len(plexes) != 1 || plexes[0].ID != before.Plexes[1].ID {
			t.Errorf("plexes after the removal: %+v", plexes)
		}
		w.mem.Heal(w.path(0))
		w.restart()
		w.assemble()
		w.settle()
		w.oracle().samePlexes()
	})
}
