package lun_test

import (
	"slices"
	"strings"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// scenarios is every operation on a LUN, in every state of the LUN that matters to it.
func scenarios() []scenario {
	return slices.Concat(
		attachScenarios(), endScenarios(), paceScenarios(), removeScenarios(), lifeScenarios(), assembleScenarios(),
		recoverScenarios(), changeScenarios(), scanScenarios(),
	)
}

// onGoodDrives is scenarios, and the same on drives that can zero by themselves: with tracked LUNs, and on drives that tell
// which parts are blank.
func onGoodDrives(all []scenario) []scenario {
	for _, s := range all {
		if s.good != nil {
			continue // they are what it is about
		}
		name := s.name
		s.name, s.good = name+", tracked", (*world).tracks
		all = append(all, s)
		s.name, s.good = name+", thin", (*world).thins
		all = append(all, s)
	}
	return all
}

// attachesOnGoodDrives is attachments on good drives; in a sweep all operations.
func attachesOnGoodDrives() []scenario {
	all := onGoodDrives(slices.DeleteFunc(scenarios(), func(s scenario) bool { return s.good != nil }))
	return slices.DeleteFunc(all, func(s scenario) bool {
		return s.good == nil || !sweep.On() && !strings.HasPrefix(s.name, "attach")
	})
}

func attachScenarios() []scenario {
	return []scenario{
		{name: "attach", prepare: func(*world) {}, act: addPlex("web1", "spare3")},
		{name: "attach again after a cancel", prepare: func(w *world) { attached(w, 3); w.must(cancel(w)) }, act: addPlex("web1", "spare3")},
		{
			name: "attach a larger LUN", drives: 3, prepare: func(w *world) { w.create("third", lunSize+4*size.MiB, 2) },
			act: addPlex("web1", "third"),
		},
		{name: "attach to a mirror", drives: 3, prepare: func(w *world) {
			attached(w, -1)
			w.create("third", lunSize, 2)
		}, act: addPlex("web1", "third")},
		{name: "attach a mirror", drives: 3, prepare: func(w *world) { w.mirror("spare3", "third", 2) }, act: addPlex("web1", "spare3")},
		{name: "attach a mirror to a mirror", drives: 4, prepare: func(w *world) {
			attached(w, -1)
			w.create("third", lunSize+size.MiB, 2)
			w.mirror("third", "fourth", 3)
		}, act: addPlex("web1", "third")},
		{name: "attach to a mirror that lost a plex", drives: 3, prepare: func(w *world) {
			attached(w, -1)
			broken(w, 0)
			w.create("third", lunSize, 2)
		}, act: addPlex("web1", "third")},
		{name: "attach a new plex", prepare: func(*world) {}, act: addNewPlex(1, size.MiB)},
		{name: "attach a new plex to a mirror", drives: 3, prepare: func(w *world) { attached(w, -1) }, act: addNewPlex(2, lun.Unlimited)},
		{name: "attach at a standstill", prepare: func(*world) {}, act: func(w *world) error {
			_, err := w.find("web1").AddPlex(w.t.Context(), w.find("spare3").ID(), lun.AttachOptions{Rate: lun.Paused})
			return err
		}},
		{name: "attach behind another copy", drives: 3, prepare: rival, act: addPlex("web1", "spare3")},
	}
}

// endScenarios is the ends that an attachment can have.
func endScenarios() []scenario {
	return []scenario{
		{name: "cancel at once", prepare: func(w *world) { attached(w, 0) }, act: cancel},
		{name: "cancel in mid-copy", prepare: func(w *world) { attached(w, 4) }, act: cancel},
		{name: "cancel at a mirror", drives: 3, prepare: func(w *world) { tripled(w, 3) }, act: cancel},
		{name: "cancel of a mirror", drives: 3, prepare: func(w *world) {
			w.mirror("spare3", "third", 2)
			attached(w, 2)
		}, act: cancel},
		{name: "cancel of a mirror at a standstill", drives: 3, prepare: func(w *world) {
			w.mirror("spare3", "third", 2)
			attached(w, 2)
			w.must(setRate(lun.Paused)(w))
		}, act: cancel},
		{name: "cancel of a new plex", prepare: func(w *world) {
			w.must(addNewPlex(1, size.MiB)(w))
			w.copied(2)
		}, act: cancel},
		{name: "cancel at a standstill", prepare: func(w *world) { attached(w, 2); w.must(setRate(lun.Paused)(w)) }, act: cancel},
		{name: "cancel in the queue", drives: 3, prepare: func(w *world) { rival(w); attached(w, 1) }, act: cancel},
		{name: "settle", prepare: func(w *world) { attached(w, 0); w.restart(); w.rest() }, act: look("web1")},
		{name: "settle at a mirror", drives: 3, prepare: func(w *world) { tripled(w, 0); w.restart(); w.rest() }, act: look("web1")},
		{name: "settle a failure", prepare: func(w *world) { attached(w, 2); w.restart(); broken(w, 1) }, act: look("web1")},
	}
}

func paceScenarios() []scenario {
	return []scenario{
		{name: "limit", prepare: func(w *world) { attached(w, 3) }, act: setRate(size.MiB)},
		{name: "pause at a mirror", drives: 3, prepare: func(w *world) { tripled(w, 3) }, act: setRate(lun.Paused)},
		{name: "limit after a cut in mid-copy", drives: 3, prepare: func(w *world) {
			tripled(w, 3)
			w.put(noise)
			w.cut(blocktest.Kept)
			w.must(assemble(w))
		}, act: setRate(size.MiB)},
		{name: "go on after a pause", prepare: func(w *world) { attached(w, 1); w.must(setRate(lun.Paused)(w)) }, act: setRate(lun.Unlimited)},
		{name: "settle at the head of the queue", drives: 3, prepare: func(w *world) {
			rival(w)
			attached(w, 0)
			w.restart()
			w.rest()
			w.must(look("third")(w))
			w.restart()
		}, act: look("web1")},
		{name: "assemble when the way is free for a queued copy", drives: 3, prepare: func(w *world) {
			rival(w)
			attached(w, 0)
			w.restart()
			w.rest()
		}, act: assemble},
	}
}

func removeScenarios() []scenario {
	return []scenario{
		{name: "delete", prepare: func(*world) {}, act: deleteLUN("spare3")},
		{name: "delete a mirror", drives: 3, prepare: func(w *world) { w.mirror("spare3", "third", 2) }, act: deleteLUN("spare3")},
		{name: "delete one of two drives", drives: 4, prepare: func(w *world) { w.must(span(w)) }, act: deleteLUN("wide")},
		{name: "remove the first of two", prepare: func(w *world) { attached(w, -1) }, act: removePlex(0)},
		{name: "remove the last of two", prepare: func(w *world) { attached(w, -1) }, act: removePlex(1)},
		{name: "remove the first of three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: removePlex(0)},
		{name: "remove the second of three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: removePlex(1)},
		{name: "remove the failed one of two", prepare: func(w *world) { attached(w, -1); broken(w, 0) }, act: removePlex(0)},
		{name: "remove one of three that has failed", drives: 3, prepare: func(w *world) { tripled(w, -1); broken(w, 1) }, act: removePlex(1)},
		{name: "remove one of three where another has failed", drives: 3, prepare: func(w *world) { tripled(w, -1); broken(w, 1) }, act: removePlex(2)},
		{name: "split one of two", prepare: func(w *world) { attached(w, -1) }, act: split(1), part: "part"},
		{name: "split the first of three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: split(0), part: "part"},
	}
}

func lifeScenarios() []scenario {
	return []scenario{
		{name: "create", drives: 3, prepare: func(*world) {}, act: func(w *world) error {
			_, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "third", Size: lunSize, Drives: []string{w.path(2)}, Track: w.track})
			return err
		}},
		{name: "create a tracked one", drives: 3, prepare: func(*world) {}, act: func(w *world) error {
			_, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "third", Size: lunSize, Drives: []string{w.path(2)}, Track: true})
			return err
		}},
		{name: "create on two drives", drives: 4, prepare: func(*world) {}, act: span},
		{name: "rename", prepare: func(*world) {}, act: rename},
		{name: "rename a mirror", drives: 3, prepare: func(w *world) { w.mirror("spare3", "third", 2) }, act: rename},
		{name: "rename in mid-copy", drives: 3, prepare: func(w *world) {
			w.create("third", lunSize, 2)
			w.must(addPlex("spare3", "third")(w))
			w.copied(2)
		}, act: rename},
		{name: "deactivate in mid-copy", prepare: func(w *world) { attached(w, 3) }, act: deactivate},
		{name: "deactivate a mirror", prepare: func(w *world) { attached(w, -1) }, act: deactivate},
		{name: "deactivate three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: deactivate},
		{
			name: "deactivate after a start by force", prepare: func(w *world) { attached(w, -1); alone(w); w.must(byForce(w)) },
			act: deactivate, after: reunited,
		},
	}
}

func assembleScenarios() []scenario {
	return []scenario{
		{name: "assemble in mid-copy", prepare: func(w *world) { attached(w, 3); w.cut(blocktest.Lost) }, act: assemble},
		{name: "assemble what was paused", prepare: func(w *world) {
			attached(w, 1)
			w.must(setRate(lun.Paused)(w))
			w.cut(blocktest.Kept)
		}, act: assemble},
		{name: "assemble a mirror", prepare: func(w *world) { attached(w, -1); w.put(noise); w.cut(blocktest.Lost) }, act: assemble},
		{name: "assemble what was taken down", prepare: func(w *world) { attached(w, -1); w.must(deactivate(w)) }, act: assemble},
		{name: "assemble three", drives: 3, prepare: func(w *world) {
			tripled(w, -1)
			w.put(noise)
			w.cut(blocktest.Torn(w.random()))
		}, act: assemble},
		{name: "assemble three in mid-copy", drives: 3, prepare: func(w *world) {
			tripled(w, 3)
			w.put(noise)
			w.cut(blocktest.Torn(w.random()))
		}, act: assemble},
		{name: "assemble without a plex that had failed", drives: 3, prepare: func(w *world) {
			tripled(w, -1)
			broken(w, 1)
			alone(w)
		}, act: assemble, after: reunited},
		{name: "assemble without a plex that was being filled", prepare: func(w *world) {
			attached(w, 3)
			alone(w)
		}, act: assemble, after: reunited},
		{name: "assemble a mirror that was extended", prepare: func(w *world) {
			attached(w, -1)
			w.must(extend(w))
			w.must(w.kernel.Tick(1))
			w.cut(blocktest.Lost)
		}, act: assemble},
	}
}

func recoverScenarios() []scenario {
	return []scenario{
		{name: "recover", prepare: func(w *world) { attached(w, -1); broken(w, 1) }, act: recoverWeb},
		{name: "recover the first of three", drives: 3, prepare: func(w *world) { tripled(w, -1); broken(w, 0) }, act: recoverWeb},
		{name: "recover two of three", drives: 3, prepare: func(w *world) { tripled(w, -1); broken(w, 0); broken(w, 2) }, act: recoverWeb},
		{name: "recover after a failed attach", prepare: func(w *world) { attached(w, 2); broken(w, 1); w.must(look("web1")(w)) }, act: recoverWeb},
		{name: "recover after a start by force", prepare: func(w *world) {
			attached(w, -1)
			alone(w)
			w.must(byForce(w))
			w.write(13)
			reunited(w)
			w.rest()
		}, act: recoverWeb},
	}
}

func changeScenarios() []scenario {
	extended := func(drives ...int) func(w *world) error {
		return func(w *world) error {
			var paths []string
			for _, d := range drives {
				paths = append(paths, w.path(d))
			}
			_, err := w.find("web1").Extend(w.t.Context(), 3*size.MiB, paths)
			return err
		}
	}
	return []scenario{
		{name: "extend", prepare: func(*world) {}, act: extend},
		{name: "extend onto another drive", drives: 3, prepare: func(*world) {}, act: extended(2)},
		{name: "extend a mirror", prepare: func(w *world) { attached(w, -1) }, act: extend},
		{name: "extend a mirror in pieces", prepare: func(w *world) {
			attached(w, -1)
			w.create("wall", size.MiB, 0)
		}, act: extend},
		{name: "extend three", drives: 3, prepare: func(w *world) { tripled(w, -1) }, act: extend},
	}
}
