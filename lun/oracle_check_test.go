package lun_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/size"
)

// witness is a test that keeps what is said against it.
type witness struct {
	testing.TB
	said strings.Builder
}

// fatal ends a test that a witness stands for.
type fatal struct{}

func (w *witness) Errorf(format string, args ...any) { fmt.Fprintf(&w.said, format+"\n", args...) }

func (w *witness) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	panic(fatal{})
}

func (w *witness) Fatal(args ...any) { w.Fatalf("%s", fmt.Sprint(args...)) }

// objections is what the oracle says against a machine.
func (w *world) objections() string {
	w.t.Helper()
	heard := &witness{TB: w.t}
	doubtful := *w
	doubtful.t = heard
	func() {
		defer func() {
			r := recover()
			if _, ended := r.(fatal); r != nil && !ended {
				panic(r)
			}
		}()
		o := doubtful.oracle()
		o.inOrder()
		o.samePlexes()
	}()
	return heard.said.String()
}

// The oracle finds no fault in a machine that is in order, and finds each kind of fault.
func TestOracle(t *testing.T) {
	tests := map[string]struct {
		spoil func(w *world)
		want  string // part of what the oracle says; nothing when empty
	}{
		"in order":                         {func(*world) {}, ""},
		"a write is lost":                  {func(w *world) { w.damage(0, 0); w.damage(1, 0) }, "block 0 of web1 holds"},
		"a write is torn on one plex":      {func(w *world) { w.damage(0, 0) }, "block 0 of plex 0 holds"},
		"plexes differ where nobody wrote": {func(w *world) { w.damage(1, 3*block) }, "plex 1 of web1 differs from plex 0 in the MiB at 0"},
		"a device is suspended":            {func(w *world) { w.must(w.kernel.Suspend(w.t.Context(), "plex-spare", false)) }, "plex-spare is suspended"},
		"a device is left over": {func(w *world) {
			_, err := w.kernel.Create(w.t.Context(), "plex-web1:left:over", "PLEX-left-over")
			w.must(err)
		}, "nobody needs plex-web1:left:over"},
		"a LUN is not active": {func(w *world) { w.must(w.kernel.Remove(w.t.Context(), "plex-spare")) }, "spare is not active"},
		"a LUN has another's device": {func(w *world) {
			w.must(w.kernel.Rename(w.t.Context(), "plex-spare", "plex-web2", dm.Public))
		}, "spare is not active"},
		"a table waits": {func(w *world) {
			table, err := w.kernel.Table(w.t.Context(), "plex-spare")
			w.must(errors.Join(err, w.kernel.Load(w.t.Context(), "plex-spare", table)))
		}, "plex-spare has a table waiting"},
		"a table leads elsewhere":   {func(w *world) { w.replaceTable("plex-spare", w.record("web1").Plexes[0]) }, "table of plex-spare is"},
		"a mirror runs on one plex": {func(w *world) { w.replaceTable("plex-web1", w.plexOn(0)) }, "web1 has the table"},
		"an extent has two owners": {func(w *world) {
			taken := w.record("spare").Plexes[0].Data
			w.rewrite(1, "web1", func(l *catalog.LUN) { l.Generation++; l.Plexes[1].Data = taken })
		}, "belongs to spare"},
		"a drive has an old record": {func(w *world) { w.rewrite(1, "web1", func(l *catalog.LUN) { l.Generation-- }) }, "of web1, which has"},
		"drives disagree":           {func(w *world) { w.rewrite(1, "web1", func(l *catalog.LUN) { l.Name = "web2" }) }, "two records of generation"},
		"a drive has no record":     {func(w *world) { w.rewrite(1, "web1", nil) }, "/dev/sdb has no record of"},
		"a LUN is to be wiped":      {func(w *world) { w.rewrite(2, "spare", func(l *catalog.LUN) { l.Wipe = true }) }, "the ends of spare are still to be wiped"},
		"a slot is damaged": {func(w *world) {
			_, err := w.medium(1).WriteAt([]byte(strings.Repeat("?", block)), int64(64*size.KiB))
			w.must(err)
		}, "/dev/sdb is damaged"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, dmtest.Linux6_12, 3)
			w.create("web1", lunSize, 0)
			w.create("other", lunSize, 1)
			w.create("wall", size.MiB, 2)
			w.create("spare", lunSize, 2)
			w.must(addPlex("web1", "other")(w))
			w.settle()
			w.write(0)
			w.rest()
			tt.spoil(w)
			got := w.objections()
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("the oracle says %q, want %q", got, tt.want)
			}
		})
	}
}

// medium is a drive, past everything.
func (w *world) medium(drive int) *blocktest.Medium {
	w.t.Helper()
	info, err := w.mem.Stat(w.t.Context(), w.path(drive))
	w.must(err)
	m, err := w.mem.Medium(info.Dev)
	w.must(err)
	return m
}

// damage spoils a sector of the plex of web1 on a drive.
func (w *world) damage(drive int, off int64) {
	w.t.Helper()
	at := int64(w.plexOn(drive).Data[0].Start.Bytes()) + off
	_, err := w.medium(drive).WriteAt([]byte(strings.Repeat("?", 512)), at)
	w.must(err)
}

// rewrite changes the record of a LUN in the catalog of one drive alone; a nil change takes it away.
func (w *world) rewrite(drive int, name string, change func(*catalog.LUN)) {
	w.t.Helper()
	m := w.medium(drive)
	found, err := catalog.ReadDrive(m, driveSize)
	w.must(err)
	var luns []catalog.LUN
	for _, l := range found.Catalog.LUNs {
		if l.Name == name && change == nil {
			continue
		}
		if l.Name == name {
			change(&l)
		}
		luns = append(luns, l)
	}
	w.must(found.Write(m, luns))
}
