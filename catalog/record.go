// Package catalog is plexctl's on-disk truth. A label makes a block device a drive. The catalog on a drive describes every LUN
// with a plex on it.
//
//	0        left zero, 4 KiB
//	4 KiB    label
//	64 KiB   catalog slot A, 2016 KiB
//	2080 KiB catalog slot B, 2016 KiB
//	4 MiB    extents, 1 MiB aligned
//	…
//	end-4M   copy of the first 4 MiB's label and slots, same offsets; end is the size rounded down to 1 MiB
//
// A slot is a frame with a checksum around JSON. A write goes to the slot with the older sequence and is flushed. The newest
// valid slot of a drive wins. A drive holds the full record of every LUN that has a plex on it. If there are several records
// of one LUN, the highest generation wins.
//
//	Init, ReadDrive, Drive.Write  one drive
//	Merge                         several drives: the current record of each LUN, and contradictions
//	Set.Next, Apply, Involved     a change: the next record, and the catalogs to write
//	Set.Heal                      the writes that make all drives agree again
//
// The package opens no device and knows nothing of device-mapper. It does not trust bytes from a drive: it checks lengths,
// counts and overlaps, and limits the memory that it takes for a slot.
package catalog

import (
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Limits of a catalog. To write a record beyond them is an error, and so is to read one.
const (
	MaxLUNs    = 4096 // records on one drive
	MaxPlexes  = 8    // plexes of one LUN
	MaxExtents = 64   // data extents of one plex
	MaxName    = 64   // bytes of a LUN's name
	MaxHistory = 256  // tombstones, and former drives, of one LUN
	// MaxHistories is how many histories a LUN remembers. A record of one that it has forgotten counts as a fork.
	MaxHistories = 32
	MaxDevices   = 32 // devices of one LUN
	// MaxDeviceText is the length of a text of a Device, in bytes. JSON may write one byte as six, within maxString.
	MaxDeviceText = 64
)

// Label says that a block device is a plexctl drive.
type Label struct {
	Drive   uuid.UUID  // names the drive for good, whatever its path
	Size    size.Bytes // of the device when it was labelled, or grown; see Drive.Shrunk and Drive.Grown
	Host    string     // id of the host that labelled it; may be empty, at most 64 bytes
	Created time.Time
	// Hardware is what the device said of itself when it was labelled, or when its change was confirmed. It is a WWN, a serial
	// number, or the GUID of a partition. Empty when it said nothing; at most MaxHardware bytes of printable ASCII.
	Hardware string
	Features Features
}

// Catalog is the content of one slot.
type Catalog struct {
	Sequence uint64 // of this drive's catalog; every write has a higher one
	Features Features
	LUNs     []LUN // sorted by ID
}

// LUN is the full record of a LUN. Its form on a drive is lunV1 (wire.go).
type LUN struct {
	ID         uuid.UUID
	Name       string
	Size       size.Sectors
	Generation uint64 // rises with every change; the highest wins
	// Behind says how much older the newest record on the LUN's own drives was than Generation-1 when this record was made. It is 0
	// for nearly all records. See Merge.
	Behind     uint64
	Plexes     []Plex // in leg order
	RegionSize size.Sectors
	MaxRate    uint64      // resync limit, KiB/s for each leg; 0: the default; 1: paused
	Absorbed   []Tombstone // the LUNs that this one has absorbed
	Former     []uuid.UUID // drives without a plex that may hold an older record; see Set.Next
	Operation  *Operation  // running, or finished and its end not yet recorded
	Last       *Outcome
	Departure  *Departure // plexes are leaving the LUN; nil: none
	Wipe       bool       // first and last MiB must be zeroed before the LUN is activated
	// Making says that a process is zeroing the room of the LUN, or has died while it did that. Nothing else may use the LUN.
	Making  bool
	Deleted bool // the LUN is gone; the record stays until every drive has it
	// Copy says that the LUN was split off. A file system on it may have the label and the UUID of one on another LUN.
	Copy bool
	// Scan names a scan for zeros that has begun and not led to a plex yet. Until then the LUN has one plex and a vacant one.
	// The current slot of the plex has a bit for every region that is written since the scan began. Its other slot has the
	// result of the scan.
	Scan uuid.UUID
	// BlockSize is the logical block size with which the LUN was made, in bytes; 0: not known. Its users rely on it.
	BlockSize size.Bytes
	// Host is the id of the host that wrote this record; empty when it had none.
	Host string
	// Histories is where the record comes from; see History. The last one is what it is in.
	Histories []History
	// Devices is on which devices the drives of the LUN were when they were seen last, sorted by drive. It is for people who look for a
	// drive that is missing, and decides nothing. A LUN on one drive has none: its record would be missing too.
	Devices []Device
}

// Device is the device that a drive was on. Its texts come from the device: see DeviceText.
type Device struct {
	Drive               uuid.UUID
	Path, Model, Serial string // each may be empty; at most MaxDeviceText bytes
}

// History is a run of changes of a LUN that all copies share. A start without a plex that counts begins a new one, because the
// absent plex may be started elsewhere, by itself. Two records of which neither comes from the other have forked; see Merge.
type History struct {
	ID   uuid.UUID
	Last uint64 // the last generation of it that the record comes from; 0 in the history that the record is in
}

// Run names a time in the life of a mirror. Each start, each change of its table and each orderly stop begins a new one. It writes
// the Run to the metadata of the plexes that take part, and then commits it to the record. So a plex whose metadata has another
// Run than its record is an older copy of itself.
type Run struct {
	Number uint32 // rises by one
	Nonce  uint64 // random: two runs of one number are different
}

// Plex is one complete copy of a LUN.
type Plex struct {
	ID   uuid.UUID
	Data []Extent // in LUN order; together at least the LUN's size
	Meta Extent   // two metadata slots of raidmeta.SlotSize
	Slot Slot     // the current one of them
	// Stale says that the plex does not hold all of the data, and that no running operation fills it. Its operation has
	// failed, or the LUN was started without it by force.
	Stale bool
	// Vacant says that this is the place of a plex that is not there. It is the last one, has no extents, and is Stale. While a
	// LUN has one, the kernel keeps a bit for every region that is written, in the metadata of all other plexes. See LUN.Tracked
	// and LUN.Scan.
	Vacant bool
	// Run is what the metadata of the plex must say. A plex that took no part in the last run has an older one. In a LUN with one
	// plex, which has no metadata, it is the zero Run.
	Run Run
	// Prior says that the kernel may not have gone over to the current slot yet. Until a later commit the other slot is evidence
	// too: what failed there after this record was written has failed.
	Prior bool
}

// Slot names one of the two metadata slots of a plex.
type Slot string

// The two slots.
const (
	SlotA Slot = "a"
	SlotB Slot = "b"
)

// Other is the slot that is not s.
func (s Slot) Other() Slot {
	if s == SlotA {
		return SlotB
	}
	return SlotA
}

// Extent is a run of sectors on one drive, 1 MiB aligned in start and length.
type Extent struct {
	Drive  uuid.UUID
	Start  size.Sectors
	Length size.Sectors
}

// End is the first sector after the extent.
func (e Extent) End() size.Sectors { return e.Start + e.Length }

// Tombstone says that every record of a LUN up to a generation is dead: another LUN has absorbed it.
type Tombstone struct {
	LUN        uuid.UUID
	Generation uint64
}

// Operation is a long operation that a LUN is under. It belongs to the LUN, not to a process.
type Operation struct {
	ID      uuid.UUID
	Type    vds.AsyncType
	Started time.Time
	Plexes  []uuid.UUID // the plexes being filled; empty when all hold the data
	Whole   bool        // everything is copied to them, whatever the bitmaps say
	Queued  bool        // stands still until no other LUN is rebuilt on its drives
	Earlier bool        // the plexes are earlier copies of themselves, as a start has found
	Source  *LUN        // the absorbed LUN, which a cancel restores; it has no operation itself
}

// Outcome is how the last operation of a LUN ended.
type Outcome struct {
	ID      uuid.UUID
	Type    vds.AsyncType
	Started time.Time
	Ended   time.Time
	Result  vds.Code
}
