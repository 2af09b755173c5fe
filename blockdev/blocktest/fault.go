package blocktest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Fault is I/O that a drive refuses, to every caller.
type Fault struct {
	Kind   string     // "open", "read", "write", "zero", "flush" or "allocation"
	Offset size.Bytes // with Length: only what touches these bytes
	Length size.Bytes // 0: anywhere
	Nth    int        // only the n-th one from now, 1 being the next; 0: every one
	Err    error      // nil: EIO
}

// Fail adds a fault to the drive at path.
func (m *Mem) Fail(path string, f Fault) {
	m.edit(path, func(d *device) { d.faults = append(d.faults, f) })
}

// Heal ends all faults of the drive at path.
func (m *Mem) Heal(path string) { m.edit(path, func(d *device) { d.faults = nil }) }

// Vanish pulls the drive at path out. It can no longer be found, and I/O through disks that are open fails with EIO. Its
// content and its cache stay.
func (m *Mem) Vanish(path string) { m.edit(path, func(d *device) { d.gone = true }) }

// Restore makes the disk at a path what it was at an earlier moment: image is a Fork or a Cut of m from then. What has not been
// flushed is part of it.
func (m *Mem) Restore(path string, image *Mem) {
	image.mu.Lock()
	var old *device
	for _, d := range image.disks {
		if d.info.Path == path {
			old = d.fork()
		}
	}
	image.mu.Unlock()
	m.edit(path, func(d *device) { d.now, d.durable, d.pending = old.now, old.now.clone(), nil })
}

// Return puts a drive that has vanished back.
func (m *Mem) Return(path string) { m.edit(path, func(d *device) { d.gone = false }) }

// fault is the error with which d refuses I/O, or nil. The Mem's mutex is held.
func (d *device) fault(kind string, off int64, length int) error {
	if d.gone {
		return unix.EIO
	}
	for i := range d.faults {
		f := &d.faults[i]
		if f.Kind != kind || !f.touches(size.Bytes(off), size.Bytes(length)) {
			continue
		}
		err := cmp.Or[error](f.Err, unix.EIO)
		if f.Nth == 0 {
			return err
		}
		if f.Nth--; f.Nth == 0 {
			d.faults = slices.Delete(d.faults, i, i+1)
			return err
		}
	}
	return nil
}

func (f Fault) touches(off, length size.Bytes) bool {
	return f.Length == 0 || off < f.Offset+f.Length && f.Offset < off+length
}

// Effect announces a change that the process is about to make, and calls OnEffect. Layers above the drives announce their
// changes here. After an error the process is dead, and must not make the change.
func (m *Mem) Effect(e Effect) error {
	if err := m.Alive(); err != nil || m.OnEffect == nil {
		return err
	}
	if m.OnEffect(e) == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	return ErrDead
}

// Alive is ErrDead when the process has died, else nil.
func (m *Mem) Alive() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return ErrDead
	}
	return nil
}

// Life counts the processes: it rises with each Restart. The disks that an earlier life had open are closed.
func (m *Mem) Life() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

// Restart starts another process in place of the one that there was, dead or alive. The disks that it had open are closed.
// Everything that it wrote is there, flushed or not, and so are the kernel's claims.
func (m *Mem) Restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = false
	m.life++
	for _, d := range m.disks {
		d.exclusive = nil
	}
}

// Fate decides which of the writes in a drive's cache, oldest first, a power cut leaves. It returns the writes and parts of
// writes that reached the medium, in the order in which they did.
type Fate func(cache []Unflushed) []Unflushed

// Lost is the fate of everything that was not flushed.
func Lost([]Unflushed) []Unflushed { return nil }

// Kept is the fate of everything on drives whose cache survives.
func Kept(cache []Unflushed) []Unflushed { return cache }

// Torn loses, keeps or tears each write, at sectors of 512 bytes, as random decides.
func Torn(random *rand.Rand) Fate {
	return func(cache []Unflushed) []Unflushed {
		var left []Unflushed
		for _, w := range cache {
			switch random.IntN(3) {
			case 0:
			case 1:
				left = append(left, w)
			default:
				left = append(left, w.tear(random)...)
			}
		}
		return left
	}
}

// Reordered writes back in a random order, and stops at a random place.
func Reordered(random *rand.Rand) Fate {
	return func(cache []Unflushed) []Unflushed {
		left := slices.Clone(cache)
		random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		return left[:random.IntN(len(left)+1)]
	}
}

// tear is some sectors of w, as random decides.
func (w Unflushed) tear(random *rand.Rand) []Unflushed {
	const sector = 512
	var left []Unflushed
	for off := 0; off < len(w.Data); off += sector {
		if random.IntN(2) == 0 {
			left = append(left, Unflushed{Path: w.Path, Offset: w.Offset + int64(off), Data: w.Data[off : off+sector]})
		}
	}
	return left
}

// Cut is the machine as it comes up after a power cut at this moment. Its drives have what fate leaves of their caches. It
// has no claims, stacked devices, users or faults, and no OnEffect. m itself is not changed.
func (m *Mem) Cut(fate Fate) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := m.empty()
	for _, d := range m.disks {
		if d.open == nil {
			after.disks = append(after.disks, d.cut(fate))
		}
	}
	return after
}

// Fork is the machine as the next process finds it if this one dies now. It has drives with their caches and faults, users
// and claims, and no OnEffect. It has no stacked devices: their layer shows them anew. m itself is not changed.
func (m *Mem) Fork() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := m.empty()
	after.users, after.claims = maps.Clone(m.users), slices.Clone(m.claims)
	for _, d := range m.disks {
		if d.open == nil {
			after.disks = append(after.disks, d.fork())
		}
	}
	return after
}

// empty is a machine with m's links, without drives. m.mu is held.
func (m *Mem) empty() *Mem {
	return &Mem{links: maps.Clone(m.links), users: make(map[devno.No][]blockdev.User), minors: m.minors}
}

// cut is d after a power cut.
func (d *device) cut(fate Fate) *device {
	medium := d.durable.clone()
	for _, w := range fate(d.pending) {
		medium.writeAt(w.Data, w.Offset)
	}
	return &device{
		info: d.info, signatures: d.signatures, zeroes: d.zeroes, thin: d.thin, gone: d.gone,
		now: medium, durable: medium.clone(),
	}
}

// fork is d, not open.
func (d *device) fork() *device {
	return &device{
		info: d.info, signatures: d.signatures, zeroes: d.zeroes, thin: d.thin, gone: d.gone, faults: slices.Clone(d.faults),
		now: d.now.clone(), durable: d.durable.clone(), pending: slices.Clip(d.pending),
	}
}

// Medium is a drive as the kernel itself uses it: without a process, an effect or a mode, in units of 512 bytes.
type Medium struct {
	mem  *Mem
	disk *device
}

// Medium is the drive of that number. It fails with ErrNotExist when there is none, and for a stacked device.
func (m *Mem) Medium(dev devno.No) (*Medium, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.disk(dev)
	if d == nil || d.gone || d.open != nil {
		return nil, fmt.Errorf("open %v: %w", dev, blockdev.ErrNotExist)
	}
	return &Medium{m, d}, nil
}

// In is the same drive of a machine that Fork or Cut has made of this one. The drive may be gone there.
func (x *Medium) In(after *Mem) *Medium {
	after.mu.Lock()
	defer after.mu.Unlock()
	return &Medium{after, after.disk(x.disk.info.Dev)}
}

// Same reports whether a run of the drive is equal to one of another drive of the same machine. Offsets are multiples of Align.
func (x *Medium) Same(off int64, other *Medium, at, length int64) bool {
	x.mem.mu.Lock()
	defer x.mem.mu.Unlock()
	return x.disk.now.same(off, other.disk.now, at, length)
}

// Blank reports whether a run of the drive is all zero. off and length are multiples of Align.
func (x *Medium) Blank(off, length int64) bool {
	x.mem.mu.Lock()
	defer x.mem.mu.Unlock()
	return x.disk.now.same(off, store{}, off, length)
}

// Info describes the drive as it is now.
func (x *Medium) Info() blockdev.Info {
	x.mem.mu.Lock()
	defer x.mem.mu.Unlock()
	return x.mem.describe(x.disk)
}

// ReadAt reads what was written last, flushed or not.
func (x *Medium) ReadAt(b []byte, off int64) (int, error) {
	x.mem.mu.Lock()
	defer x.mem.mu.Unlock()
	return x.disk.readAt(b, off)
}

// WriteAt writes into the drive's cache.
func (x *Medium) WriteAt(b []byte, off int64) (int, error) {
	x.mem.mu.Lock()
	defer x.mem.mu.Unlock()
	return x.disk.writeAt(b, off)
}

// Sync makes all writes to the drive durable.
func (x *Medium) Sync() error {
	x.mem.mu.Lock()
	defer x.mem.mu.Unlock()
	return x.disk.flush()
}
