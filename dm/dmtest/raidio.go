package dmtest

import (
	"errors"

	"golang.org/x/sys/unix"
)

// read reads piece by piece. Of the legs that the kernel may choose it takes the last, which is the one most likely to be
// wrong. So a wrong bitmap shows at once.
func (r *raid) read(b []byte, off int64) error {
	return r.pieces(b, off, func(b []byte, off int64, _ uint64) error {
		var first error
		for i := len(r.legs) - 1; i >= 0; i-- {
			if !r.readable(i, off+int64(len(b))) {
				continue
			}
			err := r.legs[i].data.read(b, off)
			if err == nil {
				return r.repair(b, off, i)
			}
			first = errors.Join(first, err)
		}
		return errors.Join(unix.EIO, first)
	})
}

// readable reports whether the kernel may read what lies before end from leg i (raid1.c, read_balance).
func (r *raid) readable(i int, end int64) bool {
	l := r.legs[i]
	if !l.working() {
		return false
	}
	if r.resync < sectors(end) {
		return l == r.first()
	}
	return l.inSync || l.offset >= sectors(end)
}

// repair writes what was read from leg i to the legs behind it, which could not be read. A leg that cannot be written has
// failed (raid1.c, fix_read_error).
func (r *raid) repair(b []byte, off int64, i int) error {
	for _, l := range r.legs[i+1:] {
		if l.working() && l.inSync && r.resync >= sectors(off+int64(len(b))) {
			if err := l.data.write(b, off); err != nil {
				if err := r.fail(l, err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// write notes each region in the bitmap, durably, then writes it to all working legs.
func (r *raid) write(b []byte, off int64) error {
	r.active = true
	return r.pieces(b, off, func(b []byte, off int64, region uint64) error {
		if err := r.mark(region); err != nil {
			return err
		}
		written := 0
		for _, l := range r.legs {
			if !l.working() {
				continue
			}
			if err := l.data.write(b, off); err == nil {
				written++
			} else if err := r.fail(l, err); err != nil {
				return err
			}
		}
		if written < len(r.legs) || r.degraded() && r.table.kernel.release != Linux6_1 {
			r.bits.needed.Set(region)
		}
		if !r.degraded() && r.bits.cleared < r.events {
			r.bits.cleared = r.events
		}
		if written == 0 {
			return unix.EIO
		}
		return nil
	})
}

// pieces calls do for what lies in one region at a time.
func (r *raid) pieces(b []byte, off int64, do func(b []byte, off int64, region uint64) error) error {
	for len(b) > 0 {
		n := min(int64(len(b)), r.bits.region-off%r.bits.region)
		if err := do(b[:n], off, uint64(off/r.bits.region)); err != nil {
			return err
		}
		b, off = b[n:], off+n
	}
	return nil
}

// fail drops a leg after an error (md_error). It does not drop the last leg in sync; it returns an error then.
func (r *raid) fail(l *leg, cause error) error {
	if errors.Is(cause, ErrHang) {
		return cause
	}
	if l.inSync && r.inSync() == 1 {
		return unix.EIO
	}
	if l.faulty {
		return nil
	}
	r.stop()
	l.faulty, l.inSync = true, false
	r.sync.needed = true
	r.table.kernel.raise(r.table.holder)
	return r.update()
}

// message is raid_message.
func (r *raid) message(text string) error {
	old := r.table.kernel.release == Linux6_1
	switch {
	case !old && r.table.holder.suspended:
		return unix.EBUSY
	case text == "frozen" || text == "idle":
		return r.pause(text, old)
	case r.action() != "idle":
		return unix.EBUSY
	}
	switch text {
	case "check", "repair":
		r.sync.sync, r.sync.requested, r.sync.check = true, true, text == "check"
	case "recover":
		r.sync.recover = true
	case "resync":
	default:
		return unix.EINVAL
	}
	r.sync.needed = true
	return nil
}

// pause stops the sync thread. From Linux 6.9 on the kernel answers EINVAL after doing so, and nothing starts it again.
func (r *raid) pause(text string, old bool) error {
	recovering := r.sync.recover && r.sync.running
	r.stop()
	if old {
		r.sync.frozen, r.sync.needed = text == "frozen", true
		return nil
	}
	r.sync.recover, r.sync.needed = recovering, false
	return unix.EINVAL
}

// compare reads the bytes of a region from all legs in sync. It counts the sectors that differ from the first leg, in pieces
// of 64 KiB, as the kernel does.
func (r *raid) compare(off, length int64) (different uint64, err error) {
	const request = 64 << 10
	both, free := room(2 * request)
	defer free()
	reference, other := both[:request], both[request:]
	for ; length > 0; off, length = off+request, length-request {
		n := min(length, request)
		if err := r.first().data.read(reference[:n], off); err != nil {
			return different, err
		}
		for _, l := range r.legs {
			if l == r.first() || !l.inSync || !l.working() {
				continue
			}
			if err := l.data.read(other[:n], off); err != nil {
				return different, err
			}
			if string(other[:n]) != string(reference[:n]) {
				different += sectors(n)
			}
		}
	}
	return different, nil
}
