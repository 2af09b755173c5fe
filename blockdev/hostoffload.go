package blockdev

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/internal/eintr"
	"github.com/plexctl/plexctl/size"
)

// Offload is what the kernel knows about the drive. A drive that does its duty zeroes all it is asked for, whole granules
// or not (SBC-4, WRITE SAME; NVMe, Write Zeroes; virtio, VIRTIO_BLK_T_WRITE_ZEROES). Not all do: of granules asked for in
// part, scsi_debug drops the request (unmap_region in drivers/scsi/scsi_debug.c). Where granules start cannot be had from
// the kernel: discard_alignment of a whole disk shows another value (disk_discard_alignment_show in block/genhd.c).
//
// A request of at most what the queue takes at once is one for the drive too: the kernel splits larger ones anywhere
// (bio_split_write_zeroes in block/blk-merge.c) and merges none.
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
	case len(n.related("slaves")) > 0: // of several drives, or cut at other places; paths of a multipath device lead to one
		return !strings.HasPrefix(n.text("dm/uuid"), "mpath-") || granularity == 0
	case strings.HasPrefix(n.text("loop/backing_file"), "/dev/"):
		return true
	}
	// Where the administrator has disabled discards, sd still unmaps to zero, and up from Linux 6.12 shows no granularity.
	return granularity == 0 && strings.HasSuffix(n.zeroingMode(), "_unmap")
}

// zeroingMode is how sd has a SCSI disk zero: "writesame_16_unmap", for example. It is empty for other devices.
func (n node) zeroingMode() string {
	for _, name := range entries(n.dir + "/device/scsi_disk") {
		return n.text("device/scsi_disk/" + name + "/zeroing_mode")
	}
	return ""
}

// ZeroByDrive punches a hole: blkdev_fallocate (block/fops.c) passes this on as REQ_OP_WRITE_ZEROES with
// BLKDEV_ZERO_NOFALLBACK, where FALLOC_FL_ZERO_RANGE and BLKZEROOUT have the kernel write when the drive cannot. It drops
// the page cache of the range. EREMOTEIO is a refusal of a SCSI drive that the kernel does not remember as one.
func (d *hostDisk) ZeroByDrive(start, length size.Bytes) error {
	err := eintr.Retry(func() error {
		return unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(start), int64(length))
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EREMOTEIO) {
		return fmt.Errorf("%w: %w", ErrNoOffload, err)
	}
	return err
}
