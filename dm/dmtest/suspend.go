package dmtest

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// Suspend makes I/O wait until Resume. There is no file system to freeze.
func (k *Kernel) Suspend(ctx context.Context, name string, _ bool) error {
	return k.change(ctx, "suspend", "suspend", name, (*device).suspend)
}

func (d *device) suspend() error {
	if d.suspended {
		return nil
	}
	if err := d.live.each(target.postsuspend); err != nil {
		return err
	}
	d.suspended = true
	d.resumed = make(chan struct{})
	return nil
}

// Resume makes the inactive table the live one, if there is one, and lets I/O continue. If a target cannot start, the new
// table is live, the device is suspended, and the old table is gone (dm-ioctl.c, do_resume).
func (k *Kernel) Resume(ctx context.Context, name string, _ dm.Visibility) error {
	return k.change(ctx, "resume", "resume", name, func(d *device) error {
		old, err := k.swap(d)
		if err != nil {
			return err
		}
		err = k.unsuspend(d)
		return errors.Join(err, old.destroy())
	})
}

// swap puts the inactive table in the place of the live one, which it returns.
func (k *Kernel) swap(d *device) (*table, error) {
	if d.inactive == nil {
		return nil, nil
	}
	if err := d.suspend(); err != nil {
		return nil, err
	}
	if err := d.inactive.fits(); err != nil {
		broken := d.inactive
		d.inactive = nil
		return nil, errors.Join(err, broken.destroy())
	}
	old := d.live
	d.live, d.inactive = d.inactive, nil
	k.happened()
	return old, nil
}

// unsuspend starts the live table of a suspended device and lets I/O continue.
func (k *Kernel) unsuspend(d *device) error {
	if !d.suspended {
		return nil
	}
	if d.live == nil {
		return unix.EINVAL
	}
	if err := d.live.each(target.preresume); err != nil {
		return err
	}
	if err := d.live.each(target.resume); err != nil {
		return err
	}
	d.suspended = false
	close(d.resumed)
	k.show(d)
	return nil
}

// show makes d visible among the machine's block devices, or shows how it has changed.
func (k *Kernel) show(d *device) {
	info := d.info()
	k.mem.Stack(info, func(mode blockdev.Mode) (blockdev.Disk, error) { return k.open(d, mode) })
	k.mem.Link("/dev/mapper/"+d.name, info.Path)
}

// hide takes d away from the machine's block devices.
func (k *Kernel) hide(d *device) {
	k.mem.Unstack(d.dev)
	k.mem.Link("/dev/mapper/"+d.name, "")
}

// info describes d as a block device.
func (d *device) info() blockdev.Info {
	info := blockdev.Info{
		Path:          "/dev/dm-" + itoa(d.dev.Minor),
		Dev:           d.dev,
		Size:          size.Bytes(d.live.length()),
		LogicalBlock:  512,
		PhysicalBlock: 512,
		DMUUID:        d.uuid,
	}
	if d.live != nil {
		info.Slaves = d.live.uses
		info.LogicalBlock = d.live.block()
		info.PhysicalBlock = info.LogicalBlock
	}
	return info
}
