package product

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// mounted is a LUN with an ext4 file system on it that is in use by a verified writer in a file.
type mounted struct {
	*lab.Live
	dir string
}

// mountedOn makes such a LUN on a drive.
func mountedOn(r *lab.Rig, name string, length size.Bytes, drive int) *mounted {
	r.T.Helper()
	m := &mounted{Live: &lab.Live{Rig: r, LUN: r.Create(name, length, drive)}}
	m.dir = lab.MountNew(r.T, "/dev/mapper/plex-"+name)
	m.Writer = lab.StartWriter(r.T, lab.NewFile(r.T, m.dir, 8*size.MiB), 8*size.MiB)
	m.More(20)
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
	lab.CopyRange(t, &super, device, 0, lab.BlockSize)
	b := super.Bytes()[1024:]
	if magic := binary.LittleEndian.Uint16(b[0x38:]); magic != 0xef53 {
		t.Fatalf("%s holds no ext4: magic %#x", device, magic)
	}
	return binary.LittleEndian.Uint16(b[0x3a:])&3 == 1, binary.LittleEndian.Uint32(b[0x60:])&4 != 0
}

// A plex is split off from under a mounted file system that is written to, first of three, then of two. What is split off is
// a file system without anything to repair, with what was in it at that moment; the LUN goes on.
//
//gate:kernels releases
func TestSplitOfAMountedFileSystem(t *testing.T) {
	r := lab.NewRig(t, 3, 64*size.MiB)
	room := r.Free(2)
	m := mountedOn(r, "web1", 40*size.MiB, 0)
	stop := m.churn()
	t.Cleanup(stop)
	r.AddOn(m.LUN, 1)
	r.AddOn(m.LUN, 2)
	m.split("monday", 2, 2)
	m.split("tuesday", 0, 1)
	r.Run("lun", "delete", "monday", "--yes")
	if got := r.Free(2); got != room {
		t.Errorf("the drive of the deleted LUN has %v free, want %v", got, room)
	}
	r.AddOn(m.LUN, 2)
	m.More(20)
	stop()
	m.leave(2)
}

// split makes the plex on a drive a LUN and examines that; left is how many plexes stay.
func (m *mounted) split(name string, drive, left int) {
	m.T.Helper()
	_, replay := extState(m.T, "/dev/mapper/plex-"+m.LUN.Name())
	if !replay {
		m.T.Error("the mounted file system looks like one that was unmounted")
	}
	m.More(10)
	before := m.Writer.Acked.Load()
	m.Run("plex", "split", m.LUN.Name(), m.Drives[drive], "--name", name)
	after := m.Writer.Acked.Load() + 1
	device := "/dev/mapper/plex-" + name
	if clean, replay := extState(m.T, device); !clean || replay {
		m.T.Errorf("%s: clean %v, journal to be replayed %v", name, clean, replay)
	}
	m.More(20)
	sum := lab.DeviceSum(m.T, device)
	m.Whole("split", name, 1)
	m.ExactDevices("split", m.LUN.ID(), m.LUN.Name(), left)
	lab.RunTool(m.T, "e2fsck", "-fn", device)
	dir := lab.Mount(m.T, device)
	if err := m.Writer.Check(filepath.Join(dir, "data"), before, after-before); err != nil {
		m.T.Errorf("%s does not hold the %d to %d writes that were acknowledged: %v", name, before, after, err)
	}
	lab.Unmount(m.T, dir)
	if sum == lab.DeviceSum(m.T, "/dev/mapper/plex-"+m.LUN.Name()) {
		m.T.Error("the LUN has not gone on")
	}
}

// leave ends the use of m, and fails the test unless its file system is in order and it has so many plexes, all equal.
func (m *mounted) leave(plexes int) {
	m.T.Helper()
	m.T.Logf("writer: %v", m.Writer.Finish(m.T))
	lab.Unmount(m.T, m.dir)
	lab.RunTool(m.T, "e2fsck", "-fn", "/dev/mapper/plex-"+m.LUN.Name())
	m.Whole("the end", m.LUN.Name(), plexes)
}
