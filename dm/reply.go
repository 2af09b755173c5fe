//go:build linux

package dm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// errReply means that the kernel's reply contradicts itself. Nothing of such a reply is used.
var errReply = errors.New("malformed reply of the kernel")

// reply is a decoded header and the undecoded payload behind it.
type reply struct {
	flags   uint32
	event   uint32
	targets uint32
	open    int32
	dev     devno.No
	name    string
	uuid    string
	payload []byte
}

// full reports whether the payload did not fit. The kernel reports success then, with an unusable payload.
func (r reply) full() bool { return r.flags&unix.DM_BUFFER_FULL_FLAG != 0 }

// info is the header as the state of a device.
func (r reply) info() Info {
	return Info{
		Device:    Device{Name: r.name, UUID: r.uuid, Dev: r.dev, Event: r.event},
		OpenCount: int(r.open),
		Suspended: r.flags&unix.DM_SUSPEND_FLAG != 0,
		Live:      r.flags&unix.DM_ACTIVE_PRESENT_FLAG != 0,
		Inactive:  r.flags&unix.DM_INACTIVE_PRESENT_FLAG != 0,
		ReadOnly:  r.flags&unix.DM_READONLY_FLAG != 0,
	}
}

// decodeReply decodes the buffer of a finished ioctl. A command without a payload leaves data_start behind data_size.
func decodeReply(buf []byte) (reply, error) {
	if len(buf) < headerSize {
		return reply{}, fmt.Errorf("%w: header of %d bytes", errReply, len(buf))
	}
	get := binary.NativeEndian.Uint32
	r := reply{
		targets: get(buf[atTargetCount:]),
		open:    int32(get(buf[atOpenCount:])),
		flags:   get(buf[atFlags:]),
		event:   get(buf[atEvent:]),
		dev:     devno.FromDev(binary.NativeEndian.Uint64(buf[atDev:])),
		name:    unix.ByteSliceToString(buf[atName : atName+unix.DM_NAME_LEN]),
		uuid:    unix.ByteSliceToString(buf[atUUID : atUUID+unix.DM_UUID_LEN]),
	}
	start, end := get(buf[atDataStart:]), get(buf[atDataSize:])
	if r.full() || start >= end {
		return r, nil
	}
	if int64(end) > int64(len(buf)) || start < headerSize {
		return reply{}, fmt.Errorf("%w: payload at %d…%d of %d", errReply, start, end, len(buf))
	}
	r.payload = buf[start:end]
	return r, nil
}

// listed is an entry of LIST_DEVICES. Kernels up to 5.10 do not say whether a device has a UUID.
type listed struct {
	Device
	uuidKnown bool
}

// decodeList decodes the payload of LIST_DEVICES (drivers/md/dm-ioctl.c, list_devices):
//
//	dev u64, next u32 (from this record, 0: last), name NUL, pad to 8, event u32, flags u32, uuid NUL if flags says so
//
// An empty list is one record of device 0.
func decodeList(payload []byte) ([]listed, error) {
	var list []listed
	err := records(payload, 8, "device", func(record []byte) error {
		dev := binary.NativeEndian.Uint64(record)
		if dev == 0 && len(record) == len(payload) {
			return nil
		}
		entry, err := decodeListed(record, devno.FromDev(dev))
		list = append(list, entry)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// decodeListed reads what follows dev and next in one record.
func decodeListed(record []byte, dev devno.No) (listed, error) {
	name, err := text(record[12:], "device name")
	if err != nil {
		return listed{}, err
	}
	entry := listed{Device: Device{Name: name, Dev: dev}}
	tail := after(record, int64(roundUp(12+len(name)+1)))
	if len(tail) >= 4 {
		entry.Event = binary.NativeEndian.Uint32(tail)
	}
	if len(tail) < 8 {
		return entry, nil
	}
	switch flags := binary.NativeEndian.Uint32(tail[4:]); {
	case flags&unix.DM_NAME_LIST_FLAG_HAS_UUID != 0:
		entry.uuidKnown = true
		entry.UUID, err = text(tail[8:], "device uuid")
	case flags&unix.DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID != 0:
		entry.uuidKnown = true
	}
	return entry, err
}

// decodeVersions decodes the payload of LIST_VERSIONS and GET_TARGET_VERSION: next u32 (from this record, 0: last),
// version 3×u32, name NUL.
func decodeVersions(payload []byte) (map[string]Version, error) {
	versions := make(map[string]Version)
	err := records(payload, 0, "target version", func(record []byte) error {
		if len(record) < 16 {
			return fmt.Errorf("%w: target version in %d bytes", errReply, len(record))
		}
		name, err := text(record[16:], "target name")
		versions[name] = decodeVersion(record[4:])
		return err
	})
	if err != nil {
		return nil, err
	}
	return versions, nil
}

// decodeTargets decodes the payload of TABLE_STATUS, which has status lines or table lines: count specs, each followed by its
// line and a NUL. Unlike in a request, next counts from the first spec.
func decodeTargets(payload []byte, count uint32) ([]TargetStatus, error) {
	if uint64(count)*unix.SizeofDmTargetSpec > uint64(len(payload)) {
		return nil, fmt.Errorf("%w: %d targets in %d bytes", errReply, count, len(payload))
	}
	lines := make([]TargetStatus, 0, count)
	at := uint32(0)
	for range count {
		line, next, err := decodeTarget(after(payload, int64(at)))
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
		if len(lines) < int(count) && next <= at {
			return nil, fmt.Errorf("%w: target after %d at %d", errReply, at, next)
		}
		at = next
	}
	return lines, nil
}

func decodeTarget(payload []byte) (line TargetStatus, next uint32, err error) {
	if len(payload) < specSize {
		return TargetStatus{}, 0, fmt.Errorf("%w: target in %d bytes", errReply, len(payload))
	}
	params, err := text(payload[specSize:], "target line")
	return TargetStatus{
		Start:  size.Sectors(binary.NativeEndian.Uint64(payload)),
		Length: size.Sectors(binary.NativeEndian.Uint64(payload[atLength:])),
		Type:   unix.ByteSliceToString(payload[atType:specSize]),
		Line:   params,
	}, binary.NativeEndian.Uint32(payload[atNext:]), err
}

// records calls decode for each record of a chain, up to an error. A record has the distance to the next one at offset at; it is
// 0 in the last record.
func records(chain []byte, at int, what string, decode func(record []byte) error) error {
	for len(chain) > 0 {
		fixed := at + 4
		if len(chain) < fixed {
			return fmt.Errorf("%w: %s in %d bytes", errReply, what, len(chain))
		}
		next, length := binary.NativeEndian.Uint32(chain[at:]), len(chain)
		if next != 0 {
			if int64(next) >= int64(length) || int64(next) < int64(fixed) {
				return fmt.Errorf("%w: next %s at %d of %d", errReply, what, next, length)
			}
			length = int(next)
		}
		if err := decode(chain[:length]); err != nil {
			return err
		}
		chain = chain[length:]
	}
	return nil
}

// text is the string at the start of b, which must end with a NUL inside b.
func text(b []byte, what string) (string, error) {
	s := unix.ByteSliceToString(b)
	if len(s) == len(b) {
		return "", fmt.Errorf("%w: %s does not end", errReply, what)
	}
	return s, nil
}

// after is b from n on; empty when n lies behind its end.
func after(b []byte, n int64) []byte { return b[min(n, int64(len(b))):] }
