package integration

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// A LUN is made larger, and then the mounted file system on it. Of a mirror nothing but the new part is copied.
func TestExtendUnderAMountedFileSystem(t *testing.T) {
	const by = 16 * size.MiB
	for name, plexes := range map[string]int{"linear": 1, "mirror": 2} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, 64*size.MiB)
			m := r.mountedOn("web1", 24*size.MiB, 0)
			for drive := 1; drive < plexes; drive++ {
				r.addOn(m.l, drive)
			}
			before := r.ahead()
			m.extend(by)
			if copied := r.ahead() - before; plexes == 2 && (copied < int64(by-overhead) || copied > int64(by+overhead)) {
				t.Errorf("%d bytes were copied to the second plex, want %d, give or take %v", copied, by, overhead)
			}
			m.filesystemGrows(by)
			m.leave(plexes)
		})
	}
}

// ahead is how many bytes more have been written to the second drive than to the first: what is written to a mirror of both
// does not count, what is copied from the first to the second does.
func (r *rig) ahead() int64 {
	r.t.Helper()
	return int64(writtenTo(r.t, r.drives[1])) - int64(writtenTo(r.t, r.drives[0]))
}

// extend makes the LUN larger by a size.
func (m *mounted) extend(by size.Bytes) {
	m.t.Helper()
	want := m.record(m.l.Name()).Size + by.Sectors()
	m.run("lun", "extend", m.l.Name(), "--by", by.String(), "--wait")
	if got := m.record(m.l.Name()).Size; got != want {
		m.t.Errorf("the LUN has %v, want %v", got, want)
	}
}

// filesystemGrows makes the file system as large as the LUN, which has grown by a size, and writes to it.
func (m *mounted) filesystemGrows(by size.Bytes) {
	m.t.Helper()
	m.more(20)
	before := m.capacity()
	runTool(m.t, "resize2fs", "/dev/mapper/plex-"+m.l.Name())
	if got := m.capacity() - before; got < by-overhead {
		m.t.Errorf("the file system has grown by %v, want %v", got, by)
	}
	stop := m.churn()
	m.more(200)
	stop()
}

// capacity is how much there is room for in the file system.
func (m *mounted) capacity() size.Bytes {
	m.t.Helper()
	var stat unix.Statfs_t
	if err := unix.Statfs(m.dir, &stat); err != nil {
		m.t.Fatal(err)
	}
	return size.Bytes(stat.Blocks) * size.Bytes(stat.Bsize)
}

// A mounted mirror gets another name: it has one device, under the new name, and goes on.
func TestRenameOfAMountedMirror(t *testing.T) {
	r := newRig(t, 2, 64*size.MiB)
	m := r.mountedOn("web1", 24*size.MiB, 0)
	r.addOn(m.l, 1)
	links := []string{"/dev/mapper/plex-", "/dev/disk/by-id/dm-name-plex-"}
	if _, err := os.Stat(links[1] + "web1"); err != nil {
		links = links[:1] // no udevd
	}
	r.run("lun", "rename", "web1", "web2")
	for _, link := range links {
		waitFor(t, "the old name to go", 5*time.Second, func() bool {
			_, err := os.Lstat(link + "web1")
			return os.IsNotExist(err)
		})
		waitFor(t, "the new name", 5*time.Second, func() bool { return m.hasDevice(link + "web2") })
	}
	r.refuse(3, []string{"lun", "show", "web1"})
	r.refresh()
	var err error
	if m.l, err = r.p.LUN("web2"); err != nil {
		t.Fatal(err)
	}
	m.more(50)
	r.removeFrom(m.l, 0)
	m.leave(1)
}

// hasDevice reports whether a path is a name of the device that is mounted.
func (m *mounted) hasDevice(path string) bool {
	var device, dir unix.Stat_t
	if err := unix.Stat(m.dir, &dir); err != nil {
		m.t.Fatal(err)
	}
	return unix.Stat(path, &device) == nil && device.Rdev == dir.Dev
}
