package codes

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// failLeg makes the plex of a mirror that lies on f fail, and waits until the kernel has noticed.
func failLeg(r *lab.Rig, name string, f *lab.Brittle) {
	r.T.Helper()
	f.Pull()
	device := "/dev/mapper/plex-" + name
	lab.WaitFor(r.T, "the kernel to give up a leg of "+name, 30*time.Second, func() bool {
		writeBlock(r.T, device, 0)
		for _, letter := range r.RaidStatus(name).Health {
			if letter == dm.LegFailed {
				return true
			}
		}
		return false
	})
}

// writeBlock writes a block of random bytes to a device, past every cache.
func writeBlock(t testing.TB, device string, at size.Bytes) {
	t.Helper()
	f, err := lab.OpenDirect(device, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := lab.AlignedBuffer(lab.BlockSize)
	defer unix.Munmap(block)
	id := uuid.New()
	copy(block, id[:])
	if _, err := f.WriteAt(block, int64(at)); err != nil {
		t.Fatal(err)
	}
}

// replaceTable gives a device another table behind plexctl's back.
func replaceTable(r *lab.Rig, device string, table dm.Table) {
	r.T.Helper()
	lab.RunTool(r.T, "dmsetup", "load", device, "--table", strings.TrimSpace(table.String()))
	lab.RunTool(r.T, "dmsetup", "suspend", "--noflush", device)
	lab.RunTool(r.T, "dmsetup", "resume", device)
}

// foreignLinear replaces the table of a LUN with one plex by one that lies a MiB further on.
func foreignLinear(r *lab.Rig, l *lun.LUN) {
	r.T.Helper()
	table, err := r.Control.Table(r.T.Context(), "plex-"+l.Name())
	if err != nil {
		r.T.Fatal(err)
	}
	linear, ok := table[0].Target.(dm.Linear)
	if !ok {
		r.T.Fatalf("the table of %s is %s", l.Name(), table)
	}
	linear.Offset += size.MiB.Sectors()
	table[0].Target = linear
	replaceTable(r, "plex-"+l.Name(), table)
}

// onlyPlexIs replaces the table of a mirror by one of its plex on a drive alone.
func onlyPlexIs(r *lab.Rig, l *lun.LUN, drive int) {
	r.T.Helper()
	record := r.Record(l.Name())
	for _, p := range record.Plexes {
		if p.ID == r.PlexOn(l, drive) {
			replaceTable(r, "plex-"+l.Name(), dm.Table{{Length: record.Size, Target: dm.Linear{
				Dev: lab.StatDevice(r.T, r.Drives[drive]).Dev, Offset: p.Data[0].Start,
			}}})
		}
	}
}
