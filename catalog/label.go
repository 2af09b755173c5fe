package catalog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

// formatVersion is the version of label and slots. It rises with every change of either, a new field in a record included.
// A decoder takes only its own version, so it never drops a field that it does not know.
const formatVersion = 1

// A label is one block of 4096 bytes, little-endian:
//
//	0   magic "PLEXLABL"
//	8   format version    uint32
//	12  CRC32C            uint32, of the whole block with this field zero
//	16  drive GUID        16 bytes
//	32  size in bytes     uint64
//	40  created           int64, Unix seconds; 0: unknown
//	48  length of host    uint16
//	50  host              64 bytes, printable ASCII
//	114 zero
const (
	labelMagic   = "PLEXLABL"
	labelVersion = 8
	labelDrive   = 16
	labelSize    = 32
	labelCreated = 40
	labelHostLen = 48
	labelHost    = 50
	labelEnd     = 114
	maxHost      = labelEnd - labelHost
)

// sumAt is the offset of the checksum, in labels and slots alike.
const sumAt = 12

// lastSecond is the end of the year 9999, the last time that JSON can carry.
const lastSecond = 253402300799

// castagnoli is made when it is first needed, because it takes longer than the rest of the start of a process.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// encodeLabel is l as one block. It keeps Created to the second.
func encodeLabel(l Label) ([]byte, error) {
	if err := l.validate(); err != nil {
		return nil, err
	}
	b := make([]byte, blockSize)
	copy(b, labelMagic)
	binary.LittleEndian.PutUint32(b[labelVersion:], formatVersion)
	copy(b[labelDrive:], l.Drive[:])
	binary.LittleEndian.PutUint64(b[labelSize:], uint64(l.Size))
	if !l.Created.IsZero() {
		binary.LittleEndian.PutUint64(b[labelCreated:], uint64(l.Created.Unix()))
	}
	binary.LittleEndian.PutUint16(b[labelHostLen:], uint16(len(l.Host)))
	copy(b[labelHost:labelEnd], l.Host)
	binary.LittleEndian.PutUint32(b[sumAt:], checksum(b))
	return b, nil
}

// decodeLabel is the reverse of encodeLabel. It checks for ErrNoLabel, ErrVersion, ErrChecksum and ErrInvalid, in this order.
func decodeLabel(b []byte) (Label, error) {
	if string(b[:labelVersion]) != labelMagic {
		return Label{}, ErrNoLabel
	}
	if binary.LittleEndian.Uint32(b[labelVersion:]) != formatVersion {
		return Label{}, ErrVersion
	}
	if binary.LittleEndian.Uint32(b[sumAt:]) != checksum(b) {
		return Label{}, ErrChecksum
	}
	hostLen := int(binary.LittleEndian.Uint16(b[labelHostLen:]))
	if hostLen > maxHost {
		return Label{}, invalid("host id of %d bytes", hostLen)
	}
	if !isZero(b[labelHost+hostLen:]) {
		return Label{}, invalid("reserved bytes are not zero")
	}
	l := Label{
		Drive: uuid.UUID(b[labelDrive:labelSize]),
		Size:  size.Bytes(binary.LittleEndian.Uint64(b[labelSize:])),
		Host:  string(b[labelHost : labelHost+hostLen]),
	}
	if created := int64(binary.LittleEndian.Uint64(b[labelCreated:])); created != 0 {
		l.Created = time.Unix(created, 0).UTC()
	}
	return l, l.validate()
}

// validate checks every value of a label.
func (l Label) validate() error {
	if l.Drive == uuid.Nil {
		return invalid("label: drive has no GUID")
	}
	if l.Size < MinDriveSize {
		return invalid("label of drive %s: size %d is below %s", l.Drive, l.Size, MinDriveSize)
	}
	if l.Size > MaxSize || l.Size%size.Sector != 0 {
		return invalid("label of drive %s: size %d", l.Drive, l.Size)
	}
	if len(l.Host) > maxHost || bytes.ContainsFunc([]byte(l.Host), unprintable) {
		return invalid("label of drive %s: host id %q", l.Drive, l.Host)
	}
	if !validTime(l.Created) {
		return invalid("label of drive %s: time of creation", l.Drive)
	}
	return nil
}

// validTime reports whether t is unknown or between 1970 and 9999.
func validTime(t time.Time) bool {
	return t.IsZero() || t.Unix() > 0 && t.Unix() <= lastSecond
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }

func isZero(b []byte) bool {
	return bytes.Count(b, []byte{0}) == len(b)
}

// checksum is the CRC32C of b, computed as if the checksum in it were zero.
func checksum(b []byte) uint32 {
	sum := crc32.Update(0, castagnoli(), b[:sumAt])
	sum = crc32.Update(sum, castagnoli(), make([]byte, 4))
	return crc32.Update(sum, castagnoli(), b[sumAt+4:])
}

// equal reports whether two labels say the same.
func (l Label) equal(other Label) bool {
	return l.Drive == other.Drive && l.Size == other.Size && l.Host == other.Host && l.Created.Equal(other.Created)
}
