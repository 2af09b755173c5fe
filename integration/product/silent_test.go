package product

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// answerLimit is how long a command for other LUNs may take while devices do not answer. The machine may be busy with other tests:
// a command may try again. answerTries is how often.
const (
	answerLimit = 10 * time.Second
	answerTries = 4
)

// TestSilentDevices has devices that never answer: one that is none of plexctl's of each kind, a drive, and the leg of a mirror in
// use. Every command for other LUNs ends soon and names them. What waits for them is a process that ends with them, and no other.
//
//gate:kernels others
func TestSilentDevices(t *testing.T) {
	const length = 64 * size.MiB
	lab.NewLab(t)
	table := func(target, device string, args ...string) string {
		return strings.Join(append([]string{"0", "131072", target}, append(args, device, "0")...), " ")
	}
	loops := make([]string, 6)
	for i := range loops {
		loops[i] = lab.NewLoop(t, length, 512)
	}
	drive := lab.NewDevice(t, "plexlab-drive", table("linear", loops[2]))
	leg := lab.NewDevice(t, "plexlab-leg", table("linear", loops[3]))
	r := lab.RigOn(t, loops[0], loops[1], drive, leg)
	r.Run("lun", "create", "web1", "--size", "16MiB", "--drive", loops[0])
	r.Run("lun", "create", "lost", "--size", "16MiB", "--drive", drive)
	r.Run("lun", "create", "mir", "--size", "16MiB", "--drive", loops[0])
	r.Run("plex", "add", "mir", "--drive", leg, "--yes", "--wait")
	r.Run("deactivate", "lost")

	silence(t, "plexlab-drive", loops[2])
	lab.LoadModule(t, "dm-round-robin")
	foreign := map[string]string{
		"plexlab-delay": lab.NewDevice(t, "plexlab-delay", table("linear", loops[4])),
		"plexlab-path":  lab.NewDevice(t, "plexlab-path", "0 131072 multipath 1 queue_if_no_path 0 1 1 round-robin 0 1 1 "+loops[5]+" 1000"),
		"plexlab-low":   lab.NewDevice(t, "plexlab-low", "0 2048 zero"),
	}
	foreign["plexlab-top"] = lab.NewDevice(t, "plexlab-top", "0 2048 linear "+foreign["plexlab-low"]+" 0")
	silence(t, "plexlab-delay", loops[4])
	lab.RunTool(t, "dmsetup", "message", "plexlab-path", "0", "fail_path", loops[5])
	t.Cleanup(func() { lab.RunTool(t, "dmsetup", "message", "plexlab-path", "0", "fail_if_no_path") })
	lab.RunTool(t, "dmsetup", "suspend", "plexlab-low")
	t.Cleanup(func() { lab.RunTool(t, "dmsetup", "resume", "plexlab-low") })

	names := []string{lab.StatDevice(t, drive).Path}
	for _, path := range foreign {
		names = append(names, lab.StatDevice(t, path).Path)
	}
	ends(t, 20, names, "status")
	ends(t, 0, names, "doctor")
	ends(t, 0, names, "drive", "list")
	ends(t, 20, append(names, `"kind":"silent"`), "status", "-o", "json")
	ends(t, 0, names, "plex", "add", "web1", "--drive", loops[1], "--yes")
	ends(t, 0, names, "assemble")
	ends(t, 0, names, "deactivate", "web1")
	ends(t, 0, names, "assemble", "web1")
	ends(t, 6, []string{"does not answer"}, "drive", "show", drive)

	silence(t, "plexlab-leg", loops[3])
	names = append(names, lab.StatDevice(t, leg).Path)
	ends(t, 20, names, "status")
	ends(t, 6, []string{"mir", "does not answer"}, "assemble")
	ends(t, 6, []string{"mir", "does not answer"}, "lun", "extend", "mir", "--by", "1MiB")
	ends(t, 0, nil, "deactivate", "web1")
	ends(t, 6, []string{"mir", "does not answer"}, "deactivate")
	if others := running(t, "plexctl"); len(others) > 0 {
		t.Errorf("processes that wait for a device, and are no readers: %q", others)
	}
	// The drive and the foreign device are waited for since the first command, the leg since a later one.
	if readers := running(t, reader); len(readers) == 0 || len(readers) > 2 {
		t.Errorf("%d readers wait for devices, want one or two", len(readers))
	}

	for name, loop := range map[string]string{"plexlab-drive": loops[2], "plexlab-delay": loops[4], "plexlab-leg": loops[3]} {
		reload(t, name, table("linear", loop))
	}
	lab.WaitFor(t, "the readers to end", 30*time.Second, func() bool { return len(running(t, reader)) == 0 })
	ends(t, 0, nil, "assemble", "mir", "lost", "web1")
}

// silence has a device answer in ten minutes.
func silence(t *testing.T, name, loop string) {
	t.Helper()
	reload(t, name, "0 131072 delay "+loop+" 0 600000")
	t.Cleanup(func() { reload(t, name, "0 131072 linear "+loop+" 0") })
}

// reload gives a device another table. A device with delayed reads answers them first.
func reload(t *testing.T, name, table string) {
	t.Helper()
	lab.RunTool(t, "dmsetup", "suspend", "--nolockfs", name)
	lab.RunTool(t, "dmsetup", "load", name, "--table", table)
	lab.RunTool(t, "dmsetup", "resume", name)
}

// ends runs plexctl, which must end in time with this exit status and say all of says.
func ends(t *testing.T, status int, says []string, args ...string) {
	t.Helper()
	tries, limit := answerTries, answerLimit
	if args[0] == "plex" { // another one would find that it is done
		tries, limit = 1, answerTries*answerLimit
	}
	var out string
	var err error
	for took := limit + 1; tries > 0 && took > limit; tries-- {
		begin := time.Now()
		out, err = lab.TryTool(t, "plexctl", args...)
		took = time.Since(begin)
		t.Logf("plexctl %s: exit status %d after %v", strings.Join(args, " "), lab.ExitStatus(err), took.Round(100*time.Millisecond))
		if tries == 1 && took > limit {
			t.Errorf("it took %v", took)
		}
	}
	if got := lab.ExitStatus(err); got != status {
		t.Errorf("exit status %d, want %d:\n%s", got, status, out)
	}
	for _, text := range says {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
}

// reader is the name that the kernel gives a reader: it is started by /proc/self/exe. Of one that was killed and waits for a device,
// the kernel shows the name alone.
const reader = "exe"

// running is the processes of this name.
func running(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	for _, file := range lab.Glob(t, "/proc/[0-9]*/comm") {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == name {
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}
