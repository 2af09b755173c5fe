//go:build linux

package allocation

import (
	"encoding/binary"
	"testing"

	"github.com/plexctl/plexctl/size"
)

// lbaStatus is a reply to GET LBA STATUS. Each descriptor is first block, blocks, status.
func lbaStatus(descriptors ...[3]uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+16*len(descriptors)))
	b = append(b, 0, 0, 0, 0)
	for _, d := range descriptors {
		b = binary.BigEndian.AppendUint64(b, d[0])
		b = binary.BigEndian.AppendUint32(b, uint32(d[1]))
		b = append(b, byte(d[2]), byte(d[2]>>8), 0, 0)
	}
	return b
}

func TestDecodeLBAStatus(t *testing.T) {
	const far = 1<<64 - 1
	long := lbaStatus([3]uint64{0, 8, 1})
	binary.BigEndian.PutUint32(long, 1<<32-1)
	short := lbaStatus([3]uint64{0, 8, 1}, [3]uint64{8, 8, 1})
	binary.BigEndian.PutUint32(short, 20)
	tests := map[string]struct {
		reply []byte
		lba   uint64
		blank bool
		until uint64
		fails bool
	}{
		"deallocated":              {reply: lbaStatus([3]uint64{0, 8, 1}), blank: true, until: 8},
		"mapped":                   {reply: lbaStatus([3]uint64{0, 8, 0}), until: 8},
		"anchored":                 {reply: lbaStatus([3]uint64{0, 8, 2}), until: 8},
		"not known":                {reply: lbaStatus([3]uint64{0, 8, 4}), until: 8},
		"more to be said":          {reply: lbaStatus([3]uint64{0, 8, 0x101}), until: 8},
		"within a run":             {reply: lbaStatus([3]uint64{0, 8, 1}), lba: 5, blank: true, until: 8},
		"runs that are the same":   {reply: lbaStatus([3]uint64{0, 8, 1}, [3]uint64{8, 8, 1}, [3]uint64{16, 8, 0}), blank: true, until: 16},
		"mapped and anchored":      {reply: lbaStatus([3]uint64{0, 8, 0}, [3]uint64{8, 8, 2}, [3]uint64{16, 8, 1}), until: 16},
		"length of the reply only": {reply: short, blank: true, until: 8},
		"length beyond the reply":  {reply: long, blank: true, until: 8},
		"half a descriptor":        {reply: lbaStatus([3]uint64{0, 8, 1}, [3]uint64{8, 8, 1})[:32], blank: true, until: 8},
		"last block":               {reply: lbaStatus([3]uint64{far - 8, 8, 1}), lba: far - 1, blank: true, until: far},
		"no header":                {reply: make([]byte, 7), fails: true},
		"nothing":                  {reply: nil, fails: true},
		"no descriptor":            {reply: lbaStatus(), fails: true},
		"no block":                 {reply: lbaStatus([3]uint64{0, 0, 1}), fails: true},
		"blocks before":            {reply: lbaStatus([3]uint64{0, 8, 1}), lba: 8, fails: true},
		"blocks behind":            {reply: lbaStatus([3]uint64{8, 8, 1}), lba: 7, fails: true},
		"gap":                      {reply: lbaStatus([3]uint64{0, 8, 1}, [3]uint64{9, 8, 1}), fails: true},
		"overlap":                  {reply: lbaStatus([3]uint64{0, 8, 1}, [3]uint64{7, 8, 1}), fails: true},
		"beyond all numbers":       {reply: lbaStatus([3]uint64{far, 8, 1}), lba: far, fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			blank, until, err := decodeLBAStatus(tt.reply, tt.lba)
			if blank != tt.blank || until != tt.until || (err != nil) != tt.fails {
				t.Errorf("blank %t up to %d, %v, want %t up to %d, fails %t", blank, until, err, tt.blank, tt.until, tt.fails)
			}
		})
	}
}

// FuzzLBAStatus reads any reply. What it says lies behind the block that was asked for, and no byte is blank that the first
// descriptor does not call deallocated.
func FuzzLBAStatus(f *testing.F) {
	f.Add(lbaStatus([3]uint64{0, 8, 1}, [3]uint64{8, 8, 1}, [3]uint64{16, 8, 0}), uint64(3))
	f.Add(lbaStatus([3]uint64{1<<64 - 1, 8, 1}), uint64(1<<64-1))
	f.Add([]byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, reply []byte, lba uint64) {
		blank, until, err := decodeLBAStatus(reply, lba)
		if err != nil {
			if blank || until != 0 {
				t.Errorf("blank %t up to %d comes with the error %v", blank, until, err)
			}
			return
		}
		if until <= lba {
			t.Errorf("up to %d, asked for %d", until, lba)
		}
		if blank && reply[20]&0x0f != 1 {
			t.Errorf("blank, and the status is %#x", reply[20])
		}
	})
}

func TestDecodeCapacity(t *testing.T) {
	build := func(last uint64, block uint32, flags byte) []byte {
		b := make([]byte, capacityReply)
		binary.BigEndian.PutUint64(b, last)
		binary.BigEndian.PutUint32(b[8:], block)
		b[14] = flags
		return b
	}
	tests := map[string]struct {
		reply []byte
		want  scsiCapacity
		fails bool
	}{
		"thick":              {reply: build(2047, 512, 0), want: scsiCapacity{blocks: 2048, block: 512}},
		"thin":               {reply: build(2047, 512, 0x80), want: scsiCapacity{blocks: 2048, block: 512, thin: true}},
		"thin, reads zeros":  {reply: build(0, 4096, 0xc0), want: scsiCapacity{blocks: 1, block: 4096, thin: true, zeros: true}},
		"lowest aligned":     {reply: build(7, 512, 0x3f), want: scsiCapacity{blocks: 8, block: 512}},
		"cut":                {reply: build(7, 512, 0)[:31], fails: true},
		"no block size":      {reply: build(7, 0, 0xc0), fails: true},
		"beyond all numbers": {reply: build(1<<64-1, 512, 0xc0), fails: true},
		"too many bytes":     {reply: build(1<<54, 512, 0xc0), fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := decodeCapacity(tt.reply); got != tt.want || (err != nil) != tt.fails {
				t.Errorf("%+v, %v, want %+v, fails %t", got, err, tt.want, tt.fails)
			}
		})
	}
}

// FuzzCapacity reads any reply. What it says is a size that a device can have.
func FuzzCapacity(f *testing.F) {
	f.Add(make([]byte, capacityReply))
	f.Add([]byte("12345678\x00\x00\x02\x00123456789012345678901234"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		c, err := decodeCapacity(reply)
		if err == nil && (c.blocks == 0 || c.block == 0 || c.blocks > uint64(1<<63/c.block)) || err != nil && c != (scsiCapacity{}) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestDecodeSenseKey(t *testing.T) {
	for name, tt := range map[string]struct {
		sense []byte
		want  byte
	}{
		"fixed":            {[]byte{0x70, 0, 0x26, 0}, 6},
		"fixed, deferred":  {[]byte{0xf1, 0, 0x05}, 5},
		"descriptor":       {[]byte{0x72, 0x06, 0x29}, 6},
		"descriptor later": {[]byte{0x73, 0x03, 0}, 3},
		"of a vendor":      {[]byte{0x7f, 6, 6}, 0},
		"cut":              {[]byte{0x70, 0}, 0},
		"none":             {nil, 0},
	} {
		if got := decodeSenseKey(tt.sense); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestSCSICommands holds the commands against their bytes in the standard.
func TestSCSICommands(t *testing.T) {
	if got, want := serviceActionIn(readCapacity16, 32), [16]byte{0x9e, 0x10, 13: 32}; got != want {
		t.Errorf("READ CAPACITY (16) is % x, want % x", got, want)
	}
	if got, want := serviceActionIn(getLBAStatus, statusReply), [16]byte{0x9e, 0x12, 12: 0x04, 13: 0x08}; got != want {
		t.Errorf("GET LBA STATUS is % x, want % x", got, want)
	}
}

// TestSCSIReadOfAFile sends a command to what is no SCSI disk.
func TestSCSIReadOfAFile(t *testing.T) {
	n, err := scsiRead(memoryFile(t, size.MiB), serviceActionIn(readCapacity16, 32), make([]byte, 32))
	if n != 0 || err == nil {
		t.Errorf("%d bytes, error %v", n, err)
	}
}
