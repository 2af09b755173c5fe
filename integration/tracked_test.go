package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// trackedLength is the size of the LUNs of TestTracked, mostWritten what a file system and its writer write to one at most.
const (
	trackedLength = 64 * size.MiB
	mostWritten   = 20 * size.MiB
)

// A tracked LUN with a file system in use gets a plex, and no more is copied to it than was ever written. That stays known when
// plexes come and go, when the LUN grows, when it is taken down, and when the machine crashes.
func TestTracked(t *testing.T) {
	r := newRig(t, 3, 2*trackedLength)
	for i := range r.drives {
		r.litter(i)
	}
	r.track = true
	l := &live{rig: r, l: r.create("web1", trackedLength, 0)}
	if got := l.written(); got != 0 {
		t.Errorf("%s were written to a new LUN", got)
	}
	dir := mountNew(t, "/dev/mapper/plex-web1")
	l.w = &writer{path: newFile(t, dir, 4*size.MiB), stamps: stamps{seed: 1, length: 4 * size.MiB}}
	l.w.onAck = func(uint64) { time.Sleep(5 * time.Millisecond) } // what it writes counts
	l.w.start(t)
	l.more(50)
	discardRefused(t, dir)

	r.create("second", trackedLength, 1)
	fillWith(t, "/dev/mapper/plex-second", "what the source held before ", trackedLength)
	r.run("plex", "add", "web1", "second", "--yes", "--wait")
	l.gotLittle(1)
	l.more(20)
	r.removeFrom(l.l, 0)
	r.addOn(l.l, 2)
	l.gotLittle(2)
	l.more(20)
	t.Logf("writer: %v, %s of %s were ever written", l.w.finish(t), l.written(), trackedLength)
	unmount(t, dir)
	runTool(t, "e2fsck", "-fn", "/dev/mapper/plex-web1")
	r.whole("with two plexes", "web1", 2)

	r.end(l.l.Extend(t.Context(), trackedLength/2, nil))
	r.whole("after growing", "web1", 2)
	part, err := l.l.Split(t.Context(), r.plexOn(l.l, 2), "part")
	must(t, err)
	r.addOn(part, 0)
	(&live{rig: r, l: part}).gotLittle(0)
	r.whole("the part that was split off", "part", 2)

	r.run("deactivate")
	r.run("assemble")
	r.whole("after a clean stop", "part", 2)
	r.crash("part")
	r.run("assemble")
	r.healthy("part")
	r.whole("after a crash", "part", 2)
	(&live{rig: r, l: part}).gotLittle(0)
}

// litter fills a drive with what was there before.
func (r *rig) litter(drive int) {
	r.t.Helper()
	l := r.create("litter", trackedLength, drive)
	fillWith(r.t, "/dev/mapper/plex-litter", "what was there before ", trackedLength)
	must(r.t, l.Delete(r.t.Context()))
}

// written is how much of the LUN was ever written.
func (l *live) written() size.Bytes {
	l.t.Helper()
	l.refresh()
	written, err := l.l.Written(l.t.Context())
	must(l.t, err)
	return written
}

// gotLittle checks that no more was ever written, or written to the plex on a drive since the LUN got it, than should have been.
func (l *live) gotLittle(drive int) {
	l.t.Helper()
	l.refresh()
	ever, got := l.written(), l.writtenTo(l.plexOn(l.l, drive).String())
	l.t.Logf("%s were ever written, and %s to the plex on drive %d", ever, got, drive)
	if ever == 0 || ever > mostWritten || got < ever/2 || got > 2*mostWritten {
		l.t.Errorf("%s were ever written, and %s to the plex on drive %d", ever, got, drive)
	}
}

// writtenTo is how much was written to a plex since its devices were made (Documentation/block/stat.rst).
func (l *live) writtenTo(plex string) size.Bytes {
	l.t.Helper()
	info, err := l.control.Info(l.t.Context(), fmt.Sprintf("plex-%s:%s:data", l.l.Name(), plex[:8]))
	must(l.t, err)
	text, err := os.ReadFile("/sys/dev/block/" + info.Dev.String() + "/stat")
	must(l.t, err)
	sectors, err := strconv.ParseUint(strings.Fields(string(text))[6], 10, 64)
	must(l.t, err)
	return size.Sectors(sectors).Bytes()
}

// fiTrim is FITRIM, _IOWR('X', 121, struct fstrim_range) of include/uapi/linux/fs.h.
const fiTrim = 0xC0185879

// discardRefused checks that a file system finds out that there are no discards (FITRIM): each would count as written.
func discardRefused(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	all := struct{ start, length, least uint64 }{length: ^uint64(0)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiTrim, uintptr(unsafe.Pointer(&all)))
	if errno != unix.EOPNOTSUPP {
		t.Errorf("trim of a file system on a tracked LUN: %v", errno)
	}
}

// healthy waits until a LUN is.
func (r *rig) healthy(name string) {
	r.t.Helper()
	waitFor(r.t, name+" to be healthy", syncLimit, func() bool {
		out, err := tryTool(r.t, "plexctl", "status", name)
		return err == nil && strings.Contains(out, "healthy")
	})
}
