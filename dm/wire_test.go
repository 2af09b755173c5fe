//go:build linux

package dm

import "encoding/binary"

// wire builds the bytes of a request or a reply field by field, in the machine's byte order, without the package's own
// encoders.
type wire []byte

func (w wire) u32(values ...uint32) wire {
	for _, v := range values {
		w = binary.NativeEndian.AppendUint32(w, v)
	}
	return w
}

func (w wire) u64(values ...uint64) wire {
	for _, v := range values {
		w = binary.NativeEndian.AppendUint64(w, v)
	}
	return w
}

// text is s in a field of n bytes.
func (w wire) text(s string, n int) wire {
	return append(append(w, s...), make([]byte, n-len(s))...)
}

// str is s and a NUL.
func (w wire) str(s string) wire { return append(append(w, s...), 0) }

// pad fills up to a multiple of 8.
func (w wire) pad() wire {
	for len(w)%8 != 0 {
		w = append(w, 0)
	}
	return w
}

// header is a struct dm_ioctl as the kernel's header file lays it out.
type header struct {
	version               [3]uint32
	size, start, targets  uint32
	open, flags, event    uint32
	dev                   uint64
	name, uuid            string
	payload               wire
	claimSize, claimStart bool // use size, start as they are
}

func (h header) bytes() wire {
	if !h.claimSize {
		h.size = uint32(312 + len(h.payload))
	}
	if !h.claimStart {
		h.start = 312
	}
	w := wire{}.u32(h.version[:]...).u32(h.size, h.start, h.targets, h.open, h.flags, h.event, 0).u64(h.dev)
	w = w.text(h.name, 128).text(h.uuid, 129).text("", 7)
	return append(w, h.payload...)
}
