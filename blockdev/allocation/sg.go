//go:build linux

package allocation

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/internal/eintr"
)

// Constants of <scsi/sg.h>.
const (
	sgIO         = 0x2285
	sgFromDevice = -3
	sgTimeout    = 5000 // milliseconds
	senseRoom    = 32
)

// sgHeader is struct sg_io_hdr of <scsi/sg.h>.
type sgHeader struct {
	interfaceID   int32 // 'S'
	direction     int32
	commandLength uint8
	senseRoom     uint8
	pieces        uint16
	dataLength    uint32
	data          unsafe.Pointer
	command       unsafe.Pointer
	sense         unsafe.Pointer
	timeout       uint32
	flags         uint32
	packID        int32
	user          unsafe.Pointer
	status        uint8
	maskedStatus  uint8
	messageStatus uint8
	senseLength   uint8
	hostStatus    uint16
	driverStatus  uint16
	missing       int32 // bytes of data that did not come
	duration      uint32
	info          uint32
}

// unitAttention is the sense key with which a disk reports, once and in place of an answer, that something has happened.
const unitAttention = 6

// scsiRead sends a command to a SCSI disk, fills reply with the answer, and returns its length. It repeats the command a few
// times while the disk reports a unit attention instead.
func scsiRead(device *os.File, command [16]byte, reply []byte) (int, error) {
	for attempt := 0; ; attempt++ {
		n, key, err := scsiReadOnce(device, command, reply)
		if err == nil || key != unitAttention || attempt == 3 {
			return n, err
		}
	}
}

func scsiReadOnce(device *os.File, command [16]byte, reply []byte) (n int, senseKey byte, err error) {
	var sense [senseRoom]byte
	clear(reply)
	var pinner runtime.Pinner // what the header points to
	defer pinner.Unpin()
	pinner.Pin(&command)
	pinner.Pin(&sense)
	pinner.Pin(unsafe.SliceData(reply))
	h := &sgHeader{
		interfaceID: 'S', direction: sgFromDevice, timeout: sgTimeout,
		commandLength: uint8(len(command)), command: unsafe.Pointer(&command),
		senseRoom: senseRoom, sense: unsafe.Pointer(&sense),
		dataLength: uint32(len(reply)), data: unsafe.Pointer(unsafe.SliceData(reply)),
	}
	err = eintr.Retry(func() error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, device.Fd(), sgIO, uintptr(unsafe.Pointer(h))); errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if h.status != 0 || h.hostStatus != 0 || h.driverStatus != 0 {
		key := decodeSenseKey(sense[:min(int(h.senseLength), senseRoom)])
		return 0, key, fmt.Errorf("SCSI status %#x, sense key %#x, host %#x, driver %#x", h.status, key, h.hostStatus, h.driverStatus)
	}
	return min(max(0, len(reply)-int(h.missing)), len(reply)), 0, nil
}

// decodeSenseKey is the sense key of sense data in the fixed or the descriptor format (SPC-5, 4.4), 0 when it has none.
func decodeSenseKey(sense []byte) byte {
	if len(sense) < 3 {
		return 0
	}
	switch sense[0] & 0x7f {
	case 0x70, 0x71:
		return sense[2] & 0x0f
	case 0x72, 0x73:
		return sense[1] & 0x0f
	}
	return 0
}
