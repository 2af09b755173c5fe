package lun_test

import (
	"errors"
	"slices"

	"github.com/plexctl/plexctl/blockdev/blocktest"
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
	w.mem.Fail(w.path(drive), blocktest.Fault{Kind: "write"})
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

func reenumerate(w *world) error {
	results, err := w.p.Reenumerate(w.t.Context())
	return errors.Join(err, resultErrors(results))
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

// look observes a LUN's operation once, and so records its end, or begins it.
func look(name string) func(w *world) error {
	return func(w *world) error {
		op, err := w.find(name).Operation()
		if err != nil {
			return err
		}
		_, err = op.QueryStatus(w.t.Context())
		return err
	}
}

// addNewPlex adds a plex to web1 in free room on a drive.
func addNewPlex(drive int, rate size.Bytes) func(w *world) error {
	return func(w *world) error {
		_, err := w.find("web1").AddNewPlex(w.t.Context(), []string{w.path(drive)}, lun.AttachOptions{Rate: rate})
		return err
	}
}

// mirror makes a LUN a mirror with another one, which it makes, and lets the kernel finish.
func (w *world) mirror(name, other string, drive int) {
	w.t.Helper()
	w.create(other, w.record(name).Size.Bytes(), drive)
	w.must(addPlex(name, other)(w))
	w.finishAll()
}

// rival starts an operation of another LUN that shares a drive with web1.
func rival(w *world) {
	w.t.Helper()
	w.create("third", lunSize, 0)
	w.create("fourth", lunSize, 2)
	w.must(addPlex("third", "fourth")(w))
}

// span makes a LUN that lies on two drives.
func span(w *world) error {
	_, err := w.p.CreateLUN(w.t.Context(), lun.Spec{Name: "wide", Size: 26 * size.MiB, Drives: []string{w.path(2), w.path(3)}})
	return err
}

func deleteLUN(name string) func(w *world) error {
	return func(w *world) error { return w.find(name).Delete(w.t.Context()) }
}

func rename(w *world) error { return w.find("spare3").Rename(w.t.Context(), "spare4") }

// alone cuts the power, and brings the machine up without its second drive.
func alone(w *world) {
	w.cut(blocktest.Kept)
	w.mem.Vanish(w.path(1))
	w.away = true
	w.restart()
}

// reunited brings the second drive back.
func reunited(w *world) {
	w.mem.Return(w.path(1))
	w.away = false
	w.restart()
}

// byForce starts web1 although a plex is missing that may be newer.
func byForce(w *world) error {
	results, err := w.p.Assemble(w.t.Context(), lun.AssembleOptions{LUNs: []string{"web1"}, Force: true})
	return errors.Join(err, resultErrors(results))
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
