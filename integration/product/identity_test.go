package product

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// drivesOf is the lines of drive list, without its head.
func drivesOf(r *lab.Rig) string {
	r.T.Helper()
	_, rows, _ := strings.Cut(r.Run("drive", "list"), "\n")
	return rows
}

// under is the devices that a LUN's device lies on.
func under(r *lab.Rig, name string) string {
	r.T.Helper()
	return lab.RunTool(r.T, "dmsetup", "table", "plex-"+name)
}

// A copy of a drive in use turns up: the LUN goes on, can be changed and taken down. Then one of the two has to be chosen.
func TestACloneOfADriveInUse(t *testing.T) {
	r := lab.NewSmallRig(t, 1)
	l := r.LiveOn("web1", lab.SmallLUN, 0)
	again := lab.NewCopy(t, r.Drives[0])
	r.StatusSays(20, "healthy", r.Drives[0], again, "drive choose")
	if rows := drivesOf(r); !strings.Contains(rows, "copy") || strings.Count(rows, "\n") != 2 {
		t.Errorf("drives:\n%s", rows)
	}
	before := under(r, "web1")
	r.Run("reenumerate")
	r.Run("assemble")
	r.Run("lun", "extend", "web1", "--by", "1MiB")
	r.Refuse(4, []string{"drive", "choose", again, "--yes"}, r.Drives[0])
	if on, _, _ := strings.Cut(before, " "); !strings.HasPrefix(under(r, "web1"), on) || !slices.Equal(mapped(before), mapped(under(r, "web1"))) {
		t.Errorf("table %s, before %s", under(r, "web1"), before)
	}
	l.More(20)
	l.Down(false)
	r.ExactDevices("deactivated", l.LUN.ID(), "web1", 0)
	r.Refuse(6, []string{"assemble"}, r.Drives[0], again)
	r.Refuse(5, []string{"drive", "init", "--force", "--yes", r.Drives[0]}, "web1")
	r.Run("drive", "choose", r.Drives[0], "--yes")
	r.Run("assemble")
	l.Writer.Verify(t, l.Writer.Path)
	l.Writer.GoOn(t)
	l.More(20)
	r.Run("drive", "remove", again, "--yes")
	r.StatusSays(0, "healthy")
	l.Writer.Stop()
	l.Writer.Verify(t, l.Writer.Path)
}

// mapped is the numbers of the devices in a table.
func mapped(table string) []string {
	var devices []string
	for field := range strings.FieldsSeq(table) {
		if strings.Contains(field, ":") {
			devices = append(devices, field)
		}
	}
	return devices
}

// A snapshot of a drive in use exists for a while. The LUN stays on the drive, and is not sent to the snapshot by any hint.
func TestASnapshotOfADriveInUse(t *testing.T) {
	r := lab.NewSmallRig(t, 1)
	l := r.LiveOn("web1", lab.SmallLUN, 0)
	before := mapped(under(r, "web1"))
	sectors := lab.StatDevice(t, r.Drives[0]).Size.Sectors()
	layer := func(name, table string) string {
		lab.RunTool(t, "dmsetup", "create", name, "--table", "0 "+strconv.FormatUint(uint64(sectors), 10)+" "+table)
		lab.Settle(t)
		return "/dev/mapper/" + name
	}
	base := layer("lab-base", "linear "+r.Drives[0]+" 0")
	snap := layer("lab-snap", "snapshot "+base+" "+lab.NewLoop(t, lab.SmallDrive, 512)+" N 8")
	l.More(20)
	r.StatusSays(20, "healthy", lab.StatDevice(t, snap).Path, r.Drives[0])
	r.Run("lun", "extend", "web1", "--by", "1MiB")
	r.Run("reenumerate")
	r.Run("assemble")
	if now := mapped(under(r, "web1")); !slices.Equal(now, before) {
		t.Errorf("devices %v, before %v", now, before)
	}
	l.More(20)
	l.Down(false)
	r.Refuse(6, []string{"assemble"}, lab.StatDevice(t, base).Path, lab.StatDevice(t, snap).Path)
	for _, name := range []string{"lab-snap", "lab-base"} {
		lab.RunTool(t, "dmsetup", "remove", "--retry", name)
	}
	r.Run("assemble")
	l.Writer.Verify(t, l.Writer.Path)
	r.StatusSays(0, "healthy")
}

// A disk of another host is plugged in, with a LUN of this one's name and with news of this one's LUN. It is left alone, and so is
// the LUN.
func TestADiskOfAnotherHost(t *testing.T) {
	lab.HasID(t)
	lab.NewLab(t)
	r := lab.OpenRig(t, lab.NewLoop(t, lab.SmallDrive, 512), lab.NewLoop(t, lab.SmallDrive, 512))
	r.Label(r.Drives[0])
	l := r.LiveOn("web1", lab.SmallLUN, 0)
	own := r.Record("web1")
	there, err := lun.Open(t.Context(), lun.Options{Kernel: r.Control, Hosts: []string{"0123456789abcdef0123456789abcdef"}, Guard: lun.Unguarded})
	lab.Must(t, err)
	t.Cleanup(there.Close)
	theirs, err := there.InitDrive(t.Context(), r.Drives[1], lun.InitOptions{})
	lab.Must(t, err)
	disk, err := blockdev.Host{}.Open(t.Context(), r.Drives[1], blockdev.Write)
	lab.Must(t, err)
	store, err := catalog.ReadDrive(disk, theirs.Info.Size)
	lab.Must(t, err)
	const mib = size.Sectors(2048)
	start := catalog.FirstExtent.Sectors()
	namesake := own
	namesake.ID = uuid.UUID{15: 1}
	namesake.Plexes = []catalog.Plex{{
		ID: uuid.UUID{15: 2}, Slot: catalog.SlotA, Meta: catalog.Extent{Drive: theirs.ID, Start: start, Length: mib},
		Data: []catalog.Extent{{Drive: theirs.ID, Start: start + mib, Length: own.Size}},
	}}
	gone := catalog.LUN{ID: own.ID, Name: own.Name, Size: own.Size, Generation: own.Generation + 1000, Deleted: true}
	lab.Must(t, store.Write(disk, []catalog.LUN{namesake, gone}))
	lab.Must(t, disk.Close())
	before := under(r, "web1")
	r.Refuse(8, []string{"assemble"}, "take-over")
	r.StatusSays(20, "foreign", "healthy", "take-over "+r.Drives[1])
	if now := under(r, "web1"); now != before {
		t.Errorf("table %s, before %s", now, before)
	}
	r.Run("lun", "extend", "web1", "--by", "1MiB")
	l.More(20)
	l.Down(false)
	r.Refuse(8, []string{"assemble"}, "take-over")
	if now := under(r, "web1"); !slices.Equal(mapped(now), mapped(before)) {
		t.Errorf("table %s, before %s", now, before)
	}
	l.Writer.Verify(t, l.Writer.Path)
	r.Run("drive", "show", r.Drives[0])
	r.Run("deactivate")
}
