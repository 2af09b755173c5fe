package lun_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// ownWorld is a machine with an id and two drives, web1 on the first, written to, and other on the second.
func ownWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, dmtest.Linux6_12, 0)
	w.hosts = []string{"own"}
	w.restart()
	for i, name := range []string{"web1", "other"} {
		w.mem.AddDisk(blockdev.Info{Path: w.path(i), Size: driveSize})
		_, err := w.p.InitDrive(t.Context(), w.path(i), lun.InitOptions{})
		w.must(err)
		w.create(name, lunSize, i)
	}
	w.write(3)
	w.write(900)
	return w
}

// plug plugs in a drive that another host has written.
func (w *world) plug(drive int, host string, luns func(self uuid.UUID) []catalog.LUN) {
	w.t.Helper()
	w.mem.AddDisk(blockdev.Info{Path: w.path(drive), Size: driveSize})
	label := catalog.Label{Drive: uuid.New(), Size: driveSize, Host: host, Created: time.Unix(1700000000, 0)}
	m := w.medium(drive)
	w.must(catalog.Init(m, label))
	d, err := catalog.ReadDrive(m, driveSize)
	w.must(err)
	w.must(d.Write(m, luns(label.Drive)))
}

// recordsOn is the records on a drive.
func (w *world) recordsOn(drive int) []catalog.LUN {
	w.t.Helper()
	d, err := catalog.ReadDrive(w.medium(drive), driveSize)
	w.must(err)
	return d.Catalog.LUNs
}

// plexAt is a plex on a drive, so many MiB behind the first extent.
func plexAt(drive uuid.UUID, at, length size.Sectors) catalog.Plex {
	const mib = size.Sectors(2048)
	start := catalog.FirstExtent.Sectors() + at*mib
	return catalog.Plex{
		ID: uuid.New(), Slot: catalog.SlotA, Meta: catalog.Extent{Drive: drive, Start: start, Length: mib},
		Data: []catalog.Extent{{Drive: drive, Start: start + mib, Length: length}},
	}
}

// What a drive of another host says changes nothing here, whatever it says and whatever the machine does. Neither does a drive
// that names no host.
func TestADriveOfAnotherHostHasNoSay(t *testing.T) {
	says := map[string]func(w *world, self uuid.UUID) []catalog.LUN{
		"that the LUN is deleted": func(w *world, _ uuid.UUID) []catalog.LUN {
			l := w.record("web1")
			return []catalog.LUN{{ID: l.ID, Name: l.Name, Size: l.Size, Generation: l.Generation + 1000, Deleted: true}}
		},
		"that the LUN is to be wiped": func(w *world, _ uuid.UUID) []catalog.LUN {
			l := w.record("web1")
			l.Generation, l.Wipe = l.Generation+1, true
			return []catalog.LUN{l}
		},
		"that the LUN is elsewhere": func(w *world, self uuid.UUID) []catalog.LUN {
			l := w.record("web1")
			l.Generation, l.Plexes = l.Generation+1, []catalog.Plex{plexAt(self, 0, l.Size)}
			return []catalog.LUN{l}
		},
		"the highest generation": func(w *world, _ uuid.UUID) []catalog.LUN {
			l := w.record("web1")
			l.Generation = 1 << 62
			return []catalog.LUN{l}
		},
		"that the LUN has the space of another": func(w *world, _ uuid.UUID) []catalog.LUN {
			l, other := w.record("web1"), w.record("other").Plexes[0]
			other.ID = uuid.New()
			l.Generation, l.Plexes = l.Generation+1, append(slices.Clone(l.Plexes), other)
			return []catalog.LUN{l}
		},
		"that another LUN has absorbed this one": func(w *world, self uuid.UUID) []catalog.LUN {
			l := w.record("web1")
			dead := []catalog.Tombstone{{LUN: l.ID, Generation: l.Generation + 1000}}
			return []catalog.LUN{{ID: uuid.New(), Name: "grave", Size: l.Size, Generation: 1, Absorbed: dead, Plexes: []catalog.Plex{plexAt(self, 0, l.Size)}}}
		},
		"that LUNs are on all free space": func(w *world, _ uuid.UUID) []catalog.LUN {
			var luns []catalog.LUN
			for i := range size.Sectors(4) {
				p := plexAt(w.record("web1").Plexes[0].Meta.Drive, 8+3*i, 2048)
				luns = append(luns, catalog.LUN{ID: uuid.New(), Name: fmt.Sprintf("planted%d", i), Size: 2048, Generation: 9, Plexes: []catalog.Plex{p}})
			}
			return luns
		},
		"that its LUN has this name": func(w *world, self uuid.UUID) []catalog.LUN {
			l := w.record("web1")
			l.ID, l.Plexes = uuid.UUID{15: 1}, []catalog.Plex{plexAt(self, 0, l.Size)}
			return []catalog.LUN{l}
		},
	}
	for name, luns := range says {
		for _, host := range []string{"evil", ""} {
			for _, boot := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/host %q/boot %t", name, host, boot), func(t *testing.T) {
					w := ownWorld(t)
					w.plug(2, host, func(self uuid.UUID) []catalog.LUN { return luns(w, self) })
					w.hasNoSay(2, boot)
				})
			}
		}
	}
}

// hasNoSay expects the machine to be as it was without a drive that was plugged in, also after a boot, and that drive untouched.
func (w *world) hasNoSay(drive int, boot bool) {
	w.t.Helper()
	own := [][]catalog.LUN{w.recordsOn(0), w.recordsOn(1)}
	before, err := w.p.Drive(w.path(0))
	w.must(err)
	theirs, tables := w.recordsOn(drive), w.tables()
	if boot {
		w.cut(blocktest.Kept)
	} else {
		w.restart()
	}
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Object == w.path(drive) {
			w.t.Errorf("%s of the plugged drive", e.Kind)
		}
		return nil
	}
	results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{})
	w.must(err)
	for _, r := range results {
		if mine := r.ID == own[0][0].ID || r.ID == own[1][0].ID; mine && r.Err != nil || !mine && !errors.Is(r.Err, vds.ErrAccessDenied) {
			w.t.Errorf("assemble %s: %v", r.Name, r.Err)
		}
	}
	w.verify()
	if diff := cmp.Diff(tables, w.tables()); diff != "" {
		w.t.Errorf("tables (-before +after):\n%s", diff)
	}
	w.must(w.find("other").Rename(w.t.Context(), "other2"))
	if diff := cmp.Diff(own[0], w.recordsOn(0)); diff != "" {
		w.t.Errorf("records of the first drive (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(theirs, w.recordsOn(drive)); diff != "" {
		w.t.Errorf("records of the plugged drive (-before +after):\n%s", diff)
	}
	if now, err := w.p.Drive(w.path(0)); err != nil || now.Free != before.Free {
		w.t.Errorf("%s free, %v; before %s", now.Free, err, before.Free)
	}
	all, err := w.p.Survey(w.t.Context())
	w.must(err)
	for _, p := range all {
		if mine := p.ID == own[0][0].ID || p.ID == own[1][0].ID; p.Foreign == mine || p.Status == vds.StatusFailed || p.Health == vds.HealthFailed {
			w.t.Errorf("%s: %+v", p.Name, p)
		}
	}
	if problems := w.p.Problems(); len(problems) > 0 {
		w.t.Errorf("problems: %v", problems)
	}
	if results, err := w.p.Deactivate(w.t.Context()); err != nil || resultErrors(results) != nil || len(w.devices()) > 0 {
		w.t.Errorf("deactivate: %v, %v; %v", results, err, w.devices())
	}
}

// Nothing is done with a LUN of another host, by any verb.
func TestALUNOfAnotherHostIsRefused(t *testing.T) {
	w := ownWorld(t)
	w.plug(2, "their", func(self uuid.UUID) []catalog.LUN {
		l := w.record("web1")
		l.ID, l.Name, l.Plexes = uuid.New(), "theirs", []catalog.Plex{plexAt(self, 0, l.Size)}
		return []catalog.LUN{l}
	})
	w.restart()
	effects := 0
	w.mem.OnEffect = func(blocktest.Effect) error { effects++; return nil }
	theirs := w.find("theirs")
	for name, act := range map[string]func() error{
		"rename": func() error { return theirs.Rename(t.Context(), "mine") },
		"delete": func() error { return theirs.Delete(t.Context()) },
		"extend": func() error { _, err := theirs.Extend(t.Context(), size.MiB, nil); return err },
		"source": func() error {
			_, err := w.find("web1").AddPlex(t.Context(), theirs.ID(), lun.AttachOptions{})
			return err
		},
		"target": func() error {
			_, err := theirs.AddPlex(t.Context(), w.find("web1").ID(), lun.AttachOptions{})
			return err
		},
		"scan":  func() error { return theirs.Scan(t.Context(), lun.ScanOptions{Drives: []string{w.path(0)}}) },
		"start": func() error { return assembleOnly("theirs")(w) },
		"create": func() error {
			_, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "x", Size: size.MiB, Drives: []string{w.path(2)}})
			return err
		},
		"remove": func() error { return w.p.RemoveDrive(t.Context(), w.path(2)) },
		"choose": func() error { _, err := w.p.Choose(t.Context(), w.path(2)); return err },
	} {
		err := act()
		if !errors.Is(err, vds.ErrAccessDenied) || !strings.Contains(vds.HintOf(err), "take-over "+w.path(2)) || effects > 0 {
			t.Errorf("%s: %v, hint %q; %d effects", name, err, vds.HintOf(err), effects)
		}
	}
	if _, err := w.p.InitDrive(t.Context(), w.path(2), lun.InitOptions{Force: true}); !errors.Is(err, vds.ErrObjectExists) {
		t.Errorf("init: %v", err)
	}
	w.must(w.find("other").Rename(t.Context(), "more"))
	w.find("theirs") // it is still known after a commit
	if d, err := w.p.Drive(w.path(2)); err != nil || !slices.Equal(d.LUNs, []string{"theirs"}) {
		t.Errorf("drive %+v, %v", d, err)
	}
	w.must(deactivate(w))
}

// A leg of a mirror goes to another host, which takes it over and deletes the LUN there, while this host goes on with the other
// leg. When the leg is back, the LUN here is as it was.
func TestALegComesBackFromAnotherHost(t *testing.T) {
	w := ownWorld(t)
	w.must(addPlex("web1", "other")(w))
	w.finishAll()
	w.write(5)
	w.must(deactivate(w))
	w.cut(blocktest.Kept)
	w.mem.Vanish(w.path(0))
	w.hosts = []string{"their"}
	w.restart()
	_, err := w.p.TakeOver(t.Context())
	w.must(err)
	force := lun.AssembleOptions{LUNs: []string{"web1"}, Force: true}
	results, err := w.p.Assemble(t.Context(), force)
	w.must(errors.Join(err, resultErrors(results)))
	w.must(deactivate(w))
	w.must(w.find("web1").Delete(t.Context()))
	w.mem.Vanish(w.path(1))
	w.mem.Return(w.path(0))
	w.hosts = []string{"own"}
	w.cut(blocktest.Kept)
	results, err = w.p.Assemble(t.Context(), force)
	w.must(errors.Join(err, resultErrors(results)))
	w.write(6)
	w.mem.Return(w.path(1))
	for _, boot := range []bool{false, true} {
		if w.restart(); boot {
			w.cut(blocktest.Kept)
		}
		w.must(assemble(w))
		w.verify()
		props, err := w.find("web1").Properties(t.Context())
		if err != nil || props.Status != vds.StatusOnline || props.Problem == nil || !strings.Contains(props.Problem.Hint, "take-over "+w.path(1)) {
			t.Errorf("boot %t: %+v, %v", boot, props, err)
		}
	}
	if _, err := w.p.CreateLUN(t.Context(), lun.Spec{Name: "y", Size: 12 * size.MiB, Drives: []string{w.path(0)}}); !errors.Is(err, vds.ErrNotEnoughSpace) && err != nil {
		t.Errorf("create: %v", err)
	}
	w.verify()
}

// Without a name no LUN is started whose name another LUN has too. A LUN in use goes on.
func TestNamesakesAreNotStarted(t *testing.T) {
	w := ownWorld(t)
	w.plug(2, "own", func(self uuid.UUID) []catalog.LUN {
		l := w.record("web1")
		l.ID, l.Plexes = uuid.UUID{15: 1}, []catalog.Plex{plexAt(self, 0, l.Size)}
		return []catalog.LUN{l}
	})
	id := w.record("web1").ID
	w.restart()
	if err := assemble(w); !errors.Is(err, vds.ErrNameNotUnique) {
		t.Errorf("assemble beside one in use: %v", err)
	}
	w.verify()
	w.cut(blocktest.Kept)
	results, err := w.p.Assemble(t.Context(), lun.AssembleOptions{})
	w.must(err)
	for _, r := range results {
		if refused := errors.Is(r.Err, vds.ErrNameNotUnique); refused != (r.Name == "web1") {
			t.Errorf("assemble %s %s: %v", r.Name, r.ID, r.Err)
		}
	}
	w.must(assembleOnly(id.String())(w))
	w.verify()
}

// A drive that names no host is another host's where this host has an id. One that a LUN uses gets the id.
func TestADriveWithoutAHost(t *testing.T) {
	w, _, _ := pair(t)
	w.hosts = []string{"own"}
	w.restart()
	_, err := w.p.Deactivate(t.Context(), "spare3")
	w.must(err)
	host := func(drive int) (string, bool) {
		d, err := w.p.Drive(w.path(drive))
		w.must(err)
		return d.Label.Host, d.State == lun.DriveForeign
	}
	for drive := range 2 {
		if id, foreign := host(drive); id != "own" || foreign {
			t.Errorf("drive %d of a LUN in use: host %q, foreign %t", drive, id, foreign)
		}
	}
	w = newWorld(t, dmtest.Linux6_12, 1)
	w.create("web1", lunSize, 0)
	w.hosts = []string{"own"}
	w.cut(blocktest.Kept)
	if err := assemble(w); !errors.Is(err, vds.ErrAccessDenied) || !strings.Contains(err.Error(), "names no host") {
		t.Errorf("assemble: %v", err)
	}
	if id, foreign := host(0); id != "" || !foreign {
		t.Errorf("host %q, foreign %t", id, foreign)
	}
	_, err = w.p.TakeOver(t.Context(), w.path(0))
	w.must(err)
	w.must(assemble(w))
	if id, foreign := host(0); id != "own" || foreign {
		t.Errorf("after the take-over: host %q, foreign %t", id, foreign)
	}
}

// Every record says which host has written it.
func TestRecordsNameTheirHost(t *testing.T) {
	w := ownWorld(t)
	w.must(addPlex("web1", "other")(w))
	w.finishAll()
	w.must(w.find("web1").Rename(t.Context(), "web2"))
	w.hosts = []string{"second"}
	w.must(deactivate(w))
	w.restart()
	_, err := w.p.TakeOver(t.Context())
	w.must(err)
	if l := w.record("web2"); l.Host != "own" {
		t.Errorf("host %q of a record that was not written since", l.Host)
	}
	w.must(w.find("web2").Rename(t.Context(), "web1"))
	for drive := range 2 {
		for _, l := range w.recordsOn(drive) {
			if l.Host != "second" {
				t.Errorf("drive %d: host %q of %s", drive, l.Host, l.Name)
			}
		}
	}
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == "write" && e.Object == w.path(1) {
			w.mem.Fail(w.path(1), blocktest.Fault{Kind: "flush", Nth: 1})
		}
		return nil
	}
	w.hosts = []string{"third", "second"}
	w.restart()
	w.must(w.find("web1").Rename(t.Context(), "web3"))
	if l := w.record("web3"); l.Host != "third" {
		t.Errorf("host %q after a change by the other id", l.Host)
	}
}

// A LUN in use is not failed when the machine gets another id.
func TestANewHostIDWhileALUNIsInUse(t *testing.T) {
	w := ownWorld(t)
	w.hosts = []string{"new"}
	w.restart()
	props, err := w.find("web1").Properties(t.Context())
	if err != nil || props.Status != vds.StatusOnline || props.Health == vds.HealthFailed || props.Device == "" || props.Problem == nil {
		t.Errorf("%+v, %v", props, err)
	}
	w.must(deactivate(w))
	if left := w.devices(); len(left) > 0 {
		t.Errorf("devices %v", left)
	}
	_, err = w.p.TakeOver(t.Context())
	w.must(err)
	w.must(assemble(w))
	w.verify()
}
