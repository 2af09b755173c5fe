package dmtest

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/size"
)

// lower is a device that a table names. Offsets are bytes.
type lower interface {
	read(b []byte, off int64) error
	write(b []byte, off int64) error
	flush() error
	length() int64
	block() size.Bytes
	name() string
}

// drive is a drive of the Mem.
type drive struct{ medium *blocktest.Medium }

func (d *drive) read(b []byte, off int64) error {
	_, err := d.medium.ReadAt(b, off)
	return err
}

func (d *drive) write(b []byte, off int64) error {
	_, err := d.medium.WriteAt(b, off)
	return err
}

func (d *drive) flush() error      { return d.medium.Sync() }
func (d *drive) length() int64     { return int64(d.medium.Info().Size) }
func (d *drive) block() size.Bytes { return d.medium.Info().LogicalBlock }
func (d *drive) name() string      { return d.medium.Info().Dev.String() }

// upper is another device-mapper device.
type upper struct{ device *device }

func (u *upper) read(b []byte, off int64) error {
	return u.transfer(b, off, target.read)
}

func (u *upper) write(b []byte, off int64) error {
	return u.transfer(b, off, target.write)
}

func (u *upper) transfer(b []byte, off int64, do func(target, []byte, int64) error) error {
	if u.device.suspended {
		return ErrHang
	}
	return u.device.live.transfer(b, off, do)
}

func (u *upper) flush() error {
	if u.device.suspended {
		return ErrHang
	}
	return u.device.live.each(target.flush)
}

func (u *upper) length() int64     { return u.device.live.length() }
func (u *upper) block() size.Bytes { return u.device.live.block() }
func (u *upper) name() string      { return u.device.dev.String() }

// transfer does I/O on the device whose live table is t, piece by piece.
func (t *table) transfer(b []byte, off int64, do func(target, []byte, int64) error) error {
	if off < 0 || off+int64(len(b)) > t.length() {
		return unix.EIO
	}
	for _, s := range t.segments {
		at := off - s.start
		if len(b) == 0 || at >= s.length {
			continue
		}
		n := min(int64(len(b)), s.length-at)
		if err := do(s.target, b[:n], at); err != nil {
			return err
		}
		b, off = b[n:], off+n
	}
	return nil
}

// block is the largest logical block size below t.
func (t *table) block() size.Bytes {
	largest := size.Bytes(512)
	if t == nil {
		return largest
	}
	for _, s := range t.segments {
		for _, below := range s.lowers() {
			largest = max(largest, below.block())
		}
	}
	return largest
}

// lowers is the devices that the target of s reads and writes data on.
func (s segment) lowers() []lower {
	switch t := s.target.(type) {
	case *linear:
		return []lower{t.below}
	case *raid:
		var all []lower
		for _, l := range t.legs {
			if !l.missing {
				all = append(all, l.data)
			}
		}
		return all
	}
	return nil
}

// fits checks what the kernel checks of a whole table. Every area has to lie within its device, and every number has to be a
// multiple of the logical block size.
func (t *table) fits() error {
	block := int64(t.block())
	for _, s := range t.segments {
		if s.start%block != 0 || s.length%block != 0 {
			return refuse("%v: start or length not aligned to %d", t.holder.dev, block)
		}
		if l, ok := s.target.(*linear); ok && (l.offset+s.length > l.below.length() || l.offset%int64(l.below.block()) != 0) {
			return refuse("%v: %s too small for target", t.holder.dev, l.below.name())
		}
	}
	return nil
}

// plain has the answers of a target without a state of its own.
type plain struct{}

func (plain) params() string       { return "" }
func (plain) status() string       { return "" }
func (plain) flush() error         { return nil }
func (plain) postsuspend() error   { return nil }
func (plain) preresume() error     { return nil }
func (plain) resume() error        { return nil }
func (plain) destroy() error       { return nil }
func (plain) message(string) error { return unix.EINVAL }

// linear maps onto a run of another device.
type linear struct {
	plain
	below  lower
	offset int64
}

func newLinear(t *table, words []string, _ size.Sectors) (target, error) {
	if len(words) != 2 {
		return nil, refuse("%v: linear: Invalid argument count", t.holder.dev)
	}
	offset, err := strconv.ParseUint(words[1], 10, 55)
	if err != nil {
		return nil, refuse("%v: linear: Invalid device sector", t.holder.dev)
	}
	below, err := t.open(words[0])
	if err != nil {
		return nil, err
	}
	return &linear{below: below, offset: int64(size.Sectors(offset).Bytes())}, nil
}

func (l *linear) read(b []byte, off int64) error  { return l.below.read(b, l.offset+off) }
func (l *linear) write(b []byte, off int64) error { return l.below.write(b, l.offset+off) }
func (l *linear) flush() error                    { return l.below.flush() }

func (l *linear) params() string {
	return l.below.name() + " " + strconv.FormatInt(l.offset/512, 10)
}

// failing is the error target.
type failing struct{ plain }

func (failing) read([]byte, int64) error  { return unix.EIO }
func (failing) write([]byte, int64) error { return unix.EIO }

// zeroes is the zero target.
type zeroes struct{ plain }

func (zeroes) write([]byte, int64) error { return nil }

func (zeroes) read(b []byte, _ int64) error {
	clear(b)
	return nil
}

func itoa[T ~uint32 | ~uint64 | ~int](n T) string { return strconv.FormatUint(uint64(n), 10) }
