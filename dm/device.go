//go:build linux

package dm

import (
	"slices"
	"strconv"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Device is one entry of the kernel's list of device-mapper devices.
type Device struct {
	Name  string
	UUID  string // empty when the device has none
	Dev   devno.No
	Event uint32 // how many events the device has had; 0 in a list of a kernel that does not put it there
}

// Path is the node that the kernel makes for the device: "/dev/dm-3" (drivers/md/dm.c, alloc_dev).
func (d Device) Path() string { return "/dev/dm-" + strconv.FormatUint(uint64(d.Dev.Minor), 10) }

// Info is the state of one device.
type Info struct {
	Device
	OpenCount int  // how often it is open, by mounts and stacked devices too
	Suspended bool // I/O waits for Resume
	Live      bool // a table is in the live slot
	Inactive  bool // a table is in the inactive slot
	ReadOnly  bool
}

// Status is the state of a device and of each target of its live table, at one moment.
type Status struct {
	Info
	Targets []TargetStatus // one for each segment; empty without a live table
}

// TargetStatus is the status of one segment. ParseRaidStatus decodes Line if Type is "raid".
type TargetStatus struct {
	Start  size.Sectors
	Length size.Sectors
	Type   string
	Line   string
}

// Visibility says what udev may do with a device. It becomes the flags of the device's events.
type Visibility int

const (
	// Public devices are for users: udev makes links, probes the content, and starts what waits for them.
	Public Visibility = iota
	// Private devices are parts of another device: udev does not probe them, and makes no links to their content.
	Private
	// Copy devices are for users too, and may hold a copy of what is on another device. Links by content, such as those in
	// /dev/disk/by-uuid, lead to the other device as long as it is there.
	Copy
)

// LegHealth is one letter of the health string of a raid status line.
type LegHealth byte

// Letters of LegHealth.
const (
	LegInSync  LegHealth = 'A' // in use; a full copy, as far as the kernel knows
	LegSyncing LegHealth = 'a' // in use; not yet a full copy
	LegFailed  LegHealth = 'D' // no longer in use, after an error
	LegMissing LegHealth = '-' // has no device in the table
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
// All legs in sync, Done equal to Total and ActionIdle do NOT prove that the legs are equal. From 6.9 on the kernel also shows
// this for an interrupted recovery. For proof, read the superblocks too.
//
// While the device is suspended, only LegFailed and LegMissing can be relied on. Linux 6.1 may show a leg in sync as syncing,
// in the middle of a recovery. Linux 6.12 may show legs as in sync in the middle of a resync. The superblocks, which a
// suspend writes, have the truth.
type RaidStatus struct {
	Health     []LegHealth // one for each leg, in table order
	Done       size.Sectors
	Total      size.Sectors
	Action     Action
	Mismatches uint64 // sectors that the last check found different; kept until the next check
}

// Complete reports whether the line says that nothing is left to copy, which is no proof: see RaidStatus.
func (s RaidStatus) Complete() bool {
	lacks := func(leg LegHealth) bool { return leg != LegInSync }
	return len(s.Health) > 0 && !slices.ContainsFunc(s.Health, lacks) && s.Done == s.Total && s.Action == ActionIdle
}
