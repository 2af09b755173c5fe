package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// All drives of a recorded test are slices of one device with a log, so that there is one order of what was written to any of
// them. A flush of one drive passes for one of all: what one drive loses that another one keeps is for the tests that cut the
// power under real disks, see cut_test.go.
const (
	loggedDrive  = 24 * size.MiB
	loggedLength = 4 * size.MiB
	loggedHot    = 1 * size.MiB // the part of the LUN that is written to; the other one is full of loggedCold
	loggedCold   = "sixteen letters."
	writerPause  = 4 * time.Millisecond
	loggedName   = "logged"
	logLength    = 512 * size.MiB

	markBegin = "begin"
	markEnd   = "end"
	markAcked = "acked-%d"
)

// recording is a change of the LUN web1 under a log, and what may become of the LUNs when it is cut off.
type recording struct {
	name   string
	drives int
	before func(r *recorder)
	change func(r *recorder)
	states []string // see rig.census
}

// recordings are the changes that are recorded. Copies are held back, so that some of the writer's writes fall into them.
func recordings() []recording {
	const rate = 4 * size.MiB
	attach := func(r *recorder) {
		spare, err := r.Provider.LUN("spare")
		lab.Must(r.t, err)
		r.End(r.l.AddPlex(r.t.Context(), spare.ID(), lun.AttachOptions{Rate: rate}))
	}
	return []recording{
		{"attach", 2, func(r *recorder) { r.Create("spare", loggedLength, 1) }, attach, []string{"spare:1 web1:1", "web1:2"}},
		{"attach to a mirror", 3, func(r *recorder) {
			r.AddOn(r.l, 1)
			r.Create("spare", loggedLength, 2)
		}, attach, []string{"spare:1 web1:2", "web1:3"}},
		{"cancel", 2, func(r *recorder) {
			spare := r.Create("spare", loggedLength, 1)
			_, err := r.l.AddPlex(r.t.Context(), spare.ID(), lun.AttachOptions{Rate: size.MiB})
			lab.Must(r.t, err)
		}, func(r *recorder) {
			op, err := r.l.Operation()
			lab.Must(r.t, err)
			lab.Must(r.t, op.Cancel(r.t.Context()))
		}, []string{"web1:2", "spare:1 web1:1"}},
		{"remove", 2, func(r *recorder) { r.AddOn(r.l, 1) }, func(r *recorder) { r.RemoveFrom(r.l, 1) }, []string{"web1:2", "web1:1"}},
		{"restart", 2, func(r *recorder) { r.AddOn(r.l, 1) }, (*recorder).restart, []string{"web1:2"}},
	}
}

// restart takes the LUN down and starts it again, which the writer has to let go of meanwhile.
func (r *recorder) restart() {
	r.hold()
	r.Run("deactivate")
	r.Run("assemble")
	r.write()
}

// flight is what was recorded of a change.
type flight struct {
	recording
	log   []logged
	begin int // how many entries there are before the change
	end   int // how many there are up to its end
	w     lab.Stamps
}

// record makes the change on drives that were blank. The writer rests for a while after it.
func (c recording) record(t *testing.T, seed uint64, rest time.Duration) *flight {
	t.Helper()
	device := lab.NewLoop(t, logLength, 512)
	f := &flight{recording: c, w: lab.Stamps{Seed: seed, Length: loggedHot}}
	t.Run(c.name+", recorded", func(t *testing.T) {
		r := newRecorder(t, device, c.drives, f.w)
		c.before(r)
		r.mark(markBegin)
		r.write()
		r.more(10)
		c.change(r)
		r.more(10)
		r.hold()
		time.Sleep(rest)
		r.write()
		r.more(10)
		r.hold()
		r.mark(markEnd)
	})
	file, err := os.Open(device)
	lab.Must(t, err)
	defer file.Close()
	f.log, err = decodeLog(file)
	lab.Must(t, err)
	lab.Must(t, ambiguous(f.log))
	f.begin = slices.IndexFunc(f.log, func(e logged) bool { return e.Mark == markBegin })
	f.end = slices.IndexFunc(f.log, func(e logged) bool { return e.Mark == markEnd })
	if f.begin < 0 || f.end < 0 {
		t.Fatalf("the change begins at entry %d and ends at %d", f.begin, f.end)
	}
	return f
}

// acked is the number of the last write that was made durable before the power fails after n entries.
func (f *flight) acked(n int) uint64 {
	for _, e := range slices.Backward(f.log[:n]) {
		var acked uint64
		if _, err := fmt.Sscanf(e.Mark, markAcked, &acked); err == nil {
			return acked
		}
	}
	return 0
}

// points is the crash points of the change.
func (f *flight) points() []int { return crashPoints(f.log[:f.end], f.begin) }

// intact says what is wrong with the LUN's content when the power has failed after n entries.
func (f *flight) intact(n int) error {
	const path = "/dev/mapper/plex-web1"
	if err := errors.Join(f.w.Check(path, f.acked(n), 1<<32), checkCold(path)); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// errLost means that a LUN does not hold what it must.
var errLost = errors.New("data is lost")

// checkCold says what is wrong with the part of the LUN that nobody has written to since it was filled.
func checkCold(path string) error {
	f, err := lab.OpenDirect(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	p := lab.AlignedBuffer(loggedLength - loggedHot)
	defer unix.Munmap(p)
	if _, err := f.ReadAt(p, int64(loggedHot)); err != nil {
		return err
	}
	for at := range slices.Chunk(p, len(loggedCold)) {
		if string(at) != loggedCold {
			return fmt.Errorf("the part that was not written to holds %q", at)
		}
	}
	return nil
}

// recorder is the rig of a recording, with a writer that makes its writes durable and notes in the log which ones are.
type recorder struct {
	*lab.Rig
	t     *testing.T
	l     *lun.LUN
	w     lab.Stamps
	acked atomic.Uint64 // number of the last write that was made durable
	done  chan struct{} // closed to stop the writer
	ended chan error
}

// sliceAt is where a drive begins on the device whose writes are logged. The first one does not begin at its start: the device would
// have that drive's label, too, and no other drive could be made on it.
func sliceAt(drive int) size.Bytes { return size.MiB + size.Bytes(drive)*loggedDrive }

// newRecorder makes a log on a device, drives under it, and the LUN web1 on the first one.
func newRecorder(t *testing.T, device string, drives int, w lab.Stamps) *recorder {
	t.Helper()
	lab.NewLab(t)
	length := sliceAt(drives)
	base := lab.NewMapping(t, loggedName, dm.Table{{Length: length.Sectors(), Target: dm.Other{
		Name: "log-writes", Args: lab.NewLoop(t, length, 512) + " " + device,
	}}})
	var devices []string
	for i := range drives {
		devices = append(devices, lab.NewMapping(t, fmt.Sprintf("slice%d", i), dm.Table{{Length: loggedDrive.Sectors(), Target: dm.Other{
			Name: "linear", Args: fmt.Sprintf("%s %d", base, sliceAt(i).Sectors()),
		}}}))
	}
	r := &recorder{t: t, Rig: lab.Labelled(t, devices...), w: w}
	r.l = r.Create("web1", loggedLength, 0)
	lab.FillWith(t, "/dev/mapper/plex-web1", loggedCold, loggedLength)
	lab.FillWith(t, "/dev/mapper/plex-web1", "\x00", loggedHot)
	return r
}

// mark makes an entry of its own in the log.
func (r *recorder) mark(text string) {
	r.t.Helper()
	if _, err := r.Control.Message(r.t.Context(), "lab-"+loggedName, 0, "mark "+text); err != nil {
		r.t.Fatal(err)
	}
}

// write lets the writer write, from where it was.
func (r *recorder) write() {
	r.t.Helper()
	f, err := lab.OpenDirect("/dev/mapper/plex-web1", os.O_RDWR)
	lab.Must(r.t, err)
	done := make(chan struct{})
	r.done, r.ended = done, make(chan error, 1)
	go func() { r.ended <- errors.Join(r.writeUntil(done, f), f.Close()) }()
	r.t.Cleanup(r.hold)
}

// writeUntil writes, has what it wrote made durable, and says so in the log, over and over. It does without O_DSYNC: of a
// write with FUA the log does not say whether it came before or after another one.
func (r *recorder) writeUntil(done <-chan struct{}, f *os.File) error {
	p := lab.AlignedBuffer(lab.BlockSize)
	defer unix.Munmap(p)
	for n := r.acked.Load() + 1; ; n++ {
		select {
		case <-done:
			return nil
		case <-time.After(writerPause):
		}
		r.w.Fill(p, n)
		if _, err := f.WriteAt(p, int64(r.w.Block(n))*int64(lab.BlockSize)); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
		if _, err := r.Control.Message(context.Background(), "lab-"+loggedName, 0, fmt.Sprintf("mark "+markAcked, n)); err != nil {
			return err
		}
		r.acked.Store(n)
	}
}

// hold makes the writer let go of the LUN.
func (r *recorder) hold() {
	r.t.Helper()
	if r.done == nil {
		return
	}
	close(r.done)
	r.done = nil
	if err := <-r.ended; err != nil {
		r.t.Errorf("writer: %v", err)
	}
}

// more waits for so many more durable writes.
func (r *recorder) more(writes uint64) {
	r.t.Helper()
	from := r.acked.Load()
	lab.WaitFor(r.t, "the writer", 30*time.Second, func() bool { return r.acked.Load() >= from+writes })
}
