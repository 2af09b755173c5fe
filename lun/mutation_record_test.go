package lun

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// staleOf is a letter for each plex of l: s for one that is out of date.
func staleOf(l catalog.LUN) string {
	text := ""
	for _, p := range l.Plexes {
		text += map[bool]string{true: "s", false: "-"}[p.Stale]
	}
	return text
}

// Whoever writes a new record notes in it what has failed until then: the next table knows nothing of it.
func TestRecordsSayWhatHasFailed(t *testing.T) {
	now, failed := time.Unix(1e9, 0), legs("ADA", asTheyAre)
	spare := single()
	spare.ID, spare.Plexes = plex3, []catalog.Plex{onDrive(plex3, drive3, 64)}
	filling := under(triple(3), vds.AsyncAddLUNPlex, plex3)
	tests := map[string]struct {
		l    catalog.LUN
		want string
	}{
		"attach":                       {absorb(attachment{target: triple(2), source: spare, have: held{was: failed}}, now), "-s-"},
		"attach to a linear LUN":       {absorb(attachment{target: single(), source: spare, have: held{was: standing{live: true, sole: plex1}}}, now), "--"},
		"remove":                       {markFailed(triple(3), failed), "-s-"},
		"remove all but one":           {markFailed(triple(1), failed), "-"},
		"a copy has ended":             {conclude(filling, vds.OK, now), "---"},
		"a copy has failed":            {conclude(filling, vds.ErrIO, now), "--s"},
		"a copy was cancelled":         {conclude(filling, vds.ErrOperationCanceled, now), "---"},
		"mapped onto one plex":         {soleHolder(triple(3), plex2), "s-s"},
		"mapped onto one being filled": {soleHolder(filling, plex3), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := staleOf(test.l); got != test.want {
				t.Errorf("plexes %q, want %q", got, test.want)
			}
		})
	}
}

// A plex that the running table does not have is not taken in, unless it is filled: it may have missed writes.
func TestAPlexThatCameBackStaysOut(t *testing.T) {
	m, _ := shelf(t, triple(3), empty(3))
	was := legs("AAA", asTheyAre)
	delete(was.health, plex2)
	stale := triple(3)
	stale.Plexes[0].Stale = true
	for name, test := range map[string]struct {
		l    catalog.LUN
		was  standing
		want string
	}{
		"it came back":         {triple(3), was, "-o-"},
		"it is filled":         {under(triple(3), vds.AsyncRecoverLUN, plex2), was, "---"},
		"it is out of date":    {stale, legs("AAA", asTheyAre), "o--"},
		"nothing is a leg yet": {triple(3), standing{live: true, sole: plex1}, "---"},
	} {
		got := ""
		for _, p := range test.l.Plexes {
			got += map[bool]string{true: "o", false: "-"}[m.outOf(test.l, test.was)(p)]
		}
		if got != test.want {
			t.Errorf("%s: out of the table %q, want %q", name, got, test.want)
		}
	}
}

// A plex that the kernel has dropped while it was filled needs a new table. Another does not.
func TestDropped(t *testing.T) {
	filling := under(triple(3), vds.AsyncAddLUNPlex, plex3)
	for letters, want := range map[string]bool{"AAa": false, "AAD": true, "ADa": false, "AA": false} {
		if got := dropped(filling, legs(letters, asTheyAre)); got != want {
			t.Errorf("legs %q: dropped = %v, want %v", letters, got, want)
		}
	}
}

// paused is a kernel in which a table waits for web1.
type paused struct {
	scripted
	devices []dm.Device
	waiting dm.Table
}

func (k *paused) List(context.Context) ([]dm.Device, error)         { return k.devices, nil }
func (k *paused) Waiting(context.Context, string) (dm.Table, error) { return k.waiting, nil }
func (k *paused) Info(_ context.Context, name string) (dm.Info, error) {
	for _, d := range k.devices {
		if d.Name == name {
			return dm.Info{Device: d, Live: true, Inactive: d.UUID == lunUUID(lunA)}, nil
		}
	}
	return dm.Info{}, dm.ErrNotExist
}

func (k *paused) Observe(ctx context.Context, name string) (dm.Info, dm.Table, error) {
	info, err := k.Info(ctx, name)
	if err != nil {
		return info, nil, err
	}
	table, err := k.Table(ctx, name)
	return info, table, err
}

// On Linux 6.1 the end of a table that waits empties the bitmaps of its slots. Where these are in force, they are given up
// first.
func TestWaitingMetadataIsGivenUpFirst(t *testing.T) {
	l := triple(3)
	nodes := layout(l, here)
	at := lab(nodes...)
	k := &paused{waiting: nodes[len(nodes)-1].table(at)}
	for _, n := range nodes {
		k.devices = append(k.devices, dm.Device{Name: n.name, UUID: n.uuid, Dev: at.nodes[n.uuid]})
	}
	for name, test := range map[string]struct {
		l    catalog.LUN
		want []string
	}{
		"in force":                     {l, []string{"give up the metadata of web1 that no table has used", "clear the waiting table of plex-web1"}},
		"the other slots are in force": {flipped(l), []string{"clear the waiting table of plex-web1"}},
	} {
		m, _ := shelf(t, l, empty(3))
		m.kernel, m.at = k, numbers{nodes: map[string]devno.No{}}
		h, err := m.settled(t.Context(), test.l)
		if diff := cmp.Diff(test.want, texts(h.settle)); err != nil || diff != "" {
			t.Errorf("%s: %v, steps (-want +got):\n%s", name, err, diff)
		}
	}
}

// A drive of another host is not healed.
func TestForeignDrivesAreNotHealed(t *testing.T) {
	m, mem := shelf(t, triple(3), empty(3))
	m.drives[drive1].foreign = true
	effects := 0
	mem.OnEffect = func(blocktest.Effect) error { effects++; return nil }
	if n, err := m.healOnce(t.Context(), map[uuid.UUID][]catalog.LUN{drive1: nil}); n != 0 || err != nil || effects > 0 {
		t.Errorf("%d drives healed, %v, %d effects", n, err, effects)
	}
}

// twins is a host with two LUNs of 6 MiB on drives of their own, of which the second becomes a plex of the first, which has
// data all over.
func twins(t *testing.T) (*Provider, *blocktest.Mem, *dmtest.Kernel) {
	t.Helper()
	mem := blocktest.New()
	kernel := dmtest.New(mem, dmtest.Linux6_12)
	p, err := Open(t.Context(), Options{Kernel: kernel, Devices: mem, LockPath: t.TempDir() + "/lock"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	made := map[string]*LUN{}
	for _, name := range []string{"web1", "spare3"} {
		mem.AddDisk(blockdev.Info{Path: "/dev/" + name, Size: 32 * size.MiB})
		if _, err := p.InitDrive(t.Context(), "/dev/"+name, InitOptions{}); err != nil {
			t.Fatal(err)
		}
		if made[name], err = p.CreateLUN(t.Context(), Spec{Name: name, Size: 6 * size.MiB, Drives: []string{"/dev/" + name}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := kernel.WriteAt(t.Context(), "plex-web1", bytes.Repeat([]byte{1}, int(6*size.MiB)), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := made["web1"].AddPlex(t.Context(), made["spare3"].ID(), AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	return p, mem, kernel
}

// The ends of a source that is given back are zeroed, and not before it is no plex any more: a cancel may fail.
func TestACancelledSourceIsWipedAtTheEnd(t *testing.T) {
	p, mem, kernel := twins(t)
	for range 2 { // begin, and copy some regions
		if err := kernel.Tick(3); err != nil {
			t.Fatal(err)
		}
	}
	l := p.machine().set.LUNs[0]
	plex := l.Plexes[1]
	firstByte := func() byte {
		b := make([]byte, blockdev.Align)
		if err := p.machine().readExtent(t.Context(), plex.Data[0], b); err != nil {
			t.Fatal(err)
		}
		return b[0]
	}
	before := byte(0)
	mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == "resume" && e.Object == "plex-web1" {
			before = firstByte()
		}
		return nil
	}
	err := p.change(t.Context(), "cancel", func(ctx context.Context, m *machine) error { return m.cancel(ctx, l, time.Unix(1e9, 0)) })
	if err != nil {
		t.Fatal(err)
	}
	if after := firstByte(); before != 1 || after != 0 {
		t.Errorf("the source begins with %d before the swap and with %d at the end, want 1 and 0", before, after)
	}
}

// A plex that was never filled to the end gets everything when it is recovered, not only what was written since.
func TestAPlexThatWasNeverWholeGetsEverything(t *testing.T) {
	p, mem, kernel := twins(t)
	mem.Fail("/dev/spare3", blocktest.Fault{Kind: "write"})
	if err := kernel.WriteAt(t.Context(), "plex-web1", make([]byte, blockdev.Align), 0); err != nil {
		t.Fatal(err)
	}
	for _, op := range p.Operations() {
		if _, err := op.QueryStatus(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mem.Heal("/dev/spare3")
	l, err := p.LUN("web1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if record, err := l.Record(); err != nil || record.Operation == nil || !record.Operation.Whole {
		t.Errorf("%v, record %+v; want an operation that fills the whole plex", err, record)
	}
	if slots, err := p.machine().readSlots(t.Context(), p.machine().set.LUNs[0]); err != nil || slots[0].Bitmap.Bits.Count() != 6 || slots[1].Super.RecoveryOffset == raidmeta.InSync {
		t.Errorf("%v, metadata %+v; want every region set", err, slots)
	}
}

// The record says that a LUN is wiped when it is.
func TestWhatIsCalledWipedIsWiped(t *testing.T) {
	p, _, _ := twins(t)
	l := p.machine().set.LUNs[0]
	l.Wipe = true
	err := p.change(t.Context(), "wipe", func(ctx context.Context, m *machine) error {
		clean, err := m.cleanse(ctx, l)
		if clean.Wipe {
			t.Error("it is still to be wiped")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, blockdev.Align)
	if err := p.machine().readExtent(t.Context(), l.Plexes[0].Data[0], b); err != nil || b[0] != 0 {
		t.Errorf("%v, the LUN begins with %d", err, b[0])
	}
}

// A mirror that is suspended, because its first resume has failed, is never resumed again: it would run without its bitmap.
func TestASuspendedMirrorGetsANewTable(t *testing.T) {
	l := triple(3)
	nodes := layout(l, here)
	at := lab(nodes...)
	at.drives[drive3] = devno.No{Major: 8, Minor: 32}
	view := running(at, nodes...)
	top := view[lunUUID(lunA)]
	for suspended, want := range map[bool]bool{true: true, false: false} {
		m, _ := shelf(t, l, []raidmeta.Slot{slotWith(0), slotWith(1), slotWith(2)})
		m.at = at
		top.Suspended = suspended
		view[lunUUID(lunA)] = top
		steps, err := m.upSteps(t.Context(), l, held{view: view})
		if got := slices.Contains(texts(steps), "commit: web1 has new metadata"); err != nil || got != want {
			t.Errorf("suspended %v: %v, steps %q", suspended, err, texts(steps))
		}
	}
}

// A change of a live mirror puts the slots in force that the live table does not use; the two lie apart.
func TestSlots(t *testing.T) {
	m, _ := shelf(t, triple(3), empty(3))
	used := legs("AAA", asTheyAre)
	used.slots = map[uuid.UUID]catalog.Slot{plex1: catalog.SlotA}
	unused := legs("AAA", asTheyAre)
	unused.slots = map[uuid.UUID]catalog.Slot{plex1: catalog.SlotB}
	for name, test := range map[string]struct {
		got, want catalog.Slot
	}{
		"used":                 {m.flippedIf(held{was: used}, triple(3)).Plexes[0].Slot, catalog.SlotB},
		"not used":             {m.flippedIf(held{was: unused}, triple(3)).Plexes[0].Slot, catalog.SlotA},
		"of a LUN of one plex": {m.flippedIf(held{was: used}, triple(1)).Plexes[0].Slot, catalog.SlotA},
		"and back":             {flipped(flipped(triple(3))).Plexes[2].Slot, catalog.SlotA},
	} {
		if test.got != test.want {
			t.Errorf("%s: slot %s, want %s", name, test.got, test.want)
		}
	}
	p := onDrive(plex1, drive1, 64)
	a, b := slotExtent(p, catalog.SlotA), slotExtent(p, catalog.SlotB)
	if a.Start != p.Meta.Start || b.Start != a.End() || b.End() != p.Meta.End() {
		t.Errorf("slots at %+v and %+v of %+v", a, b, p.Meta)
	}
}

// A change is committed when all drives have it on which a plex lies that holds the data, or is to: a drive that has failed
// must not keep its LUN from being changed.
func TestACommitNeedsTheDrivesThatHoldTheData(t *testing.T) {
	for name, want := range map[string]bool{"web1": true, "spare3": false} {
		p, mem, _ := twins(t)
		mem.Fail("/dev/"+name, blocktest.Fault{Kind: "write"})
		err := p.change(t.Context(), "commit", func(ctx context.Context, m *machine) error {
			next := conclude(m.set.LUNs[0], vds.ErrIO, time.Unix(1e9, 0)) // the plex on spare3 is out of date
			return m.commit(ctx, &transaction{put: []catalog.LUN{m.next(next)}})
		})
		if failed := errors.Is(err, vds.ErrDiskConfigurationNotSaved); failed != want {
			t.Errorf("drive of %s fails: %v; want an error: %v", name, err, want)
		}
	}
}

// Metadata is on the drives, and not in their caches, before anything relies on it. A mirror is marked clean after its data is.
func TestMetadataIsDurable(t *testing.T) {
	l := triple(3)
	slots := []raidmeta.Slot{slotWith(0, 1), slotWith(1, 1), slotWith(2, 1)}
	m, mem := shelf(t, l, slots)
	m.devices = mem.Cut(blocktest.Lost)
	if found, err := m.readSlots(t.Context(), l); err != nil || cmp.Diff(slots, found) != "" {
		t.Errorf("after a power cut: %v (-want +got):\n%s", err, cmp.Diff(slots, found))
	}
	m.devices = mem
	var effects []string
	mem.OnEffect = func(e blocktest.Effect) error { effects = append(effects, e.Kind); return nil }
	if err := m.markClean(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	want := "flush flush flush write flush write flush write flush"
	if got := strings.Join(effects, " "); got != want {
		t.Errorf("effects %q, want %q", got, want)
	}
}

// A mirror whose plexes are not equal is not marked clean.
func TestOnlyEqualPlexesAreMarkedClean(t *testing.T) {
	l := triple(2)
	slots := []raidmeta.Slot{slotWith(0, 1), slotWith(1, 1)}
	slots[1].Super.ResyncOffset = 64
	m, _ := shelf(t, l, slots)
	if err := m.markClean(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if found, err := m.readSlots(t.Context(), l); err != nil || cmp.Diff(slots, found) != "" {
		t.Errorf("metadata: %v (-want +got):\n%s", err, cmp.Diff(slots, found))
	}
}
