//go:build linux

package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// tree is a made-up machine: sysfs, procfs, /dev and /etc in folders of a test.
type tree struct {
	t    testing.TB
	root string
	host Host
}

func newTree(t testing.TB) *tree {
	t.Helper()
	root := t.TempDir()
	tr := &tree{t: t, root: root, host: Host{Root: root}}
	for _, dir := range []string{"sys/class/block", "sys/dev/block", "sys/devices", "proc/self", "dev", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// file writes a file below the root, with its folders.
func (tr *tree) file(path, content string) {
	tr.t.Helper()
	path = filepath.Join(tr.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		tr.t.Fatal(err)
	}
}

func (tr *tree) link(path, target string) {
	tr.t.Helper()
	path = filepath.Join(tr.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		tr.t.Fatal(err)
	}
}

// attributes is a device's files in sysfs.
type attributes map[string]string

// device adds a block device as the kernel lays it out: its folder under parent, links to it by name and by number.
func (tr *tree) device(parent, name, number string, attrs attributes) {
	tr.t.Helper()
	dir := "devices/" + parent + "/" + name
	tr.file("sys/"+dir+"/dev", number+"\n")
	for attr, value := range attrs {
		tr.file("sys/"+dir+"/"+attr, value+"\n")
	}
	tr.link("sys/class/block/"+name, "../../"+dir)
	tr.link("sys/dev/block/"+number, "../../"+dir)
}

// holder says that device holds on is stacked on device below. Both have been added, below with its parent.
func (tr *tree) holder(belowDir, on, below string) {
	tr.link("sys/devices/"+belowDir+"/"+below+"/holders/"+on, "../../../../virtual/block/"+on)
	tr.link("sys/devices/virtual/block/"+on+"/slaves/"+below, "../../../../"+belowDir+"/"+below)
}

const scsiDir, nvmeDir, virtualDir = "pci0/host0/target0:0:0/0:0:0:0/block", "pci0/nvme/nvme0", "virtual/block"

// newMachine has one of each kind of device.
func newMachine(t testing.TB) *tree {
	tr := newTree(t)
	queue := attributes{"queue/logical_block_size": "512", "queue/physical_block_size": "4096", "queue/zoned": "none", "queue/dax": "0"}
	with := func(more attributes) attributes {
		all := attributes{"size": "204800", "ro": "0"}
		for _, attrs := range []attributes{queue, more} {
			for k, v := range attrs {
				all[k] = v
			}
		}
		return all
	}
	tr.device(scsiDir, "sda", "8:0", with(attributes{"device/model": "WDC WD40EFRX    ", "device/vpd_pg80": "\x00\x80\x00\x0c  WD-1234567\x00", "device/wwid": "t10.ATA     WDC  WD40"}))
	tr.device(scsiDir+"/sda", "sda1", "8:1", attributes{"size": "20480", "ro": "1", "partition": "1"})
	tr.device(scsiDir+"/sda", "sda2", "8:2", attributes{"size": "163840", "ro": "0", "partition": "2", "uevent": "DEVNAME=sda2\nPARTN=2\nPARTUUID=0FC63DAF-01"})
	tr.device(scsiDir, "sdb", "8:16", with(attributes{"queue/zoned": "host-managed", "integrity/format": "T10-DIF-TYPE1-CRC"}))
	tr.device(scsiDir, "sdc", "8:32", with(attributes{"size": "0"}))
	tr.device(scsiDir, "sr0", "11:0", with(nil))
	tr.device(scsiDir, "fd0", "2:0", with(nil))
	tr.device(scsiDir, "cciss!c0d0", "104:0", with(nil))
	tr.device(nvmeDir, "nvme0n1", "259:0", with(attributes{"device/model": "Fast", "device/serial": "S1  ", "wwid": "eui.0025", "queue/logical_block_size": "4096", "integrity/format": "nop", "queue/dax": "1"}))
	tr.device(nvmeDir, "nvme0c0n1", "259:9", with(attributes{"hidden": "1"}))
	tr.device("pci0/virtio0/block", "vda", "254:0", with(attributes{"serial": "disk-7"}))
	tr.device(virtualDir, "loop0", "7:0", with(attributes{"loop/backing_file": "/srv/a b.img"}))
	tr.device(virtualDir, "dm-0", "253:0", with(attributes{"dm/uuid": "LVM-abc", "dm/name": "vg-root", "dm/suspended": "0"}))
	tr.device(virtualDir, "dm-1", "253:1", with(attributes{"dm/uuid": "PLEX-1", "dm/name": "plex-web", "dm/suspended": "1"}))
	tr.device(virtualDir, "md0", "9:0", with(nil))
	tr.holder(scsiDir+"/sda", "dm-0", "sda2")
	tr.holder(scsiDir+"/sda", "dm-1", "sda2")
	tr.holder(scsiDir, "md0", "sdb")
	tr.link("sys/class/block/sdz", "../../devices/gone/sdz")
	return tr
}

// wanted is what newMachine's devices are, in the order of Scan.
func (tr *tree) wanted() []Info {
	info := func(name string, major, minor uint32) Info {
		return Info{
			Path: tr.root + "/dev/" + name, Dev: devno.No{Major: major, Minor: minor}, Size: 100 * size.MiB, LogicalBlock: 512, PhysicalBlock: 4096,
		}
	}
	sda, sda1, sda2, sdb := info("sda", 8, 0), info("sda1", 8, 1), info("sda2", 8, 2), info("sdb", 8, 16)
	for _, i := range []*Info{&sda, &sda1, &sda2} {
		i.Model, i.Serial = "WDC WD40EFRX", "WD-1234567"
	}
	sda1.Size, sda2.Size, sda1.ReadOnly = 10*size.MiB, 80*size.MiB, true
	sda.Identity = "id:t10.ATA_WDC_WD40;serial:WD-1234567"
	sda1.Identity, sda2.Identity = sda.Identity, sda.Identity+";part:0fc63daf-01"
	sda.Holders = []devno.No{{Major: 253, Minor: 0}, {Major: 253, Minor: 1}}
	sda2.Holders = sda.Holders
	sdb.Zoned, sdb.Integrity, sdb.Holders = true, true, []devno.No{{Major: 9, Minor: 0}}
	nvme := info("nvme0n1", 259, 0)
	nvme.Identity = "id:eui.0025;serial:S1"
	nvme.Model, nvme.Serial, nvme.LogicalBlock, nvme.DAX = "Fast", "S1", 4096, true
	vda, loop, dm := info("vda", 254, 0), info("loop0", 7, 0), info("dm-0", 253, 0)
	vda.Serial, vda.Identity, loop.Model = "disk-7", "serial:disk-7", "/srv/a b.img"
	dm.Identity = "id:LVM-abc"
	dm.Model, dm.DMUUID, dm.Slaves = "vg-root", "LVM-abc", []devno.No{{Major: 8, Minor: 2}}
	asleep := info("dm-1", 253, 1)
	asleep.Model, asleep.DMUUID, asleep.Suspended, asleep.Slaves = "plex-web", "PLEX-1", true, dm.Slaves
	md := info("md0", 9, 0)
	md.Slaves = []devno.No{{Major: 8, Minor: 16}}
	return []Info{info("cciss/c0d0", 104, 0), dm, asleep, loop, md, nvme, sda, sda1, sda2, sdb, vda}
}

func TestScan(t *testing.T) {
	tr := newMachine(t)
	got, err := tr.host.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tr.wanted(), got); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
}

func TestScanFails(t *testing.T) {
	if _, err := (Host{Root: t.TempDir()}).Scan(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without sysfs: error %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := newMachine(t).host.Scan(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: error %v", err)
	}
}

func TestByNumber(t *testing.T) {
	tr := newMachine(t)
	for _, want := range tr.wanted() {
		got, err := tr.host.byNumber(want.Dev)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("device %s (-want +got):\n%s", want.Dev, diff)
		}
	}
	if suspended, err := tr.host.byNumber(devno.No{Major: 253, Minor: 1}); err != nil || suspended.DMUUID != "PLEX-1" {
		t.Errorf("suspended device: %+v, %v", suspended, err)
	}
	tr.link("sys/dev/block/8:99", "../../devices/gone/sdz")
	for _, dev := range []devno.No{{Major: 8, Minor: 77}, {Major: 8, Minor: 99}} {
		if _, err := tr.host.byNumber(dev); !errors.Is(err, ErrNotExist) {
			t.Errorf("device %s: error %v, want %v", dev, err, ErrNotExist)
		}
	}
}

func TestStatRefuses(t *testing.T) {
	dir := t.TempDir()
	file, fifo, dangling := dir+"/file", dir+"/fifo", dir+"/dangling"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/nothing", dangling); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path string
		want error
	}{
		"nothing":           {dir + "/nothing", ErrNotExist},
		"empty path":        {"", ErrNotExist},
		"below a file":      {file + "/x", ErrNotExist},
		"dangling link":     {dangling, ErrNotExist},
		"file":              {file, ErrNotBlock},
		"folder":            {dir, ErrNotBlock},
		"FIFO":              {fifo, ErrNotBlock},
		"character device":  {"/dev/null", ErrNotBlock},
		"name far too long": {dir + "/" + strings.Repeat("x", 300), unix.ENAMETOOLONG},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := (Host{}).Stat(t.Context(), tt.path); !errors.Is(err, tt.want) {
				t.Errorf("Stat: error %v, want %v", err, tt.want)
			}
			if _, err := (Host{}).Signatures(t.Context(), tt.path); !errors.Is(err, tt.want) {
				t.Errorf("Signatures: error %v, want %v", err, tt.want)
			}
			for _, mode := range []Mode{Read, Write, Exclusive} {
				d, err := (Host{}).Open(t.Context(), tt.path, mode)
				if d != nil || !errors.Is(err, tt.want) {
					t.Errorf("Open %d: %v, error %v, want %v", mode, d, err, tt.want)
				}
			}
		})
	}
}

func TestIDs(t *testing.T) {
	const machine, product = "0123456789abcdef0123456789abcdef", "4C4C4544-0038-4810-8053-B4C04F564433"
	tests := map[string]struct{ machine, product, want string }{
		"both":                    {machine, product, machine + " " + strings.ToLower(product)},
		"neither":                 {"", "", ""},
		"firmware only":           {"", product, strings.ToLower(product)},
		"image never booted":      {"uninitialized", product, strings.ToLower(product)},
		"firmware all zeros":      {"", "00000000-0000-0000-0000-000000000000", ""},
		"firmware all ones":       {"", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", ""},
		"firmware not settable":   {"", "Not Settable", ""},
		"machine id of zeros":     {strings.Repeat("0", 32), "", ""},
		"machine id with a dot":   {"0123456789abcdef.123456789abcdef", "", ""},
		"machine id far too long": {strings.Repeat("0a", 40), "", ""},
		"machine id cut short":    {"0123", "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t)
			tr.file("etc/machine-id", tt.machine+"\n")
			tr.file("sys/class/dmi/id/product_uuid", tt.product+"\n")
			if got := strings.Join(tr.host.IDs(), " "); got != tt.want {
				t.Errorf("IDs() = %q, want %q", got, tt.want)
			}
		})
	}
	if got := newTree(t).host.IDs(); got != nil {
		t.Errorf("without any file: IDs() = %q", got)
	}
}

func TestCheckNode(t *testing.T) {
	tr := newMachine(t)
	tests := map[string]struct {
		path string
		dev  devno.No
		want error
	}{
		"kernel's name":                  {tr.root + "/dev/sda", devno.No{Major: 8, Minor: 0}, nil},
		"kernel's name with a slash":     {tr.root + "/dev/cciss/c0d0", devno.No{Major: 104, Minor: 0}, nil},
		"name of something else":         {tr.root + "/dev/sda", devno.No{Major: 8, Minor: 16}, ErrNotExist},
		"partition of something else":    {tr.root + "/dev/sda1", devno.No{Major: 8, Minor: 2}, ErrNotExist},
		"with a slash, something else":   {tr.root + "/dev/cciss/c0d0", devno.No{Major: 8, Minor: 0}, ErrNotExist},
		"name of device-mapper":          {tr.root + "/dev/mapper/vg-root", devno.No{Major: 253, Minor: 0}, nil},
		"such a name of something else":  {tr.root + "/dev/mapper/vg-root", devno.No{Major: 253, Minor: 1}, ErrNotExist},
		"link beside these names":        {tr.root + "/dev/mapper/alias", devno.No{Major: 253, Minor: 1}, nil},
		"link that is no kernel's name":  {tr.root + "/dev/disk/by-id/root", devno.No{Major: 253, Minor: 0}, nil},
		"name that has gone from sysfs":  {tr.root + "/dev/sdz", devno.No{Major: 8, Minor: 0}, nil},
		"node in a folder of a user":     {"/srv/sda", devno.No{Major: 8, Minor: 16}, nil},
		"name that only starts like one": {tr.root + "/dev/sda3", devno.No{Major: 8, Minor: 0}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := tr.host.checkNode(tt.path, tt.dev); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestPathError(t *testing.T) {
	tests := map[error]error{
		unix.EBUSY:     ErrBusy,
		unix.ENOENT:    ErrNotExist,
		unix.ENXIO:     ErrNotExist,
		unix.ENODEV:    ErrNotExist,
		unix.ENOTDIR:   ErrNotExist,
		unix.EACCES:    fs.ErrPermission,
		unix.EROFS:     ErrReadOnly,
		unix.ENOMEDIUM: unix.ENOMEDIUM,
	}
	for err, want := range tests {
		got := pathError("open", "/dev/sdx", &fs.PathError{Op: "open", Path: "/dev/sdx", Err: err})
		if !errors.Is(got, want) || strings.Count(got.Error(), "/dev/sdx") != 1 {
			t.Errorf("%v becomes %v, want %v and the path once", err, got, want)
		}
	}
}

// TestAttributeOfOnePage has the longest path that a loop device can show.
func TestAttributeOfOnePage(t *testing.T) {
	tr := newTree(t)
	long := "/" + strings.Repeat("x", os.Getpagesize()-2)
	tr.device(virtualDir, "loop1", "7:1", attributes{"size": "8", "loop/backing_file": long})
	info, err := tr.host.byNumber(devno.No{Major: 7, Minor: 1})
	if err != nil || info.Model != long {
		t.Errorf("%d bytes of %d, %v", len(info.Model), len(long), err)
	}
}

func BenchmarkScan(b *testing.B) {
	tr := newTree(b)
	for i := range 2500 {
		tr.device(virtualDir, fmt.Sprintf("dm-%d", i), fmt.Sprintf("253:%d", i), attributes{
			"size": "204800", "ro": "0", "dm/uuid": "PLEX-" + fmt.Sprint(i), "dm/name": "plex", "dm/suspended": "0",
			"queue/logical_block_size": "512", "queue/physical_block_size": "512", "queue/zoned": "none", "queue/dax": "0",
		})
	}
	for b.Loop() {
		found, err := tr.host.Scan(b.Context())
		if err != nil || len(found) != 2500 {
			b.Fatal(len(found), err)
		}
	}
}
