package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// These tests show that the machine under all other tests is what they take it for.

func TestMachineTargets(t *testing.T) {
	have := runTool(t, "dmsetup", "targets")
	for _, target := range []string{"linear", "raid", "error"} {
		if !strings.Contains("\n"+have, "\n"+target+" ") {
			t.Errorf("no target %s in:\n%s", target, have)
		}
	}
}

// TestMachineLoadsOnDemand lets the kernel ask for modules that nobody loaded: each table names a target of one.
func TestMachineLoadsOnDemand(t *testing.T) {
	newLab(t)
	device, other := newLoop(t, size.MiB, 512), newLoop(t, size.MiB, 512)
	for _, tt := range []struct{ target, table string }{
		{"delay", "0 2048 delay " + device + " 0 1"},
		{"flakey", "0 2048 flakey " + device + " 0 60 0"},
		{"zero", "0 2048 zero"},
		{"mirror", "0 2048 mirror core 1 1024 2 " + device + " 0 " + other + " 0"},
	} {
		t.Run(tt.target, func(t *testing.T) {
			newDevice(t, "plexlab-"+tt.target, tt.table)
		})
	}
	t.Run("unknown", func(t *testing.T) {
		if out, err := tryTool(t, "dmsetup", "create", "plexlab-unknown", "--table", "0 2048 plexless"); err == nil {
			t.Errorf("a table of an unknown target was taken: %s", out)
		}
	})
}

// newDevice makes a device-mapper device with dmsetup and returns its path. It is removed when the test ends.
func newDevice(t *testing.T, name, table string) string {
	t.Helper()
	runTool(t, "dmsetup", "create", name, "--table", table)
	t.Cleanup(func() { runTool(t, "dmsetup", "remove", "--retry", name) })
	return "/dev/mapper/" + name
}

func TestMachineLoopSectors(t *testing.T) {
	newLab(t)
	for _, block := range []size.Bytes{512, 4096} {
		t.Run(strconv.Itoa(int(block)), func(t *testing.T) {
			device := newLoop(t, 16*size.MiB, block)
			var got int
			err := onDevice(device, func(fd int) (err error) {
				got, err = unix.IoctlGetInt(fd, unix.BLKSSZGET)
				return err
			})
			if err != nil || got != int(block) {
				t.Errorf("logical block size %d, %v, want %d", got, err, block)
			}
			w := startWriter(t, device, 16*size.MiB)
			waitFor(t, "100 writes", time.Minute, func() bool { return w.acked.Load() >= 100 })
			t.Log(w.finish(t))
		})
	}
}

// ramDisks is the module of RAM disks as every test of them loads it: a second load changes nothing.
const ramDisks = "brd rd_nr=2 rd_size=16384"

func TestMachineRamDisk(t *testing.T) {
	loadModule(t, ramDisks)
	sectors, err := os.ReadFile("/sys/block/ram1/size")
	if err != nil || strings.TrimSpace(string(sectors)) != "32768" {
		t.Errorf("size of ram1 is %q, %v, want 32768 sectors", sectors, err)
	}
}

func TestMachineFileSystem(t *testing.T) {
	newLab(t)
	device := newLoop(t, 16*size.MiB, 512)
	runTool(t, "mkfs.ext4", "-q", device)
	mount := t.TempDir()
	if err := unix.Mount(device, mount, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	text := []byte("survives unmounting\n")
	writeErr := os.WriteFile(filepath.Join(mount, "file"), text, 0o600)
	if err := unix.Unmount(mount, 0); err != nil || writeErr != nil {
		t.Fatal(err, writeErr)
	}
	runTool(t, "e2fsck", "-fn", device)
}

// TestMachineMirror runs a raid1 table under a writer, which is what everything here is about.
func TestMachineMirror(t *testing.T) {
	newLab(t)
	const length = 16 * size.MiB
	var legs []string
	for range 2 {
		legs = append(legs, newLoop(t, size.MiB, 512), newLoop(t, length, 512))
	}
	table := fmt.Sprintf("0 %d raid raid1 3 0 region_size 1024 2 %s", length.Sectors(), strings.Join(legs, " "))
	mirror := newDevice(t, "plexlab-mirror", table)
	w := startWriter(t, mirror, length)
	waitFor(t, "the first sync", time.Minute, func() bool {
		return strings.Contains(runTool(t, "dmsetup", "status", "plexlab-mirror"), "AA 32768/32768 idle")
	})
	t.Log(w.finish(t))
	for _, leg := range []string{legs[1], legs[3]} {
		w.verify(t, leg)
	}
}
