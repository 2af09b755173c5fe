package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// TestBlockdevInUse claims a device in every way that the kernel knows.
//
//gate:kernels every
func TestBlockdevInUse(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, 32*size.MiB, 512)
	dev := lab.StatDevice(t, device).Dev
	check := func(t *testing.T, want ...blockdev.User) {
		t.Helper()
		users, err := lastingUsers(t, dev)
		if diff := cmp.Diff(want, users); diff != "" || err != nil {
			t.Errorf("%v, users (-want +got):\n%s", err, diff)
		}
		d, err := blockdev.Host{}.Open(t.Context(), device, blockdev.Exclusive)
		if err == nil {
			_ = d.Close()
		}
		if busy := len(want) > 0; busy != errors.Is(err, blockdev.ErrBusy) {
			t.Errorf("exclusive open: %v, want one that is busy: %t", err, busy)
		}
	}
	t.Run("nobody", func(t *testing.T) { check(t) })
	t.Run("mounted", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a b")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		lab.RunTool(t, "mkfs.ext4", "-q", device)
		if err := unix.Mount(device, dir, "ext4", 0, ""); err != nil {
			t.Fatal(err)
		}
		check(t, blockdev.User{Kind: "mount", Name: dir})
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		check(t)
	})
	t.Run("mapped", func(t *testing.T) {
		t.Run("on", func(t *testing.T) {
			mapped := lab.NewDevice(t, "plexlab-holder", "0 2048 linear "+device+" 0")
			check(t, blockdev.User{Kind: "holder", Name: "plexlab-holder"})
			below, above := lab.StatDevice(t, device), lab.StatDevice(t, mapped)
			if !slices.Equal(below.Holders, []devno.No{above.Dev}) || !slices.Equal(above.Slaves, []devno.No{dev}) {
				t.Errorf("holders %v, slaves %v", below.Holders, above.Slaves)
			}
		})
		check(t)
	})
	t.Run("swap", func(t *testing.T) {
		lab.RunTool(t, "busybox", "mkswap", device)
		lab.RunTool(t, "busybox", "swapon", device)
		check(t, blockdev.User{Kind: "swap", Name: device})
		lab.RunTool(t, "busybox", "swapoff", device)
		check(t)
	})
	t.Run("looped", func(t *testing.T) {
		f, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		upper, err := lab.AttachLoop(f, 512)
		if err != nil {
			t.Fatal(err)
		}
		users, err := blockdev.Host{}.Users(t.Context(), dev)
		want := []blockdev.User{{Kind: "holder", Name: filepath.Base(upper)}}
		if diff := cmp.Diff(want, users); diff != "" || err != nil { // it claims nothing: an exclusive open goes through
			t.Errorf("%v, users (-want +got):\n%s", err, diff)
		}
		if err := lab.DetachLoop(upper); err != nil {
			t.Error(err)
		}
	})
}

// lastingUsers is who uses a device once udevd, which looks into every new one, has let go of it.
func lastingUsers(t *testing.T, dev devno.No) (users []blockdev.User, err error) {
	t.Helper()
	lab.WaitFor(t, "udevd to let go", 10*time.Second, func() bool {
		users, err = blockdev.Host{}.Users(t.Context(), dev)
		return !slices.ContainsFunc(users, func(u blockdev.User) bool { return strings.Contains(u.Name, "udev") })
	})
	return users, err
}

// TestBlockdevProcess has another process keep a device open: nobody has claimed it, but somebody uses it.
//
//gate:kernels every
func TestBlockdevProcess(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, size.MiB, 512)
	f, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("busybox", "sleep", "600")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	// The kernel closes what tells Start that the program runs before it gives the process its name.
	lab.WaitFor(t, "the name of the process", 10*time.Second, func() bool {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		return err == nil && strings.TrimSpace(string(name)) == "busybox"
	})
	users, err := lastingUsers(t, lab.StatDevice(t, device).Dev)
	if err != nil || len(users) != 1 || users[0].Kind != "process" || !strings.HasPrefix(users[0].Name, "busybox[") {
		t.Errorf("users %v, %v, want busybox and not this process", users, err)
	}
}

// newPartitioned is a device with a DOS partition table of one partition, from 1 MiB on, and that partition.
func newPartitioned(t *testing.T) (disk, part string) {
	t.Helper()
	device := lab.NewLoop(t, 32*size.MiB, 512)
	sector := make([]byte, blockdev.Align)
	entry := sector[446:]
	entry[4] = 0x83
	binary.LittleEndian.PutUint32(entry[8:], 2048)
	binary.LittleEndian.PutUint32(entry[12:], 32768)
	sector[510], sector[511] = 0x55, 0xaa
	d := openDisk(t, device, blockdev.Write)
	if _, err := d.WriteAt(sector, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	scan := func(fd int) error {
		info, err := unix.IoctlLoopGetStatus64(fd)
		if err != nil {
			return err
		}
		info.Flags |= unix.LO_FLAGS_PARTSCAN
		return unix.IoctlLoopSetStatus64(fd, info)
	}
	if err := lab.OnDevice(device, scan); err != nil {
		t.Fatal(err)
	}
	part = device + "p1"
	lab.Settle(t) // udevd reads the partitions, too, and they are gone meanwhile
	lab.WaitFor(t, part, 10*time.Second, func() bool {
		_, err := os.Stat(part)
		return err == nil
	})
	return device, part
}

//gate:kernels every
func TestBlockdevPartition(t *testing.T) {
	lab.NewLab(t)
	disk, part := newPartitioned(t)
	got := lab.StatDevice(t, part)
	if got.Path != part || got.Size != 16*size.MiB || got.LogicalBlock != 512 || got.Model == "" {
		t.Errorf("partition %+v", got)
	}
	users, err := blockdev.Host{}.Users(t.Context(), lab.StatDevice(t, disk).Dev)
	want := []blockdev.User{{Kind: "partition", Name: filepath.Base(part)}}
	if diff := cmp.Diff(want, users); diff != "" || err != nil {
		t.Errorf("%v, users of the disk (-want +got):\n%s", err, diff)
	}
	found, err := blockdev.Host{}.Signatures(t.Context(), disk)
	if diff := cmp.Diff([]signature.Signature{{Type: "dos"}}, found); diff != "" || err != nil {
		t.Errorf("%v, signatures (-want +got):\n%s", err, diff)
	}

	d := openDisk(t, part, blockdev.Exclusive)
	if udevMayLook(t, disk) {
		t.Error("the whole disk of a partition that is open exclusively is not locked")
	}
	if _, err := (blockdev.Host{}).Open(lab.Briefly(t), disk, blockdev.Exclusive); !errors.Is(err, blockdev.ErrBusy) {
		t.Errorf("exclusive open of the disk: %v, want %v", err, blockdev.ErrBusy)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	lab.RunTool(t, "mkfs.ext4", "-q", part)
	dir := t.TempDir()
	if err := unix.Mount(part, dir, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	users, err = blockdev.Host{}.Users(t.Context(), lab.StatDevice(t, disk).Dev)
	want = append([]blockdev.User{{Kind: "mount", Name: dir}}, want...)
	if diff := cmp.Diff(want, users); diff != "" || err != nil {
		t.Errorf("%v, users of the disk while mounted (-want +got):\n%s", err, diff)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
}

// TestBlockdevSignatures writes with O_DIRECT what the page cache does not know, and looks for it.
//
//gate:kernels every
func TestBlockdevSignatures(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, 32*size.MiB, 512)
	look := func(want ...string) {
		t.Helper()
		found, err := blockdev.Host{}.Signatures(t.Context(), device)
		if err != nil {
			t.Fatal(err)
		}
		var types []string
		for _, s := range found {
			types = append(types, s.Type)
		}
		if diff := cmp.Diff(want, types); diff != "" {
			t.Errorf("types (-want +got):\n%s", diff)
		}
	}
	look()
	lab.RunTool(t, "mkfs.ext4", "-q", "-L", "hello", device)
	look("ext4")
	d := openDisk(t, device, blockdev.Exclusive)
	if err := readBuffered(device, make([]byte, size.MiB)); err != nil {
		t.Fatal(err)
	}
	if err := blockdev.Zero(t.Context(), d, 0, size.MiB); err != nil {
		t.Fatal(err)
	}
	look() // also while the device is locked by this process
	luks := make([]byte, blockdev.Align)
	copy(luks, "LUKS\xba\xbe\x00\x01")
	if _, err := d.WriteAt(luks, 0); err != nil {
		t.Fatal(err)
	}
	look("luks")
}

// TestBlockdevSuspended marks a suspended device in Scan: whoever reads it hangs.
//
//gate:kernels every
func TestBlockdevSuspended(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewDevice(t, "plexlab-asleep", "0 2048 linear "+lab.NewLoop(t, size.MiB, 512)+" 0")
	dev := lab.StatDevice(t, device).Dev
	shown := func(suspended bool) bool {
		all, err := blockdev.Host{}.Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(all, func(i blockdev.Info) bool { return i.Dev == dev && i.Suspended == suspended })
	}
	if !shown(false) {
		t.Error("a running device is not shown as one")
	}
	lab.RunTool(t, "dmsetup", "suspend", "plexlab-asleep")
	if !shown(true) {
		t.Error("a suspended device is not shown as one")
	}
	lab.RunTool(t, "dmsetup", "resume", "plexlab-asleep")
	if info := lab.StatDevice(t, device); info.Model != "plexlab-asleep" || !shown(false) {
		t.Errorf("after resume: %+v", info)
	}
}

// TestBlockdevGone takes the medium away under an open disk.
//
//gate:kernels every
func TestBlockdevGone(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewDevice(t, "plexlab-broken", "0 2048 error")
	_, err := openDisk(t, device, blockdev.Read).ReadAt(make([]byte, blockdev.Align), 0)
	if !errors.Is(err, unix.EIO) || strings.Count(err.Error(), device) != 1 {
		t.Errorf("read of a broken device: %v, want %v and the device once", err, unix.EIO)
	}
	if _, err := (blockdev.Host{}).Signatures(t.Context(), device); !errors.Is(err, unix.EIO) {
		t.Errorf("signatures of a broken device: %v, want %v", err, unix.EIO)
	}
	if _, err := catalog.ReadDrive(openDisk(t, device, blockdev.Read), size.GiB); !errors.Is(err, unix.EIO) || errors.Is(err, catalog.ErrNoLabel) {
		t.Errorf("label of a broken device: %v, want %v", err, unix.EIO)
	}
}

// TestBlockdevCatalog puts a catalog on a device, with sectors of both sizes, and finds it again.
//
//gate:kernels every
func TestBlockdevCatalog(t *testing.T) {
	lab.NewLab(t)
	for _, block := range []size.Bytes{512, 4096} {
		device := lab.NewLoop(t, 32*size.MiB, block)
		d := openDisk(t, device, blockdev.Exclusive)
		if _, err := catalog.ReadDrive(d, d.Info().Size); !errors.Is(err, catalog.ErrNoLabel) {
			t.Errorf("before Init: %v, want %v", err, catalog.ErrNoLabel)
		}
		label := catalog.Label{Drive: uuid.New(), Size: d.Info().Size, Host: "lab", Created: time.Now().UTC().Truncate(time.Second)}
		if err := catalog.Init(d, label); err != nil {
			t.Fatal(err)
		}
		drive, err := catalog.ReadDrive(d, d.Info().Size)
		if err != nil {
			t.Fatal(err)
		}
		at := func(start, length size.Bytes) catalog.Extent {
			return catalog.Extent{Drive: label.Drive, Start: start.Sectors(), Length: length.Sectors()}
		}
		plex := catalog.Plex{
			ID: uuid.New(), Meta: at(4*size.MiB, size.MiB), Data: []catalog.Extent{at(5*size.MiB, 8*size.MiB)}, Slot: catalog.SlotA,
		}
		want := []catalog.LUN{{ID: uuid.New(), Name: "web1", Size: (8 * size.MiB).Sectors(), Generation: 1, Plexes: []catalog.Plex{plex}}}
		if err := drive.Write(d, want); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := catalog.ReadDrive(openDisk(t, device, blockdev.Read), 32*size.MiB)
		if err != nil || len(got.Problems) > 0 {
			t.Fatalf("%v, %v", err, got.Problems)
		}
		if diff := cmp.Diff(label, got.Label); diff != "" {
			t.Errorf("label (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, got.Catalog.LUNs); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
	}
}
