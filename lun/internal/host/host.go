package host

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/lun/internal/fault"
	"github.com/plexctl/plexctl/lun/internal/layout"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/vds"
)

// Options say how to read a host.
type Options struct {
	Kernel  Kernel
	Devices Devices
	Log     *slog.Logger
	IDs     []string // IDs of this host; plexctl writes the first into labels. None: drives of other hosts count as its own
	Workers int      // how many drives are read, and LUNs started or taken down, at the same time

	Release   string // of the kernel; "": unknown
	AnyKernel bool   // a kernel that is known to hurt mirrors is used all the same

	LeaveOut  func(blockdev.Info) error // why a device is not read; nil: all are
	Patience  time.Duration             // how long a device may take to answer; 0: the constant of this name
	Questions *Questions                // shared by all reads of a process; nil: each read waits anew for devices that do not answer
}

// Host is all drives and their catalogs, read at one moment, with the means to change them. A change needs a Host of its own
// that was read under the host's lock.
type Host struct {
	Options

	Drives   map[uuid.UUID]*Drive // those that are used
	Others   []*Drive             // those that are not: drives of other hosts, copies. Sorted by path
	Set      catalog.Set
	Problems []error             // errors from reading drives
	Marked   []blockdev.Info     // devices with a label, also with one that cannot be read or that another device has too
	Silent   []Silent            // devices that have not answered, sorted by path
	Paths    map[devno.No]string // of all devices that could be drives
	Outdated bool                // the drives have changed since they were read, and must be read anew
	At       layout.Numbers

	listed  listing            // not nil: the known devices of the kernel; see KeepList
	running map[uuid.UUID]bool // LUNs that have a device, or are being started by force on drives that have shrunk
}

// Drive is a block device with a label.
type Drive struct {
	Info     blockdev.Info
	Store    catalog.Drive
	Standing Standing
	Rivals   []string // paths of the other devices with its label, without those below it

	inUse    bool        // a LUN uses it; known where several devices have its label
	occupant string      // path of the device that a LUN uses as this drive, if no label was found there
	refused  atomic.Bool // it has refused a write
}

// ID is the drive's GUID.
func (d *Drive) ID() uuid.UUID { return d.Store.Label.Drive }

// ID is this host's ID in labels.
func (h *Host) ID() string {
	if len(h.IDs) == 0 {
		return ""
	}
	return h.IDs[0]
}

// foreign reports whether the drive is not this host's, by its label. A host without an ID cannot tell: every drive counts as its
// own.
func (h *Host) foreign(label catalog.Label) bool {
	return len(h.IDs) > 0 && !slices.Contains(h.IDs, label.Host)
}

// All is every device with a label, those that are not used included.
func (h *Host) All() []*Drive { return append(slices.Collect(maps.Values(h.Drives)), h.Others...) }

// Changed reports whether the device is another one than the one that the label was written to, by what it says of itself. So the
// drive is taken for a copy of itself, of any age, until the change is confirmed.
func (d *Drive) Changed() bool { return d.match() == blockdev.Different }

// match compares what the device says of itself with its label.
func (d *Drive) match() blockdev.Match {
	return blockdev.Identity(d.Store.Label.Hardware).Compare(d.Info.Identity)
}

// Absent reports whether a drive is not on this host, or not used.
func (h *Host) Absent(id uuid.UUID) bool {
	_, ok := h.Drives[id]
	return !ok
}

// Roles is the role of each plex of l on this host.
func (h *Host) Roles(l catalog.LUN) record.Roles { return record.RolesOf(l, h.absent(l)) }

// Wants is the devices that l needs on this host.
func (h *Host) Wants(l catalog.LUN) []layout.Node { return layout.Of(l, h.Roles(l)) }

// Record is the record of a LUN.
func (h *Host) Record(id uuid.UUID) (catalog.LUN, bool) { return h.Set.LUN(id) }

// Current is the present record of l; l when it has none.
func (h *Host) Current(l catalog.LUN) catalog.LUN {
	if now, ok := h.Record(l.ID); ok {
		return now
	}
	return l
}

// Fork is h for a reader that observes the kernel. Device numbers that the reader learns do not get into h.
func (h *Host) Fork() *Host {
	f := *h
	f.At.Nodes = maps.Clone(h.At.Nodes)
	return &f
}

// ForkFor is h for a change of one LUN that runs beside changes of others. It knows the devices of that LUN only. It must not
// commit anything, because all forks share the records and the drives. See Merge.
func (h *Host) ForkFor(id uuid.UUID) *Host {
	f := *h
	f.At.Nodes = map[string]devno.No{}
	if h.listed != nil {
		f.listed = listing{id: maps.Clone(h.listed[id])}
	}
	return &f
}

// Merge adds the devices that a fork of h for a LUN has observed.
func (h *Host) Merge(f *Host, id uuid.UUID) {
	maps.Copy(h.At.Nodes, f.At.Nodes)
	if f.listed == nil {
		h.listed = nil
	} else if h.listed != nil {
		h.listed[id] = f.listed[id]
	}
}

// Unusable is the error of a change of a LUN that must not be used; nil when its records are in order.
func (h *Host) Unusable(op string, l catalog.LUN) *vds.Error {
	err := &vds.Error{Code: vds.ErrDiskConfigurationNotSync, Op: op, Object: record.LUNObject(l.Name)}
	switch {
	case h.Set.Usable(l.ID) && l.Making:
		err.Code, err.Reason, err.Hint = vds.ErrAnotherCallInProgress, "its room is being zeroed, or that was cut off", "run `plexctl assemble`"
		return err
	case h.Set.Usable(l.ID):
		return nil
	case h.Set.Unheard(l.ID):
		lack := h.lackOf(l)
		if err.Reason, err.Hint = lack.Reason, lack.Hint; lack.Standing == Foreign {
			err.Code = vds.ErrAccessDenied
		}
		return err
	}
	err.Err = errors.New("its records cannot be used")
	if p, found := h.Set.Reason(l.ID); found {
		if err.Err = p; errors.Is(p, catalog.ErrForked) || errors.Is(p, catalog.ErrConflict) {
			err.Hint = "decide which plex holds the data: `plexctl lun recover " + l.Name + " --keep PLEX`"
		}
	}
	return err
}

// Find finds a record by name, by GUID, or by a unique beginning of the GUID of at least 4 digits. A name is that of a LUN of this
// host, if it has one of that name.
func (h *Host) Find(ref string) (catalog.LUN, error) {
	own := slices.ContainsFunc(h.Set.LUNs, func(l catalog.LUN) bool { return l.Name == ref && !h.Set.Unheard(l.ID) })
	all := make([]Candidate[catalog.LUN], len(h.Set.LUNs))
	for i, l := range h.Set.LUNs {
		named := l.Name == ref && (!own || !h.Set.Unheard(l.ID))
		all[i] = Candidate[catalog.LUN]{Value: l, ID: l.ID, Text: record.LUNObject(l.Name) + " with GUID " + l.ID.String(), Named: named}
	}
	return Pick("lun", ref, all, record.LUNFault(vds.ErrObjectNotFound, "find", ref, "no LUN has this name or GUID", "`plexctl lun list` shows all"))
}

// Choose finds the records that refs name, each once. Without refs it is all records.
func (h *Host) Choose(refs []string) ([]catalog.LUN, error) {
	if len(refs) == 0 {
		return slices.Clone(h.Set.LUNs), nil
	}
	var chosen []catalog.LUN
	for _, ref := range refs {
		l, err := h.Find(ref)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(chosen, func(other catalog.LUN) bool { return other.ID == l.ID }) {
			chosen = append(chosen, l)
		}
	}
	return chosen, nil
}

// withDisk is write for the drive with this GUID.
func (h *Host) withDisk(ctx context.Context, id uuid.UUID, f func(blockdev.Disk) error) error {
	d, ok := h.Drives[id]
	if !ok {
		return &vds.Error{Code: vds.ErrObjectStatusFailed, Op: "open", Object: record.DriveObject(id), Reason: "it is missing"}
	}
	return h.write(ctx, d, f)
}

// write opens a device for metadata I/O, although other users may have it open. It makes durable what f has written.
func (h *Host) write(ctx context.Context, d *Drive, f func(blockdev.Disk) error) error {
	disk, err := h.Devices.Open(ctx, d.Info.Path, blockdev.Write)
	if err != nil {
		d.note(err)
		return fault.Of("open", d.Info.Path, err)
	}
	err = f(disk)
	if err == nil {
		err = disk.Sync()
	}
	d.note(err)
	err = errors.Join(err, disk.Close())
	if errors.Is(err, catalog.ErrHeadLost) {
		return &vds.Error{Code: vds.ErrDiskConfigurationCorrupt, Op: "write", Object: d.Info.Path, Err: err, Hint: repairHint(d.Info.Path)}
	}
	return fault.Of("write", d.Info.Path, err)
}

// Flush makes durable what was written to a drive.
func (h *Host) Flush(ctx context.Context, id uuid.UUID) error {
	return h.withDisk(ctx, id, func(blockdev.Disk) error { return nil })
}

// DevicesOf is the device numbers of those drives of these LUNs that are present.
func (h *Host) DevicesOf(luns ...catalog.LUN) []devno.No {
	var devs []devno.No
	for _, l := range luns {
		for _, id := range l.Drives() {
			if dev, here := h.At.Drives[id]; here && !slices.Contains(devs, dev) {
				devs = append(devs, dev)
			}
		}
	}
	return devs
}
