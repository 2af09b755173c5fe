package raidmeta

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/plexctl/plexctl/size"
)

// superSize is the room of a superblock; the kernel uses one logical block of it and plexctl the largest there is.
const superSize = bitmapOffset - superOffset

// superMagic is "DmRd" on the disk.
const superMagic = 0x64526D44

// compatV190 says that the fields from flags on are present. The kernel refuses every other feature.
const compatV190 = 1

// maxLegs is how many legs fit FailedDevices; plexctl's own limit is far below.
const maxLegs = 64

// maxSectors bounds every length read from a disk, so that no sum and no conversion to bytes overflows.
const maxSectors = size.Sectors(math.MaxInt64 / 512)

// Detached is the ArrayPosition of a leg that md took out of the array because of an error.
const Detached = ^uint32(0)

// wireSuper is struct dm_raid_superblock, field for field; encoding/binary adds no padding.
type wireSuper struct {
	Magic           uint32    // 0
	Compat          uint32    // 4
	NumDevices      uint32    // 8
	ArrayPosition   uint32    // 12
	Events          uint64    // 16
	FailedDevices   uint64    // 24
	RecoveryOffset  uint64    // 32
	ResyncOffset    uint64    // 40
	Level           uint32    // 48
	Layout          uint32    // 52
	StripeSectors   uint32    // 56
	Flags           uint32    // 60: 1 reshape is running, 2 backwards
	ReshapePosition uint64    // 64
	NewLevel        uint32    // 72
	NewLayout       uint32    // 76
	NewStripe       uint32    // 80
	DeltaDisks      uint32    // 84
	ArraySectors    uint64    // 88
	DataOffset      uint64    // 96
	NewDataOffset   uint64    // 104
	Sectors         uint64    // 112
	ExtendedFailed  [3]uint64 // 120: legs 64 to 255
	Incompat        uint32    // 144
}

// Encode is s as it stands on the drive: one block of 4096 bytes, for offset 0 of a metadata device.
func (s Super) Encode() []byte {
	w := wireSuper{
		Magic:           superMagic,
		Compat:          compatV190,
		NumDevices:      s.NumDevices,
		ArrayPosition:   s.ArrayPosition,
		Events:          s.Events,
		FailedDevices:   s.FailedDevices,
		RecoveryOffset:  s.RecoveryOffset,
		ResyncOffset:    s.ResyncOffset,
		Level:           1,
		ReshapePosition: InSync,
		NewLevel:        1,
		ArraySectors:    uint64(s.ArraySize),
		Sectors:         uint64(s.LegSize),
	}
	return encode(w, superSize)
}

// DecodeSuper reads the superblock at the start of b. It fails with ErrNoMagic if there is none. It fails with ErrInvalid if
// b is too short, or if the superblock is not that of a raid1 leg at rest. Others have another level, a reshape, a feature
// of another kernel, or an offset beyond the leg.
func DecodeSuper(b []byte) (Super, error) {
	var w wireSuper
	if err := decode(b, &w, superMagic); err != nil {
		return Super{}, fmt.Errorf("superblock: %w", err)
	}
	return Super{
		NumDevices:     w.NumDevices,
		ArrayPosition:  w.ArrayPosition,
		Events:         w.Events,
		FailedDevices:  w.FailedDevices,
		RecoveryOffset: w.RecoveryOffset,
		ResyncOffset:   w.ResyncOffset,
		ArraySize:      size.Sectors(w.ArraySectors),
		LegSize:        size.Sectors(w.Sectors),
	}, nil
}

// fault is why w is not a superblock that plexctl's tables can have written, empty when it is one.
func (w wireSuper) fault() string {
	switch {
	case w.Compat != compatV190 || w.Incompat != 0:
		return fmt.Sprintf("features %#x, incompatible features %#x", w.Compat, w.Incompat)
	case w.Level != 1 || w.NewLevel != 1:
		return fmt.Sprintf("raid level %d, new level %d", w.Level, w.NewLevel)
	case w.reshapes():
		return "a reshape is recorded"
	case w.stripes():
		return "a layout or stripe is recorded"
	case w.DataOffset != 0 || w.NewDataOffset != 0:
		return "a data offset is recorded"
	}
	return w.rangeFault()
}

// reshapes reports whether w is of an array that is changing its shape.
func (w wireSuper) reshapes() bool {
	return w.Flags != 0 || w.ReshapePosition != InSync || w.DeltaDisks != 0
}

// stripes reports whether w has a layout or a stripe, which no raid1 has.
func (w wireSuper) stripes() bool {
	return w.Layout != 0 || w.StripeSectors != 0 || w.NewLayout != 0 || w.NewStripe != 0
}

// rangeFault is which number of w is out of range, empty when none is.
func (w wireSuper) rangeFault() string {
	switch {
	case w.NumDevices == 0 || w.NumDevices > maxLegs:
		return fmt.Sprintf("%d legs", w.NumDevices)
	case w.ArrayPosition >= w.NumDevices && w.ArrayPosition != Detached:
		return fmt.Sprintf("leg %d of %d", w.ArrayPosition, w.NumDevices)
	case w.ExtendedFailed != [3]uint64{}:
		return "failed legs beyond 63"
	case !possible(w.ArraySectors):
		return fmt.Sprintf("array of %d sectors", w.ArraySectors)
	case !possible(w.Sectors):
		return fmt.Sprintf("leg of %d sectors", w.Sectors)
	case w.beyond(w.RecoveryOffset):
		return fmt.Sprintf("recovery offset %d is beyond the leg", w.RecoveryOffset)
	case w.beyond(w.ResyncOffset):
		return fmt.Sprintf("resync offset %d is beyond the array", w.ResyncOffset)
	}
	return ""
}

// possible reports whether sectors is the length of an array or a leg.
func possible(sectors uint64) bool { return sectors != 0 && sectors <= uint64(maxSectors) }

// beyond reports whether offset lies outside the array and outside the leg.
func (w wireSuper) beyond(offset uint64) bool {
	return offset > max(w.Sectors, w.ArraySectors) && offset != InSync
}

// decode reads the structure with a magic at the start of b into w, and checks it.
func decode(b []byte, w interface{ fault() string }, magic uint32) error {
	if _, err := binary.Decode(b, binary.LittleEndian, w); err != nil {
		return fmt.Errorf("%w: %d bytes are too few", ErrInvalid, len(b))
	}
	if binary.LittleEndian.Uint32(b) != magic {
		return ErrNoMagic
	}
	if reason := w.fault(); reason != "" {
		return fmt.Errorf("%w: %s", ErrInvalid, reason)
	}
	return nil
}

// encode is the wire form of v, padded with zeroes to room bytes.
func encode(v any, room int) []byte {
	b, err := binary.Append(make([]byte, 0, room), binary.LittleEndian, v)
	if err != nil {
		panic(err) // only a type without a fixed size gets here
	}
	return b[:room]
}
