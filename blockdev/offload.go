//go:build linux

package blockdev

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/internal/eintr"
	"github.com/plexctl/plexctl/size"
)

// ErrNoOffload means that a device cannot zero by itself, or may not zero all that it is asked for.
var ErrNoOffload = errors.New("device cannot zero by itself")

// offloadChunk is the most that a drive is asked to zero at once, so that ctx is looked at between.
const offloadChunk = size.GiB

// largestGranule is the most that is written at an end of a range. Arrays have granules of up to 42 MiB.
const largestGranule = 64 * size.MiB

// ZeroOffload has the drive make length bytes from start on read as zeros. The host itself writes one granule of the drive
// at each end and nothing between. Start and length are multiples of Align (ErrAlign). The zeros are durable after the disk's
// next Sync.
//
// ErrNoOffload means that the device cannot. Usually nothing has changed then. But some devices say that they can, and refuse
// when they are asked: a part of the range may be zero. The same holds when ctx ends or the drive fails.
func ZeroOffload(ctx context.Context, disk Disk, start, length size.Bytes) error {
	info := disk.Info()
	err := checkRange(info.Size, start, length)
	if err == nil {
		err = zeroOffload(ctx, disk, start, start+length)
	}
	if err != nil {
		return fmt.Errorf("have %s zero %d bytes at %d: %w", info.Path, length, start, err)
	}
	return nil
}

// checkRange is why a device of that size does not have such a range.
func checkRange(device, start, length size.Bytes) error {
	switch {
	case start%Align != 0 || length%Align != 0:
		return ErrAlign
	case start > device || length > device-start:
		return unix.ENOSPC // as for a write there
	}
	return nil
}

// Offload is how a drive zeroes by itself.
type Offload struct {
	// Granule is the unit in which the drive allocates, 0 where that does not matter. If a request covers a granule in part,
	// the drive may leave that part as it is. The kernel does not tell where granules start.
	Granule size.Bytes
	Most    size.Bytes // how much the drive takes at once
}

// Offloader is a Disk whose drive may be able to zero by itself. ZeroOffload asks for nothing else.
type Offloader interface {
	// Offload fails with ErrNoOffload when the drive cannot.
	Offload() (Offload, error)
	// ZeroByDrive asks the drive for it. It fails with ErrNoOffload when the drive refuses.
	ZeroByDrive(start, length size.Bytes) error
}

// zeroOffload has all zeroed from start to end. Each request overlaps the one before by a granule. So one of them has each
// granule inside the range as a whole, wherever granules start. The granules at the ends may be cut: zeroOffload writes
// zeros there. It does that last, so that nothing has changed if the drive cannot zero.
func zeroOffload(ctx context.Context, disk Disk, start, end size.Bytes) error {
	drive, ok := disk.(Offloader)
	if !ok {
		return ErrNoOffload
	}
	o, err := drive.Offload()
	if err != nil {
		return err
	}
	chunk, overlap, err := o.chunk()
	if err != nil {
		return err
	}
	for at := start; at < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(end-at, chunk)
		if err := drive.ZeroByDrive(at, n); err != nil {
			return fmt.Errorf("after %d bytes: %w", at-start, err)
		}
		at += n
		if at < end {
			at -= overlap
		}
	}
	edge := min(overlap, end-start)
	if err := Zero(ctx, disk, start, edge); err != nil {
		return err
	}
	return Zero(ctx, disk, end-edge, edge)
}

// chunk is how much to ask for at once, and by how much requests overlap.
func (o Offload) chunk() (chunk, overlap size.Bytes, err error) {
	chunk, overlap = min(o.Most, offloadChunk).RoundDown(Align), o.Granule.RoundUp(Align)
	if chunk < Align || chunk < 2*overlap || overlap > largestGranule {
		return 0, 0, fmt.Errorf("%w: it takes %d bytes at once and has granules of %d", ErrNoOffload, o.Most, o.Granule)
	}
	return chunk, overlap, nil
}

// Offload is what the kernel knows about the drive. By the standards a drive zeroes all it is asked for, whole granules or
// not (SBC-4, WRITE SAME; NVMe, Write Zeroes; virtio, VIRTIO_BLK_T_WRITE_ZEROES). Not all do: scsi_debug ignores a request for
// a part of a granule (unmap_region in drivers/scsi/scsi_debug.c). The kernel does not tell where granules start:
// discard_alignment of a whole disk shows another value (disk_discard_alignment_show in block/genhd.c).
//
// The kernel splits requests that are larger than the queue takes at once, and anywhere (bio_split_write_zeroes in
// block/blk-merge.c). It merges none. So a request within that limit reaches the drive as it is.
func (d *hostDisk) Offload() (Offload, error) {
	queue := d.node.disk()
	o := Offload{
		Most:    size.Bytes(queue.number("queue/write_zeroes_max_bytes")),
		Granule: size.Bytes(queue.number("queue/discard_granularity")),
	}
	switch {
	case o.Most == 0:
		return Offload{}, ErrNoOffload
	case queue.hidesGranules(o.Granule):
		return Offload{}, fmt.Errorf("%w: nobody knows its granules", ErrNoOffload)
	case o.Granule <= max(d.info().LogicalBlock, size.Sector):
		o.Granule = 0 // every request is whole granules
	}
	return o, nil
}

// hidesGranules reports whether the granularity of a device need not be that of the drives below it.
func (n node) hidesGranules(granularity size.Bytes) bool {
	switch {
	case len(n.related("slaves")) > 0: // stacked on several drives, or cut at other places; a multipath device is one drive
		return !strings.HasPrefix(n.text("dm/uuid"), "mpath-") || granularity == 0
	case strings.HasPrefix(n.text("loop/backing_file"), "/dev/"):
		return true
	}
	// If the administrator has disabled discards, sd still unmaps to zero. Since Linux 6.12 it then shows no granularity.
	return granularity == 0 && strings.HasSuffix(n.zeroingMode(), "_unmap")
}

// zeroingMode is how sd zeroes a SCSI disk: "writesame_16_unmap", for example. It is empty for other devices.
func (n node) zeroingMode() string {
	for _, name := range entries(n.dir + "/device/scsi_disk") {
		return n.text("device/scsi_disk/" + name + "/zeroing_mode")
	}
	return ""
}

// ZeroByDrive punches a hole. blkdev_fallocate (block/fops.c) passes this on as REQ_OP_WRITE_ZEROES with
// BLKDEV_ZERO_NOFALLBACK, and drops the page cache of the range. With FALLOC_FL_ZERO_RANGE or BLKZEROOUT the kernel would
// write zeros itself when the drive cannot. EREMOTEIO is a refusal by a SCSI drive that the kernel did not expect.
func (d *hostDisk) ZeroByDrive(start, length size.Bytes) error {
	err := eintr.Retry(func() error {
		return unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(start), int64(length))
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EREMOTEIO) {
		return fmt.Errorf("%w: %w", ErrNoOffload, err)
	}
	return writeError(err)
}
