package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/allocation"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// surveyAll is more ranges than any device of these tests has.
const surveyAll = 1 << 20

// churn is a device whose blocks a test writes and discards, and remembers which may have something allocated.
type churn struct {
	t         testing.TB
	random    *rand.Rand
	device    string
	disk      blockdev.Disk
	alloc     allocation.Map
	allocated []bool // for each unit
	reserved  bool   // a unit that was read once counts as allocated too
}

// churnUnit is the unit of writes and discards, and a multiple of all granules.
const churnUnit = 64 << 10

func newChurn(t testing.TB, device string) *churn {
	t.Helper()
	alloc, err := blockdev.Host{}.Allocation(t.Context(), device)
	lab.Must(t, err)
	t.Cleanup(func() { lab.Must(t, alloc.Close()) })
	d := openDisk(t, device, blockdev.Write)
	return &churn{
		t: t, random: rand.New(rand.NewPCG(3, 4)), device: device, disk: d, alloc: alloc,
		allocated: make([]bool, d.Info().Size/churnUnit),
	}
}

// write fills a unit, or a block of it, past the page cache.
func (c *churn) write(unit int) {
	b := bytes.Repeat([]byte{0xa5}, churnUnit)
	if c.random.IntN(2) == 0 {
		b = b[:blockdev.Align]
	}
	_, err := c.disk.WriteAt(b, int64(unit)*churnUnit)
	lab.Must(c.t, err)
	c.allocated[unit] = true
}

// zero has a unit zeroed by the device.
func (c *churn) zero(unit int) {
	start := size.Bytes(unit) * churnUnit
	lab.Must(c.t, lab.OnDevice(c.device, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(start), churnUnit)
	}))
	c.allocated[unit] = false
}

// check expects zeros in all ranges, and these to be all units without anything.
func (c *churn) check(ranges []allocation.Range, among []bool) {
	c.t.Helper()
	blank := make([]bool, len(c.allocated))
	var end size.Bytes
	for _, r := range ranges {
		if r.Start < end || r.Length == 0 || r.Start%blockdev.Align != 0 || r.Length%blockdev.Align != 0 || r.End() > c.disk.Info().Size {
			c.t.Fatalf("range %+v behind %d, on %d bytes", r, end, c.disk.Info().Size)
		}
		end = r.End()
		b := make([]byte, r.Length)
		if _, err := c.disk.ReadAt(b, int64(r.Start)); err != nil {
			c.t.Fatal(err)
		}
		if i := slices.IndexFunc(b, func(b byte) bool { return b != 0 }); i >= 0 {
			c.t.Fatalf("%s has data at %d, in %+v, which is called blank", c.device, int(r.Start)+i, r)
		}
		for unit := r.Start.RoundUp(churnUnit) / churnUnit; (unit+1)*churnUnit <= r.End(); unit++ {
			blank[unit] = true
		}
	}
	for unit := range blank {
		if among[unit] && !c.allocated[unit] && !blank[unit] && !c.reserved {
			c.t.Errorf("%s has nothing in unit %d, which is not called blank", c.device, unit)
		}
	}
}

// run writes and discards, surveys, writes and discards more, and confirms.
func (c *churn) run(rounds int) {
	c.t.Helper()
	ctx, whole := c.t.Context(), allocation.Range{Length: 1 << 62}
	change := func() {
		for range 3 + c.random.IntN(len(c.allocated)/4) {
			unit := c.random.IntN(len(c.allocated))
			if c.random.IntN(3) == 0 {
				c.zero(unit)
			} else {
				c.write(unit)
			}
		}
	}
	for range rounds {
		change()
		candidates, err := c.alloc.Survey(ctx, whole, surveyAll)
		lab.Must(c.t, err)
		few, err := c.alloc.Survey(ctx, whole, 3)
		lab.Must(c.t, err)
		c.checkLargest(candidates, few)
		c.check(candidates, eachUnit(len(c.allocated), true))
		change()
		confirmed, err := c.alloc.Confirm(ctx, candidates)
		lab.Must(c.t, err)
		c.check(confirmed, eachUnit(len(c.allocated), false))
		if len(candidates) > 0 && len(confirmed) == 0 && slices.Contains(c.allocated, false) {
			c.t.Errorf("nothing of %d ranges is confirmed", len(candidates))
		}
		for unit := range c.allocated {
			if c.allocated[unit] && c.random.IntN(2) == 0 {
				c.zero(unit)
			}
		}
	}
}

func eachUnit(n int, value bool) []bool { return slices.Repeat([]bool{value}, n) }

// checkLargest expects few to be as large as the largest of all.
func (c *churn) checkLargest(all, few []allocation.Range) {
	c.t.Helper()
	lengths := func(ranges []allocation.Range) (l []size.Bytes) {
		for _, r := range ranges {
			l = append(l, r.Length)
		}
		slices.Sort(l)
		slices.Reverse(l)
		return l
	}
	if want := lengths(all)[:min(3, len(all))]; !slices.Equal(lengths(few), want) {
		c.t.Errorf("the largest ranges have lengths %v, want %v", lengths(few), want)
	}
}

// mountTmpfs and mountExt4 give a folder on a file system of that kind, until the test ends.
func mountTmpfs(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	lab.Must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256m"))
	t.Cleanup(func() {
		lab.Settle(t) // a loop device on a file in there goes when udevd has let go of it
		lab.Must(t, unix.Unmount(dir, 0))
	})
	return dir
}

func mountExt4(t testing.TB) string {
	t.Helper()
	device := lab.NewLoop(t, 192*size.MiB, 512)
	lab.RunTool(t, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0,nodiscard", device)
	dir := t.TempDir()
	lab.Must(t, unix.Mount(device, dir, "ext4", 0, ""))
	t.Cleanup(func() {
		lab.Settle(t) // a loop device on a file in there goes when udevd has let go of it
		lab.Must(t, unix.Unmount(dir, 0))
	})
	return dir
}

// sparseLoop makes a loop device on part of a sparse file: 24 MiB from 1 MiB on. There is data around it.
func sparseLoop(t testing.TB, path string, flags uint32) string {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	lab.Must(t, err)
	defer file.Close()
	lab.Must(t, file.Truncate(int64(32*size.MiB)))
	for _, at := range []size.Bytes{0, 25 * size.MiB} {
		_, err := file.WriteAt(bytes.Repeat([]byte{0x5a}, int(size.MiB)), int64(at))
		lab.Must(t, err)
	}
	return configureLoop(t, &unix.LoopConfig{
		Fd: uint32(file.Fd()), Size: 512,
		Info: unix.LoopInfo64{Offset: uint64(size.MiB), Sizelimit: uint64(24 * size.MiB), Flags: flags},
	})
}

// configureLoop sets a free loop device up, until the test ends.
func configureLoop(t testing.TB, config *unix.LoopConfig) string {
	t.Helper()
	device := ""
	lab.WaitFor(t, "a free loop device", 10*time.Second, func() bool {
		control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
		lab.Must(t, err)
		defer control.Close()
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		lab.Must(t, err)
		device = fmt.Sprintf("/dev/loop%d", n)
		return lab.OnDevice(device, func(fd int) error { return unix.IoctlLoopConfigure(fd, config) }) == nil
	})
	t.Cleanup(func() { lab.Must(t, lab.DetachLoop(device)) })
	return device
}

//gate:kernels others
func TestAllocationLoop(t *testing.T) {
	for name, mount := range map[string]func(testing.TB) string{"tmpfs": mountTmpfs, "ext4": mountExt4} {
		for kind, flags := range map[string]uint32{"buffered": 0, "direct": unix.LO_FLAGS_DIRECT_IO} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				lab.NewLab(t)
				newChurn(t, sparseLoop(t, filepath.Join(mount(t), "image"), flags)).run(3)
			})
		}
	}
}

// TestAllocationReserved has a file whose room is reserved, and of which some is written and in the page cache alone. The
// page cache of the file has what was only read, too: that is no longer called blank. So udevd must not look at the device.
//
//gate:kernels others
func TestAllocationReserved(t *testing.T) {
	lab.NewLab(t)
	path := filepath.Join(mountExt4(t), "image")
	device := sparseLoop(t, path, 0)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	lab.Must(t, err)
	defer file.Close()
	lab.Must(t, unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, int64(32*size.MiB)))
	c := newChurn(t, device)
	whole := allocation.Range{Length: c.disk.Info().Size}
	if all, err := c.alloc.Survey(t.Context(), whole, surveyAll); err != nil || !slices.Equal(all, []allocation.Range{whole}) {
		t.Errorf("%+v of a file that is only reserved is blank (%v)", all, err)
	}
	c.reserved = true
	c.run(3)
}

// TestAllocationDirtyDevice writes through the page cache of the loop device, and flushes that alone: the file's own pages
// need not be on its file system yet.
//
//gate:kernels others
func TestAllocationDirtyDevice(t *testing.T) {
	lab.NewLab(t)
	c := newChurn(t, sparseLoop(t, filepath.Join(mountExt4(t), "image"), 0))
	for unit := 0; unit < len(c.allocated); unit += 5 {
		lab.Must(t, lab.OnDevice(c.device, func(fd int) error {
			_, err := unix.Pwrite(fd, []byte("one byte would do"), int64(unit)*churnUnit+777)
			return errors.Join(err, unix.Fdatasync(fd))
		}))
		c.allocated[unit] = true
	}
	ranges, err := c.alloc.Survey(t.Context(), allocation.Range{Length: c.disk.Info().Size}, surveyAll)
	lab.Must(t, err)
	c.check(ranges, eachUnit(len(c.allocated), true))
}

// unknown expects nothing to be known about a device.
func unknown(t testing.TB, device string) {
	t.Helper()
	a, err := blockdev.Host{}.Allocation(t.Context(), device)
	if !errors.Is(err, allocation.ErrUnknown) {
		t.Errorf("%s: %v, want %v", device, err, allocation.ErrUnknown)
	}
	if err == nil {
		lab.Must(t, a.Close())
	}
}

//gate:kernels others
func TestAllocationUnknown(t *testing.T) {
	lab.NewLab(t)
	dir := mountTmpfs(t)
	path := filepath.Join(dir, "image")
	device := sparseLoop(t, path, 0)
	a, err := blockdev.Host{}.Allocation(t.Context(), device)
	lab.Must(t, err)
	lab.Must(t, a.Close())
	lab.Must(t, os.Rename(path, path+"-elsewhere"))
	lab.Must(t, os.Remove(path+"-elsewhere"))
	unknown(t, device)
	lab.Must(t, os.WriteFile(path+"-elsewhere (deleted)", make([]byte, size.MiB), 0o600)) // a name that misleads
	unknown(t, device)
	unknown(t, newLoopOn(t, device))
	lab.LoadModule(t, lab.RAMDisks)
	unknown(t, "/dev/ram0")
	name := "plexctl-test-allocation"
	lab.RunTool(t, "dmsetup", "create", name, "--table", "0 16384 linear "+device+" 0")
	defer lab.RunTool(t, "dmsetup", "remove", "--retry", name)
	unknown(t, "/dev/mapper/"+name)
}

// TestAllocationSetUpAnew moves a loop device to another part of its file between survey and confirmation.
//
//gate:kernels releases
func TestAllocationSetUpAnew(t *testing.T) {
	lab.NewLab(t)
	c := newChurn(t, sparseLoop(t, filepath.Join(mountTmpfs(t), "image"), 0))
	candidates, err := c.alloc.Survey(t.Context(), allocation.Range{Length: size.MiB}, 8)
	lab.Must(t, err)
	lab.Must(t, lab.OnDevice(c.device, func(fd int) error {
		return unix.IoctlLoopSetStatus64(fd, &unix.LoopInfo64{Offset: uint64(2 * size.MiB), Sizelimit: uint64(24 * size.MiB)})
	}))
	if confirmed, err := c.alloc.Confirm(t.Context(), candidates); err == nil || len(candidates) != 1 {
		t.Errorf("%v of %v are confirmed on a device that was set up anew", confirmed, candidates)
	}
}

//gate:kernels others
func TestAllocationThinSCSI(t *testing.T) {
	for name, parameters := range map[string]string{
		"granules":        "lbpws=1 lbprz=1 unmap_granularity=64",
		"small granules":  "lbpws=1 lbprz=1 unmap_granularity=8",
		"blocks of 4 KiB": "lbpws=1 lbprz=1 unmap_granularity=16 sector_size=4096",
	} {
		t.Run(name, func(t *testing.T) {
			lab.NewLab(t)
			newChurn(t, lab.NewSCSI(t, "dev_size_mb=24 "+parameters)).run(2)
		})
	}
	for name, parameters := range map[string]string{
		"thick":                    "",
		"blank does not read zero": "lbpws=1 lbprz=0",
	} {
		t.Run(name, func(t *testing.T) {
			lab.NewLab(t)
			unknown(t, lab.NewSCSI(t, "dev_size_mb=24 "+parameters))
		})
	}
}

// TestAllocationPartition has a partition of a thin disk and one of a loop device, each with data around it.
//
//gate:kernels releases
func TestAllocationPartition(t *testing.T) {
	lab.NewLab(t)
	for name, device := range map[string]string{
		"SCSI": lab.NewSCSI(t, "dev_size_mb=24 lbpws=1 lbprz=1 unmap_granularity=8"),
		"loop": sparseLoop(t, filepath.Join(mountTmpfs(t), "image"), unix.LO_FLAGS_PARTSCAN),
	} {
		t.Run(name, func(t *testing.T) {
			newChurn(t, partition(t, device, 4*size.MiB, 12*size.MiB)).run(2)
		})
	}
}

// partition makes one on a device whose other space it fills, and returns its path.
func partition(t testing.TB, device string, start, length size.Bytes) string {
	t.Helper()
	d := openDisk(t, device, blockdev.Write)
	full := bytes.Repeat([]byte{0xee}, int(start))
	clear(full[:512])
	entry := full[446:]
	entry[4] = 0x83
	binary.LittleEndian.PutUint32(entry[8:], uint32(start.Sectors()))
	binary.LittleEndian.PutUint32(entry[12:], uint32(length.Sectors()))
	full[510], full[511] = 0x55, 0xaa
	_, err := d.WriteAt(full, 0)
	lab.Must(t, err)
	rest := bytes.Repeat([]byte{0xee}, int(d.Info().Size-start-length))
	_, err = d.WriteAt(rest, int64(start+length))
	lab.Must(t, errors.Join(err, d.Sync(), d.Close()))
	// udevd reads the partitions, too, when a device is closed that was written to. Meanwhile the device is busy, and they are gone.
	lab.Settle(t)
	lab.WaitFor(t, "the partitions of "+device, 30*time.Second, func() bool {
		_, err := lab.TryTool(t, "blockdev", "--rereadpt", device)
		return err == nil
	})
	lab.Settle(t)
	path := device + "1"
	if name := filepath.Base(device); name[len(name)-1] <= '9' {
		path = device + "p1"
	}
	lab.WaitFor(t, path, 10*time.Second, func() bool { _, err := os.Stat(path); return err == nil })
	return path
}
