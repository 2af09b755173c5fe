// Package blocktest is block devices in memory, for tests. Mem has the methods of blockdev.Host. Its drives fail, vanish and
// lose power when a test says so. As on a real drive, a write stays in a volatile cache until a Sync.
//
//	Open, Scan, Stat, Users, …  as blockdev.Host has them
//	Medium                      a drive as the kernel itself uses it; package dmtest stands on it
//	Fail, Vanish                drives that fail
//	Cut, Fate                   the rest that a power cut leaves
//	OnEffect, Restart, Fork     processes that die
package blocktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
)

// ErrDead is what every call gives after OnEffect has ended the process that the test plays.
var ErrDead = errors.New("the process is dead")

// Mem is the drives of a machine that exists in memory only. Several goroutines may call its methods at once. A drive takes
// memory only for the pages that were written, however large it is.
type Mem struct {
	// OnEffect is called before each write, zeroing and flush of the process, and before each change that it makes in the
	// kernel. Set it before the first use. If it returns an error, the process dies: the effect does not happen, and every
	// call fails with ErrDead until Restart. OnEffect may call Cut.
	OnEffect func(Effect) error

	mu     sync.Mutex
	disks  []*device
	links  map[string]string
	users  map[devno.No][]blockdev.User
	claims []claim
	minors uint32 // of the next drive
	life   int    // rises with each Restart
	dead   bool
}

// Effect is one step by which the process changes the world.
type Effect struct {
	Kind   string // "write", "zero", "flush", or an operation of the kernel such as "load"
	Object string // path of the drive, or name of the device
}

// New is a machine without drives.
func New() *Mem {
	return &Mem{links: make(map[string]string), users: make(map[devno.No][]blockdev.User)}
}

// AddDisk adds a drive full of zeros and returns its number. info.Path and info.Size must be set. A zero number means the
// next free one, a zero block size 512 bytes.
func (m *Mem) AddDisk(info blockdev.Info) devno.No {
	m.mu.Lock()
	defer m.mu.Unlock()
	if info.Dev.IsZero() {
		info.Dev = devno.No{Major: 8, Minor: m.minors}
		m.minors += 16
	}
	info.LogicalBlock = max(info.LogicalBlock, 512)
	info.PhysicalBlock = max(info.PhysicalBlock, info.LogicalBlock)
	m.disks = append(m.disks, &device{info: info, now: newStore(), durable: newStore()})
	return info.Dev
}

// Stack shows a device of another layer, such as device-mapper, beside the drives. A stacked device of the same number is
// replaced. Open of the device returns the result of open.
func (m *Mem) Stack(info blockdev.Info, open func(blockdev.Mode) (blockdev.Disk, error)) {
	m.Unstack(info.Dev)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disks = append(m.disks, &device{info: info, open: open})
}

// Unstack hides the stacked device of that number.
func (m *Mem) Unstack(dev devno.No) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disks = slices.DeleteFunc(m.disks, func(d *device) bool { return d.open != nil && d.info.Dev == dev })
}

// Link makes link another path of the device at path. An empty path takes the link away.
func (m *Mem) Link(link, path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links[link] = path
}

// Change has change edit the description of the drive at path. It must leave path and number as they are.
func (m *Mem) Change(path string, change func(*blockdev.Info)) {
	m.edit(path, func(d *device) { change(&d.info) })
}

// SetSignatures sets the signatures of the drive at path, whatever its content is.
func (m *Mem) SetSignatures(path string, found ...signature.Signature) {
	m.edit(path, func(d *device) { d.signatures = found })
}

// SetUsers says who uses a device besides the kernel's claims and this process. A mount or swap is a claim too.
func (m *Mem) SetUsers(dev devno.No, users ...blockdev.User) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users[dev] = users
}

// Scan is every drive and stacked device that is there, without those at the paths in but.
func (m *Mem) Scan(ctx context.Context, but ...string) ([]blockdev.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.alive(ctx); err != nil {
		return nil, fmt.Errorf("scan block devices: %w", err)
	}
	var infos []blockdev.Info
	for _, d := range m.disks {
		if !d.gone && !slices.Contains(but, d.info.Path) {
			infos = append(infos, m.describe(d))
		}
	}
	return infos, nil
}

// Stat describes the device at path, which may be a link. It fails with ErrNotExist when there is none.
func (m *Mem) Stat(ctx context.Context, path string) (blockdev.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(ctx, path)
	if err != nil {
		return blockdev.Info{}, fmt.Errorf("look at %s: %w", path, err)
	}
	return m.describe(d), nil
}

// Users says who uses a device: the users of SetUsers, and the devices stacked on it.
func (m *Mem) Users(ctx context.Context, dev devno.No) ([]blockdev.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.alive(ctx); err != nil {
		return nil, fmt.Errorf("users of %v: %w", dev, err)
	}
	users := slices.Clone(m.users[dev])
	for _, c := range m.claims {
		if user := (blockdev.User{Kind: "holder", Name: c.name}); c.dev == dev && !slices.Contains(users, user) {
			users = append(users, user)
		}
	}
	return users, nil
}

// Below is the devices that the device at path lies on, directly or through others: those in Info.Slaves.
func (m *Mem) Below(ctx context.Context, path string) ([]devno.No, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("what is below %s: %w", path, err)
	}
	below := slices.Clone(d.info.Slaves)
	for i := 0; i < len(below); i++ {
		if next := m.disk(below[i]); next != nil {
			for _, dev := range next.info.Slaves {
				if !slices.Contains(below, dev) {
					below = append(below, dev)
				}
			}
		}
	}
	return below, nil
}

// Signatures is the signatures that SetSignatures has set for the device at path.
func (m *Mem) Signatures(ctx context.Context, path string) ([]signature.Signature, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.find(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", path, err)
	}
	return slices.Clone(d.signatures), nil
}

// Open opens the device at path. It fails with ErrNotExist when there is none, and in mode Exclusive with ErrBusy when
// the device has a claim or is open exclusively.
func (m *Mem) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	disk, err := m.openAny(ctx, path, mode)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return disk, nil
}

func (m *Mem) openAny(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	m.mu.Lock()
	d, err := m.find(ctx, path)
	if err == nil && d.open != nil {
		m.mu.Unlock() // the other layer has its own lock and calls back
		return d.open(mode)
	}
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return m.openDisk(d, mode)
}

// alive is why no call can be served now. m.mu is held.
func (m *Mem) alive(ctx context.Context) error {
	if m.dead {
		return ErrDead
	}
	return ctx.Err()
}

// find is the device at path or at what the link path names. m.mu is held.
func (m *Mem) find(ctx context.Context, path string) (*device, error) {
	if err := m.alive(ctx); err != nil {
		return nil, err
	}
	if target, ok := m.links[path]; ok {
		path = target
	}
	for _, d := range m.disks {
		if d.info.Path == path && !d.gone {
			return d, nil
		}
	}
	return nil, blockdev.ErrNotExist
}

// describe is the description of d, with the devices stacked on it. m.mu is held.
func (m *Mem) describe(d *device) blockdev.Info {
	info := d.info
	info.Holders, info.Slaves = nil, slices.Clone(d.info.Slaves)
	for _, c := range m.claims {
		if c.dev == info.Dev && !slices.Contains(info.Holders, c.holder) {
			info.Holders = append(info.Holders, c.holder)
		}
	}
	return info
}

// edit changes the drive at path, which must exist but may be gone.
func (m *Mem) edit(path string, change func(*device)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.disks {
		if d.info.Path == path {
			change(d)
			return
		}
	}
	panic("no drive " + path) // the test names drives that it has added
}
