package blockdev

import (
	"context"
	"fmt"

	"github.com/plexctl/plexctl/size"
)

// zeroChunk is how much is zeroed at once, so that ctx is looked at between.
const zeroChunk = size.MiB

// Zero writes length bytes of zeros from start on. Both are multiples of Align, else it writes nothing (ErrAlign). It does
// not flush: the zeros are durable after the disk's next Sync. What was written when ctx ends or a write fails stays
// written.
func Zero(ctx context.Context, disk Disk, start, length size.Bytes) error {
	if start%Align != 0 || length%Align != 0 {
		return fmt.Errorf("zero %d bytes of %s at %d: %w", length, disk.Info().Path, start, ErrAlign)
	}
	zeros := alignedBuffer(int(min(length, zeroChunk)))
	for done := size.Bytes(0); done < length; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("zero %s: %w", disk.Info().Path, err)
		}
		n := min(length-done, zeroChunk)
		if _, err := disk.WriteAt(zeros[:n], int64(start+done)); err != nil {
			return fmt.Errorf("zero %s: %w", disk.Info().Path, err)
		}
		done += n
	}
	return nil
}
