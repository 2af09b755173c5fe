package integration

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// sweep reports whether tests are to do everything, however long that takes.
func sweep() bool { return os.Getenv(sweepVar) != "" }

// rounds is how many rounds a test makes: the few, or the many of a sweep.
func rounds(few, many int) int {
	if sweep() {
		return many
	}
	return few
}

// victim is a change of the LUN web1 that plexctl is killed in.
type victim struct {
	name   string
	before func(l *live)          // what has to be there
	args   func(l *live) []string // of plexctl
	after  func(l *live)          // back to three plexes, from the old state and from the new one
}

// killed runs plexctl and kills it when the moment has come, or after limit. It returns how long it ran, and whether it was
// killed.
func killed(t testing.TB, moment func() bool, limit time.Duration, args ...string) (time.Duration, bool) {
	t.Helper()
	cmd := exec.Command("plexctl", args...)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !moment() && time.Since(start) < limit {
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("plexctl %s, which was not killed: %v", strings.Join(args, " "), err)
			}
			return time.Since(start), false
		default:
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Log(err) // it has just ended
	}
	<-ended
	return time.Since(start), true
}

// suspended reports whether web1 is suspended this very moment.
func (l *live) suspended() bool {
	info, err := l.control.Info(l.t.Context(), "plex-web1")
	return err == nil && info.Suspended
}

// TestKilledInTheMiddleOfAChange kills plexctl in every kind of change that suspends a mirror: as soon as it is seen
// suspended, and at any other time. The next plexctl finds the old state or the new one, and lets the LUN go on. 6 kills; 200
// with PLEXCTL_SWEEP.
func TestKilledInTheMiddleOfAChange(t *testing.T) {
	r := newRig(t, 3, 32*size.MiB)
	l := r.liveOn("web1", 12*size.MiB, 0)
	r.addOn(l.l, 1)
	r.addOn(l.l, 2)
	victims := []victim{
		{"remove", func(*live) {}, func(l *live) []string { return []string{"plex", "remove", "web1", l.drives[2], "--yes"} }, (*live).third},
		{"split", func(*live) {}, func(l *live) []string { return []string{"plex", "split", "web1", l.drives[2], "--name", "monday"} }, (*live).unsplit},
		{"set-rate", (*live).pausedThird, func(*live) []string { return []string{"op", "set-rate", "web1", "100KiB"} }, (*live).unpause},
	}
	typical := map[string]time.Duration{}
	inWindow, kills := 0, 0
	for round := range rounds(6, 200) {
		v := victims[round%len(victims)]
		v.before(l)
		moment, limit := l.suspended, time.Minute
		if round >= rounds(3, 60) { // any time: rather late than early, for most of it is reading drives
			moment = func() bool { return false }
			limit = typical[v.name] * time.Duration(400+rand.IntN(700)) / 1000
		}
		took, dead := killed(t, moment, limit, v.args(l)...)
		typical[v.name] = max(typical[v.name], took)
		if dead {
			kills++
		}
		if l.suspended() {
			inWindow++
		}
		r.run("assemble")
		l.more(5)
		v.after(l)
		if round%6 == 5 {
			l.verify("kills", 3)
		}
	}
	t.Logf("%d kills, %d of them left the LUN suspended; writer: %v", kills, inWindow, l.w.finish(t))
	if kills == 0 || inWindow == 0 {
		t.Error("no kill hit a suspended LUN")
	}
}

// third brings web1 back to three plexes.
func (l *live) third() {
	l.t.Helper()
	switch n := len(l.record("web1").Plexes); n {
	case 3:
	case 2:
		l.addOn(l.l, 2)
	default:
		l.t.Fatalf("%d plexes", n)
	}
	l.exactDevices("killed", l.l.ID(), "web1", 3)
}

// unsplit is third where the plex may have become a LUN, which must then be usable.
func (l *live) unsplit() {
	l.t.Helper()
	l.refresh()
	if monday, err := l.p.LUN("monday"); err == nil {
		l.exactDevices("killed", monday.ID(), "monday", 1)
		deviceSum(l.t, "/dev/mapper/plex-monday")
		l.run("lun", "delete", "monday", "--yes")
	}
	l.third()
}

// pausedThird takes the third plex away and adds one that is not filled for now.
func (l *live) pausedThird() {
	l.t.Helper()
	l.removeFrom(l.l, 2)
	if _, err := l.l.AddNewPlex(l.t.Context(), []string{l.drives[2]}, lun.AttachOptions{Rate: lun.Paused}); err != nil {
		l.t.Fatal(err)
	}
}

// unpause lets the third plex be filled.
func (l *live) unpause() {
	l.t.Helper()
	l.refresh()
	if l.record("web1").Operation != nil {
		l.run("op", "set-rate", "web1", "max")
	}
	l.run("op", "wait", "web1", "--timeout", syncLimit.String())
	l.third()
}
