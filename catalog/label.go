package catalog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
)

// labelFormat is the version of the label. A decoder takes only its own version. What a later plexctl adds, and an older one
// can do without, is a bit in Features instead.
const labelFormat = 1

// Features are bits for what a later plexctl has added to a label or a slot. This one knows none.
//
//   - Compatible: one that does not know it may read and write. It keeps the bit.
//   - ReadOnly: one that does not know it may read, and must not write: ErrReadOnlyFormat.
//   - Incompatible: one that does not know it must not read: ErrVersion.
type Features struct {
	Compatible, ReadOnly, Incompatible uint32
}

// encode writes f to the first 12 bytes of b.
func (f Features) encode(b []byte) {
	binary.LittleEndian.PutUint32(b, f.Compatible)
	binary.LittleEndian.PutUint32(b[4:], f.ReadOnly)
	binary.LittleEndian.PutUint32(b[8:], f.Incompatible)
}

// decodeFeatures reads what encode has written. ErrVersion when it says that this plexctl must not read on.
func decodeFeatures(b []byte) (Features, error) {
	f := Features{
		Compatible: binary.LittleEndian.Uint32(b), ReadOnly: binary.LittleEndian.Uint32(b[4:]), Incompatible: binary.LittleEndian.Uint32(b[8:]),
	}
	if f.Incompatible != 0 {
		return f, fmt.Errorf("feature %#x: %w", f.Incompatible, ErrVersion)
	}
	return f, nil
}

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
//	114 length of hardware uint16
//	116 hardware          256 bytes, printable ASCII
//	372 features          3 times uint32
//	384 zero
const (
	labelMagic   = "PLEXLABL"
	labelVersion = 8
	labelDrive   = 16
	labelSize    = 32
	labelCreated = 40
	labelHostLen = 48
	labelHost    = 50
	labelWareLen = 114
	labelWare    = 116
	labelFeature = 372
	labelEnd     = 384
	maxHost      = labelWareLen - labelHost
)

// MaxHardware is how many bytes the identity of a device can have in a label.
const MaxHardware = labelFeature - labelWare

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
	binary.LittleEndian.PutUint32(b[labelVersion:], labelFormat)
	copy(b[labelDrive:], l.Drive[:])
	binary.LittleEndian.PutUint64(b[labelSize:], uint64(l.Size))
	if !l.Created.IsZero() {
		binary.LittleEndian.PutUint64(b[labelCreated:], uint64(l.Created.Unix()))
	}
	binary.LittleEndian.PutUint16(b[labelHostLen:], uint16(len(l.Host)))
	copy(b[labelHost:], l.Host)
	binary.LittleEndian.PutUint16(b[labelWareLen:], uint16(len(l.Hardware)))
	copy(b[labelWare:], l.Hardware)
	l.Features.encode(b[labelFeature:])
	binary.LittleEndian.PutUint32(b[sumAt:], checksum(b))
	return b, nil
}

// decodeLabel is the reverse of encodeLabel. It checks for ErrNoLabel, ErrVersion, ErrChecksum and ErrInvalid, in this order.
func decodeLabel(b []byte) (Label, error) {
	if isZero(b) {
		return Label{}, errBlank
	}
	if string(b[:labelVersion]) != labelMagic {
		return Label{}, ErrNoLabel
	}
	if binary.LittleEndian.Uint32(b[labelVersion:]) != labelFormat {
		return Label{}, ErrVersion
	}
	if binary.LittleEndian.Uint32(b[sumAt:]) != checksum(b) {
		return Label{}, ErrChecksum
	}
	l := Label{Drive: uuid.UUID(b[labelDrive:labelSize]), Size: size.Bytes(binary.LittleEndian.Uint64(b[labelSize:]))}
	var err error
	if l.Features, err = decodeFeatures(b[labelFeature:]); err != nil {
		return Label{}, err
	}
	if l.Host, err = text(b[labelHostLen:labelWareLen]); err != nil {
		return Label{}, fmt.Errorf("host id: %w", err)
	}
	if l.Hardware, err = text(b[labelWareLen:labelFeature]); err != nil {
		return Label{}, fmt.Errorf("identity of the device: %w", err)
	}
	if !isZero(b[labelEnd:]) {
		return Label{}, invalid("reserved bytes are not zero")
	}
	if created := int64(binary.LittleEndian.Uint64(b[labelCreated:])); created != 0 {
		l.Created = time.Unix(created, 0).UTC()
	}
	return l, l.validate()
}

// text is the string in a field of a label: 2 bytes of length, the text, and zeros to the end of the field.
func text(field []byte) (string, error) {
	const start = 2
	length := int(binary.LittleEndian.Uint16(field))
	if length > len(field)-start {
		return "", invalid("%d bytes", length)
	}
	if !isZero(field[start+length:]) {
		return "", invalid("reserved bytes are not zero")
	}
	return string(field[start : start+length]), nil
}

// validate checks every value of a label.
func (l Label) validate() error {
	if l.Drive == uuid.Nil {
		return invalid("label: drive has no GUID")
	}
	if !validSize(l.Size) {
		return invalid("label of drive %s: size %d, a drive has at least %s", l.Drive, l.Size, MinDriveSize)
	}
	if len(l.Host) > maxHost || bytes.ContainsFunc([]byte(l.Host), unprintable) {
		return invalid("label of drive %s: host id %q", l.Drive, l.Host)
	}
	if len(l.Hardware) > MaxHardware || bytes.ContainsFunc([]byte(l.Hardware), unprintable) {
		return invalid("label of drive %s: identity of the device %q", l.Drive, l.Hardware)
	}
	if !validTime(l.Created) {
		return invalid("label of drive %s: time of creation", l.Drive)
	}
	return nil
}

// validSize reports whether a drive may have this size.
func validSize(n size.Bytes) bool { return n >= MinDriveSize && n <= MaxSize && n%size.Sector == 0 }

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
	same := l.Created.Equal(other.Created)
	l.Created = other.Created
	return same && l == other
}
