package lun_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// The kernel has another table of a LUN than its record wants. What that means for its users decides what the LUN is.
func TestTablesThatAreNotRecorded(t *testing.T) {
	elsewhere := func(w *world, device string, length size.Sectors) {
		d := w.drive(2)
		w.load(device, dm.Table{{Length: length, Target: dm.Linear{Dev: d.Info.Dev, Offset: 9 * size.MiB.Sectors()}}})
	}
	tests := []struct {
		name   string
		mirror bool
		happen func(w *world)
		health vds.Health
		status vds.Status
		says   string
	}{
		{"as recorded", false, func(*world) {}, vds.HealthHealthy, vds.StatusOnline, ""},
		{"a mirror as recorded", true, func(*world) {}, vds.HealthHealthy, vds.StatusOnline, ""},
		{"sectors of somebody else", false, func(w *world) { elsewhere(w, "plex-web1", lunSize.Sectors()) }, vds.HealthFailed, vds.StatusFailed, "other sectors"},
		{"a mirror on sectors of somebody else", true, func(w *world) { elsewhere(w, "plex-web1", lunSize.Sectors()) }, vds.HealthFailed, vds.StatusFailed, "other sectors"},
		{
			"a leg on sectors of somebody else", true,
			func(w *world) { elsewhere(w, w.deviceOf(1, ":data"), lunSize.Sectors()) },
			vds.HealthFailed, vds.StatusFailed, "other sectors",
		},
		{
			"metadata of a leg on sectors of somebody else", true,
			func(w *world) {
				elsewhere(w, w.deviceOf(1, ":meta-"+string(w.plexOn(1).Slot)), w.plexOn(1).Meta.Length/2)
			},
			vds.HealthFailed, vds.StatusFailed, "other sectors",
		},
		{
			"a mirror on one of its plexes", true,
			func(w *world) { w.replaceTable("plex-web1", w.plexOn(1)) },
			vds.HealthFailedRedundancy, vds.StatusOnline, "another table",
		},
		{
			"smaller than recorded", false,
			func(w *world) {
				d, p := w.drive(0), w.plexOn(0)
				w.load("plex-web1", dm.Table{{Length: lunSize.Sectors() / 2, Target: dm.Linear{Dev: d.Info.Dev, Offset: p.Data[0].Start}}})
			},
			vds.HealthHealthy, vds.StatusOnline, "interrupted",
		},
		{
			"all I/O fails", false,
			func(w *world) {
				w.load("plex-web1", dm.Table{{Length: lunSize.Sectors(), Target: dm.Other{Name: "error"}}})
			},
			vds.HealthFailed, vds.StatusFailed, "all of its I/O fails",
		},
		{
			"no table", false,
			func(w *world) {
				d, err := w.kernel.Info(w.t.Context(), "plex-web1")
				w.must(err)
				w.must(w.kernel.Remove(w.t.Context(), "plex-web1"))
				_, err = w.kernel.Create(w.t.Context(), "plex-web1", d.UUID)
				w.must(err)
			},
			vds.HealthFailed, vds.StatusFailed, "not started to the end",
		},
		{
			"suspended", true,
			func(w *world) { w.must(w.kernel.Suspend(w.t.Context(), "plex-web1", false)) },
			vds.HealthUnknown, vds.StatusNotReady, "its I/O waits",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, dmtest.Linux6_12, 3)
			w.create("web1", lunSize, 0)
			w.create("spare3", lunSize, 1)
			if tt.mirror {
				attached(w, -1)
			}
			tt.happen(w)
			w.restart()
			props, err := w.find("web1").Properties(t.Context())
			w.must(err)
			if props.Health != tt.health || props.Status != tt.status {
				t.Errorf("%s and %s, want %s and %s", props.Health, props.Status, tt.health, tt.status)
			}
			if said := text(props.Problem); !strings.Contains(said, tt.says) || tt.says == "" && said != "" {
				t.Errorf("problem %q, want %q", said, tt.says)
			}
			if props.Problem != nil && props.Problem.Hint == "" {
				t.Errorf("%v: nothing to run", props.Problem)
			}
		})
	}
}

// text is the text of an error; empty for none.
func text(err *vds.Error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// drive is the drive with a path.
func (w *world) drive(drive int) lun.Drive {
	w.t.Helper()
	d, err := w.p.Drive(w.path(drive))
	w.must(err)
	return d
}

// load gives a device another table behind plexctl's back.
func (w *world) load(device string, table dm.Table) {
	w.t.Helper()
	ctx := w.t.Context()
	w.must(errors.Join(w.kernel.Load(ctx, device, table), w.kernel.Resume(ctx, device, dm.Public)))
}

// deviceOf is the name of a private device of the plex of web1 on a drive.
func (w *world) deviceOf(drive int, part string) string {
	w.t.Helper()
	return "plex-web1:" + w.plexOn(drive).ID.String()[:8] + part
}

// The only drive of a LUN in use does not answer: the LUN is failed, and the device is named.
func TestOrphanOfASilentDevice(t *testing.T) {
	w, devices, answer := silentWorld(t, 50*time.Millisecond)
	defer answer()
	devices.mu.Lock()
	devices.until[w.path(0)] = devices.until[w.path(2)]
	devices.mu.Unlock()
	w.must(w.p.Refresh(t.Context()))
	all, err := w.p.Survey(t.Context())
	w.must(err)
	for _, p := range all {
		if p.Name != "web1" {
			continue
		}
		if !p.Orphan || p.Health != vds.HealthFailed || !strings.Contains(text(p.Problem), w.path(0)+", which does not answer") {
			t.Errorf("%+v with %v", p, p.Problem)
		}
		return
	}
	t.Errorf("web1 is not among %+v", all)
}
