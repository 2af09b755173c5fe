//go:build linux

package blockdev

import (
	"context"
	"fmt"
	"sync"

	"github.com/plexctl/plexctl/size"
)

// zeroChunk is how much is zeroed at once, so that ctx is looked at between.
const zeroChunk = size.MiB

// zeros is a chunk of zeros, for all who write zeros at once. They only read it.
var zeros = sync.OnceValue(func() []byte { return alignedBuffer(int(zeroChunk)) })

// Zero writes length bytes of zeros from start on. Both must be multiples of Align (ErrAlign), but a length may also reach
// the end of the disk. Zero does not flush: the zeros are durable after the disk's next Sync. If ctx ends or a write fails,
// what was written before stays written.
//
// If the size of a device is not a multiple of Align, the rest at its end holds the copy of a GPT. Such a device has logical
// blocks smaller than Align, in which the rest can be written past the page cache. A rest smaller than one block stays.
func Zero(ctx context.Context, disk Disk, start, length size.Bytes) error {
	end := length % Align
	if start%Align != 0 || end != 0 && start+length != disk.Info().Size {
		return fmt.Errorf("zero %d bytes of %s at %d: %w", length, disk.Info().Path, start, ErrAlign)
	}
	for done := size.Bytes(0); done < length-end; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("zero %s: %w", disk.Info().Path, err)
		}
		n := min(length-end-done, zeroChunk)
		if _, err := disk.WriteAt(zeros()[:n], int64(start+done)); err != nil {
			return fmt.Errorf("zero %s: %w", disk.Info().Path, err)
		}
		done += n
	}
	return zeroEnd(disk, end)
}

// EndWriter is a Disk that can write less than Align at its end. Zero needs it for a device whose size is not a multiple of
// Align.
type EndWriter interface {
	// WriteEnd writes whole logical blocks, in memory that starts at a multiple of Align.
	WriteEnd(p []byte, off int64) error
}

// zeroEnd zeroes the last n bytes of a disk, as far as they are whole logical blocks. n is less than Align.
func zeroEnd(disk Disk, n size.Bytes) error {
	info := disk.Info()
	whole := n.RoundDown(max(info.LogicalBlock, size.Sector))
	if whole == 0 {
		return nil
	}
	d, ok := disk.(EndWriter)
	if !ok {
		return fmt.Errorf("zero the end of %s: %w", info.Path, ErrAlign)
	}
	if err := d.WriteEnd(alignedBuffer(int(whole)), int64(info.Size-n)); err != nil {
		return fmt.Errorf("zero the end of %s: %w", info.Path, err)
	}
	return nil
}

// WriteEnd writes whole logical blocks. The memory of p is aligned.
func (d *hostDisk) WriteEnd(p []byte, off int64) error {
	_, err := d.file.WriteAt(p, off)
	return writeError(err)
}
