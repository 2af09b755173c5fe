//go:build linux

package dm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// A request and its reply share one buffer (include/uapi/linux/dm-ioctl.h), all integers in the machine's byte order:
//
//	0    version       3×u32
//	12   data_size     u32, of the whole buffer; in a reply: of what the kernel filled
//	16   data_start    u32, of the payload
//	20   target_count  u32
//	24   open_count    s32
//	28   flags         u32
//	32   event_nr      u32
//	40   dev           u64
//	48   name          128 bytes
//	176  uuid          129 bytes
//	312  payload: target specs, a message, a new name; in a reply: a list, status lines, versions
//
// The fields are laid out by hand, because encoding/binary uses reflection: a machine with hundreds of devices would be slower.
const (
	headerSize    = unix.SizeofDmIoctl
	atDataSize    = 12
	atDataStart   = 16
	atTargetCount = 20
	atOpenCount   = 24
	atFlags       = 28
	atEvent       = 32
	atDev         = 40
	atName        = 48
	atUUID        = 176
)

// Limits of what the kernel takes.
const (
	maxName     = unix.DM_NAME_LEN - 1      // bytes of a name, without its NUL
	maxUUID     = unix.DM_UUID_LEN - 1      // bytes of a UUID, without its NUL
	maxTypeName = unix.DM_MAX_TYPE_NAME - 1 // bytes of a target's name, without its NUL
	alignment   = 8                         // of specs and records; kernels after 6.1 insist on it
)

// request is one command before it is laid out in memory. Without a name and a uuid it is about no device.
type request struct {
	command uint
	name    string
	uuid    string
	flags   uint32
	event   uint32 // udev flags
	targets uint32 // number of specs in payload
	payload []byte
	room    int // bytes to leave for the reply's payload
}

// encode is the buffer for the ioctl. Every kernel accepts interface version 4.0.0, and writes its own version back.
func (r request) encode() []byte {
	buf := make([]byte, headerSize+max(len(r.payload), r.room))
	put := binary.NativeEndian.PutUint32
	put(buf, unix.DM_VERSION_MAJOR)
	put(buf[atDataSize:], uint32(len(buf)))
	put(buf[atDataStart:], headerSize)
	put(buf[atTargetCount:], r.targets)
	put(buf[atFlags:], r.flags)
	put(buf[atEvent:], r.event)
	copy(buf[atName:atName+maxName], r.name)
	copy(buf[atUUID:atUUID+maxUUID], r.uuid)
	copy(buf[headerSize:], r.payload)
	return buf
}

// A target spec stands before the parameters of each target:
//
//	0   sector_start  u64
//	8   length        u64
//	16  status        s32
//	20  next          u32
//	24  target_type   16 bytes
const (
	specSize = unix.SizeofDmTargetSpec
	atLength = 8
	atNext   = 20
	atType   = 24
)

// encodeTable is the payload that loads t. Each spec is followed by its parameters and a NUL, padded. next is the
// distance to the following spec, for the last one to the end.
func encodeTable(t Table) []byte {
	var payload []byte
	for _, s := range t {
		params := s.Target.Params()
		spec := make([]byte, roundUp(specSize+len(params)+1))
		binary.NativeEndian.PutUint64(spec, uint64(s.Start))
		binary.NativeEndian.PutUint64(spec[atLength:], uint64(s.Length))
		binary.NativeEndian.PutUint32(spec[atNext:], uint32(len(spec)))
		copy(spec[atType:atType+maxTypeName], s.Target.Type())
		copy(spec[specSize:], params)
		payload = append(payload, spec...)
	}
	return payload
}

// encodeMessage is the payload that sends text to the target at sector.
func encodeMessage(sector size.Sectors, text string) []byte {
	payload := make([]byte, 8, 8+len(text)+1)
	binary.NativeEndian.PutUint64(payload, uint64(sector))
	return append(append(payload, text...), 0)
}

// encodeName is the payload that renames a device.
func encodeName(name string) []byte { return append([]byte(name), 0) }

// roundUp is n rounded up to the alignment of the protocol.
func roundUp(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

// allowed is every byte that names and UUIDs may have: what udev leaves as it is in links (libdm, mangle_string).
const allowed = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#+-.:=@_"

// checkName says why name cannot be the name of a device, or is nil. The kernel accepts more, but udev replaces other bytes.
func checkName(name string) error {
	switch name {
	case "":
		return errors.New("name is empty")
	case ".", "..", unix.DM_CONTROL_NODE:
		return errors.New("name is reserved")
	}
	return checkText("name", name, maxName)
}

// checkUUID says why uuid cannot be the UUID of a device, or is nil. An empty one means that the device has none.
func checkUUID(uuid string) error { return checkText("uuid", uuid, maxUUID) }

func checkText(kind, text string, limit int) error {
	if len(text) > limit {
		return fmt.Errorf("%s is longer than %d bytes", kind, limit)
	}
	if rest := strings.Trim(text, allowed); rest != "" {
		return fmt.Errorf("%s contains %q", kind, rest[:1])
	}
	return nil
}

// checkTable says why t cannot be laid out as a request, or is nil. The kernel checks the rest.
func checkTable(t Table) error {
	if len(t) == 0 {
		return errors.New("table is empty")
	}
	for i, s := range t {
		if err := checkTarget(s.Target); err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
	}
	return nil
}

func checkTarget(t Target) error {
	if t == nil {
		return errors.New("no target")
	}
	switch name := t.Type(); {
	case name == "":
		return errors.New("target has no name")
	case len(name) > maxTypeName:
		return fmt.Errorf("target name is longer than %d bytes", maxTypeName)
	case strings.ContainsRune(name+t.Params(), 0):
		return errors.New("target contains a zero byte")
	}
	return nil
}
