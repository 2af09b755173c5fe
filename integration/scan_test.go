package integration

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// A LUN with a file system in use is scanned, and gets a plex. The scan is interrupted, and killed, and goes on; in between the
// machine crashes. No more is copied than what is not zero, and the plexes are equal.
func TestScan(t *testing.T) {
	r := newRig(t, 2, 2*trackedLength)
	for i := range r.drives {
		r.litter(i)
	}
	l := &live{rig: r, l: r.create("web1", trackedLength, 0)}
	fillWith(t, "/dev/mapper/plex-web1", "\x00", trackedLength)
	dir := mountNew(t, "/dev/mapper/plex-web1")
	l.w = &writer{path: newFile(t, dir, 4*size.MiB), stamps: stamps{seed: 1, length: 4 * size.MiB}}
	l.w.onAck = func(uint64) { time.Sleep(5 * time.Millisecond) }
	l.w.start(t)
	l.more(50)

	add := []string{"plex", "add", "web1", "--drive", r.drives[1], "--scan"}
	scanEnds(t, unix.SIGINT, append(add, "--rate", "4MiB")...)
	out := r.run("lun", "show", "web1")
	if !strings.Contains(out, "plexctl plex add web1 SOURCE --scan") {
		t.Errorf("nothing tells of the scan:\n%s", out)
	}
	l.more(20)
	scanEnds(t, unix.SIGKILL, append(add, "--rate", "4MiB")...)
	l.more(20)
	t.Logf("writer: %v", l.w.finish(t))
	unmount(t, dir)
	r.crash("web1")
	r.run("assemble")

	t.Log(r.run(append(add, "--wait")...))
	l.refresh()
	got := l.writtenTo(l.plexOn(l.l, 1).String())
	t.Logf("%s of %s were written to the new plex", got, trackedLength)
	if got == 0 || got > mostWritten {
		t.Errorf("%s were written to the new plex, at most %s are not zero", got, mostWritten)
	}
	r.whole("after a scan", "web1", 2)
	runTool(t, "e2fsck", "-fn", "/dev/mapper/plex-web1")

	third := r.create("web2", trackedLength/2, 0)
	scanEnds(t, unix.SIGINT, "plex", "add", "web2", "--drive", r.drives[1], "--scan", "--rate", "1MiB")
	r.run("op", "cancel", "web2")
	r.run("lun", "extend", "web2", "--by", "8MiB")
	must(t, third.Delete(t.Context()))
}

// scanEnds runs plexctl, and sends it a signal when it has read for a while.
func scanEnds(t *testing.T, signal unix.Signal, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "plexctl", args...)
	var talk strings.Builder
	cmd.Stdout, cmd.Stderr = &talk, &talk
	must(t, cmd.Start())
	time.Sleep(5 * time.Second)
	must(t, cmd.Process.Signal(signal))
	err := cmd.Wait()
	t.Logf("%s: %v: %s", signal, err, talk.String())
	if err == nil {
		t.Error("the scan came to its end")
	}
}
