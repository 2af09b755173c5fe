//go:build linux

// Package dm drives the kernel's device-mapper: it creates devices, loads and swaps tables, and reads their status.
//
//	Table    what a device does with I/O: plain data, the same on every machine
//	Control  the open control node: makes changes, reads state, waits for events
//	Error    operation, device, errno, and what the kernel logged about it
//
// A device has two slots for tables. [Control.Load] puts a table into the inactive slot, where it waits. [Control.Resume]
// makes it the live table:
//
//	number, err := control.Create(ctx, "plex-web1", "PLEX-405f4a03")
//	err = control.Load(ctx, "plex-web1", dm.Table{{Length: 2048, Target: dm.Linear{Dev: disk, Offset: 4096}}})
//	err = control.Resume(ctx, "plex-web1", dm.Public)
//
// Lengths and offsets are in sectors of 512 bytes. The package knows no LUN and no plex, takes no decision, and keeps no
// state: two processes may use it at once. It does not tell the devices of plexctl from those of others; their names and
// UUIDs do.
//
// Three calls go through github.com/anatol/devmapper.go. The others use one control node that stays open;
// docs/devmapper.md has the reasons and figures.
package dm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Table is what a device does with I/O: a list of segments, in order and without gaps, from sector 0 on. Compare tables
// with reflect.DeepEqual. A table as the kernel returns it may differ from the one that was loaded, see Control.Table.
type Table []Segment

// Segment is a run of Length sectors of the device, from sector Start on, that one target serves.
type Segment struct {
	Start  size.Sectors
	Length size.Sectors
	Target Target
}

// Target is what a segment does with I/O. The targets of this package are Linear, Raid1 and Other.
type Target interface {
	// Type is the kernel's name of the target: "linear", "raid".
	Type() string
	// Params is the rest of the table line.
	Params() string
}

// Size is the length of the device that t describes; 0 for an empty table.
func (t Table) Size() size.Sectors {
	if len(t) == 0 {
		return 0
	}
	last := t[len(t)-1]
	return last.Start + last.Length
}

// String is t as `dmsetup table` prints it, one segment a line.
func (t Table) String() string {
	lines := make([]string, len(t))
	for i, s := range t {
		lines[i] = fmt.Sprintf("%d %d %s %s", s.Start, s.Length, s.Target.Type(), s.Target.Params())
	}
	return strings.Join(lines, "\n")
}

// Linear maps a segment onto Dev, from sector Offset on (drivers/md/dm-linear.c).
type Linear struct {
	Dev    devno.No
	Offset size.Sectors
}

// Type is "linear".
func (Linear) Type() string { return "linear" }

// Params is "<dev> <offset>".
func (l Linear) Params() string {
	return l.Dev.String() + " " + strconv.FormatUint(uint64(l.Offset), 10)
}

// Raid1 is the raid target with the raid1 personality (drivers/md/dm-raid.c): each leg is a copy. It has no field for
// "rebuild", "sync" and "nosync". The metadata on the legs say what the kernel has to copy (package raidmeta), so that one
// table is right at every load. Every leg that is not missing needs a metadata device.
type Raid1 struct {
	RegionSize size.Sectors // unit of the write-intent bitmap and largest I/O; a power of two
	MinRate    uint64       // KiB/s that a sync may always use for each leg; 0 means the system's value
	MaxRate    uint64       // KiB/s that a sync never exceeds for each leg; 0 means the system's value. No effect below MinRate
	Legs       []Leg        // in table order
}

// Leg is one copy: the device with the data, and the device with its superblock and bitmap. The zero Leg is missing,
// "- -" in the table.
type Leg struct {
	Meta devno.No
	Data devno.No
}

// Missing reports whether the leg has no devices.
func (l Leg) Missing() bool { return l.Data.IsZero() }

// Type is "raid".
func (Raid1) Type() string { return "raid" }

// Other is a target for which this package has no type.
type Other struct {
	Name string // Type
	Args string // Params
}

// Type is o.Name.
func (o Other) Type() string { return o.Name }

// Params is o.Args.
func (o Other) Params() string { return o.Args }
