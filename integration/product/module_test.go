package product

import (
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
)

// A module that the kernel lacks is named with the command that loads it, also by a dry run. LUNs that do not need it are started.
//
//gate:kernels releases
func TestMissingModuleIsNamed(t *testing.T) {
	r := lab.NewSmallRig(t, 3)
	m := r.Create("m", lab.SmallLUN, 0)
	r.AddOn(m, 1)
	r.Create("plain", lab.SmallLUN, 2)
	r.Run("deactivate")
	load := unloadModule(t, "dm_raid")
	const advice = "modprobe dm-raid"
	r.Refuse(5, []string{"assemble"}, "plain is active", advice)

	r.StatusSays(22, "1 LUN is not active")
	before := r.Tables()
	r.Refuse(5, []string{"plex", "add", "plain", "--drive", r.Drives[0], "--dry-run"}, advice)
	r.Refuse(5, []string{"plex", "add", "plain", "--drive", r.Drives[0]}, advice)
	r.Refuse(1, []string{"doctor"}, advice)
	if now := r.Tables(); !maps.Equal(now, before) {
		t.Errorf("tables %v, before %v", now, before)
	}
	load()

	load = unloadModule(t, "raid1") // which may be installed: the kernel says only later that it cannot load it

	r.Refuse(5, []string{"assemble", "m"}, "modprobe raid1")
	r.Refuse(5, []string{"plex", "add", "plain", "--drive", r.Drives[0]}, "modprobe raid1")
	if now := r.Tables(); !maps.Equal(now, before) {
		t.Errorf("tables %v, before %v", now, before)
	}
	load()
	r.Run("assemble")
	r.EqualLegs(r.Record("m"))
}

// unloadModule removes a module, so that the kernel cannot load it again before load is called.
func unloadModule(t *testing.T, module string) (load func()) {
	t.Helper()
	const place = "/proc/sys/kernel/modprobe"
	program, err := os.ReadFile(place)
	lab.Must(t, err)
	set := func(program string) { lab.Must(t, os.WriteFile(place, []byte(program), 0)) }
	set("/nonexistent\n")
	t.Cleanup(func() { set(string(program)) })
	lab.WaitFor(t, module+" to go", 10*time.Second, func() bool { return unix.DeleteModule(module, unix.O_NONBLOCK) == nil })
	return func() {
		set(string(program))
		lab.LoadModule(t, strings.ReplaceAll(module, "_", "-"))
	}
}
