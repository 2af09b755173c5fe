package lab

import (
	"testing"

	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
)

// Pair is two LUNs on a drive each.
func Pair(t *testing.T) (r *Rig, target, source *lun.LUN) {
	t.Helper()
	r = NewSmallRig(t, 2)
	return r, r.Create("web1", SmallLUN, 0), r.Create("spare3", SmallLUN, 1)
}

// Sizes of what codes are provoked with: as small as they can be, for there are many.
const (
	SmallLUN   = 4 * size.MiB
	SmallDrive = 40 * size.MiB
)

// NewSmallRig is n drives, without a run of the command for each.
func NewSmallRig(t testing.TB, n int) *Rig {
	t.Helper()
	NewLab(t)
	var devices []string
	for range n {
		devices = append(devices, NewLoop(t, SmallDrive, 512))
	}
	return Labelled(t, devices...)
}

// Labelled makes devices drives.
func Labelled(t testing.TB, devices ...string) *Rig {
	t.Helper()
	r := OpenRig(t, devices...)
	for _, d := range devices {
		r.Label(d)
	}
	return r
}

// Label makes a device a drive.
func (r *Rig) Label(device string) {
	r.T.Helper()
	if _, err := r.Provider.InitDrive(r.T.Context(), device, lun.InitOptions{}); err != nil {
		r.T.Fatal(err)
	}
}

// Mirrored makes a LUN with a plex on each of the drives, all in sync.
func (r *Rig) Mirrored(name string, drives ...int) *lun.LUN {
	r.T.Helper()
	l := r.Create(name, SmallLUN, drives[0])
	for _, drive := range drives[1:] {
		r.AddOn(l, drive)
	}
	return l
}

// BusyLength is the length of a LUN of which a paused copy leaves most undone: the kernel copies 2 MiB before it pauses.
const BusyLength = 16 * size.MiB

// CreateFull makes a LUN of BusyLength that is full of data: what is blank would not be copied.
func (r *Rig) CreateFull(name string, drive int) *lun.LUN {
	r.T.Helper()
	l := r.Create(name, BusyLength, drive)
	FillWith(r.T, "/dev/mapper/plex-"+name, "what has to be copied ", BusyLength)
	return l
}

// Busy makes a LUN under an AddPlex that does not get on.
func (r *Rig) Busy(name string, drive, other int) (*lun.LUN, *resync.Async) {
	r.T.Helper()
	l := r.CreateFull(name, drive)
	op, err := l.AddNewPlex(r.T.Context(), []string{r.Drives[other]}, lun.AttachOptions{Rate: lun.Paused, Now: true})
	if err != nil {
		r.T.Fatal(err)
	}
	return l, op
}

// AddArgs is the command for AddPlex.
func AddArgs(target *lun.LUN, source string) []string {
	return []string{"plex", "add", target.ID().String(), source, "--yes"}
}
