package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// fillDisk fills a device with bytes that are not zero.
func fillDisk(t testing.TB, d blockdev.Disk) []byte {
	t.Helper()
	b := bytes.Repeat([]byte{0xa5}, int(d.Info().Size.RoundDown(blockdev.Align)))
	if _, err := d.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// compareDisk reads a whole device past the page cache.
func compareDisk(t testing.TB, d blockdev.Disk, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := d.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(want); at += blockdev.Align {
		if !bytes.Equal(got[at:at+blockdev.Align], want[at:at+blockdev.Align]) {
			t.Fatalf("block at %d of %s is %#x…, want %#x…", at, d.Info().Path, got[at:at+4], want[at:at+4])
		}
	}
}

// holdOffload zeroes many ranges of a device by offload, and expects nothing but these to have changed.
func holdOffload(t testing.TB, device string) {
	t.Helper()
	d := openDisk(t, device, blockdev.Write)
	defer d.Close()
	random := rand.New(rand.NewPCG(1, 2))
	blocks := int(d.Info().Size / blockdev.Align)
	ranges := []allocation.Range{{Length: d.Info().Size.RoundDown(blockdev.Align)}}
	for range 3 {
		start := random.IntN(blocks)
		length := 1 + random.IntN(min(blocks-start, 1<<random.IntN(13)))
		ranges = append(ranges, allocation.Range{Start: size.Bytes(start) * blockdev.Align, Length: size.Bytes(length) * blockdev.Align})
	}
	for _, r := range ranges {
		want := fillDisk(t, d)
		if err := blockdev.ZeroOffload(t.Context(), d, r.Start, r.Length); err != nil {
			t.Fatal(err)
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		clear(want[r.Start:r.End()])
		compareDisk(t, d, want)
	}
}

// refuseOffload expects a device not to be able, and to be left as it is.
func refuseOffload(t testing.TB, device string) {
	t.Helper()
	d := openDisk(t, device, blockdev.Write)
	defer d.Close()
	want := fillDisk(t, d)
	if err := blockdev.ZeroOffload(t.Context(), d, blockdev.Align, size.MiB); !errors.Is(err, blockdev.ErrNoOffload) {
		t.Errorf("%s zeroes by itself (%v)", device, err)
	}
	compareDisk(t, d, want)
}

//gate:kernels others
func TestOffloadLoop(t *testing.T) {
	lab.NewLab(t)
	for _, block := range []size.Bytes{512, 4096} {
		holdOffload(t, lab.NewLoop(t, 16*size.MiB, block))
	}
	outer := newLoopOn(t, lab.NewLoop(t, 16*size.MiB, 512))
	refuseOffload(t, outer)
}

// newLoopOn makes a loop device on an existing file or device.
func newLoopOn(t testing.TB, path string) string {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device, err := lab.AttachLoop(file, 512)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.DetachLoop(device); err != nil {
			t.Errorf("detach %s: %v", device, err)
		}
	})
	return device
}

// TestOffloadThinSCSI has a disk that drops what it is asked to unmap of a granule in part, and one whose granules do not
// start at its first block.
//
//gate:kernels others
func TestOffloadThinSCSI(t *testing.T) {
	lab.NewLab(t)
	for name, parameters := range map[string]string{
		"granules":         "lbpws=1 unmap_granularity=64 write_same_length=2000",
		"shifted granules": "lbpws=1 unmap_granularity=1024 unmap_alignment=24 write_same_length=4096",
		"granule of three": "lbpws10=1 lbpu=1 unmap_granularity=24",
		"blocks of 4 KiB":  "lbpws=1 unmap_granularity=16 sector_size=4096 write_same_length=250",
	} {
		t.Run(name, func(t *testing.T) {
			device := lab.NewSCSI(t, "dev_size_mb=8 lbprz=1 "+parameters)
			if !dropsParts(t, device) {
				t.Error("this disk does its duty: the test proves nothing")
			}
			holdOffload(t, device)
		})
	}
	t.Run("discards disabled", func(t *testing.T) {
		device := lab.NewSCSI(t, "dev_size_mb=8 lbprz=1 lbpws=1 unmap_granularity=64")
		for _, mode := range lab.Glob(t, "/sys/block/"+filepath.Base(device)+"/device/scsi_disk/*/provisioning_mode") {
			lab.Must(t, os.WriteFile(mode, []byte("disabled"), 0))
		}
		granularity, err := os.ReadFile("/sys/block/" + filepath.Base(device) + "/queue/discard_granularity")
		lab.Must(t, err)
		if string(granularity) == "0\n" { // Linux 6.12; 6.1 still shows it
			refuseOffload(t, device)
		} else {
			holdOffload(t, device)
		}
	})
	t.Run("stacked", func(t *testing.T) {
		device := lab.NewSCSI(t, "dev_size_mb=8 lbprz=1 lbpws=1 unmap_granularity=64")
		name := "plexctl-test-offload"
		lab.RunTool(t, "dmsetup", "create", name, "--table", fmt.Sprintf("0 8192 linear %s 8", device))
		defer lab.RunTool(t, "dmsetup", "remove", "--retry", name)
		refuseOffload(t, "/dev/mapper/"+name)
	})
}

// dropsParts reports whether a disk leaves alone what it is asked to zero of a granule in part.
func dropsParts(t testing.TB, device string) bool {
	t.Helper()
	d := openDisk(t, device, blockdev.Write)
	defer d.Close()
	fillDisk(t, d)
	lab.RunTool(t, "fallocate", "-p", "-o", fmt.Sprint(5*blockdev.Align), "-l", fmt.Sprint(blockdev.Align), device)
	b := make([]byte, blockdev.Align)
	if _, err := d.ReadAt(b, 5*blockdev.Align); err != nil {
		t.Fatal(err)
	}
	return b[0] != 0
}

//gate:kernels releases
func TestOffloadCannot(t *testing.T) {
	lab.NewLab(t)
	lab.LoadModule(t, lab.RAMDisks)
	refuseOffload(t, "/dev/ram0")
}
