package catalog

import (
	"io"

	"github.com/plexctl/plexctl/size"
)

// Sizes of the layout of a drive.
const (
	// FirstExtent is where the space for extents starts. It ends at TailStart.
	FirstExtent = 4 * size.MiB
	// MinDriveSize is the size of the smallest device that can be a drive.
	MinDriveSize = 16 * size.MiB
	// ExtentAlign is the unit of the start and length of every extent, and of a LUN's size.
	ExtentAlign = size.MiB
	// MetaSize is the length of a plex's metadata extent: two metadata slots of 512 KiB.
	MetaSize = size.MiB
	// MaxSize bounds sizes and offsets on a drive, so that sums of them cannot overflow: 4 EiB.
	MaxSize = size.Bytes(1 << 62)
)

// Offsets inside the first 4 MiB of a drive and, the same, inside the copy at its end.
const (
	blockSize   = 4096
	labelOffset = 4 * size.KiB
	slotOffset  = 64 * size.KiB
	slotSize    = 2016 * size.KiB
)

// Media is the device under a drive, such as a blockdev.Disk. Offsets and lengths are multiples of 4096. A write is durable
// once a later Sync has returned nil.
type Media interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// TailStart is where the space for extents ends and the copy of label and slots starts, on a drive of the given size. It is
// 4 MiB before the last full MiB, and 0 for a device that is too small to have a copy.
func TailStart(drive size.Bytes) size.Bytes {
	end := drive.RoundDown(size.MiB)
	if end < FirstExtent {
		return 0
	}
	return end - FirstExtent
}
