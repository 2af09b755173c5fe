package lun_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// layered is a kernel with device-mapper devices of others.
type layered struct {
	*dmtest.Kernel
	others map[string]dm.Device
	tables map[string]dm.Table
}

func (k *layered) List(ctx context.Context) ([]dm.Device, error) {
	list, err := k.Kernel.List(ctx)
	for _, d := range k.others {
		list = append(list, d)
	}
	return list, err
}

func (k *layered) Table(ctx context.Context, name string) (dm.Table, error) {
	if t, ok := k.tables[name]; ok {
		return t, nil
	}
	return k.Kernel.Table(ctx, name)
}

// layer puts a device of device-mapper on others, which shows what the first of them holds, and has w use the kernel k.
func (w *world) layer(k *layered, name, target, args string, minor uint32, below ...devno.No) devno.No {
	w.t.Helper()
	if k.Kernel == nil {
		k.Kernel, k.others, k.tables = w.kernel, map[string]dm.Device{}, map[string]dm.Table{}
	}
	dev := devno.No{Major: 253, Minor: minor}
	info := blockdev.Info{Path: "/dev/" + name, Size: driveSize, Dev: dev, Slaves: below}
	if name == "mpath" {
		info.DMUUID = "mpath-1"
	}
	k.others[name] = dm.Device{Name: name, UUID: info.DMUUID, Dev: dev}
	k.tables[name] = dm.Table{{Length: driveSize.Sectors(), Target: dm.Other{Name: target, Args: args}}}
	w.mem.Stack(info, func(mode blockdev.Mode) (blockdev.Disk, error) {
		return w.mem.Open(context.Background(), w.pathOf(below[0]), mode)
	})
	return dev
}

// pathOf is the path of the device of a number.
func (w *world) pathOf(dev devno.No) string {
	infos, err := w.mem.Scan(context.Background())
	w.must(err)
	for _, i := range infos {
		if i.Dev == dev {
			return i.Path
		}
	}
	w.t.Fatalf("no device %s", dev)
	return ""
}

// over opens the drives through the kernel k.
func (w *world) over(k lun.Kernel) {
	w.t.Helper()
	w.p.Close()
	p, err := lun.Open(w.t.Context(), lun.Options{Kernel: k, Devices: w.mem, LockPath: w.lock, Hosts: w.hosts, Workers: 1})
	w.must(err)
	w.t.Cleanup(p.Close)
	w.p = p
}

// A snapshot of a drive in use exists for a while, as during a backup. The LUN stays on the drive, whatever is done. Without a LUN
// in use, the snapshot and its origin are two devices with one label.
func TestASnapshotOfADriveInUse(t *testing.T) {
	for _, target := range []string{"snapshot", "clone", "snapshot-merge", "thin"} {
		t.Run(target, func(t *testing.T) {
			w := ownWorld(t)
			k := &layered{}
			base := w.layer(k, "base", "linear", "", 200, w.dev(0))
			w.layer(k, "snap", target, "253:9 1 253:200", 201, base)
			w.over(k)
			before := w.tables()
			for name, act := range map[string]func() error{
				"reenumerate": func() error { return reenumerate(w) }, "assemble": func() error { return assemble(w) },
				"rename": func() error { return w.find("other").Rename(t.Context(), "other2") },
			} {
				if err := act(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if diff := cmp.Diff(before["plex-web1"], w.tables()["plex-web1"]); diff != "" {
				t.Errorf("table (-before +after):\n%s", diff)
			}
			if d, err := w.p.Drive(w.path(0)); err != nil || d.State != lun.DriveUsed || !slices.Equal(d.Rivals, []string{"/dev/base", "/dev/snap"}) {
				t.Errorf("drive %+v, %v", d, err)
			}
			w.must(deactivate(w))
			err := assembleOnly("web1")(w)
			if !errors.Is(err, vds.ErrDiskConfigurationNotSync) || !named(err.Error(), "/dev/base", "/dev/snap") {
				t.Errorf("assemble: %v", err)
			}
		})
	}
}

// Devices below one with their label are no drives: paths of a multipath device, parts of a thin pool. What cannot be made sense of
// there is no problem. When the upper one cannot be read, the lower ones are left alone.
func TestDevicesBelowADrive(t *testing.T) {
	for name, lower := range map[string]func(w *world){
		"whole": func(*world) {},
		"too small": func(w *world) { // as the data device of a thin pool, which has the same first blocks
			w.mem.Change(w.path(0), func(i *blockdev.Info) { i.Size = driveSize - size.MiB })
		},
		"damaged": func(w *world) {
			for _, at := range []int64{4096, int64(driveSize-4*size.MiB) + 4096} {
				_, err := w.medium(0).WriteAt([]byte("PLEXLABL\x01"), at)
				w.must(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := ownWorld(t)
			w.must(deactivate(w))
			k := &layered{}
			content := w.medium(0).In(w.mem.Cut(blocktest.Kept))
			pool := w.layer(k, "pool", "thin-pool", "", 200, w.dev(0))
			w.layer(k, "mpath", "multipath", "", 201, pool)
			unreadable := false
			w.mem.Stack(blockdev.Info{Path: "/dev/mpath", Size: driveSize, Dev: devno.No{Major: 253, Minor: 201}, Slaves: []devno.No{pool}},
				func(blockdev.Mode) (blockdev.Disk, error) {
					if unreadable {
						return unreadableDisk{}, nil
					}
					return mediumDisk{content}, nil
				})
			lower(w)
			w.over(k)
			var paths []string
			for _, d := range w.p.Drives() {
				paths = append(paths, d.Info.Path)
			}
			if problems := w.p.Problems(); !slices.Equal(paths, []string{w.path(1), "/dev/mpath"}) || len(problems) > 0 {
				t.Errorf("drives %v, problems %v", paths, problems)
			}
			unreadable = true
			w.must(w.p.Refresh(t.Context()))
			if problems := w.p.Problems(); len(w.p.Drives()) != 1 || len(problems) == 0 || !strings.Contains(problems[0].Error(), "/dev/mpath") {
				t.Errorf("drives %v, problems %v", w.p.Drives(), problems)
			}
		})
	}
}

// mediumDisk is a disk that only holds something.
type mediumDisk struct{ *blocktest.Medium }

func (mediumDisk) Close() error { return nil }

// unreadableDisk is a disk whose reads fail.
type unreadableDisk struct{ blockdev.Disk }

func (unreadableDisk) ReadAt([]byte, int64) (int, error) { return 0, blockdev.ErrBusy }
func (unreadableDisk) Close() error                      { return nil }
