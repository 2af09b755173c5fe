package product

import (
	"testing"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// The drive of a leg that had failed is not there when the LUN is started: no question is asked. When it is back, it gets
// what it missed, and no more.
//
//gate:kernels others
func TestStartWithoutAFailedLeg(t *testing.T) {
	for _, crash := range []bool{false, true} {
		name := map[bool]string{false: "stopped", true: "crashed"}[crash]
		t.Run(name, func(t *testing.T) {
			r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
			l := mirrorOn(r, "web1", 2)
			drives[1].Pull()
			r.AwaitLoss("web1", 1)
			l.More(20)
			l.Down(crash)
			r.Run("assemble")
			l.Writer.GoOn(t)
			l.More(20)
			r.StatusSays(20, "failed-redundancy", "missing")
			l.Down(crash)
			drives[1].Heal()
			before := lab.WrittenTo(t, drives[1].Loop)
			r.Run("assemble") // the leg is here, and old
			l.Writer.Verify(t, l.Writer.Path)
			r.Run("lun", "recover", "web1", "--wait")
			copied := lab.WrittenTo(t, drives[1].Loop) - before
			t.Logf("written to the leg until it was whole: %v", copied)
			if copied > cut.FailHot+lab.Overhead {
				t.Errorf("%v were written to the leg, though %v were missing", copied, cut.FailHot)
			}
			l.Writer.GoOn(t)
			l.Verify("recover", 2)
		})
	}
}

// A leg whose drive is not there had not failed, and may be the newer one: the LUN is not started before the user says so.
// The missing leg counts as out of date then, and is never served.
//
//gate:kernels others
func TestStartByForce(t *testing.T) {
	r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	l.Down(false)
	drives[1].Pull()
	r.Refuse(6, []string{"assemble"}, "may be newer", "--force")
	r.StatusSays(21, "failed")
	r.ExactDevices("refused", l.LUN.ID(), "web1", 0)
	r.Run("assemble", "--force", "web1", "--yes")
	l.Writer.Verify(t, l.Writer.Path)
	l.Writer.GoOn(t)
	l.More(50)
	r.StatusSays(20, "failed-redundancy")

	l.Down(false) // the other way round: only the old leg is here
	drives[0].Pull()
	drives[1].Heal()
	for _, args := range [][]string{{"assemble"}, {"assemble", "web1"}} {
		r.Refuse(6, args, "missing")
	}
	r.StatusSays(21, "failed")
	r.ExactDevices("the old leg alone", l.LUN.ID(), "web1", 0)

	drives[0].Heal()
	r.Run("assemble")
	l.Writer.Verify(t, l.Writer.Path)
	l.Writer.GoOn(t)
	l.More(20)
	r.StatusSays(20, "out of date")
	before := lab.WrittenTo(t, drives[1].Loop)
	r.Run("lun", "recover", "web1", "--wait")
	if copied := lab.WrittenTo(t, drives[1].Loop) - before; copied < cut.FailLength {
		t.Errorf("%v were copied to a leg that was given up, want all %v", copied, cut.FailLength)
	}
	l.Verify("recover", 2)
}

// A leg fails and comes back in the middle of a crash: what it holds is old, and is not served.
//
//gate:kernels others
func TestOldLegAfterACrash(t *testing.T) {
	r, drives := lab.BrittleRig(t, 3, 64*size.MiB)
	l := mirrorOn(r, "web1", 3)
	drives[0].Pull() // the first one, from which the kernel likes best to read
	r.AwaitLoss("web1", 1)
	l.More(100)
	l.Down(true)
	drives[0].Heal()
	r.Run("assemble")
	l.Writer.Verify(t, l.Writer.Path)
	l.Writer.GoOn(t)
	l.More(20)
	r.Run("lun", "recover", "web1", "--wait")
	l.Verify("recover", 3)
}
