package integration

import (
	"testing"

	"github.com/plexctl/plexctl/size"
)

// The drive of a leg that had failed is not there when the LUN is started: no question is asked. When it is back, it gets
// what it missed, and no more.
func TestStartWithoutAFailedLeg(t *testing.T) {
	for _, crash := range []bool{false, true} {
		name := map[bool]string{false: "stopped", true: "crashed"}[crash]
		t.Run(name, func(t *testing.T) {
			r, drives := brittleRig(t, 2, failDrive)
			l := r.mirrorOn("web1", 2)
			drives[1].pull()
			r.awaitLoss("web1", 1)
			l.more(20)
			l.down(crash)
			r.run("assemble")
			l.w.goOn(t)
			l.more(20)
			r.statusSays(20, "failed-redundancy", "missing")
			l.down(crash)
			drives[1].heal()
			before := writtenTo(t, drives[1].loop)
			r.run("assemble") // the leg is here, and old
			l.w.verify(t, l.w.path)
			r.run("lun", "recover", "web1", "--wait")
			copied := writtenTo(t, drives[1].loop) - before
			t.Logf("written to the leg until it was whole: %v", copied)
			if copied > failHot+overhead {
				t.Errorf("%v were written to the leg, though %v were missing", copied, failHot)
			}
			l.w.goOn(t)
			l.verify("recover", 2)
		})
	}
}

// down stops the writer and takes the LUN down, or its devices away behind plexctl's back.
func (l *live) down(crash bool) {
	l.t.Helper()
	l.w.stop()
	if crash {
		l.crash(l.l.Name())
		return
	}
	l.run("deactivate")
}

// A leg whose drive is not there had not failed, and may be the newer one: the LUN is not started before the user says so.
// The missing leg counts as out of date then, and is never served.
func TestStartByForce(t *testing.T) {
	r, drives := brittleRig(t, 2, failDrive)
	l := r.mirrorOn("web1", 2)
	l.down(false)
	drives[1].pull()
	r.refuse(6, []string{"assemble"}, "may be newer", "--force")
	r.statusSays(21, "failed")
	r.exactDevices("refused", l.l.ID(), "web1", 0)
	r.run("assemble", "--force", "web1")
	l.w.verify(t, l.w.path)
	l.w.goOn(t)
	l.more(50)
	r.statusSays(20, "failed-redundancy")

	l.down(false) // the other way round: only the old leg is here
	drives[0].pull()
	drives[1].heal()
	for _, args := range [][]string{{"assemble"}, {"assemble", "web1"}} {
		r.refuse(6, args, "missing")
	}
	r.statusSays(21, "failed")
	r.exactDevices("the old leg alone", l.l.ID(), "web1", 0)

	drives[0].heal()
	r.run("assemble")
	l.w.verify(t, l.w.path)
	l.w.goOn(t)
	l.more(20)
	r.statusSays(20, "out of date")
	before := writtenTo(t, drives[1].loop)
	r.run("lun", "recover", "web1", "--wait")
	if copied := writtenTo(t, drives[1].loop) - before; copied < failLength {
		t.Errorf("%v were copied to a leg that was given up, want all %v", copied, failLength)
	}
	l.verify("recover", 2)
}

// A leg fails and comes back in the middle of a crash: what it holds is old, and is not served.
func TestOldLegAfterACrash(t *testing.T) {
	r, drives := brittleRig(t, 3, 64*size.MiB)
	l := r.mirrorOn("web1", 3)
	drives[0].pull() // the first one, from which the kernel likes best to read
	r.awaitLoss("web1", 1)
	l.more(100)
	l.down(true)
	drives[0].heal()
	r.run("assemble")
	l.w.verify(t, l.w.path)
	l.w.goOn(t)
	l.more(20)
	r.run("lun", "recover", "web1", "--wait")
	l.verify("recover", 3)
}
