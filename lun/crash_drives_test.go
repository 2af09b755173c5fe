package lun_test

import (
	"bytes"
	"errors"
	"slices"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// driveScenarios is operations on drives. Assemble does not complete them: the user repeats them.
func driveScenarios() []scenario {
	return []scenario{
		{name: "init a drive", prepare: blank, act: initDrive, retry: initDrive},
		{name: "remove a drive", drives: 3, prepare: func(*world) {}, act: removeDrive, retry: removeDrive},
		{name: "grow a drive a little", prepare: enlarged(size.MiB), act: growDrive, retry: growDrive},
		{name: "grow a drive in use", prepare: func(w *world) {
			attached(w, 3)
			enlarged(20 * size.MiB)(w)
		}, act: growDrive, retry: growDrive},
		{name: "repair a drive", prepare: func(w *world) { attached(w, -1); loseLabel(w, 0, 0) }, act: repairDrive, retry: repairDrive},
		{name: "repair the end of a drive", prepare: func(w *world) {
			attached(w, 3)
			loseLabel(w, 0, catalog.TailStart(driveSize))
		}, act: repairDrive, retry: repairDrive},
		{name: "repair a drive that was written over", prepare: writtenOver, act: repairDrive, retry: repairDrive},
		{name: "assemble without labels", prepare: func(w *world) {
			attached(w, -1)
			w.put(noise)
			w.cut(blocktest.Lost)
			loseLabel(w, 0, 0)
			loseLabel(w, 1, 0)
		}, act: assemble},
		{name: "take over", prepare: foreign, act: takeOver, retry: takeOver},
		{name: "choose", prepare: replaced, act: choose, retry: choose},
		{name: "start by force", prepare: func(w *world) { attached(w, -1); alone(w) }, act: byForce, retry: byForce, after: reunited},
		{name: "start the rest of three by force", drives: 3, prepare: func(w *world) {
			tripled(w, -1)
			w.put(noise)
			alone(w)
		}, act: byForce, retry: byForce, after: reunited},
		{name: "reenumerate", prepare: func(w *world) {
			attached(w, -1)
			w.replaceTable("plex-web1", w.plexOn(1))
		}, act: reenumerate, retry: reenumerate, alive: true},
		{name: "replace a table in pieces", prepare: func(w *world) {
			attached(w, -1)
			w.replaceTable("plex-web1", w.plexOn(1), 2)
		}, act: reenumerate, retry: reenumerate, alive: true},
	}
}

// blank adds a disk that is no drive yet.
func blank(w *world) { w.mem.AddDisk(blockdev.Info{Path: w.path(2), Size: driveSize}) }

func initDrive(w *world) error {
	_, err := w.p.InitDrive(w.t.Context(), w.path(2), lun.InitOptions{Force: true})
	return err
}

// removeDrive does nothing where there is no drive any more.
func removeDrive(w *world) error {
	if !slices.ContainsFunc(w.p.Drives(), func(d lun.Drive) bool { return d.Info.Path == w.path(2) }) {
		return nil
	}
	return w.p.RemoveDrive(w.t.Context(), w.path(2))
}

// enlarged makes the device of the first drive larger.
func enlarged(by size.Bytes) func(w *world) {
	return func(w *world) { w.mem.Change(w.path(0), sized(driveSize+by)) }
}

// growDrive does nothing to a drive that is as large as its device.
func growDrive(w *world) error {
	err := w.p.GrowDrive(w.t.Context(), w.path(0))
	if d, readErr := w.p.Drive(w.path(0)); errors.Is(err, vds.ErrInvalidOperation) && readErr == nil && d.Grown == 0 {
		return nil
	}
	return err
}

// loseLabel zeroes the label of a drive at one end.
func loseLabel(w *world, drive int, start size.Bytes) {
	m := w.medium(drive)
	_, err := m.WriteAt(make([]byte, 4*size.KiB), int64(start+4*size.KiB))
	w.must(errors.Join(err, m.Sync()))
	w.restart()
}

// repairDrive does nothing to a drive whose label is in order.
func repairDrive(w *world) error {
	err := w.p.RepairDrive(w.t.Context(), w.path(0))
	if errors.Is(err, vds.ErrInvalidOperation) {
		return nil
	}
	return err
}

// writtenOver takes a mirror down, and has somebody write over the start of its first drive.
func writtenOver(w *world) {
	attached(w, -1)
	w.must(deactivate(w))
	m := w.medium(0)
	_, err := m.WriteAt(bytes.Repeat([]byte("LABELONE"), int(5*size.MiB/8)), 0)
	w.must(errors.Join(err, m.Sync()))
	w.restart()
}

// foreign adds a drive with a LUN of another host.
func foreign(w *world) {
	w.hosts = []string{"other"}
	w.restart()
	blank(w)
	w.must(initDrive(w))
	w.create("third", lunSize, 2)
	_, err := w.p.Deactivate(w.t.Context(), "third")
	w.must(err)
	w.hosts = []string{"own"}
	w.restart()
}

// replaced adds a drive on another device than its label was written to.
func replaced(w *world) {
	blank(w)
	w.is(2, "serial:old")
	w.must(initDrive(w))
	w.is(2, "serial:new")
	w.restart()
}

func choose(w *world) error {
	d, err := w.p.Choose(w.t.Context(), w.path(2))
	if err == nil && d.Changed {
		w.t.Errorf("%+v", d)
	}
	return err
}

func takeOver(w *world) error {
	_, err := w.p.TakeOver(w.t.Context())
	return err
}
