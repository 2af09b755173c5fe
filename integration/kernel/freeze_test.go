package kernel

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// frozenLab is a device-mapper device over one drive, with a file system mounted from it that has not yet written
// everything to the drive.
type frozenLab struct {
	testing.TB
	control *dm.Control
	drive   string
	name    string
	mount   string
}

const frozenSize = 32 * size.MiB

func newFrozenLab(t testing.TB) *frozenLab {
	t.Helper()
	lab.NewLab(t)
	control, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &frozenLab{TB: t, control: control, drive: lab.NewLoop(t, frozenSize, 512), name: "plexlab-freeze"}
	if _, err := control.Create(t.Context(), f.name, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := control.Remove(context.Background(), f.name); err != nil {
			t.Error(err)
		}
	})
	f.load(f.number(f.drive))
	f.resume()
	f.mount = lab.MountNew(t, "/dev/mapper/"+f.name)
	f.write("before")
	return f
}

// number is the number of the device at path.
func (f *frozenLab) number(path string) devno.No {
	f.Helper()
	info, err := (blockdev.Host{}).Stat(f.Context(), path)
	if err != nil {
		f.Fatal(err)
	}
	return info.Dev
}

// load loads a linear table on a drive.
func (f *frozenLab) load(dev devno.No) {
	f.Helper()
	table := dm.Table{{Length: frozenSize.Sectors(), Target: dm.Linear{Dev: dev}}}
	if err := f.control.Load(f.Context(), f.name, table); err != nil {
		f.Fatal(err)
	}
}

func (f *frozenLab) resume() {
	f.Helper()
	if err := f.control.Resume(f.Context(), f.name, dm.Public); err != nil {
		f.Fatal(err)
	}
}

// write makes a file and fills it.
func (f *frozenLab) write(name string) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.mount, name), make([]byte, size.MiB), 0o600); err != nil {
		f.Fatal(err)
	}
}

// copyTo copies the drive, past the page cache. It touches nothing that lies on the file system.
func (f *frozenLab) copyTo(target string) {
	f.Helper()
	from, err := lab.OpenDirect(f.drive, os.O_RDONLY)
	if err != nil {
		f.Fatal(err)
	}
	defer from.Close()
	to, err := lab.OpenDirect(target, os.O_RDWR)
	if err != nil {
		f.Fatal(err)
	}
	defer to.Close()
	chunk := lab.AlignedBuffer(size.MiB)
	defer unix.Munmap(chunk)
	for at := int64(0); at < int64(frozenSize); at += int64(len(chunk)) {
		if _, err := from.ReadAt(chunk, at); err != nil {
			f.Fatal(err)
		}
		if _, err := to.WriteAt(chunk, at); err != nil {
			f.Fatal(err)
		}
	}
}

// needsRecovery reports whether the ext4 file system on a device has a journal to be replayed (EXT4_FEATURE_INCOMPAT_RECOVER,
// fs/ext4/ext4.h).
func (f *frozenLab) needsRecovery(device string) bool {
	f.Helper()
	const superblock, incompat, journal = 1024, 0x60, 0x4
	file, err := lab.OpenDirect(device, os.O_RDONLY)
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	block := lab.AlignedBuffer(lab.BlockSize)
	defer unix.Munmap(block)
	if _, err := file.ReadAt(block, 0); err != nil {
		f.Fatal(err)
	}
	return binary.LittleEndian.Uint32(block[superblock+incompat:])&journal != 0
}

// TestFreeze shows what the freeze of a suspend is for: the drive that is let go while the file system is frozen holds a
// clean one, without the freeze one as after a crash. The file system goes on either way.
//
//gate:kernels every
func TestFreeze(t *testing.T) {
	for _, tt := range []struct {
		name   string
		freeze bool
	}{{"with freeze", true}, {"without", false}} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFrozenLab(t)
			target := lab.NewLoop(t, frozenSize, 512)
			f.moveTo(target, tt.freeze)
			if got := f.needsRecovery(f.drive); got == tt.freeze {
				t.Errorf("journal of the drive that was let go has to be replayed: %v", got)
			}
			f.write("after")
			lab.Unmount(t, f.mount)
			lab.RunTool(t, "e2fsck", "-fn", "/dev/mapper/"+f.name) // the cache of the target itself may be older
			if tt.freeze {
				lab.RunTool(t, "e2fsck", "-fn", f.drive)
				f.holdsOnly(f.drive, "before")
			}
		})
	}
}

// moveTo exchanges the drive for a copy of it, made while the device is suspended.
func (f *frozenLab) moveTo(target string, freeze bool) {
	f.Helper()
	f.load(f.number(target))
	if err := f.control.Suspend(f.Context(), f.name, freeze); err != nil {
		f.Fatal(err)
	}
	defer f.resume() // whatever happens: who touches the file system hangs
	f.copyTo(target)
}

// holdsOnly checks which file a file system holds.
func (f *frozenLab) holdsOnly(device, name string) {
	f.Helper()
	dir := lab.Mount(f, device)
	defer lab.Unmount(f, dir)
	if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() != int64(size.MiB) {
		f.Errorf("%s on the drive that was let go: %v, %v", name, info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "after")); !os.IsNotExist(err) {
		f.Errorf("a file that was written later: %v", err)
	}
}
