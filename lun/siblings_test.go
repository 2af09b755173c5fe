package lun_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// quartet is a world with four drives: web1 on the first, written to, and spare3, third, fourth on the others.
func quartet(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, dmtest.Linux6_12, 4)
	for drive, name := range []string{"web1", "spare3", "third", "fourth"} {
		w.create(name, lunSize, drive)
	}
	for at := range int64(20) {
		w.write(at * 70)
	}
	return w
}

// Every plex of a mirrored source becomes a plex, up to eight; a ninth is refused.
func TestAttachUpToEightPlexes(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 9)
	w.create("web1", lunSize, 0)
	w.create("two", lunSize, 1)
	w.create("three", lunSize, 2)
	w.must(addPlex("two", "three")(w))
	w.finishAll()
	w.write(5)
	w.must(addPlex("web1", "two")(w))
	w.copied(-1)
	for drive := 3; drive < 8; drive++ {
		name := "more" + string(rune('0'+drive))
		w.create(name, lunSize+size.MiB, drive)
		w.must(addPlex("web1", name)(w))
		w.write(int64(drive))
		w.copied(-1)
		w.verify()
	}
	record := w.record("web1")
	if len(record.Plexes) != 8 || record.Size.Bytes() != lunSize {
		t.Errorf("%d plexes of a LUN of %s", len(record.Plexes), record.Size)
	}
	w.create("ninth", lunSize, 8)
	if err := addPlex("web1", "ninth")(w); !errors.Is(err, vds.ErrInvalidOperation) {
		t.Errorf("a ninth plex: %v, want VDS_E_INVALID_OPERATION", err)
	}
}

// From two plexes to three, two, one and two again, with the data in place.
func TestPlexesComeAndGo(t *testing.T) {
	w := quartet(t)
	for _, step := range []func(w *world) error{
		addPlex("web1", "spare3"), addPlex("web1", "third"), removePlex(0), removePlex(2), addPlex("web1", "fourth"),
	} {
		w.must(step(w))
		w.write(w.random().Int64N(noise))
		w.copied(-1)
		w.verify()
	}
	want := []string{"fourth gone", "spare3 gone", "third gone", "web1 of 2"}
	var got []string
	for _, name := range []string{"fourth", "spare3", "third", "web1"} {
		if l, err := w.p.LUN(name); err == nil && l.Name() == name {
			got = append(got, name+" of 2")
		} else {
			got = append(got, name+" gone")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("LUNs (-want +got):\n%s", diff)
	}
	if n := len(w.record("web1").Plexes); n != 2 {
		t.Errorf("web1 has %d plexes, want 2", n)
	}
}

func TestRemoveAndSplitRefuse(t *testing.T) {
	tests := map[string]struct {
		prepare func(w *world)
		act     func(w *world) error
		code    vds.Code
	}{
		"remove the only plex": {func(*world) {}, removePlex(0), vds.ErrInvalidOperation},
		"remove no plex": {func(w *world) { attached(w, -1) }, func(w *world) error {
			_, err := w.find("web1").RemovePlex(w.t.Context(), uuid.New())
			return err
		}, vds.ErrObjectNotFound},
		"remove while one is filled":    {func(w *world) { attached(w, 2) }, removePlex(1), vds.ErrAnotherCallInProgress},
		"remove the last that is whole": {func(w *world) { attached(w, -1); broken(w, 1) }, removePlex(0), vds.ErrPlexLastActive},
		"split one that has failed":     {func(w *world) { attached(w, -1); broken(w, 1) }, split(1), vds.ErrObjectStatusFailed},
		"split under a name that is taken": {func(w *world) { attached(w, -1) }, func(w *world) error {
			_, err := w.find("web1").Split(w.t.Context(), w.plexOn(1).ID, "third")
			return err
		}, vds.ErrNameNotUnique},
		"split under no name": {func(w *world) { attached(w, -1) }, func(w *world) error {
			_, err := w.find("web1").Split(w.t.Context(), w.plexOn(1).ID, "a b")
			return err
		}, vds.ErrInvalidArg},
		"remove from an inactive mirror":   {func(w *world) { attached(w, -1); w.must(deactivate(w)) }, removePlex(1), vds.ErrObjectStatusFailed},
		"attach to an inactive LUN":        {func(w *world) { w.must(deactivate(w)) }, addPlex("web1", "spare3"), vds.ErrObjectStatusFailed},
		"extend a mirror that lost a plex": {func(w *world) { attached(w, -1); broken(w, 1) }, extend, vds.ErrObjectStatusFailed},
		"extend beyond the drive": {func(*world) {}, func(w *world) error {
			_, err := w.find("web1").Extend(w.t.Context(), size.GiB, nil)
			return err
		}, vds.ErrNotEnoughSpace},
		"extend by nothing": {func(*world) {}, func(w *world) error {
			_, err := w.find("web1").Extend(w.t.Context(), 0, nil)
			return err
		}, vds.ErrInvalidArg},
		"limit nothing":               {func(*world) {}, setRate(size.MiB), vds.ErrInvalidOperation},
		"limit to less than there is": {func(w *world) { attached(w, 2) }, setRate(2), vds.ErrInvalidArg},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := quartet(t)
			test.prepare(w)
			before, shape := w.tables(), w.shape()
			if err := test.act(w); !errors.Is(err, test.code) {
				t.Errorf("%v, want %v", err, test.code)
			}
			if diff := cmp.Diff(before, w.tables()); diff != "" {
				t.Errorf("tables (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(shape, w.shape()); diff != "" {
				t.Errorf("records (-before +after):\n%s", diff)
			}
		})
	}
}

// A split leaves both LUNs with the content of the moment, and what is written then goes to one of them only.
func TestSplitParts(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	w.keep()
	w.must(split(1)(w))
	w.verifyPart("part")
	w.write(70)
	w.verify()
	part := w.find("part")
	if props, err := part.Properties(t.Context()); err != nil || props.Status != vds.StatusOnline || len(props.Plexes) != 1 {
		t.Errorf("the new LUN: %+v, %v", props, err)
	}
	if err := part.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	w.verify()
}

// A plex that was being filled when its drive failed stays a failed plex of the LUN. Recover fills it, all of it.
func TestAttachFailsAndIsRecovered(t *testing.T) {
	w := quartet(t)
	attached(w, 3)
	op, err := w.find("web1").Operation()
	w.must(err)
	broken(w, 1)
	if err := op.Wait(t.Context()); !errors.Is(err, vds.ErrObjectStatusFailed) {
		t.Errorf("wait: %v, want VDS_E_OBJECT_STATUS_FAILED", err)
	}
	if st, err := op.QueryStatus(t.Context()); err != nil || st.Percent != 0 || st.Result != vds.ErrObjectStatusFailed {
		t.Errorf("status %+v, %v", st, err)
	}
	if record := w.record("web1"); record.Operation != nil || !record.Plexes[1].Stale || record.Last.Result != vds.ErrObjectStatusFailed {
		t.Errorf("record %+v", record)
	}
	props, err := w.find("web1").Properties(t.Context())
	if err != nil || props.Health != vds.HealthFailedRedundancy || !strings.Contains(props.Problem.Hint, "plexctl lun recover web1") {
		t.Errorf("properties %+v, %v", props, err)
	}
	w.settle()
	w.verify()
	if w.record("web1").Plexes[1].Stale {
		t.Error("the plex is still out of date")
	}
}

// The second rebuild on a drive waits for the first. It begins after the first has ended, at the next look.
func TestRebuildsOnOneDriveAreQueued(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 2)
	for _, name := range []string{"web1", "web2", "web3"} {
		w.create(name, lunSize, 0)
	}
	for _, name := range []string{"one", "two", "three"} {
		w.create(name, lunSize, 1)
	}
	w.must(addPlex("web1", "one")(w))
	w.must(addPlex("web2", "two")(w))
	if _, err := w.find("web3").AddPlex(t.Context(), w.find("three").ID(), lun.AttachOptions{Now: true}); err != nil {
		t.Fatal(err)
	}
	queued := func(name string) bool { return w.record(name).Operation.Queued }
	if queued("web1") || !queued("web2") || queued("web3") {
		t.Errorf("queued: %v, %v, %v; want only the second", queued("web1"), queued("web2"), queued("web3"))
	}
	op, err := w.find("web2").Operation()
	w.must(err)
	if st, err := op.QueryStatus(t.Context()); err != nil || st.State != resync.Queued || !st.Pending() {
		t.Errorf("status %+v, %v", st, err)
	}
	for range 4 { // begin, copy, end, and rest: all but the one that waits
		w.must(w.kernel.Tick(100))
	}
	for _, name := range []string{"web1", "web3", "web2"} {
		other, err := w.find(name).Operation()
		w.must(err)
		_, err = other.QueryStatus(t.Context())
		w.must(err)
	}
	if queued("web2") {
		t.Error("the second still waits")
	}
	w.rest()
	if err := op.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	w.settle()
}

// A plex that is recovered waits for another LUN's copy on one of its drives, too.
func TestARecoveryIsQueued(t *testing.T) {
	w := quartet(t)
	attached(w, -1)
	w.create("web2", lunSize, 2)
	w.create("two", lunSize, 1)
	broken(w, 1)
	w.must(addPlex("web2", "two")(w))
	w.must(recoverWeb(w))
	if !w.record("web1").Operation.Queued {
		t.Error("two copies to one drive run at a time")
	}
	w.settle()
	w.verify()
}

// The copy goes on where it was when its rate changes.
func TestSetRateDoesNotStartAnew(t *testing.T) {
	w := quartet(t)
	attached(w, 4)
	w.must(setRate(lun.Paused)(w))
	props, err := w.find("web1").Properties(t.Context())
	if err != nil || props.Rate != lun.Paused {
		t.Errorf("rate %v, %v", props.Rate, err)
	}
	w.must(setRate(lun.Unlimited)(w))
	copied := 0
	w.mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == "write" && e.Object == w.path(1) {
			copied++
		}
		return nil
	}
	w.rest()
	w.mem.OnEffect = nil
	w.settle()
	w.verify()
	t.Logf("%d writes to the new plex after the rate was set", copied)
	if regions := int(lunSize / size.MiB); copied > 16*regions {
		t.Errorf("%d writes to the new plex", copied)
	}
}
