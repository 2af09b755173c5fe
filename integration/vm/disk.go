package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// CreateImage makes the image of a blank disk: a sparse file that must not exist yet.
func CreateImage(file string, length size.Bytes) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("create disk: %w", err)
	}
	return errors.Join(f.Truncate(int64(length)), f.Close())
}

// drive is a Disk in a running machine.
type drive struct {
	Disk
	image string // what QEMU writes to: the disk's own file, or a copy of it if it is volatile
	log   string // what was written; "" if the disk is not volatile
}

// attach prepares the disks for a run, whose folder is dir.
func attach(ctx context.Context, disks []Disk, dir string) ([]drive, error) {
	drives := make([]drive, len(disks))
	for i, disk := range disks {
		drives[i] = drive{Disk: disk, image: disk.Path}
		if !disk.Volatile {
			continue
		}
		drives[i].image = filepath.Join(dir, fmt.Sprintf("disk%d", i))
		drives[i].log = drives[i].image + ".log"
		err := errors.Join(copyImage(ctx, disk.Path, drives[i].image), os.WriteFile(drives[i].log, nil, 0o600))
		if err != nil {
			return nil, err
		}
	}
	return drives, nil
}

// detach makes the images of volatile disks what they are after the run: cut says that the power was cut.
func detach(ctx context.Context, drives []drive, cut bool) error {
	var errs []error
	for _, d := range drives {
		switch {
		case d.log == "":
		case cut:
			errs = append(errs, losePower(d.Path, d.log))
		default:
			errs = append(errs, copyImage(ctx, d.image, d.Path))
		}
	}
	return errors.Join(errs...)
}

// driveArguments are those of QEMU for all drives, in order.
func driveArguments(drives []drive) []string {
	var args []string
	for i, d := range drives {
		args = append(args, d.arguments(fmt.Sprintf("disk%d", i))...)
	}
	return args
}

// arguments are those of QEMU for the drive. A volatile one takes neither discards nor write-zeroes: its log then holds
// nothing but writes and flushes.
func (d drive) arguments(id string) []string {
	file := "driver=file,discard=unmap,filename=" + strings.ReplaceAll(d.image, ",", ",,") + ",cache.direct=" + onOff(takesDirect(d.image))
	args := []string{"-blockdev", file + ",node-name=" + id}
	node := id
	if d.log != "" {
		node = id + "-logged"
		args = append(args,
			"-blockdev", "driver=file,filename="+strings.ReplaceAll(d.log, ",", ",,")+",node-name="+id+"-log",
			"-blockdev", fmt.Sprintf("driver=blklogwrites,log-sector-size=%d,file=%s,log=%s-log,node-name=%s", logSector, id, id, node))
	}
	return append(args, "-device", fmt.Sprintf(
		"virtio-blk-pci,drive=%s,serial=%s,write-cache=on,discard=%[3]s,write-zeroes=%[3]s,logical_block_size=%[4]d,physical_block_size=%[4]d",
		node, d.Serial, onOff(d.log == ""), max(d.Block, size.Sector)))
}

// onOff is b as QEMU spells it.
func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// takesDirect reports whether the file can be opened past the host's page cache, which tmpfs of older kernels refuses.
func takesDirect(file string) bool {
	f, err := os.OpenFile(file, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}
