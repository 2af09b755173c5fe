package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
)

// Read reads the catalogs of all drives. If it cannot read a device, the device is no drive, or a problem if it looks like one.
func Read(ctx context.Context, opts Options) (*Host, error) {
	h := &Host{
		Options: opts,
		Drives:  map[uuid.UUID]*Drive{},
		At:      layout.Numbers{Drives: map[uuid.UUID]devno.No{}, Nodes: map[string]devno.No{}},
	}
	own, err := h.Active(ctx)
	if err != nil {
		return nil, err
	}
	h.running = running(own)
	var paths []string // paths of devices that are no drives: there may be many
	for _, d := range own {
		paths = append(paths, d.Path())
	}
	infos, err := h.Devices.Scan(ctx, paths...)
	if err != nil {
		return nil, fault.Of("read drives", "", err)
	}
	stores := h.readStores(ctx, withoutOwn(infos, own))
	h.Set = catalog.Merge(stores)
	for _, p := range h.Set.Problems {
		if errors.Is(p, catalog.ErrDuplicateDrive) {
			for _, id := range p.Drives {
				delete(h.Drives, id)
				delete(h.At.Drives, id)
			}
		}
	}
	return h, nil
}

// readStores fills h.Drives and returns the catalogs for merging, including those of cloned drives.
func (h *Host) readStores(ctx context.Context, infos []blockdev.Info) []catalog.Drive {
	var found []*Drive
	unread := map[devno.No]bool{}
	read, errs := make([]catalog.Drive, len(infos)), make([]error, len(infos))
	Parallel(h.Workers, len(infos), func(i int) { read[i], errs[i] = h.readStore(ctx, infos[i]) }) // a device may take seconds to answer
	for i, info := range infos {
		store, err := read[i], errs[i]
		if errors.Is(err, catalog.ErrNoLabel) {
			continue
		}
		h.Marked = append(h.Marked, info)
		if err != nil {
			h.Problems = append(h.Problems, fmt.Errorf("%s: %w", info.Path, err))
			unread[info.Dev] = true
			continue
		}
		found = append(found, &Drive{Info: info, Store: store})
	}
	var stores []catalog.Drive
	for _, d := range withoutPaths(found, unread) {
		for _, problem := range d.Store.Problems {
			h.Problems = append(h.Problems, fmt.Errorf("%s: %w", d.Info.Path, problem))
		}
		if d.Store.Shrunk() && hasWhole(found, d.ID()) {
			continue // part of a copy of a drive that is here
		}
		stores = append(stores, d.Store)
		d.Foreign = h.foreign(d.Store.Label)
		h.Drives[d.ID()] = d
		h.At.Drives[d.ID()] = d.Info.Dev
	}
	return stores
}

// hasWhole reports whether a device is the whole drive.
func hasWhole(found []*Drive, id uuid.UUID) bool {
	return slices.ContainsFunc(found, func(d *Drive) bool { return d.ID() == id && !d.Store.Shrunk() })
}

// withoutOwn leaves out plexctl's devices and devices stacked on one. They are no drives, and a read would wait while their LUN
// is suspended.
func withoutOwn(infos []blockdev.Info, own map[string]dm.Device) []blockdev.Info {
	byDev := map[devno.No]blockdev.Info{}
	for _, info := range infos { // there may be a device made since own was read
		byDev[info.Dev] = info
	}
	for _, d := range own {
		byDev[d.Dev] = blockdev.Info{DMUUID: d.UUID}
	}
	var above func(devno.No) bool
	above = func(dev devno.No) bool {
		_, made := layout.OwnerOf(byDev[dev].DMUUID)
		return made || slices.ContainsFunc(byDev[dev].Slaves, above)
	}
	return slices.DeleteFunc(infos, func(info blockdev.Info) bool { return above(info.Dev) })
}

// Parallel calls f for each number below n, several at a time. With one worker the calls are in order.
func Parallel(workers, n int, f func(i int)) {
	free := make(chan struct{}, workers)
	var group sync.WaitGroup
	for i := range n {
		free <- struct{}{}
		group.Go(func() {
			f(i)
			<-free
		})
	}
	group.Wait()
}

// withoutPaths leaves out devices that lead to another device with the same label: the paths of a multipath device, the legs of
// an md mirror. It does so even when the upper device cannot be read. Direct use of the lower ones would be wrong once the
// upper one is back.
func withoutPaths(found []*Drive, unread map[devno.No]bool) []*Drive {
	byDev := map[devno.No]uuid.UUID{}
	for _, d := range found {
		byDev[d.Info.Dev] = d.ID()
	}
	return slices.DeleteFunc(found, func(d *Drive) bool {
		return slices.ContainsFunc(d.Info.Holders, func(upper devno.No) bool {
			return unread[upper] || byDev[upper] == d.ID()
		})
	})
}

func (h *Host) readStore(ctx context.Context, info blockdev.Info) (catalog.Drive, error) {
	disk, err := h.Devices.Open(ctx, info.Path, blockdev.Read)
	if err != nil {
		// A device that cannot be opened (no medium, permission of a cgroup) has no label that plexctl could use.
		h.Log.Debug("skip device", "path", info.Path, "error", err)
		return catalog.Drive{}, catalog.ErrNoLabel
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	return catalog.ReadDrive(disk, info.Size)
}
