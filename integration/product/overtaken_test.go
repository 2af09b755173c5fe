package product

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
)

// plexctl is stopped while a LUN is suspended, as by a debugger or the freezer of a container. Its guard resumes the LUN with the old
// table, and users go on. Then plexctl goes on too, sees that, and takes its change back. The same change works afterwards.
//
//gate:kernels others
func TestOvertaken(t *testing.T) {
	r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	drives[0].SlowDown(150 * time.Millisecond)
	drives[1].SlowDown(150 * time.Millisecond)
	before := r.Record("web1")
	extend := exec.Command("plexctl", "lun", "extend", "web1", "--by", "1MiB")
	var out bytes.Buffer
	extend.Stdout, extend.Stderr = &out, &out
	lab.Must(t, extend.Start())
	lab.WaitFor(t, "the window", lab.ToolTimeout, func() bool { return r.IsSuspended("web1") })
	lab.Must(t, extend.Process.Signal(unix.SIGSTOP))
	stopped := time.Now()
	lab.WaitFor(t, "the guard", 30*time.Second, func() bool { return !r.IsSuspended("web1") })
	t.Logf("resumed after %v", time.Since(stopped))
	l.More(5)
	if took := time.Since(stopped); took < time.Second {
		t.Errorf("the LUN was suspended for %v only: plexctl was not stopped in its window", took)
	}
	lab.Must(t, extend.Process.Signal(unix.SIGCONT))
	if err := extend.Wait(); err == nil || !strings.Contains(out.String(), "its guard has resumed the LUN with the old table") {
		t.Errorf("extend: %v: %s", err, out.String())
	}
	for _, d := range drives {
		d.Heal()
	}
	r.Refresh()
	if after := r.Record("web1"); after.Size != before.Size || after.Generation <= before.Generation {
		t.Errorf("record after it: %+v, before it: %+v", after, before)
	}
	l.Verify("overtaken", 2)
	r.Run("lun", "extend", "web1", "--by", "1MiB", "--wait")
	l.Verify("extended", 2)
}

// A program that uses the library with the options that it has by default is its own guard.
//
//gate:kernels bare
func TestLibraryIsGuarded(t *testing.T) {
	r := lab.NewRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	p, err := lun.Open(t.Context(), lun.Options{})
	lab.Must(t, err)
	defer p.Close()
	web, err := p.LUN("web1")
	lab.Must(t, err)
	_, err = web.RemovePlex(t.Context(), r.PlexOn(l.LUN, 1))
	lab.Must(t, err)
	l.Verify("without its second plex", 1)
	post, err := lun.StandBy(context.Background(), lun.Window{LUN: l.LUN.ID()})
	lab.Must(t, err)
	defer post.Dismiss()
	lab.Must(t, post.Ready())
}
