//go:build linux

package allocation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/plexctl/plexctl/size"
)

// thinDisk asks a SCSI disk about its blocks: GET LBA STATUS (SBC-4, 5.8).
type thinDisk struct {
	device   *os.File
	capacity scsiCapacity
	reply    [statusReply]byte
}

// statusReply is room for 64 descriptors.
const statusReply = 8 + 64*16

// SCSI knows a thin SCSI disk by the status of its blocks. length and block are the sizes of the disk and of a logical block
// as the kernel has them.
//
// ErrUnknown means that the disk is not thin, or that its deallocated blocks need not read as zeros. It also means that the
// disk counts its blocks in another way than the kernel. The Extents keep device and close it; after an error the caller still has to.
func SCSI(device *os.File, length, block size.Bytes) (Extents, error) {
	t := &thinDisk{device: device}
	var err error
	if t.capacity, err = t.readCapacity(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	switch c := t.capacity; {
	case !c.thin || !c.zeros:
		return nil, fmt.Errorf("%w: the disk is not thin, or does not read zeros where it has nothing", ErrUnknown)
	case c.block != block || c.blocks != uint64(length/c.block):
		return nil, fmt.Errorf("%w: the disk has %d blocks of %d bytes, its device %d bytes", ErrUnknown, c.blocks, c.block, length)
	}
	if _, _, err := t.Extent(0, length); err != nil { // it may not know the command
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return t, nil
}

// Check makes sure that the disk is what it was.
func (t *thinDisk) Check() error {
	now, err := t.readCapacity()
	if err == nil && now != t.capacity {
		err = errors.New("the disk has another size, or another kind of provisioning, than before")
	}
	return err
}

// Extent asks the disk.
func (t *thinDisk) Extent(at, _ size.Bytes) (blank bool, until size.Bytes, err error) {
	lba := uint64(at / t.capacity.block)
	command := serviceActionIn(getLBAStatus, statusReply)
	binary.BigEndian.PutUint64(command[2:], lba)
	n, err := scsiRead(t.device, command, t.reply[:])
	if err != nil {
		return false, 0, fmt.Errorf("status of block %d: %w", lba, err)
	}
	blank, next, err := decodeLBAStatus(t.reply[:n], lba)
	if err != nil {
		return false, 0, err
	}
	return blank, size.Bytes(min(next, t.capacity.blocks)) * t.capacity.block, nil
}

func (t *thinDisk) readCapacity() (scsiCapacity, error) {
	n, err := scsiRead(t.device, serviceActionIn(readCapacity16, capacityReply), t.reply[:capacityReply])
	if err != nil {
		return scsiCapacity{}, fmt.Errorf("read capacity: %w", err)
	}
	return decodeCapacity(t.reply[:n])
}

// Close closes the disk.
func (t *thinDisk) Close() error { return t.device.Close() }

// Commands of operation code SERVICE ACTION IN (16).
const (
	readCapacity16 = 0x10
	getLBAStatus   = 0x12
)

// serviceActionIn is a command that asks for a reply of at most room bytes.
func serviceActionIn(action byte, room uint32) [16]byte {
	command := [16]byte{0: 0x9e, 1: action}
	binary.BigEndian.PutUint32(command[10:], room)
	return command
}

// capacityReply is the length of the reply to READ CAPACITY (16).
const capacityReply = 32

// scsiCapacity is what READ CAPACITY (16) says (SBC-4, 5.21.2):
//
//	 0  u64 big endian  last block
//	 8  u32 big endian  bytes in a block
//	14  u8              0x80 LBPME: thin; 0x40 LBPRZ: blocks that are not allocated read as zeros
type scsiCapacity struct {
	blocks uint64
	block  size.Bytes
	thin   bool
	zeros  bool
}

func decodeCapacity(b []byte) (scsiCapacity, error) {
	if len(b) < capacityReply {
		return scsiCapacity{}, fmt.Errorf("capacity of %d bytes, want %d", len(b), capacityReply)
	}
	last, block := binary.BigEndian.Uint64(b), size.Bytes(binary.BigEndian.Uint32(b[8:]))
	if block == 0 || last >= 1<<63/uint64(block) {
		return scsiCapacity{}, fmt.Errorf("capacity of blocks up to %d, of %d bytes each, cannot be", last, block)
	}
	return scsiCapacity{blocks: last + 1, block: block, thin: b[14]&0x80 != 0, zeros: b[14]&0x40 != 0}, nil
}

// decodeLBAStatus reads a reply to GET LBA STATUS. It reports whether the block lba is deallocated. The blocks before until
// are in the same state. Anchored blocks have room reserved and need not read as zeros.
//
//	0  u32 big endian  length of what follows
//	8  descriptors, each behind the one before:
//	    0  u64 big endian  first block
//	    8  u32 big endian  blocks
//	   12  u8              low 4 bits: 0 mapped, or not known; 1 deallocated; 2 anchored
//	   13  u8              anything but 0: more is to be said about it
func decodeLBAStatus(b []byte, lba uint64) (blank bool, until uint64, err error) {
	const header, descriptor = 8, 16
	if len(b) < header {
		return false, 0, fmt.Errorf("status of block %d has %d bytes", lba, len(b))
	}
	length := min(uint64(len(b)), uint64(binary.BigEndian.Uint32(b))+4)
	until = lba
	for at := uint64(header); at+descriptor <= length; at += descriptor {
		d := b[at : at+descriptor]
		start, count := binary.BigEndian.Uint64(d), uint64(binary.BigEndian.Uint32(d[8:]))
		first, deallocated := until == lba, d[12]&0x0f == 1 && d[13] == 0
		switch {
		case start > until || !first && start < until || start+count <= until:
			return false, 0, fmt.Errorf("status of block %d: blocks %d to %d follow on %d", lba, start, start+count, until)
		case first:
			blank = deallocated
		case deallocated != blank:
			return blank, until, nil
		}
		until = start + count
	}
	if until == lba {
		return false, 0, fmt.Errorf("status of block %d is not in the reply", lba)
	}
	return blank, until, nil
}
