package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plexctl/plexctl/size"
)

// mounted is a LUN with an ext4 file system on it that is in use by a verified writer in a file.
type mounted struct {
	*live
	dir string
}

// mountedOn makes such a LUN on a drive.
func (r *rig) mountedOn(name string, length size.Bytes, drive int) *mounted {
	r.t.Helper()
	m := &mounted{live: &live{rig: r, l: r.create(name, length, drive)}}
	m.dir = mountNew(r.t, "/dev/mapper/plex-"+name)
	m.w = startWriter(r.t, newFile(r.t, m.dir, 8*size.MiB), 8*size.MiB)
	m.more(20)
	return m
}

// churn makes, writes and removes files through the page cache until the function it returns is called.
func (m *mounted) churn() func() {
	var stopped atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; !stopped.Load(); n++ {
			path := filepath.Join(m.dir, fmt.Sprintf("file%d", n%50))
			_ = os.Remove(path)
			if err := os.WriteFile(path, bytes.Repeat([]byte{byte(n)}, 5000), 0o600); err != nil {
				return // unmounted
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return func() {
		stopped.Store(true)
		<-ended
	}
}

// extState is what the superblock of an ext4 file system on a device says, read past every cache: whether it was left in
// order, and whether its journal has to be replayed.
func extState(t testing.TB, device string) (clean, needsReplay bool) {
	t.Helper()
	var super bytes.Buffer
	copyRange(t, &super, device, 0, blockSize)
	b := super.Bytes()[1024:]
	if magic := binary.LittleEndian.Uint16(b[0x38:]); magic != 0xef53 {
		t.Fatalf("%s holds no ext4: magic %#x", device, magic)
	}
	return binary.LittleEndian.Uint16(b[0x3a:])&3 == 1, binary.LittleEndian.Uint32(b[0x60:])&4 != 0
}

// A plex is split off from under a mounted file system that is written to, first of three, then of two. What is split off is
// a file system without anything to repair, with what was in it at that moment; the LUN goes on.
func TestSplitOfAMountedFileSystem(t *testing.T) {
	r := newRig(t, 3, 64*size.MiB)
	room := r.free(2)
	m := r.mountedOn("web1", 40*size.MiB, 0)
	stop := m.churn()
	t.Cleanup(stop)
	r.addOn(m.l, 1)
	r.addOn(m.l, 2)
	m.split("monday", 2, 2)
	m.split("tuesday", 0, 1)
	r.run("lun", "delete", "monday", "--yes")
	if got := r.free(2); got != room {
		t.Errorf("the drive of the deleted LUN has %v free, want %v", got, room)
	}
	r.addOn(m.l, 2)
	m.more(20)
	stop()
	m.leave(2)
}

// split makes the plex on a drive a LUN and examines that; left is how many plexes stay.
func (m *mounted) split(name string, drive, left int) {
	m.t.Helper()
	_, replay := extState(m.t, "/dev/mapper/plex-"+m.l.Name())
	if !replay {
		m.t.Error("the mounted file system looks like one that was unmounted")
	}
	m.more(10)
	before := m.w.acked.Load()
	m.run("plex", "split", m.l.Name(), m.drives[drive], "--name", name)
	after := m.w.acked.Load() + 1
	device := "/dev/mapper/plex-" + name
	if clean, replay := extState(m.t, device); !clean || replay {
		m.t.Errorf("%s: clean %v, journal to be replayed %v", name, clean, replay)
	}
	m.more(20)
	sum := deviceSum(m.t, device)
	m.whole("split", name, 1)
	m.exactDevices("split", m.l.ID(), m.l.Name(), left)
	runTool(m.t, "e2fsck", "-fn", device)
	dir := mount(m.t, device)
	if err := m.w.check(filepath.Join(dir, "data"), before, after-before); err != nil {
		m.t.Errorf("%s does not hold the %d to %d writes that were acknowledged: %v", name, before, after, err)
	}
	unmount(m.t, dir)
	if sum == deviceSum(m.t, "/dev/mapper/plex-"+m.l.Name()) {
		m.t.Error("the LUN has not gone on")
	}
}

// leave ends the use of m, and fails the test unless its file system is in order and it has so many plexes, all equal.
func (m *mounted) leave(plexes int) {
	m.t.Helper()
	m.t.Logf("writer: %v", m.w.finish(m.t))
	unmount(m.t, m.dir)
	runTool(m.t, "e2fsck", "-fn", "/dev/mapper/plex-"+m.l.Name())
	m.whole("the end", m.l.Name(), plexes)
}
