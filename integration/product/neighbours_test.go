package product

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// neighboursLimit bounds the machine with all of them.
const neighboursLimit = 15 * time.Minute

// TestHostNeighbours has each file system, LUKS and LVM lie on a LUN that becomes a mirror, is split, extended, and loses and recovers a
// plex while it is in use. Their tools and modules are in a machine of its own.
//
//gate:kernels releases
//gate:when harness
func TestHostNeighbours(t *testing.T) {
	cut.OnKernels(t, func(t *testing.T, machine vm.Machine) {
		machine.Tools = append(machine.Tools, "mkfs.xfs", "xfs_growfs", "xfs_repair", "mkfs.btrfs", "btrfs", "cryptsetup", "lvm")
		machine.Output = t.Output()
		ctx, cancel := context.WithTimeout(t.Context(), neighboursLimit)
		defer cancel()
		if err := machine.Run(ctx, vm.TestArgs("TestGuestNeighbours")...); err != nil {
			t.Error(err)
		}
	})
}

// neighbour is what lies on a LUN.
type neighbour struct {
	name   string
	length size.Bytes
	fs     string
	above  func(t *testing.T, device, name string) string // what is made on a device before the file system; returns its path
	close  func(t *testing.T, name string)
	mkfs   []string
	check  []string // of a file system that is not mounted
	grow   func(t *testing.T, device, dir string)
	says   string // what split says of the copy
	copied func(t *testing.T, device string)
}

func neighbours() []neighbour {
	resize := func(t *testing.T, device, _ string) { lab.RunTool(t, "resize2fs", device) }
	ext4 := []string{"mkfs.ext4", "-q", "-F"}
	fsck := []string{"e2fsck", "-fn"}
	return []neighbour{
		{name: "ext4", length: 64 * size.MiB, fs: "ext4", mkfs: ext4, check: fsck, grow: resize, copied: func(t *testing.T, device string) {
			lab.RunTool(t, "e2fsck", "-fn", device)
		}},
		{
			name: "xfs", length: 320 * size.MiB, fs: "xfs", mkfs: []string{"mkfs.xfs", "-q", "-f"}, check: []string{"xfs_repair", "-n"},
			grow: func(t *testing.T, _, dir string) { lab.RunTool(t, "xfs_growfs", dir) }, says: "-o nouuid",
			copied: func(t *testing.T, device string) {
				mounts(t, device, "xfs", "", false)
				mounts(t, device, "xfs", "norecovery,nouuid", true)
				mounts(t, device, "xfs", "nouuid", true)
			},
		},
		{
			name: "btrfs", length: 256 * size.MiB, fs: "btrfs", mkfs: []string{"mkfs.btrfs", "-q", "-f"}, check: []string{"btrfs", "check", "--readonly"},
			grow: func(t *testing.T, _, dir string) { lab.RunTool(t, "btrfs", "filesystem", "resize", "max", dir) }, says: "up to Linux 6.6",
			copied: func(t *testing.T, device string) { lab.RunTool(t, "btrfs", "check", "--readonly", device) },
		},
		{
			name: "luks", length: 64 * size.MiB, fs: "ext4", above: openLUKS, close: func(t *testing.T, name string) { lab.RunTool(t, "cryptsetup", "close", name) },
			mkfs: ext4, check: fsck, says: "is not frozen", grow: func(t *testing.T, device, _ string) {
				lab.RunTool(t, "bash", "-c", "echo -n secret | cryptsetup resize "+filepath.Base(device)+" -")
				lab.RunTool(t, "resize2fs", device)
			},
			copied: func(t *testing.T, device string) { // as after a power cut: a mount replays the journal
				path := openedLUKS(t, device, "copied")
				mounts(t, path, "ext4", "", true)
				lab.RunTool(t, "e2fsck", "-fn", path)
				lab.RunTool(t, "cryptsetup", "close", "copied")
			},
		},
	}
}

// openLUKS makes LUKS on a device and opens it.
func openLUKS(t *testing.T, device, name string) string {
	t.Helper()
	lab.RunTool(t, "bash", "-c", "echo -n secret | cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "+device+" -")
	return openedLUKS(t, device, name)
}

func openedLUKS(t *testing.T, device, name string) string {
	t.Helper()
	lab.RunTool(t, "bash", "-c", "echo -n secret | cryptsetup open "+device+" "+name+" -")
	return "/dev/mapper/" + name
}

// mounts mounts a file system read-only for a moment, which works or does not.
func mounts(t *testing.T, device, fs, options string, works bool) {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount(device, dir, fs, unix.MS_RDONLY, options)
	if (err == nil) != works {
		t.Errorf("mount %s -o %q: %v, works: %v", device, options, err, works)
	}
	if err == nil {
		lab.Unmount(t, dir)
	}
}

func TestGuestNeighbours(t *testing.T) {
	lab.NewLab(t)
	for _, n := range neighbours() {
		t.Run(n.name, n.live)
	}
	t.Run("lvm", lvmOnAMirror)
}

// live is the life of a LUN with n on it, while files are written to it.
func (n neighbour) live(t *testing.T) {
	r, drives := lab.BrittleRig(t, 2, n.length+64*size.MiB)
	web := r.Create("web1", n.length, 0)
	device := "/dev/mapper/plex-web1"
	if n.above != nil {
		device = n.above(t, device, "above")
	}
	lab.RunTool(t, n.mkfs[0], append(n.mkfs[1:], device)...)
	dir := t.TempDir()
	lab.Must(t, unix.Mount(device, dir, n.fs, 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	done := writeFiles(t, dir)
	t.Cleanup(func() { done() }) // if the test has failed before
	r.AddOn(web, 1)
	out := r.Run("plex", "split", "web1", r.PlexOn(web, 1).String(), "--name", "copy")
	if !strings.Contains(out, n.says) {
		t.Errorf("split says %q, without %q", out, n.says)
	}
	lab.Settle(t)
	n.copied(t, "/dev/mapper/plex-copy")
	r.Run("plex", "add", "web1", "copy", "--yes", "--wait")
	r.Run("lun", "extend", "web1", "--by", "16MiB", "--wait")
	n.grow(t, device, dir)
	drives[1].WearOut()
	r.AwaitLoss("web1", 1)
	drives[1].Heal()
	r.Run("lun", "recover", "web1", "--wait")
	if files := done(); files < 10 {
		t.Errorf("%d files were written", files)
	}
	lab.Unmount(t, dir)
	lab.RunTool(t, n.check[0], append(n.check[1:], device)...)
	if n.close != nil {
		n.close(t, "above")
	}
	r.Refresh()
	r.Whole(n.name, "web1", 2)
}

// writeFiles writes and flushes files to a folder until done, which returns how many.
func writeFiles(t *testing.T, dir string) (done func() int64) {
	var files atomic.Int64
	stop, ended := make(chan struct{}), make(chan error, 1)
	write := func(i int64) error {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint("file", i%20)))
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteString(strings.Repeat(fmt.Sprintln(i), 1000)); err != nil {
			return err
		}
		return f.Sync()
	}
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			case <-time.After(100 * time.Millisecond):
			}
			if err := write(files.Load()); err != nil {
				ended <- err
				return
			}
			files.Add(1)
		}
	}()
	return sync.OnceValue(func() int64 {
		close(stop)
		if err := <-ended; err != nil {
			t.Errorf("writer: %v", err)
		}
		return files.Load()
	})
}

// LVM does not activate a group whose volume lies on a mirror, and does with the filter of the documents. Without udev the plexes have no
// names that the filter could reject; another filter accepts the LUN alone then.
func lvmOnAMirror(t *testing.T) {
	r := lab.NewRig(t, 2, 128*size.MiB)
	web := r.Create("web1", 64*size.MiB, 0)
	lab.Must(t, os.MkdirAll("/run/lvm", 0o755))
	lab.Must(t, os.MkdirAll("/etc/lvm", 0o755))
	lvm := func(args ...string) (string, error) { return lab.TryTool(t, "lvm", args...) }
	t.Cleanup(func() { _, _ = lvm("vgchange", "-an", "vg") }) // if the test has failed: the LUN could not be taken down
	for _, args := range [][]string{
		{"pvcreate", "/dev/mapper/plex-web1"},
		{"vgcreate", "--setautoactivation", "n", "vg", "/dev/mapper/plex-web1"}, // else udev's rules activate it when the LUN has changed
		{"lvcreate", "-y", "-Zn", "-Wn", "-L", "16M", "-n", "data", "vg"},
		{"vgchange", "-an", "vg"},
	} {
		if out, err := lvm(args...); err != nil {
			t.Fatalf("lvm %v: %v: %s", args, err, out)
		}
	}
	r.AddOn(web, 1)
	r.Run("deactivate")
	r.Run("assemble")
	lab.Settle(t)
	if out, err := lvm("vgchange", "-ay", "vg"); err == nil || !strings.Contains(out, "duplicate devices") {
		t.Errorf("activate without a filter: %v: %s", err, out)
	}
	if out := r.Run("doctor"); !strings.Contains(out, "LVM sees the volume on web1") {
		t.Errorf("doctor: %s", out)
	}
	page, err := os.ReadFile(filepath.Join(lab.Root(), "docs/administration.md"))
	lab.Must(t, err)
	_, rest, _ := strings.Cut(string(page), "global_filter")
	filter, _, found := strings.Cut(rest, "\n")
	if !found {
		t.Fatal("the documents have no filter")
	}
	if _, err := os.Stat("/run/udev/control"); err != nil {
		filter = ` = [ "a|^/dev/mapper/plex-[^:]*$|", "r|.*|" ]`
	}
	lab.Must(t, os.WriteFile("/etc/lvm/lvm.conf", []byte("devices {\n\tglobal_filter"+filter+"\n}\n"), 0o600))
	defer os.Remove("/etc/lvm/lvm.conf")
	if out := r.Run("doctor"); strings.Contains(out, "LVM sees") {
		t.Errorf("doctor with a filter: %s", out)
	}
	if out, err := lvm("pvs", "--noheadings", "-o", "pv_name"); err != nil || strings.TrimSpace(out) != "/dev/mapper/plex-web1" {
		t.Errorf("volumes: %v: %s", err, out)
	}
	if out, err := lvm("vgchange", "-ay", "vg"); err != nil {
		t.Errorf("activate with a filter: %v: %s", err, out)
	}
	if out, err := lvm("vgchange", "-an", "vg"); err != nil {
		t.Errorf("deactivate: %v: %s", err, out)
	}
}
