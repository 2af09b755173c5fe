package lun_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/vds"
)

// frozen is a kernel whose file systems are frozen already.
type frozen struct{ *dmtest.Kernel }

func (k frozen) Suspend(ctx context.Context, name string, freeze bool) error {
	if freeze {
		return &dm.Error{Op: "suspend", Device: name, Err: unix.EBUSY}
	}
	return k.Kernel.Suspend(ctx, name, freeze)
}

// A split of a LUN whose file system is frozen already says so, and is taken back.
func TestSplitOfAFrozenFileSystem(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_1, 2)
	w.create("web1", lunSize, 0)
	w.create("spare3", lunSize, 1)
	attached(w, -1)
	plex := w.plexOn(1).ID
	before := w.shape()
	w.p.Close()
	p, err := lun.Open(t.Context(), lun.Options{Kernel: frozen{w.kernel}, Devices: w.mem, LockPath: w.lock})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	web, err := p.LUN("web1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = web.Split(t.Context(), plex, "copy")
	if vds.CodeOf(err) != vds.ErrDeviceInUse || !errors.Is(err, dm.ErrBusy) || !strings.Contains(err.Error(), "frozen already") ||
		!strings.Contains(vds.HintOf(err), "fsfreeze --unfreeze") {
		t.Errorf("split: %v; hint: %s", err, vds.HintOf(err))
	}
	w.open()
	if after := w.shape(); after != before {
		t.Errorf("the machine is\n%snot as before\n%s", after, before)
	}
	w.notSuspended()
	w.verify()
}
