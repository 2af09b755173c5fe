package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

// A slot is a frame around JSON, little-endian, padded with zeros to a full block:
//
//	0   magic "PLEXSLOT"
//	8   format version    uint32
//	12  CRC32C            uint32, of the frame and the JSON with this field zero
//	16  drive GUID        16 bytes: a slot that came with a copy of another drive is not taken
//	32  sequence          uint64
//	40  length of JSON    uint32
//	44  features          3 times uint32
//	56  size in bytes     uint64, as in the label: there the copy of a label is found when the label is lost
//	64  JSON
//
// A slot that was never used starts with zeros.
const (
	slotMagic    = "PLEXSLOT"
	slotVersion  = 8
	slotDrive    = 16
	slotSequence = 32
	slotLength   = 40
	slotFeature  = 44
	slotSizeAt   = 56
	slotBody     = 64
	maxBody      = int(slotSize) - slotBody
)

// slotFormat is the version of a slot: of its frame and of its JSON. It rises with every change that an older plexctl must not
// pass over, a new field in a record included.
const slotFormat = 1

// maxCount bounds the sequences of catalogs and the generations of records, in what is written and in what is read. So everything
// that plexctl writes can be read. A drive or a LUN that has reached it cannot be changed any more.
const maxCount = 1 << 62

// errEmpty means that a slot was never used.
var errEmpty = errors.New("slot is empty")

// frame is a slot whose checksum is right and whose JSON has not been decoded.
type frame struct {
	sequence uint64
	features Features
	drive    size.Bytes // as in the label when it was written
	body     []byte
}

// encodeSlot is c as a slot of the labelled drive, a multiple of 4096 bytes. ErrFull means that it is too large.
func encodeSlot(label Label, c Catalog) ([]byte, error) {
	text, err := encodeBody(c.LUNs)
	if err != nil {
		return nil, err
	}
	if len(text) > maxBody {
		return nil, fmt.Errorf("catalog of %d bytes in %d records, limit %d bytes: %w", len(text), len(c.LUNs), maxBody, ErrFull)
	}
	used := slotBody + len(text)
	b := make([]byte, size.Bytes(used).RoundUp(blockSize))
	copy(b, slotMagic)
	binary.LittleEndian.PutUint32(b[slotVersion:], slotFormat)
	copy(b[slotDrive:], label.Drive[:])
	binary.LittleEndian.PutUint64(b[slotSequence:], c.Sequence)
	binary.LittleEndian.PutUint32(b[slotLength:], uint32(len(text)))
	c.Features.encode(b[slotFeature:])
	binary.LittleEndian.PutUint64(b[slotSizeAt:], uint64(label.Size))
	copy(b[slotBody:], text)
	binary.LittleEndian.PutUint32(b[sumAt:], checksum(b[:used]))
	return b, nil
}

// slotLen is the number of bytes in use, frame included, that the first block of a slot names. The errors are errEmpty,
// ErrCorrupt, ErrVersion and ErrInvalid.
func slotLen(first []byte) (int, error) {
	if isZero(first[:slotVersion]) {
		return 0, errEmpty
	}
	if string(first[:slotVersion]) != slotMagic {
		return 0, fmt.Errorf("no magic: %w", ErrCorrupt)
	}
	if binary.LittleEndian.Uint32(first[slotVersion:]) != slotFormat {
		return 0, ErrVersion
	}
	length := binary.LittleEndian.Uint32(first[slotLength:])
	if length > uint32(maxBody) {
		return 0, invalid("length %d", length)
	}
	return slotBody + int(length), nil
}

// decodeSlot checks a slot of the drive. b starts with the slot's first block and has at least slotLen bytes. The frame's
// body is part of b.
func decodeSlot(drive uuid.UUID, b []byte) (frame, error) {
	used, err := slotLen(b)
	if err != nil {
		return frame{}, err
	}
	if used > len(b) {
		return frame{}, invalid("%d bytes of %d", len(b), used)
	}
	if binary.LittleEndian.Uint32(b[sumAt:]) != checksum(b[:used]) {
		return frame{}, ErrChecksum
	}
	if owner := uuid.UUID(b[slotDrive:slotSequence]); owner != drive {
		return frame{}, invalid("slot is of drive %s", owner)
	}
	features, err := decodeFeatures(b[slotFeature:])
	if err != nil {
		return frame{}, err
	}
	f := frame{
		sequence: binary.LittleEndian.Uint64(b[slotSequence:]), features: features, drive: driveSize(b), body: b[slotBody:used],
	}
	if f.sequence == 0 || f.sequence > maxCount {
		return frame{}, invalid("sequence %d", f.sequence)
	}
	if !validSize(f.drive) {
		return frame{}, invalid("drive of %d bytes", f.drive)
	}
	return f, nil
}

// driveSize is the size of the drive by the first block of a slot.
func driveSize(first []byte) size.Bytes {
	return size.Bytes(binary.LittleEndian.Uint64(first[slotSizeAt:]))
}
