package lun_test

import (
	"errors"
	"slices"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// must ends the test when a preparation fails.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// addPlex makes a LUN a plex of another.
func addPlex(target, source string) func(w *world) error {
	return func(w *world) error {
		_, err := w.find(target).AddPlex(w.t.Context(), w.find(source).ID(), lun.AttachOptions{})
		return err
	}
}

// attached makes web1 a mirror and lets the kernel copy some regions: all of them when n is negative.
func attached(w *world, n int) {
	w.t.Helper()
	w.must(addPlex("web1", "spare3")(w))
	w.copied(n)
}

// copied lets the kernel copy some regions: all of them, and the operation of web1 end, when n is negative.
func (w *world) copied(n int) {
	w.t.Helper()
	if n < 0 {
		w.settle()
		return
	}
	w.must(w.kernel.Tick(n))
}

// tripled makes web1 a mirror of two, then of three on the third drive, of which the kernel copies n regions.
func tripled(w *world, n int) {
	w.t.Helper()
	attached(w, -1)
	w.create("third", lunSize, 2)
	w.must(addPlex("web1", "third")(w))
	w.copied(n)
}

// broken lets the drive of a plex of web1 fail, and be in order again when web1 has lost it.
func broken(w *world, drive int) {
	w.t.Helper()
	w.mem.Fail(w.path(drive), blockdev.Fault{Kind: "write"})
	w.write(11)
	w.mem.Heal(w.path(drive))
}

// plexOn is the plex of web1 on a drive.
func (w *world) plexOn(drive int) catalog.Plex {
	w.t.Helper()
	d, err := w.p.Drive(w.path(drive))
	w.must(err)
	plexes := w.record("web1").Plexes
	i := slices.IndexFunc(plexes, func(p catalog.Plex) bool { return p.Meta.Drive == d.ID })
	if i < 0 {
		w.t.Fatalf("web1 has no plex on %s", w.path(drive))
	}
	return plexes[i]
}

func assemble(w *world) error {
	results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{})
	return errors.Join(err, resultErrors(results))
}

// assembleOnly assembles one LUN.
func assembleOnly(name string) func(w *world) error {
	return func(w *world) error {
		results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{LUNs: []string{name}})
		return errors.Join(err, resultErrors(results))
	}
}

func deactivate(w *world) error {
	results, err := w.p.Deactivate(w.t.Context())
	return errors.Join(err, resultErrors(results))
}

func resultErrors(results []lun.Result) error {
	var failed []error
	for _, r := range results {
		failed = append(failed, r.Err)
	}
	return errors.Join(failed...)
}

func cancel(w *world) error {
	op, err := w.p.Operation("web1")
	if err != nil {
		return err
	}
	return op.Cancel(w.t.Context())
}

// look observes web1's operation once, and so records its end.
func look(w *world) error {
	op, err := w.p.Operation("web1")
	if err != nil {
		return err
	}
	_, err = op.QueryStatus(w.t.Context())
	return err
}

func removePlex(drive int) func(w *world) error {
	return func(w *world) error {
		_, err := w.find("web1").RemovePlex(w.t.Context(), w.plexOn(drive).ID)
		return err
	}
}

func split(drive int) func(w *world) error {
	return func(w *world) error {
		_, err := w.find("web1").Split(w.t.Context(), w.plexOn(drive).ID, "part")
		return err
	}
}

func recoverWeb(w *world) error {
	_, err := w.find("web1").Recover(w.t.Context())
	return err
}

func extend(w *world) error {
	_, err := w.find("web1").Extend(w.t.Context(), 3*size.MiB, nil)
	return err
}

func setRate(rate size.Bytes) func(w *world) error {
	return func(w *world) error { return w.find("web1").SetRate(w.t.Context(), rate) }
}

// scenarios is every operation that there is, in every state of its LUN that matters to it.
func scenarios() []scenario {
	return slices.Concat(attachScenarios(), removeScenarios(), lifeScenarios(), changeScenarios())
}

func attachScenarios() []scenario {
	return []scenario{
		{name: "attach", prepare: func(*world) {}, act: addPlex("web1", "spare3")},
		{name: "attach again after a cancel", prepare: func(w *world) { attached(w, 3); w.must(cancel(w)) }, act: addPlex("web1", "spare3")},
		{name: "attach to a mirror", drives: 3, prepare: func(w *world) {
			attached(w, -1)
			w.create("third", lunSize, 2)
		}, act: addPlex("web1", "third")},
		{name: "attach a mirror", drives: 3, prepare: func(w *world) {
			w.create("third", lunSize, 2)
			w.must(addPlex("spare3", "third")(w))
			w.finishAll()
		}, act: addPlex("web1", "spare3")},
		{name: "attach to a mirror that lost a plex", drives: 3, prepare: func(w *world) {
			attached(w, -1)
			broken(w, 0)
			w.create("third", lunSize, 2)
		}, act: addPlex("web1", "third")},
		{name: "attach a new plex", prepare: func(*world) {}, act: func(w *world) error {
			_, err := w.find("web1").AddNewPlex(w.t.Context(), []string{w.path(1)}, lun.AttachOptions{Rate: size.MiB})
			return err
		}},
		{name: "cancel at once", prepare: func(w *world) { attached(w, 0) }, act: cancel},
		{name: "cancel in mid-copy", prepare: func(w *world) { attached(w, 4) }, act: cancel},
		{name: "cancel at a mirror", drives: 3, prepare: func(w *world) { tripled(w, 3) }, act: cancel},
		{name: "settle", prepare: func(w *world) { attached(w, 0); w.rest() }, act: look},
		{name: "settle at a mirror", drives: 3, prepare: func(w *world) { tripled(w, 0); w.rest() }, act: look},
		{name: "settle a failure", prepare: func(w *world) { attached(w, 2); broken(w, 1) }, act: look},
		{name: "limit", prepare: func(w *world) { attached(w, 3) }, act: setRate(size.MiB)},
		{name: "pause at a mirror", drives: 3, prepare: func(w *world) { tripled(w, 3) }, act: setRate(lun.Paused)},
	}
}

func removeScenarios() []scenario {
	return []scenario{
		{name: "delete", prepare: func(*world) {}, act: func(w *world) error { return w.find("spare3").Delete(w.t.Context()) }},
		{name: "delete a mirror", drives: 3, prepare: func(w *world) {
			w.create("third", lunSize, 2)
			w.must(addPlex("spare3", "third")(w))
			w.finishAll()
		}, act: func(w *world) error { return w.find("spare3").Delete(w.t.Context()) }},
		{name: "remove the first of two", prepare: func(w *world) { attached(w, -1) }, act: removePlex(0)},
		{name: "remove the last of two", prepare: func(w *world) { attached(w, -1) }, act: removePlex(1)},
		{name: "remove the first of three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: removePlex(0)},
		{name: "remove the second of three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: removePlex(1)},
		{name: "remove one of three that has failed", drives: 3, prepare: func(w *world) { tripled(w, -1); broken(w, 1) }, act: removePlex(1)},
		{name: "remove one of three where another has failed", drives: 3, prepare: func(w *world) { tripled(w, -1); broken(w, 1) }, act: removePlex(2)},
		{name: "split one of two", prepare: func(w *world) { attached(w, -1) }, act: split(1), part: "part"},
		{name: "split the first of three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: split(0), part: "part"},
	}
}

func lifeScenarios() []scenario {
	return []scenario{
		{name: "create", drives: 3, prepare: func(*world) {}, act: func(w *world) error {
			_, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "third", Size: lunSize, Drives: []string{w.path(2)}})
			return err
		}},
		{name: "deactivate in mid-copy", prepare: func(w *world) { attached(w, 3) }, act: deactivate},
		{name: "deactivate a mirror", prepare: func(w *world) { attached(w, -1) }, act: deactivate},
		{name: "deactivate three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: deactivate},
		{name: "assemble in mid-copy", prepare: func(w *world) { attached(w, 3); w.cut(blockdev.Lost) }, act: assemble},
		{name: "assemble a mirror", prepare: func(w *world) { attached(w, -1); w.put(noise); w.cut(blockdev.Lost) }, act: assemble},
		{name: "assemble three", drives: 3, prepare: func(w *world) {
			tripled(w, -1)
			w.put(noise)
			w.cut(blockdev.Torn(w.random()))
		}, act: assemble},
		{name: "assemble three in mid-copy", drives: 3, prepare: func(w *world) {
			tripled(w, 3)
			w.put(noise)
			w.cut(blockdev.Torn(w.random()))
		}, act: assemble},
		{name: "recover", prepare: func(w *world) { attached(w, -1); broken(w, 1) }, act: recoverWeb},
		{name: "recover the first of three", drives: 3, prepare: func(w *world) { tripled(w, -1); broken(w, 0) }, act: recoverWeb},
		{name: "recover after a failed attach", prepare: func(w *world) { attached(w, 2); broken(w, 1); w.must(look(w)) }, act: recoverWeb},
		{name: "start by force", prepare: func(w *world) {
			attached(w, -1)
			w.cut(blockdev.Kept)
			w.mem.Vanish(w.path(1))
			w.restart()
			_, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}, Force: true})
			w.must(err)
		}, act: deactivate, after: func(w *world) { w.mem.Return(w.path(1)); w.restart() }},
	}
}

func changeScenarios() []scenario {
	return []scenario{
		{name: "extend", prepare: func(*world) {}, act: extend},
		{name: "extend a mirror", prepare: func(w *world) { attached(w, -1) }, act: extend},
		{name: "assemble a mirror that was extended", prepare: func(w *world) {
			attached(w, -1)
			w.must(extend(w))
			w.must(w.kernel.Tick(1))
			w.cut(blockdev.Lost)
		}, act: assemble},
		{name: "rename", prepare: func(*world) {}, act: func(w *world) error { return w.find("spare3").Rename(w.t.Context(), "spare4") }},
		{name: "rename a mirror", drives: 3, prepare: func(w *world) {
			w.create("third", lunSize, 2)
			w.must(addPlex("spare3", "third")(w))
			w.finishAll()
		}, act: func(w *world) error { return w.find("spare3").Rename(w.t.Context(), "spare4") }},
	}
}
