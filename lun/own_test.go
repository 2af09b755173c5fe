package lun_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// refuseInit expects that the device at path cannot become a drive, with or without force, and that nothing is written anywhere.
func (w *world) refuseInit(path string, force bool, code vds.Code) {
	w.t.Helper()
	var written []string
	w.mem.OnEffect = func(e blocktest.Effect) error {
		written = append(written, e.Kind+" "+e.Object)
		return nil
	}
	defer func() { w.mem.OnEffect = nil }()
	opts := lun.InitOptions{Force: force}
	w.must(w.p.Refresh(w.t.Context()))
	checked := w.p.CheckDrive(w.t.Context(), path, opts)
	_, err := w.p.InitDrive(w.t.Context(), path, opts)
	if !errors.Is(err, code) || !errors.Is(checked, code) || len(written) > 0 {
		w.t.Errorf("init %s, force %t: %v (%v), checked: %v; want %v; effects %v", path, force, err, vds.CodeOf(err), checked, code, written)
	}
}

// stack adds a device above others.
func (w *world) stack(path string, below ...devno.No) devno.No {
	return w.mem.AddDisk(blockdev.Info{Path: path, Size: driveSize, Slaves: below})
}

// TestInitRefusesDevicesOfLUNs has an idle LUN, and devices above and below those of plexctl. A label on one of them would destroy it.
func TestInitRefusesDevicesOfLUNs(t *testing.T) {
	w, _, _ := pair(t)
	attached(w, -1)
	info, err := w.mem.Stat(t.Context(), "/dev/mapper/plex-web1")
	w.must(err)
	crypt := w.stack("/dev/dm-90", info.Dev)
	w.stack("/dev/loop7", crypt) // on a file that lies on it
	devices := []string{info.Path, "/dev/dm-90", "/dev/loop7"}
	for name := range w.devices() {
		devices = append(devices, "/dev/mapper/"+name)
	}
	for _, path := range devices {
		for _, force := range []bool{false, true} {
			err := w.p.CheckDrive(t.Context(), path, lun.InitOptions{Force: force})
			if code := vds.CodeOf(err); code != vds.ErrInvalidOperation && code != vds.ErrDeviceInUse {
				t.Errorf("%s, force %t: %v (%v)", path, force, err, code)
			}
		}
	}
	w.refuseInit("/dev/mapper/plex-web1", true, vds.ErrInvalidOperation)
	w.refuseInit("/dev/loop7", true, vds.ErrInvalidOperation)
	w.verify()
}

// TestInitRefusesDevicesOfDrives has LUNs that are not active: nothing but the labels tells that the devices are in use.
func TestInitRefusesDevicesOfDrives(t *testing.T) {
	w, _, _ := pair(t)
	w.must(deactivate(w))
	w.stack("/dev/sda1", w.dev(0)) // a partition left over on a drive
	whole := w.stack("/dev/sdx")
	w.mem.Change(w.path(1), func(i *blockdev.Info) { i.Slaves = []devno.No{whole} }) // that drive is a partition
	for _, force := range []bool{false, true} {
		w.refuseInit("/dev/sda1", force, vds.ErrObjectExists)
		w.refuseInit("/dev/sdx", force, vds.ErrObjectExists)
	}
	w.must(assemble(w))
	w.verify()
}

// clone makes a device with the content of a drive.
func (w *world) clone(drive, to int, length size.Bytes) {
	w.t.Helper()
	w.mem.AddDisk(blockdev.Info{Path: w.path(to), Size: length})
	content := make([]byte, min(length, driveSize))
	if _, err := w.medium(drive).ReadAt(content, 0); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.medium(to).WriteAt(content, 0); err != nil {
		w.t.Fatal(err)
	}
}

// TestInitJudgesTheDeviceNamed plugs a copy of a drive. What the drive itself says still counts, whatever the copy says.
func TestInitJudgesTheDeviceNamed(t *testing.T) {
	w, _, _ := pair(t)
	w.must(deactivate(w))
	w.clone(0, 5, driveSize)
	for _, force := range []bool{false, true} {
		w.refuseInit(w.path(0), force, vds.ErrObjectExists)
		w.refuseInit(w.path(5), force, vds.ErrObjectExists)
	}
	if err := w.p.RemoveDrive(t.Context(), w.path(0)); !errors.Is(err, vds.ErrDiskNotEmpty) {
		t.Errorf("remove: %v, want %v", err, vds.ErrDiskNotEmpty)
	}
	w.mem.Vanish(w.path(5))
	w.restart()
	w.must(assemble(w))
	w.verify()
}

// TestRemoveTheDeviceNamed removes an empty drive whose copy is there too: only the one that is named loses its label.
func TestRemoveTheDeviceNamed(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	w.clone(0, 5, driveSize)
	w.restart()
	d, err := w.p.DriveAt(t.Context(), w.path(5))
	if w.must(err); d.Info.Path != w.path(5) {
		t.Errorf("found %s", d.Info.Path)
	}
	w.must(w.p.RemoveDrive(t.Context(), w.path(5)))
	if drives := w.p.Drives(); len(drives) != 1 || drives[0].Info.Path != w.path(0) || len(w.p.Problems()) > 0 {
		t.Errorf("left: %v, problems %v", drives, w.p.Problems())
	}
}

// Places of the labels and slots of a drive.
const (
	headLabel = int64(4 * size.KiB)
	headSlot  = int64(64 * size.KiB)
	nextSlot  = int64(2080 * size.KiB)
)

func tailOf(drive size.Bytes) int64 { return int64(catalog.TailStart(drive)) }

// edit changes the first block at places of a drive; with seal it corrects the checksum of a label.
func (w *world) edit(drive int, change func(b []byte), seal bool, places ...int64) {
	w.t.Helper()
	for _, at := range places {
		b := make([]byte, block)
		if _, err := w.medium(drive).ReadAt(b, at); err != nil {
			w.t.Fatal(err)
		}
		change(b)
		if seal {
			clear(b[12:16])
			binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		}
		if _, err := w.medium(drive).WriteAt(b, at); err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestInitOverWhatCannotBeRead damages drives, or has them written by a newer plexctl.
func TestInitOverWhatCannotBeRead(t *testing.T) {
	flip := func(b []byte) { b[66] ^= 1 }
	newer := func(b []byte) { b[8]++ }
	labels := []int64{headLabel, tailOf(driveSize) + headLabel}
	slots := []int64{headSlot, nextSlot, tailOf(driveSize) + headSlot, tailOf(driveSize) + nextSlot}
	tests := map[string]struct {
		luns    bool // on the drive
		seen    bool // another drive has a plex of the LUN, and with it the record
		damage  func(w *world)
		without vds.Code // force
		forced  vds.Code
	}{
		"newer labels":             {damage: func(w *world) { w.edit(0, newer, true, labels...) }, without: vds.ErrNotSupported, forced: vds.ErrNotSupported},
		"newer copy of the label":  {damage: func(w *world) { w.edit(0, newer, true, labels[1]) }, without: vds.ErrNotSupported, forced: vds.ErrNotSupported},
		"newer slot":               {damage: func(w *world) { w.edit(0, newer, false, slots[0]) }, without: vds.ErrNotSupported, forced: vds.ErrNotSupported},
		"incompatible feature":     {damage: func(w *world) { w.edit(0, func(b []byte) { b[380] = 1 }, true, labels...) }, without: vds.ErrNotSupported, forced: vds.ErrNotSupported},
		"feature that forbids us":  {damage: func(w *world) { w.edit(0, func(b []byte) { b[376] = 1 }, true, labels...) }, without: vds.ErrNotSupported, forced: vds.ErrNotSupported},
		"labels damaged":           {damage: func(w *world) { w.edit(0, flip, false, labels...) }, without: vds.ErrDiskNotEmpty},
		"labels damaged, LUNs":     {luns: true, damage: func(w *world) { w.edit(0, flip, false, labels...) }, without: vds.ErrObjectExists, forced: vds.ErrObjectExists},
		"catalogs damaged":         {damage: func(w *world) { w.edit(0, flip, false, slots...) }, without: vds.ErrDiskNotEmpty},
		"catalogs damaged, LUNs":   {luns: true, damage: func(w *world) { w.edit(0, flip, false, slots...) }, without: vds.ErrDiskNotEmpty},
		"catalogs damaged, mirror": {seen: true, damage: func(w *world) { w.edit(0, flip, false, slots...) }, without: vds.ErrObjectExists, forced: vds.ErrObjectExists},
		"unreadable":               {damage: func(w *world) { w.mem.Fail(w.path(0), blocktest.Fault{Kind: "read"}) }, without: vds.ErrIO, forced: vds.ErrIO},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, dmtest.Linux6_12, 2)
			if tt.luns || tt.seen {
				w.create("web1", lunSize, 0)
			}
			if tt.seen {
				w.mirror("web1", "spare3", 1)
			}
			w.must(deactivate(w))
			tt.damage(w)
			w.refuseInit(w.path(0), false, tt.without)
			if tt.forced != vds.OK {
				w.refuseInit(w.path(0), true, tt.forced)
				return
			}
			if _, err := w.p.InitDrive(t.Context(), w.path(0), lun.InitOptions{Force: true}); err != nil {
				t.Errorf("by force: %v", err)
			}
		})
	}
}

// TestReadRemainsOfNothing reads a device without any label.
func TestReadRemainsOfNothing(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 0)
	w.mem.AddDisk(blockdev.Info{Path: w.path(0), Size: driveSize})
	if r := catalog.ReadRemains(w.medium(0), driveSize); len(r.Drives) > 0 || len(r.LUNs) > 0 || r.Unknown {
		t.Errorf("%+v", r)
	}
}

// TestUnknownRecordsAreNotDamage has an intact catalog with a field that this plexctl does not know.
func TestUnknownRecordsAreNotDamage(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	w.edit(0, func(b []byte) {
		text := []byte(`{"luns":[],"shiny":1}`)
		clear(b[64:])
		copy(b[64:], text)
		binary.LittleEndian.PutUint32(b[40:], uint32(len(text)))
		binary.LittleEndian.PutUint64(b[32:], 9)
		clear(b[12:16])
		binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:64+len(text)], crc32.MakeTable(crc32.Castagnoli)))
	}, false, headSlot)
	for _, force := range []bool{false, true} {
		w.refuseInit(w.path(0), force, vds.ErrNotSupported)
	}
}

// TestASmallerCopyIsNoDrive plugs a copy that did not fit: the whole drive counts, and the copy is reported.
func TestASmallerCopyIsNoDrive(t *testing.T) {
	w, _, _ := pair(t)
	w.clone(0, 5, driveSize-2*size.MiB)
	w.restart()
	w.must(assemble(w))
	w.verify()
	problems := w.p.Problems()
	if len(problems) != 1 || !errors.Is(problems[0], catalog.ErrTooSmall) || !strings.Contains(problems[0].Error(), w.path(5)) {
		t.Errorf("problems %v, want one about %s", problems, w.path(5))
	}
	w.refuseInit(w.path(5), true, vds.ErrObjectExists)
}
