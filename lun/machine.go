package lun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/vds"
)

// machine is all drives and their catalogs as read at one moment, with the means to change them. A change works on a
// machine that was read under the host's lock.
type machine struct {
	kernel  Kernel
	devices Devices
	log     *slog.Logger
	guard   Guard // may be nil
	workers int   // see Options

	drives   map[uuid.UUID]*drive
	set      catalog.Set
	problems []error   // of reading drives
	outdated bool      // the drives are not what was read: read them anew
	dry      *recorder // not nil: steps are kept, not taken
	at       numbers
	listed   listing // not nil: which devices the kernel has is known, and kept up to date by the steps that are taken
}

// drive is a block device with a label.
type drive struct {
	info    blockdev.Info
	store   catalog.Drive
	foreign bool // another host used it last: it is not written to
}

// readMachine reads the catalogs of all drives. A device that cannot be read is no drive, or a problem when it looks like one.
func readMachine(ctx context.Context, p *Provider) (*machine, error) {
	m := &machine{
		kernel: p.kernel, devices: p.devices, log: p.log, guard: p.guard, workers: p.workers, dry: p.dry,
		drives: map[uuid.UUID]*drive{},
		at:     numbers{drives: map[uuid.UUID]devno.No{}, nodes: map[string]devno.No{}},
	}
	own, err := m.active(ctx)
	if err != nil {
		return nil, err
	}
	var paths []string // of no drives: there may be many of them
	for _, d := range own {
		paths = append(paths, d.Path())
	}
	infos, err := p.devices.Scan(ctx, paths...)
	if err != nil {
		return nil, fault("read drives", "", err)
	}
	stores := m.readStores(ctx, p, withoutOwn(infos, own))
	m.set = catalog.Merge(stores)
	for _, p := range m.set.Problems {
		if errors.Is(p, catalog.ErrDuplicateDrive) {
			for _, id := range p.Drives {
				delete(m.drives, id)
				delete(m.at.drives, id)
			}
		}
	}
	return m, nil
}

// readStores fills m.drives and returns the catalogs for merging, those of cloned drives included.
func (m *machine) readStores(ctx context.Context, p *Provider, infos []blockdev.Info) []catalog.Drive {
	var found []*drive
	unread := map[devno.No]bool{}
	reads := m.readAll(ctx, infos)
	for i, info := range infos {
		store, err := reads[i].store, reads[i].err
		if errors.Is(err, catalog.ErrNoLabel) {
			continue
		}
		if err != nil {
			m.problems = append(m.problems, fmt.Errorf("%s: %w", info.Path, err))
			unread[info.Dev] = true
			continue
		}
		m.problems = append(m.problems, store.Problems...)
		if store.HeadLost {
			m.problems = append(m.problems, fmt.Errorf("%s: %w", info.Path, catalog.ErrHeadLost))
		}
		found = append(found, &drive{info: info, store: store})
	}
	var stores []catalog.Drive
	for _, d := range withoutPaths(found, unread) {
		stores = append(stores, d.store)
		d.foreign = p.foreign(d.store.Label)
		m.drives[d.store.Label.Drive] = d
		m.at.drives[d.store.Label.Drive] = d.info.Dev
	}
	return stores
}

// withoutOwn drops what is a device of plexctl's or lies on one. Such a device is no drive, and to read it while a LUN is
// suspended would take until it goes on.
func withoutOwn(infos []blockdev.Info, own map[string]dm.Device) []blockdev.Info {
	is := map[devno.No]bool{}
	for _, d := range own {
		is[d.Dev] = true
	}
	byDev := map[devno.No]blockdev.Info{}
	for _, info := range infos {
		byDev[info.Dev] = info
	}
	var above func(devno.No) bool
	above = func(dev devno.No) bool {
		_, made := ownerOf(byDev[dev].DMUUID) // since own was read
		return made || is[dev] || slices.ContainsFunc(byDev[dev].Slaves, above)
	}
	return slices.DeleteFunc(infos, func(info blockdev.Info) bool { return above(info.Dev) })
}

// read is what reading the catalog of a device gave.
type read struct {
	store catalog.Drive
	err   error
}

// readAll reads the catalogs of devices, some at a time because one may take seconds to answer, and returns them in the order
// of the devices.
func (m *machine) readAll(ctx context.Context, infos []blockdev.Info) []read {
	reads := make([]read, len(infos))
	slots := make(chan struct{}, m.workers)
	var group sync.WaitGroup
	for i, info := range infos {
		slots <- struct{}{}
		group.Go(func() {
			reads[i].store, reads[i].err = m.readStore(ctx, info)
			<-slots
		})
	}
	group.Wait()
	return reads
}

// withoutPaths drops devices that only lead to another one with the same label: the paths of a multipath device, the
// legs of an md mirror. An upper device that cannot be read now is taken for such a one: to go past it to what is below
// would be wrong when it comes back.
func withoutPaths(found []*drive, unread map[devno.No]bool) []*drive {
	byDev := map[devno.No]uuid.UUID{}
	for _, d := range found {
		byDev[d.info.Dev] = d.store.Label.Drive
	}
	return slices.DeleteFunc(found, func(d *drive) bool {
		return slices.ContainsFunc(d.info.Holders, func(upper devno.No) bool {
			return unread[upper] || byDev[upper] == d.store.Label.Drive
		})
	})
}

func (m *machine) readStore(ctx context.Context, info blockdev.Info) (catalog.Drive, error) {
	disk, err := m.devices.Open(ctx, info.Path, blockdev.Read)
	if err != nil {
		// A device that cannot be opened (no medium, permission of a cgroup) carries no label that anyone could use.
		m.log.Debug("skip device", "path", info.Path, "error", err)
		return catalog.Drive{}, catalog.ErrNoLabel
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	return catalog.ReadDrive(disk, info.Size)
}

// absent reports whether a drive is not on this machine.
func (m *machine) absent(id uuid.UUID) bool {
	_, ok := m.drives[id]
	return !ok
}

// withDisk opens a drive for metadata I/O beside whoever has it open, and makes what f wrote durable.
func (m *machine) withDisk(ctx context.Context, id uuid.UUID, f func(blockdev.Disk) error) error {
	d, ok := m.drives[id]
	if !ok {
		return &vds.Error{Code: vds.ErrObjectStatusFailed, Op: "open", Object: driveObject(id), Reason: "it is missing"}
	}
	disk, err := m.devices.Open(ctx, d.info.Path, blockdev.Write)
	if err != nil {
		return fault("open", d.info.Path, err)
	}
	err = f(disk)
	if err == nil {
		err = disk.Sync()
	}
	return fault("write", d.info.Path, errors.Join(err, disk.Close()))
}

// fork is m for an observation by one of its readers: what that learns of device numbers does not get into m.
func (m *machine) fork() *machine {
	f := *m
	f.at.nodes = maps.Clone(m.at.nodes)
	return &f
}

// wants is the devices a LUN needs on this machine.
func (m *machine) wants(l catalog.LUN) []node { return layout(l, m.out) }

// unusable is why a LUN must not be touched, nil when nothing is wrong with its records.
func (m *machine) unusable(id uuid.UUID) error {
	if m.set.Usable(id) {
		l, _ := m.record(id)
		return m.foreignDrive(l)
	}
	for _, p := range m.set.Problems {
		if slices.Contains(p.Unfit, id) {
			return p
		}
	}
	return errors.New("its records cannot be used")
}
