package product

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// trackedLength is the size of the LUNs of TestTracked, mostWritten what a file system and its writer write to one at most.
const (
	trackedLength = 64 * size.MiB
	mostWritten   = 20 * size.MiB
)

// A tracked LUN with a file system in use gets a plex, and no more is copied to it than was ever written. That stays known when
// plexes come and go, when the LUN grows, when it is taken down, and when the machine crashes.
//
//gate:kernels others
func TestTracked(t *testing.T) {
	r := lab.NewRig(t, 3, 2*trackedLength)
	for i := range r.Drives {
		litter(r, i)
	}
	r.Track = true
	l := &lab.Live{Rig: r, LUN: r.Create("web1", trackedLength, 0)}
	if got := written(l); got != 0 {
		t.Errorf("%s were written to a new LUN", got)
	}
	dir := lab.MountNew(t, "/dev/mapper/plex-web1")
	l.Writer = &lab.Writer{Path: lab.NewFile(t, dir, 4*size.MiB), Stamps: lab.Stamps{Seed: 1, Length: 4 * size.MiB}}
	l.Writer.OnAck = func(uint64) { time.Sleep(5 * time.Millisecond) } // what it writes counts
	l.Writer.Start(t)
	l.More(50)
	discardRefused(t, dir)

	r.Create("second", trackedLength, 1)
	lab.FillWith(t, "/dev/mapper/plex-second", "what the source held before ", trackedLength)
	r.Run("plex", "add", "web1", "second", "--yes", "--wait")
	gotLittle(l, 1)
	l.More(20)
	r.RemoveFrom(l.LUN, 0)
	r.AddOn(l.LUN, 2)
	gotLittle(l, 2)
	l.More(20)
	t.Logf("writer: %v, %s of %s were ever written", l.Writer.Finish(t), written(l), trackedLength)
	lab.Unmount(t, dir)
	lab.RunTool(t, "e2fsck", "-fn", "/dev/mapper/plex-web1")
	r.Whole("with two plexes", "web1", 2)

	r.End(l.LUN.Extend(t.Context(), trackedLength/2, nil))
	r.Whole("after growing", "web1", 2)
	part, err := l.LUN.Split(t.Context(), r.PlexOn(l.LUN, 2), "part")
	lab.Must(t, err)
	r.AddOn(part, 0)
	gotLittle((&lab.Live{Rig: r, LUN: part}), 0)
	r.Whole("the part that was split off", "part", 2)

	r.Run("deactivate")
	r.Run("assemble")
	r.Whole("after a clean stop", "part", 2)
	r.Crash("part")
	r.Run("assemble")
	healthy(r, "part")
	r.Whole("after a crash", "part", 2)
	gotLittle((&lab.Live{Rig: r, LUN: part}), 0)
}

// litter fills a drive with what was there before.
func litter(r *lab.Rig, drive int) {
	r.T.Helper()
	l := r.Create("litter", trackedLength, drive)
	lab.FillWith(r.T, "/dev/mapper/plex-litter", "what was there before ", trackedLength)
	lab.Must(r.T, l.Delete(r.T.Context()))
}

// written is how much of the LUN was ever written.
func written(l *lab.Live) size.Bytes {
	l.T.Helper()
	l.Refresh()
	written, err := l.LUN.Written(l.T.Context())
	lab.Must(l.T, err)
	return written
}

// gotLittle checks that no more was ever written, or written to the plex on a drive since the LUN got it, than should have been.
func gotLittle(l *lab.Live, drive int) {
	l.T.Helper()
	l.Refresh()
	ever, got := written(l), writtenTo(l, l.PlexOn(l.LUN, drive).String())
	l.T.Logf("%s were ever written, and %s to the plex on drive %d", ever, got, drive)
	if ever == 0 || ever > mostWritten || got < ever/2 || got > 2*mostWritten {
		l.T.Errorf("%s were ever written, and %s to the plex on drive %d", ever, got, drive)
	}
}

// WrittenTo is how much was written to a plex since its devices were made (Documentation/block/stat.rst).
func writtenTo(l *lab.Live, plex string) size.Bytes {
	l.T.Helper()
	info, err := l.Control.Info(l.T.Context(), fmt.Sprintf("plex-%s:%s:data", l.LUN.Name(), plex[:8]))
	lab.Must(l.T, err)
	text, err := os.ReadFile("/sys/dev/block/" + info.Dev.String() + "/stat")
	lab.Must(l.T, err)
	sectors, err := strconv.ParseUint(strings.Fields(string(text))[6], 10, 64)
	lab.Must(l.T, err)
	return size.Sectors(sectors).Bytes()
}

// fiTrim is FITRIM, _IOWR('X', 121, struct fstrim_range) of include/uapi/linux/fs.h.
const fiTrim = 0xC0185879

// discardRefused checks that a file system finds out that there are no discards (FITRIM): each would count as written.
func discardRefused(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	lab.Must(t, err)
	defer f.Close()
	all := struct{ start, length, least uint64 }{length: ^uint64(0)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiTrim, uintptr(unsafe.Pointer(&all)))
	if errno != unix.EOPNOTSUPP {
		t.Errorf("trim of a file system on a tracked LUN: %v", errno)
	}
}

// healthy waits until a LUN is.
func healthy(r *lab.Rig, name string) {
	r.T.Helper()
	lab.WaitFor(r.T, name+" to be healthy", lab.SyncLimit, func() bool {
		out, err := lab.TryTool(r.T, "plexctl", "status", name)
		return err == nil && strings.Contains(out, "healthy")
	})
}
