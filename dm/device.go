package dm

import (
	"strconv"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Device is one entry of the kernel's list of device-mapper devices.
type Device struct {
	Name  string
	UUID  string // empty when the device has none
	Dev   devno.No
	Event uint32 // the device's event counter; 0 where the kernel's list does not carry it
}

// Path is where the kernel has the device's node: "/dev/dm-3" (drivers/md/dm.c, alloc_dev).
func (d Device) Path() string { return "/dev/dm-" + strconv.FormatUint(uint64(d.Dev.Minor), 10) }

// Info is the state of one device.
type Info struct {
	Device
	OpenCount int  // openers, counting mounts and devices stacked on it
	Suspended bool // I/O waits
	Live      bool // a table is in the live slot
	Inactive  bool // a table is in the inactive slot
	ReadOnly  bool
}

// Status is the state of a device and of each target of its live table, as one call gives them.
type Status struct {
	Info
	Targets []TargetStatus // one a segment; empty without a live table
}

// TargetStatus is one line of a device's status, undecoded. Raid status lines go through ParseRaidStatus.
type TargetStatus struct {
	Start  size.Sectors
	Length size.Sectors
	Type   string
	Line   string
}

// Visibility says how much of the system may see a device; it becomes the udev flags of its events.
type Visibility int

const (
	// Public devices are for users: udev makes links, probes contents, starts what waits for them.
	Public Visibility = iota
	// Private devices are parts of another device: no probing, no by-uuid links, no foreign rules.
	Private
)

// LegHealth is one letter of the health string of a raid status line.
type LegHealth byte

// Letters of LegHealth.
const (
	LegInSync  LegHealth = 'A' // alive, holds a full copy as far as the kernel knows
	LegSyncing LegHealth = 'a' // alive, not in sync
	LegFailed  LegHealth = 'D' // dropped after an error
	LegMissing LegHealth = '-' // no device in the table
)

// Action is what the raid target's sync thread does.
type Action string

// Actions of a raid status line.
const (
	ActionIdle    Action = "idle"
	ActionFrozen  Action = "frozen"
	ActionResync  Action = "resync"
	ActionRecover Action = "recover"
	ActionCheck   Action = "check"
	ActionRepair  Action = "repair"
	ActionReshape Action = "reshape"
	ActionUndef   Action = "undef"
)

// RaidStatus is a decoded status line of a raid target.
//
// While the device is suspended, only D and - can be relied on: a leg in sync may be shown as syncing (Linux 6.1, in the
// middle of a recovery), and legs in the middle of a resync as in sync (6.12). The superblocks tell, which a suspend writes.
//
// A line with all legs in sync, Done equal to Total and ActionIdle does NOT prove that the legs are equal: kernels
// from 6.9 on show it for an interrupted recovery too. Whoever needs proof reads the superblocks as well.
type RaidStatus struct {
	Health     []LegHealth // one a leg, in table order
	Done       size.Sectors
	Total      size.Sectors
	Action     Action
	Mismatches uint64 // sectors found different by the last check; kept until the next
}

// Complete reports whether the line claims that nothing is left to copy. See RaidStatus for what that is worth.
func (s RaidStatus) Complete() bool {
	for _, leg := range s.Health {
		if leg != LegInSync {
			return false
		}
	}
	return len(s.Health) > 0 && s.Done == s.Total && s.Action == ActionIdle
}
