package crash

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// These tests show that plexctl is killed where it is meant to be, and that what is looked at afterwards would be found.

// TestTrace follows a whole run, then kills runs of the same command after some of its effects.
//
//gate:kernels bare
func TestTrace(t *testing.T) {
	r := lab.NewSmallRig(t, 1)
	args := []string{"lun", "create", "fresh", "--size", "4MiB", "--drive", r.Drives[0]}
	got := lab.Trace(t, lab.After(0), args...)
	if got.Killed || got.Status != 0 || !strings.Contains(got.Output, "fresh") {
		t.Fatalf("not killed: %+v", got)
	}
	drive := strings.TrimPrefix(r.Drives[0], "/dev/")
	at := 0
	for _, want := range []string{"write " + drive, "flush " + drive, "create plex-fresh", "load plex-fresh", "resume plex-fresh"} {
		i := slices.Index(got.Effects[at:], want)
		if i < 0 {
			t.Fatalf("no %q after the first %d of %q", want, at, got.Effects)
		}
		at += i + 1
	}
	for effect, want := range map[string]struct{ live, inactive bool }{
		"create plex-fresh": {}, "load plex-fresh": {inactive: true}, "resume plex-fresh": {live: true},
	} {
		r.Run("lun", "delete", "fresh", "--yes")
		half := lab.Trace(t, func(effects []string) bool { return effects[len(effects)-1] == effect }, args...)
		info, err := r.Control.Info(t.Context(), "plex-fresh")
		if !half.Killed || err != nil || info.Live != want.live || info.Inactive != want.inactive {
			t.Errorf("killed after %s: %+v; the device is %+v, %v", effect, half, info, err)
		}
		r.Run("assemble")
		r.Refresh()
	}
	if refused := lab.Trace(t, lab.After(0), "lun", "create"); refused.Status != 2 || len(refused.Effects) > 0 {
		t.Errorf("a wrong command: %+v", refused)
	}
}

// TestKillsWouldBeNoticed spoils what is looked at after a kill.
//
//gate:kernels bare
func TestKillsWouldBeNoticed(t *testing.T) {
	k := newKillRig(t, false)
	k.reach("web1=02")
	if mismatches, leaks := k.verify(); len(mismatches)+len(leaks) > 0 {
		t.Fatalf("nothing is wrong yet: %q, %q", mismatches, leaks)
	}
	t.Run("unequal plexes", func(t *testing.T) {
		record := k.Record(cut.WebName)
		overwrite(t, k.Drives[2], record.Plexes[1].Data[0].Start.Bytes())
		if mismatches, _ := k.verify(); !slices.Contains(mismatches, "plexes of web1 differ") {
			t.Errorf("found %q", mismatches)
		}
	})
	t.Run("lost write", func(t *testing.T) {
		k.Writer.Stop()
		overwrite(t, k.Writer.Path, size.Bytes(k.Writer.Block(k.Writer.Acked.Load()))*lab.BlockSize)
		if mismatches, _ := k.verify(); !strings.Contains(strings.Join(mismatches, "\n"), "acknowledged writes: block") {
			t.Errorf("found %q", mismatches)
		}
	})
	t.Run("leaks", func(t *testing.T) {
		lab.RunTool(t, "dmsetup", "create", "plex-stray", "--uuid", "PLEX-5f3c1a52-0000-4000-8000-000000000000", "--table", "0 8 zero")
		lab.Must(t, os.Symlink("../dm-999", "/dev/mapper/plex-gone"))
		lab.Must(t, os.Rename("/dev/mapper/plex-web1", "/dev/mapper/away"))
		leaks := strings.Join(k.leaks(), "\n")
		lab.Must(t, os.Rename("/dev/mapper/away", "/dev/mapper/plex-web1"))
		lab.Must(t, os.Remove("/dev/mapper/plex-gone"))
		lab.RunTool(t, "dmsetup", "remove", "--retry", "plex-stray")
		for _, want := range []string{"of no LUN", "plex-gone leads nowhere", "plex-web1 does not lead to its device"} {
			if !strings.Contains(leaks, want) {
				t.Errorf("nothing about %q in %s", want, leaks)
			}
		}
	})
	t.Run("suspended", func(t *testing.T) {
		lab.RunTool(t, "dmsetup", "suspend", "plex-web1")
		suspended := k.anySuspended()
		lab.RunTool(t, "dmsetup", "resume", "plex-web1")
		if !suspended || !k.goesOn() {
			t.Errorf("suspended: %v, goes on afterwards: %v", suspended, k.goesOn())
		}
	})
	k.beginAnew()
}

// overwrite puts junk into one block of a device.
func overwrite(t testing.TB, device string, at size.Bytes) {
	t.Helper()
	f, err := lab.OpenDirect(device, os.O_RDWR)
	lab.Must(t, err)
	defer f.Close()
	p := lab.AlignedBuffer(lab.BlockSize)
	defer unix.Munmap(p)
	copy(p, "junk")
	_, err = f.WriteAt(p, int64(at))
	lab.Must(t, err)
}
