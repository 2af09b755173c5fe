// Package dmtest simulates device-mapper in memory, for tests. It returns the errnos of the kernel. Its raid1 reads the
// metadata on the legs and takes the decisions of dm-raid and md. It also loses data where they do: it copies what the
// kernel copies, and skips what the kernel skips silently.
//
//	Kernel       the simulated device-mapper, over the drives of a blocktest.Mem
//	RunContract  the tests that both Kernel and the real device-mapper must pass
//
// Time stands still until the test lets it pass: a resync proceeds in Tick and RunToEnd, and the cleaner of md's bitmap runs
// in Age. The targets are linear, raid (raid1 only), error and zero. udev is not simulated.
package dmtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/size"
)

// Release is the version of Linux that a Kernel behaves like, where versions differ.
type Release string

// Releases that can be simulated.
const (
	Linux6_1  Release = "6.1"
	Linux6_12 Release = "6.12"
)

// major is the major number of every device.
const major = 253

// ErrHang means that the real kernel would wait for ever, because it would do I/O of its own on a suspended device.
var ErrHang = errors.New("the kernel hangs: it waits for a suspended device")

// Kernel is a device-mapper in memory, with the methods of dm.Control that lun uses. Its devices appear in its Mem as
// /dev/dm-N and /dev/mapper/NAME. Several goroutines may call its methods at once.
//
// It survives the death of the process (blocktest.Mem.Restart). After a power cut, make a new one over the Mem that
// blocktest.Mem.Cut returns.
type Kernel struct {
	mem     *blocktest.Mem
	release Release

	mu      sync.Mutex
	devices []*device
	minors  uint32
	events  uint64        // any event of any device
	seen    uint64        // events when WaitEvent last returned
	moved   chan struct{} // closed by the next event

	log   []string // records of the kernel's log that concern copies
	noLog bool     // the log cannot be read or written

	lacks string // the module that the kernel does not have, "dm-raid" or "raid1"
}

// device is one device-mapper device.
type device struct {
	name, uuid string
	dev        devno.No
	event      uint32
	openers    int             // other processes that have it open, see Hold
	stacked    map[*device]int // tables that use the device, by the device they belong to
	handles    []*handle       // openers through Mem
	suspended  bool
	resumed    chan struct{} // closed when the device is no longer suspended
	live       *table
	inactive   *table
}

// New is a device-mapper without devices over the drives of mem.
func New(mem *blocktest.Mem, release Release) *Kernel {
	return &Kernel{mem: mem, release: release, moved: make(chan struct{})}
}

// Simulated marks a device-mapper that no other process sees; see lun.Options.
func (*Kernel) Simulated() {}

// refusal is an errno with what the kernel's log says about it.
type refusal struct {
	errno   unix.Errno
	log     string
	inTable bool
}

func (r *refusal) Error() string { return r.errno.Error() }

// refuse is EINVAL with a line in the log.
func refuse(format string, args ...any) error {
	return &refusal{errno: unix.EINVAL, log: "device-mapper: table: " + fmt.Sprintf(format, args...)}
}

// wrap is err as a method of Kernel returns it.
func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return &dm.Error{Op: op, Device: name, Err: r.errno, InTable: r.inTable, KernelLog: r.log}
	}
	return &dm.Error{Op: op, Device: name, Err: err}
}

// change does an ioctl that changes something. The test may have the process die before it.
func (k *Kernel) change(ctx context.Context, op, kind, name string, do func(*device) error) error {
	err := ctx.Err()
	if err == nil {
		err = k.mem.Effect(blocktest.Effect{Kind: kind, Object: name})
	}
	if err == nil {
		err = k.locked(name, do)
	}
	return wrap(op, name, err)
}

// look does an ioctl that changes nothing.
func (k *Kernel) look(ctx context.Context, op, name string, do func(*device) error) error {
	err := errors.Join(ctx.Err(), k.mem.Alive())
	if err == nil {
		err = k.locked(name, do)
	}
	return wrap(op, name, err)
}

// locked calls do with the device called name.
func (k *Kernel) locked(name string, do func(*device) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.find(name)
	if d == nil {
		return unix.ENXIO
	}
	return do(d)
}

// find is the device called name, nil when there is none. k.mu is held here and in all that follows.
func (k *Kernel) find(name string) *device {
	i := slices.IndexFunc(k.devices, func(d *device) bool { return d.name == name })
	if i < 0 {
		return nil
	}
	return k.devices[i]
}

// numbered is the device of that number, nil when there is none.
func (k *Kernel) numbered(dev devno.No) *device {
	i := slices.IndexFunc(k.devices, func(d *device) bool { return d.dev == dev })
	if i < 0 {
		return nil
	}
	return k.devices[i]
}

// List is every device, in order of creation.
func (k *Kernel) List(ctx context.Context) ([]dm.Device, error) {
	if err := errors.Join(ctx.Err(), k.mem.Alive()); err != nil {
		return nil, wrap("list devices", "", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]dm.Device, 0, len(k.devices))
	for _, d := range k.devices {
		list = append(list, d.identity())
	}
	return list, nil
}

func (d *device) identity() dm.Device {
	return dm.Device{Name: d.name, UUID: d.uuid, Dev: d.dev, Event: d.event}
}

// Info is the state of one device.
func (k *Kernel) Info(ctx context.Context, name string) (info dm.Info, err error) {
	err = k.look(ctx, "ask for state of", name, func(d *device) error {
		info = k.info(d)
		return nil
	})
	return info, err
}

// info is the state of d. The Kernel's mutex is held.
func (k *Kernel) info(d *device) dm.Info {
	return dm.Info{
		Device:    d.identity(),
		OpenCount: k.openers(d),
		Suspended: d.suspended,
		Live:      d.live != nil,
		Inactive:  d.inactive != nil,
	}
}

// Create makes a device without a table. It fails with dm.ErrBusy when the name or the UUID is taken.
func (k *Kernel) Create(ctx context.Context, name, uuid string) (devno.No, error) {
	const op = "create"
	err := errors.Join(ctx.Err(), checkText("name", name, 1, 127), checkText("uuid", uuid, 0, 128))
	if err == nil {
		err = k.mem.Effect(blocktest.Effect{Kind: op, Object: name})
	}
	if err != nil {
		return devno.No{}, wrap(op, name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.devices {
		if d.name == name || uuid != "" && d.uuid == uuid {
			return devno.No{}, wrap(op, name, unix.EBUSY)
		}
	}
	d := &device{
		name: name, uuid: uuid, dev: devno.No{Major: major, Minor: k.minors}, stacked: make(map[*device]int),
	}
	k.minors++
	k.devices = append(k.devices, d)
	k.show(d)
	k.happened()
	return d.dev, nil
}

// checkText refuses what package dm does not hand to the kernel.
func checkText(kind, text string, shortest, longest int) error {
	const allowed = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#+-.:=@_"
	if len(text) < shortest || len(text) > longest || strings.Trim(text, allowed) != "" {
		return fmt.Errorf("%s %q is empty, too long, or has letters that udev changes", kind, text)
	}
	if text == "." || text == ".." || text == "control" {
		return fmt.Errorf("%s %q is reserved", kind, text)
	}
	return nil
}

// Remove destroys a device. It fails with dm.ErrBusy while the device is open.
func (k *Kernel) Remove(ctx context.Context, name string) error {
	return k.change(ctx, "remove", "remove", name, func(d *device) error {
		if k.openers(d) > 0 {
			return unix.EBUSY
		}
		if err := d.suspend(); err != nil {
			return err
		}
		k.devices = slices.DeleteFunc(k.devices, func(other *device) bool { return other == d })
		k.hide(d)
		k.happened()
		close(d.resumed)
		return errors.Join(d.live.destroy(), d.inactive.destroy())
	})
}

// Name does nothing: links in memory are always right.
func (k *Kernel) Name(ctx context.Context, name string, _ dm.Visibility) error {
	_, err := k.Info(ctx, name)
	return err
}

// RefuseDiscards does nothing: there are no discards in memory.
func (k *Kernel) RefuseDiscards(ctx context.Context, name string) error {
	_, err := k.Info(ctx, name)
	return err
}

// Rename gives a device another name. It fails with dm.ErrBusy when the name is taken.
func (k *Kernel) Rename(ctx context.Context, name, newName string, _ dm.Visibility) error {
	const op = "rename"
	if err := checkText("new name", newName, 1, 127); err != nil {
		return wrap(op, name, err)
	}
	return k.change(ctx, op, op, name, func(d *device) error {
		if k.find(newName) != nil {
			return unix.EBUSY
		}
		k.hide(d)
		d.name = newName
		k.show(d)
		k.raise(d)
		return nil
	})
}

// Mark writes a marker into the kernel's log.
func (k *Kernel) Mark(ctx context.Context, m dm.Marker) error {
	const op = "write to the log of"
	if err := errors.Join(ctx.Err(), k.mem.Effect(blocktest.Effect{Kind: "mark", Object: m.Operation})); err != nil {
		return wrap(op, "kernel", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.noLog {
		return wrap(op, "kernel", unix.EPERM)
	}
	k.log = append(k.log, "14,1,1,-;"+m.String())
	return nil
}

// LogUnreadable puts into the kernel's log that a resync could not read a sector of a leg and has skipped it.
func (k *Kernel) LogUnreadable(leg devno.No, sector size.Sectors) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.log = append(k.log, unreadableLine(leg, sector))
}

// unreadableLine is the record that the kernel writes about a sector of a leg that no leg could give.
func unreadableLine(leg devno.No, sector size.Sectors) string {
	return fmt.Sprintf("2,1,1,-;md/raid1:mdX: dm-%d: unrecoverable I/O read error for block %d\n", leg.Minor, uint64(sector))
}

// OverwriteLog has the log lose everything that it holds, as when many other lines have come since.
func (k *Kernel) OverwriteLog() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.log = nil
}

// HideLog has the log refuse to be read and written, as in a container that has none.
func (k *Kernel) HideLog() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.noLog = true
}

// Passed is what the log says about the copy of an operation.
func (k *Kernel) Passed(_ context.Context, operation string, legs []devno.No) dm.Passed {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.noLog {
		return dm.Passed{}
	}
	return dm.ReadCopyLog(k.log, operation, legs)
}

// Deps is every device that the live table names, in no order.
func (k *Kernel) Deps(ctx context.Context, name string) (deps []devno.No, err error) {
	err = k.look(ctx, "read dependencies of", name, func(d *device) error {
		if d.live != nil {
			deps = slices.Clone(d.live.uses)
		}
		return nil
	})
	return deps, err
}

// raise is an event of one device.
func (k *Kernel) raise(d *device) {
	d.event++
	k.happened()
}

// happened is an event of the machine.
func (k *Kernel) happened() {
	k.events++
	close(k.moved)
	k.moved = make(chan struct{})
}

// WaitEvent returns when any device has had an event since WaitEvent last returned.
func (k *Kernel) WaitEvent(ctx context.Context) error {
	for {
		k.mu.Lock()
		moved, news := k.moved, k.events != k.seen
		err := errors.Join(ctx.Err(), k.mem.Alive())
		if news && err == nil {
			k.seen = k.events
		}
		k.mu.Unlock()
		if news || err != nil {
			return wrap("wait for event", "", err)
		}
		select {
		case <-moved:
		case <-ctx.Done():
		}
	}
}

// unreadable is what happens when the first leg does not give a sector. Others have it in a resync of the whole array: the leg fails
// (r1_sync_page_io).
func (r *raid) unreadable(at uint64, err error) error {
	if !r.sync.recover && r.inSync() > 1 {
		return r.fail(r.first(), err)
	}
	r.logUnreadable(at)
	return err
}

// logUnreadable writes what md writes when no leg gives a sector (fix_sync_read_error).
func (r *raid) logUnreadable(sector uint64) {
	if below, ok := r.first().data.(*upper); ok {
		k := r.table.kernel
		k.log = append(k.log, unreadableLine(below.device.dev, size.Sectors(sector)))
	}
}
