package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// These tests show that the machine under all other tests is what they take it for.

//gate:when harness
func TestMachineTargets(t *testing.T) {
	have := lab.RunTool(t, "dmsetup", "targets")
	for _, target := range []string{"linear", "raid", "error"} {
		if !strings.Contains("\n"+have, "\n"+target+" ") {
			t.Errorf("no target %s in:\n%s", target, have)
		}
	}
}

// TestMachineLoadsOnDemand lets the kernel ask for modules that nobody loaded: each table names a target of one.
//
//gate:when harness
func TestMachineLoadsOnDemand(t *testing.T) {
	lab.NewLab(t)
	device, other := lab.NewLoop(t, size.MiB, 512), lab.NewLoop(t, size.MiB, 512)
	for _, tt := range []struct{ target, table string }{
		{"delay", "0 2048 delay " + device + " 0 1"},
		{"flakey", "0 2048 flakey " + device + " 0 60 0"},
		{"zero", "0 2048 zero"},
		{"mirror", "0 2048 mirror core 1 1024 2 " + device + " 0 " + other + " 0"},
	} {
		t.Run(tt.target, func(t *testing.T) {
			lab.NewDevice(t, "plexlab-"+tt.target, tt.table)
		})
	}
	t.Run("unknown", func(t *testing.T) {
		if out, err := lab.TryTool(t, "dmsetup", "create", "plexlab-unknown", "--table", "0 2048 plexless"); err == nil {
			t.Errorf("a table of an unknown target was taken: %s", out)
		}
	})
}

//gate:when harness
func TestMachineLoopSectors(t *testing.T) {
	lab.NewLab(t)
	for _, block := range []size.Bytes{512, 4096} {
		t.Run(strconv.Itoa(int(block)), func(t *testing.T) {
			device := lab.NewLoop(t, 16*size.MiB, block)
			var got int
			err := lab.OnDevice(device, func(fd int) (err error) {
				got, err = unix.IoctlGetInt(fd, unix.BLKSSZGET)
				return err
			})
			if err != nil || got != int(block) {
				t.Errorf("logical block size %d, %v, want %d", got, err, block)
			}
			w := lab.StartWriter(t, device, 16*size.MiB)
			lab.WaitFor(t, "100 writes", time.Minute, func() bool { return w.Acked.Load() >= 100 })
			t.Log(w.Finish(t))
		})
	}
}

//gate:when harness
func TestMachineRamDisk(t *testing.T) {
	lab.LoadModule(t, lab.RAMDisks)
	sectors, err := os.ReadFile("/sys/block/ram1/size")
	if err != nil || strings.TrimSpace(string(sectors)) != "32768" {
		t.Errorf("size of ram1 is %q, %v, want 32768 sectors", sectors, err)
	}
}

//gate:when harness
func TestMachineFileSystem(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, 16*size.MiB, 512)
	lab.RunTool(t, "mkfs.ext4", "-q", device)
	mount := t.TempDir()
	if err := unix.Mount(device, mount, "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	text := []byte("survives unmounting\n")
	writeErr := os.WriteFile(filepath.Join(mount, "file"), text, 0o600)
	if err := unix.Unmount(mount, 0); err != nil || writeErr != nil {
		t.Fatal(err, writeErr)
	}
	lab.RunTool(t, "e2fsck", "-fn", device)
}

// TestMachineMirror runs a raid1 table under a writer, which is what everything here is about.
//
//gate:when harness
func TestMachineMirror(t *testing.T) {
	lab.NewLab(t)
	const length = 16 * size.MiB
	var legs []string
	for range 2 {
		legs = append(legs, lab.NewLoop(t, size.MiB, 512), lab.NewLoop(t, length, 512))
	}
	table := fmt.Sprintf("0 %d raid raid1 3 0 region_size 1024 2 %s", length.Sectors(), strings.Join(legs, " "))
	mirror := lab.NewDevice(t, "plexlab-mirror", table)
	w := lab.StartWriter(t, mirror, length)
	lab.WaitFor(t, "the first sync and a write", time.Minute, func() bool {
		return strings.Contains(lab.RunTool(t, "dmsetup", "status", "plexlab-mirror"), "AA 32768/32768 idle") && w.Acked.Load() > 0
	})
	t.Log(w.Finish(t))
	for _, leg := range []string{legs[1], legs[3]} {
		w.Verify(t, leg)
	}
}
