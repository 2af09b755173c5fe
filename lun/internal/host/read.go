package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/vds"
)

// Read reads the catalogs of all drives. A device that cannot be read is a problem, unless it has no medium or must not be opened.
// Read fails when the machine lacks memory or open files for it: a drive would only seem to be missing then.
func Read(ctx context.Context, opts Options) (*Host, error) {
	h := &Host{
		Options: opts,
		Drives:  map[uuid.UUID]*Drive{},
		At:      layout.Numbers{Drives: map[uuid.UUID]devno.No{}, Nodes: map[string]devno.No{}},
	}
	h.Patience = cmp.Or(h.Patience, Patience)
	if h.Questions == nil {
		h.Questions = &Questions{}
	}
	list, err := h.Kernel.List(ctx)
	if err != nil {
		return nil, fault.Of("list devices", "", err)
	}
	own := ownOf(list)
	h.running = running(own)
	var paths []string // paths of devices that are no drives: there may be many
	for _, d := range own {
		paths = append(paths, d.Path())
	}
	infos, err := h.Devices.Scan(ctx, paths...)
	if err != nil {
		return nil, fault.Of("read drives", "", err)
	}
	if r, ok := h.Devices.(interface{ Ready() }); ok {
		r.Ready()
	}
	c := h.newCensus(withoutOwn(infos, own), list)
	if err := c.readStores(ctx); err != nil {
		return nil, fault.Of("read drives", "", err)
	}
	if err := c.identify(ctx); err != nil {
		return nil, fault.Of("read drives", "", err)
	}
	c.publish()
	h.merge()
	return h, nil
}

// readStores reads the label and catalog of every device.
func (c *census) readStores(ctx context.Context) error {
	infos := slices.SortedStableFunc(maps.Values(c.infos), func(a, b blockdev.Info) int { return strings.Compare(a.Path, b.Path) })
	read, errs := make([]catalog.Drive, len(infos)), make([]error, len(infos))
	parallel(c.Workers, len(infos), slow, func(i int) {
		if c.leftOut(infos[i]) != nil { // it stays known as a device that LUNs may use
			errs[i] = catalog.ErrNoLabel
		} else if errs[i] = c.await(ctx, infos[i]); errs[i] == nil {
			read[i], errs[i] = c.readStore(ctx, infos[i])
		}
	})
	for i, info := range infos {
		switch {
		case errors.Is(errs[i], catalog.ErrNoLabel):
			continue
		case errors.Is(errs[i], blockdev.ErrSilent):
			c.noteSilent(info, errs[i])
			continue
		case fault.Code(errs[i]) == vds.ErrOutOfMemory:
			return fmt.Errorf("%s: %w", info.Path, errs[i])
		}
		c.Marked = append(c.Marked, info)
		if errs[i] != nil {
			c.failed[info.Dev] = errs[i]
			continue
		}
		c.found = append(c.found, &Drive{Info: info, Store: read[i]})
	}
	return ctx.Err()
}

// publish gives the host the drives that were found, and the problems with them.
func (c *census) publish() {
	for _, d := range c.found {
		d.Store.Unheard = d.Standing != Used
		switch d.Standing {
		case lower:
			c.Log.Debug("skip device below another one with its label", "path", d.Info.Path)
		case Used:
			c.Drives[d.ID()] = d
			c.At.Drives[d.ID()] = d.Info.Dev
			c.Problems = append(c.Problems, d.damage()...)
		case Foreign, Copy, Ambiguous, Mute, Missing:
			c.Others = append(c.Others, d)
		}
	}
	for _, dev := range slices.SortedFunc(maps.Keys(c.failed), func(a, b devno.No) int { return strings.Compare(c.infos[a].Path, c.infos[b].Path) }) {
		if !c.underFound(dev) {
			c.Problems = append(c.Problems, fmt.Errorf("%s: %w", c.infos[dev].Path, c.failed[dev]))
		}
	}
	c.Problems = append(c.Problems, c.identityProblems()...)
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

// slow is how long a device that has not answered keeps a worker. So devices that do not answer hold up the others only for
// moments.
const slow = 100 * time.Millisecond

// Parallel calls f for each number below n, several at a time. With one worker the calls are in order.
func Parallel(workers, n int, f func(i int)) { parallel(workers, n, time.Hour, f) }

// parallel is Parallel. After some time a call does not count any more: the next one begins.
func parallel(workers, n int, most time.Duration, f func(i int)) {
	free := make(chan struct{}, workers)
	var group sync.WaitGroup
	for i := range n {
		free <- struct{}{}
		group.Go(func() {
			done := sync.OnceFunc(func() { <-free })
			timer := time.AfterFunc(most, done)
			f(i)
			timer.Stop()
			done()
		})
	}
	group.Wait()
}

// readNow reads the label and catalog of a device, for as long as that takes.
func (h *Host) readNow(ctx context.Context, info blockdev.Info) (catalog.Drive, error) {
	disk, err := h.Devices.Open(ctx, info.Path, blockdev.Look)
	if err != nil {
		h.Log.Debug("skip device", "path", info.Path, "error", err)
		if hasNothing(err) {
			err = catalog.ErrNoLabel
		}
		return catalog.Drive{}, err
	}
	defer disk.Close() //nolint:errcheck // nothing was written
	return catalog.ReadDrive(disk, info.Size)
}

// hasNothing reports whether a device that cannot be opened has no label for this host. It is gone, or has no medium. It is the
// secondary side of a DRBD mirror, or a container may not use it.
func hasNothing(err error) bool {
	return slices.ContainsFunc([]error{blockdev.ErrNotExist, fs.ErrNotExist, fs.ErrPermission, unix.ENOMEDIUM, unix.EMEDIUMTYPE}, func(target error) bool {
		return errors.Is(err, target)
	})
}
