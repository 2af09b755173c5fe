// Package dm speaks to the kernel's device-mapper: it creates devices, loads tables, swaps them, and reads status.
//
//	Table    what a device should do: plain data, comparable, the same on every machine
//	Control  the open control node: executes, observes, waits for events
//	Error    operation, device, errno and the line the kernel logged about it
//
// It knows no LUN and no plex, makes no decision, and keeps no state. github.com/anatol/devmapper.go does what it
// does without loss (the version, removal); ioctls of this package do the rest, on a control node that stays open.
package dm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// Table is the ordered, gapless list of segments that makes up a device.
type Table []Segment

// Segment maps Length sectors of the device, from Start on, through one target.
type Segment struct {
	Start  size.Sectors
	Length size.Sectors
	Target Target
}

// Target is what a segment does with I/O. Linear, Raid1 and Other are the targets of this package; all are comparable
// with reflect.DeepEqual.
type Target interface {
	// Type is the kernel's name of the target: "linear", "raid".
	Type() string
	// Params is the parameter string of the table line.
	Params() string
}

// Size is the length of the device that t describes.
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

// Linear maps a segment onto a run of another device (drivers/md/dm-linear.c).
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

// Raid1 is the raid target with the raid1 personality (drivers/md/dm-raid.c). There is no field for "rebuild", "sync",
// "nosync" and "daemon_sleep": plexctl says what is to be copied in the legs' metadata (package raidmeta), because
// parameters would have to be taken out again at the next load.
type Raid1 struct {
	RegionSize size.Sectors // unit of the write-intent bitmap and largest I/O; a power of two
	MinRate    uint64       // KiB/s for each leg that is always granted; 0: the system's value
	MaxRate    uint64       // KiB/s for each leg that is never exceeded; 0: the system's value. Below MinRate it has no effect
	Legs       []Leg        // in table order
}

// Leg is one copy. The zero Leg is a missing one, "- -" in the table.
type Leg struct {
	Meta devno.No
	Data devno.No
}

// Missing reports whether the leg has no devices.
func (l Leg) Missing() bool { return l.Data.IsZero() }

// Type is "raid".
func (Raid1) Type() string { return "raid" }

// Other is a target that this package has no type for, as read from the kernel or given by a test.
type Other struct {
	Name string
	Args string
}

// Type is the target's name.
func (o Other) Type() string { return o.Name }

// Params is the parameter string.
func (o Other) Params() string { return o.Args }
