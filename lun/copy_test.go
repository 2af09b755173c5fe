package lun_test

import (
	"context"
	"maps"
	"testing"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
)

// shown is a kernel that notes how devices are shown to udev.
type shown struct {
	*dmtest.Kernel
	as map[string]map[dm.Visibility]bool // by name
}

func (k shown) note(name string, v dm.Visibility) {
	if k.as[name] == nil {
		k.as[name] = map[dm.Visibility]bool{}
	}
	k.as[name][v] = true
}

func (k shown) Resume(ctx context.Context, name string, v dm.Visibility) error {
	k.note(name, v)
	return k.Kernel.Resume(ctx, name, v)
}

func (k shown) Rename(ctx context.Context, name, newName string, v dm.Visibility) error {
	k.note(newName, v)
	return k.Kernel.Rename(ctx, name, newName, v)
}

func (k shown) Name(ctx context.Context, name string, v dm.Visibility) error {
	k.note(name, v)
	return k.Kernel.Name(ctx, name, v)
}

// A LUN that was split off is shown as a copy from the beginning, at each start, when it is a mirror itself, and under another name.
// The LUN that it comes from is not.
func TestACopyIsShownAsOne(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 4)
	w.create("web1", lunSize, 0)
	w.create("spare3", lunSize, 1)
	attached(w, -1)
	k := shown{w.kernel, map[string]map[dm.Visibility]bool{}}
	with := func(do func(p *lun.Provider) error) {
		t.Helper()
		p, err := lun.Open(t.Context(), lun.Options{Kernel: k, Devices: w.mem, LockPath: w.lock})
		if err == nil {
			err = do(p)
			p.Close()
		}
		w.must(err)
	}
	of := func(name string, do func(l *lun.LUN) error) {
		t.Helper()
		with(func(p *lun.Provider) error {
			l, err := p.LUN(name)
			w.must(err)
			return do(l)
		})
	}
	restart := func(p *lun.Provider) error {
		_, err := p.Deactivate(t.Context())
		w.must(err)
		_, err = p.Assemble(t.Context(), lun.AssembleOptions{})
		return err
	}
	plex := w.plexOn(1).ID
	of("web1", func(l *lun.LUN) error { _, err := l.Split(t.Context(), plex, "part"); return err })
	with(restart)
	of("part", func(l *lun.LUN) error { return l.Rename(t.Context(), "copy") })
	of("copy", func(l *lun.LUN) error {
		_, err := l.AddNewPlex(t.Context(), []string{w.path(2)}, lun.AttachOptions{})
		return err
	})
	w.must(w.kernel.RunToEnd())
	with(restart)
	with(func(p *lun.Provider) error { _, err := p.Assemble(t.Context(), lun.AssembleOptions{}); return err })
	want := map[string]dm.Visibility{"plex-web1": dm.Public, "plex-part": dm.Copy, "plex-copy": dm.Copy}
	for name, v := range want {
		if got := k.as[name]; !maps.Equal(got, map[dm.Visibility]bool{v: true}) {
			t.Errorf("%s was shown as %v, want %d alone", name, got, v)
		}
	}
}
