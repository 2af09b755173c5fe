package blockdev

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// Fault is something that a drive refuses with EIO, whoever asks for it.
type Fault struct {
	Kind   string     // "read", "write" or "flush"
	Offset size.Bytes // with Length: only what touches these bytes
	Length size.Bytes // 0: anywhere
	Nth    int        // only the n-th one from now, 1 being the next; 0: every one
}

// Fail makes the drive at path refuse something, besides what it refuses already.
func (m *Mem) Fail(path string, f Fault) {
	m.edit(path, func(d *memDisk) { d.faults = append(d.faults, f) })
}

// Heal ends all faults of the drive at path.
func (m *Mem) Heal(path string) { m.edit(path, func(d *memDisk) { d.faults = nil }) }

// Vanish pulls the drive at path out: nobody finds it, and I/O of those who have it open fails with EIO. Its content and
// its cache stay.
func (m *Mem) Vanish(path string) { m.edit(path, func(d *memDisk) { d.gone = true }) }

// Return puts a drive that has vanished back.
func (m *Mem) Return(path string) { m.edit(path, func(d *memDisk) { d.gone = false }) }

// fault is why d refuses to do something, nil when it does not. The Mem's mutex is held.
func (d *memDisk) fault(kind string, off int64, length int) error {
	if d.gone {
		return unix.EIO
	}
	for i := range d.faults {
		f := &d.faults[i]
		if f.Kind != kind || !f.touches(size.Bytes(off), size.Bytes(length)) {
			continue
		}
		if f.Nth == 0 {
			return unix.EIO
		}
		if f.Nth--; f.Nth == 0 {
			d.faults = slices.Delete(d.faults, i, i+1)
			return unix.EIO
		}
	}
	return nil
}

func (f Fault) touches(off, length size.Bytes) bool {
	return f.Length == 0 || off < f.Offset+f.Length && f.Offset < off+length
}

// Effect announces a change that the process is about to make, for OnEffect to see. Layers above the drives announce
// theirs here. An error says that the process has died before it.
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

// Life counts the processes: it rises with each Restart. What an earlier life had open is closed.
func (m *Mem) Life() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.life
}

// Restart starts another process after the first has died, or ends one that had not: its open drives are closed, what it
// wrote is there, flushed or not, and so are the kernel's claims.
func (m *Mem) Restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = false
	m.life++
	for _, d := range m.disks {
		d.exclusive = nil
	}
}

// Fate decides what a power cut leaves of a write that was in a cache: which of its sectors of 512 bytes reached the
// medium. Sectors that the answer is too short for did not.
type Fate func(Unflushed) []bool

// Lost is the fate of everything that was not flushed.
func Lost(Unflushed) []bool { return nil }

// Kept is the fate of everything on drives whose cache survives.
func Kept(w Unflushed) []bool { return slices.Repeat([]bool{true}, len(w.Data)/512) }

// Torn loses, keeps or tears each write, as random decides.
func Torn(random *rand.Rand) Fate {
	return func(w Unflushed) []bool {
		switch random.IntN(3) {
		case 0:
			return nil
		case 1:
			return Kept(w)
		}
		sectors := make([]bool, len(w.Data)/512)
		for i := range sectors {
			sectors[i] = random.IntN(2) == 0
		}
		return sectors
	}
}

// Cut is the machine as it comes up after a power cut at this moment: drives with what fate leaves of their caches, no
// claims, no stacked devices, no users, no faults, and no OnEffect. m itself goes on.
func (m *Mem) Cut(fate Fate) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := NewMem()
	after.links = maps.Clone(m.links)
	for _, d := range m.disks {
		if d.open == nil {
			after.disks = append(after.disks, d.cut(fate))
		}
	}
	return after
}

// cut is d after a power cut.
func (d *memDisk) cut(fate Fate) *memDisk {
	medium := d.durable.clone()
	for _, w := range d.pending {
		for i, survives := range fate(w) {
			if survives {
				medium.writeAt(w.Data[i*512:(i+1)*512], w.Offset+int64(i)*512)
			}
		}
	}
	return &memDisk{info: d.info, signatures: d.signatures, gone: d.gone, now: medium, durable: medium.clone()}
}

// Medium is a drive as the kernel itself uses it: without a process, an effect or a mode, in units of 512 bytes.
type Medium struct {
	mem  *Mem
	disk *memDisk
}

// Medium is the drive of that number. It fails with ErrNotExist when there is none; stacked devices have none.
func (m *Mem) Medium(dev DevNo) (*Medium, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.disk(dev)
	if d == nil || d.gone || d.open != nil {
		return nil, fmt.Errorf("open %v: %w", dev, ErrNotExist)
	}
	return &Medium{m, d}, nil
}

// Info describes the drive as it is now.
func (x *Medium) Info() Info {
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
