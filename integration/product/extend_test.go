package product

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// A LUN is made larger, and then the mounted file system on it. Of a mirror nothing but the new part is copied.
func TestExtendUnderAMountedFileSystem(t *testing.T) {
	const by = 16 * size.MiB
	for name, plexes := range map[string]int{"linear": 1, "mirror": 2} {
		t.Run(name, func(t *testing.T) {
			r := lab.NewRig(t, 2, 64*size.MiB)
			m := mountedOn(r, "web1", 24*size.MiB, 0)
			for drive := 1; drive < plexes; drive++ {
				r.AddOn(m.LUN, drive)
			}
			before := ahead(r)
			m.extend(by)
			if copied := ahead(r) - before; plexes == 2 && (copied < int64(by-lab.Overhead) || copied > int64(by+lab.Overhead)) {
				t.Errorf("%d bytes were copied to the second plex, want %d, give or take %v", copied, by, lab.Overhead)
			}
			m.filesystemGrows(by)
			m.leave(plexes)
		})
	}
}

// ahead is how many bytes more have been written to the second drive than to the first: what is written to a mirror of both
// does not count, what is copied from the first to the second does.
func ahead(r *lab.Rig) int64 {
	r.T.Helper()
	return int64(lab.WrittenTo(r.T, r.Drives[1])) - int64(lab.WrittenTo(r.T, r.Drives[0]))
}

// extend makes the LUN larger by a size.
func (m *mounted) extend(by size.Bytes) {
	m.T.Helper()
	want := m.Record(m.LUN.Name()).Size + by.Sectors()
	m.Run("lun", "extend", m.LUN.Name(), "--by", by.String(), "--wait")
	if got := m.Record(m.LUN.Name()).Size; got != want {
		m.T.Errorf("the LUN has %v, want %v", got, want)
	}
}

// filesystemGrows makes the file system as large as the LUN, which has grown by a size, and writes to it.
func (m *mounted) filesystemGrows(by size.Bytes) {
	m.T.Helper()
	m.More(20)
	before := m.capacity()
	lab.RunTool(m.T, "resize2fs", "/dev/mapper/plex-"+m.LUN.Name())
	if got := m.capacity() - before; got < by-lab.Overhead {
		m.T.Errorf("the file system has grown by %v, want %v", got, by)
	}
	stop := m.churn()
	m.More(200)
	stop()
}

// capacity is how much there is room for in the file system.
func (m *mounted) capacity() size.Bytes {
	m.T.Helper()
	var stat unix.Statfs_t
	if err := unix.Statfs(m.dir, &stat); err != nil {
		m.T.Fatal(err)
	}
	return size.Bytes(stat.Blocks) * size.Bytes(stat.Bsize)
}

// A mounted mirror gets another name: it has one device, under the new name, and goes on.
func TestRenameOfAMountedMirror(t *testing.T) {
	r := lab.NewRig(t, 2, 64*size.MiB)
	m := mountedOn(r, "web1", 24*size.MiB, 0)
	r.AddOn(m.LUN, 1)
	links := []string{"/dev/mapper/plex-", "/dev/disk/by-id/dm-name-plex-"}
	if _, err := os.Stat(links[1] + "web1"); err != nil {
		links = links[:1] // no udevd
	}
	r.Run("lun", "rename", "web1", "web2")
	for _, link := range links {
		lab.WaitFor(t, "the old name to go", 5*time.Second, func() bool {
			_, err := os.Lstat(link + "web1")
			return os.IsNotExist(err)
		})
		lab.WaitFor(t, "the new name", 5*time.Second, func() bool { return m.hasDevice(link + "web2") })
	}
	r.Refuse(3, []string{"lun", "show", "web1"})
	r.Refresh()
	var err error
	if m.LUN, err = r.Provider.LUN("web2"); err != nil {
		t.Fatal(err)
	}
	m.More(50)
	r.RemoveFrom(m.LUN, 0)
	m.leave(1)
}

// hasDevice reports whether a path is a name of the device that is mounted.
func (m *mounted) hasDevice(path string) bool {
	var device, dir unix.Stat_t
	if err := unix.Stat(m.dir, &dir); err != nil {
		m.T.Fatal(err)
	}
	return unix.Stat(path, &device) == nil && device.Rdev == dir.Dev
}
