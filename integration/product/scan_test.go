package product

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// A LUN with a file system in use is scanned, and gets a plex. The scan is interrupted, and killed, and goes on; in between the
// machine crashes. No more is copied than what is not zero, and the plexes are equal.
//
//gate:kernels others
func TestScan(t *testing.T) {
	r := lab.NewRig(t, 2, 2*trackedLength)
	for i := range r.Drives {
		litter(r, i)
	}
	l := &lab.Live{Rig: r, LUN: r.Create("web1", trackedLength, 0)}
	lab.FillWith(t, "/dev/mapper/plex-web1", "\x00", trackedLength)
	dir := lab.MountNew(t, "/dev/mapper/plex-web1")
	l.Writer = &lab.Writer{Path: lab.NewFile(t, dir, 4*size.MiB), Stamps: lab.Stamps{Seed: 1, Length: 4 * size.MiB}}
	l.Writer.OnAck = func(uint64) { time.Sleep(5 * time.Millisecond) }
	l.Writer.Start(t)
	l.More(50)

	add := []string{"plex", "add", "web1", "--drive", r.Drives[1], "--scan"}
	scanEnds(r, unix.SIGINT, append(add, "--rate", "4MiB")...)
	out := r.Run("lun", "show", "web1")
	if !strings.Contains(out, "plexctl plex add web1 SOURCE --scan") {
		t.Errorf("nothing tells of the scan:\n%s", out)
	}
	l.More(20)
	scanEnds(r, unix.SIGKILL, append(add, "--rate", "4MiB")...)
	l.More(20)
	t.Logf("writer: %v", l.Writer.Finish(t))
	lab.Unmount(t, dir)
	r.Crash("web1")
	r.Run("assemble")

	t.Log(r.Run(append(add, "--wait")...))
	l.Refresh()
	got := writtenTo(l, l.PlexOn(l.LUN, 1).String())
	t.Logf("%s of %s were written to the new plex", got, trackedLength)
	if got == 0 || got > mostWritten {
		t.Errorf("%s were written to the new plex, at most %s are not zero", got, mostWritten)
	}
	r.Whole("after a scan", "web1", 2)
	lab.RunTool(t, "e2fsck", "-fn", "/dev/mapper/plex-web1")

	third := r.Create("web2", trackedLength/2, 0)
	scanEnds(r, unix.SIGINT, "plex", "add", "web2", "--drive", r.Drives[1], "--scan", "--rate", "1MiB")
	r.Run("op", "cancel", "web2")
	r.Run("lun", "extend", "web2", "--by", "8MiB")
	lab.Must(t, third.Delete(t.Context()))
}

// scanEnds runs plexctl, and sends it a signal when it has read for a while.
func scanEnds(r *lab.Rig, signal unix.Signal, args ...string) {
	r.T.Helper()
	cmd := exec.CommandContext(r.T.Context(), "plexctl", args...)
	var talk strings.Builder
	cmd.Stdout, cmd.Stderr = &talk, &talk
	const readSectors = 2 // the field of the statistics
	before := lab.BlockStat(r.T, r.Drives[0], readSectors)
	lab.Must(r.T, cmd.Start())
	lab.WaitFor(r.T, "3 MiB to be read", lab.SyncLimit, func() bool {
		return lab.BlockStat(r.T, r.Drives[0], readSectors) > before+3*size.MiB
	})
	lab.Must(r.T, cmd.Process.Signal(signal))
	err := cmd.Wait()
	r.T.Logf("%s: %v: %s", signal, err, talk.String())
	if err == nil {
		r.T.Error("the scan came to its end")
	}
}
