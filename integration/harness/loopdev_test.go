package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// loopdev is the script for lab devices, with a folder of the test's own.
type loopdev struct {
	t   *testing.T
	dir string
}

// newLoopdev is the script before its first use: its folder is not there yet.
func newLoopdev(t *testing.T) loopdev {
	t.Helper()
	lab.NewLab(t)
	l := loopdev{t: t, dir: filepath.Join(t.TempDir(), "lab")}
	t.Setenv("PLEXCTL_LAB", l.dir)
	return l
}

// run runs the script, which must succeed, and returns the lines that it printed.
func (l loopdev) run(args ...string) []string {
	l.t.Helper()
	return strings.Fields(lab.RunTool(l.t, filepath.Join(lab.Root(), "scripts/loopdev.sh"), args...))
}

// refuse runs the script, which must fail with the given text.
func (l loopdev) refuse(want string, args ...string) {
	l.t.Helper()
	out, err := lab.TryTool(l.t, filepath.Join(lab.Root(), "scripts/loopdev.sh"), args...)
	if err == nil || !strings.Contains(out, want) {
		l.t.Errorf("loopdev.sh %s: %v, want a failure with %q:\n%s", strings.Join(args, " "), err, want, out)
	}
}

//gate:when harness
func TestLoopdevMakesDevices(t *testing.T) {
	l := newLoopdev(t)
	small := l.run("create", "1", "4M")
	large := l.run("create", "2", "8MiB", "--sector-size", "4096")
	if len(small) != 1 || len(large) != 2 {
		t.Fatalf("made %q and %q, want one device and two", small, large)
	}
	list := strings.Join(l.run("list"), " ")
	for _, want := range []string{small[0] + " 4194304 512 ", large[0] + " 8388608 4096 ", large[1] + " 8388608 4096 "} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in the list %q", want, list)
		}
	}
	l.run("destroy")
	if _, err := os.Stat(l.dir); !os.IsNotExist(err) {
		t.Errorf("folder after destroy: %v", err)
	}
	if left := l.run("list"); len(left) != 0 {
		t.Errorf("left after destroy: %q", left)
	}
	l.run("destroy") // of nothing
}

//gate:when harness
func TestLoopdevRefuses(t *testing.T) {
	l := newLoopdev(t)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no command", nil, "create COUNT SIZE"},
		{"unknown command", []string{"remove"}, "create COUNT SIZE"},
		{"no size", []string{"create", "1"}, "create COUNT SIZE"},
		{"no devices", []string{"create", "0", "4M"}, "count 0"},
		{"too many devices", []string{"create", "100", "4M"}, "count 100"},
		{"size that is none", []string{"create", "1", "large"}, "size large"},
		{"size below 1 MiB", []string{"create", "1", "512K"}, "size 512K"},
		{"size off the grid", []string{"create", "1", "1049000"}, "size 1049000"},
		{"sector size", []string{"create", "1", "4M", "--sector-size", "1024"}, "sector size 1024"},
		{"unknown option", []string{"create", "1", "4M", "--sectors", "512"}, "create COUNT SIZE"},
		{"device to destroy", []string{"destroy", "/dev/loop0"}, "create COUNT SIZE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			loopdev{t: t, dir: l.dir}.refuse(tt.want, tt.args...)
		})
	}
	if _, err := os.Stat(l.dir); !os.IsNotExist(err) {
		t.Errorf("folder after refusals: %v", err)
	}
}

//gate:when harness
func TestLoopdevLeavesForeignThings(t *testing.T) {
	l := newLoopdev(t)
	foreign := lab.NewLoop(t, 4*size.MiB, 512)
	l.run("create", "1", "4M")
	if list := strings.Join(l.run("list"), " "); strings.Contains(list, foreign+" ") {
		t.Errorf("foreign device %s in the list %q", foreign, list)
	}
	l.run("destroy")
	if _, err := os.Stat("/sys/block/" + filepath.Base(foreign) + "/loop/backing_file"); err != nil {
		t.Errorf("foreign device after destroy: %v", err)
	}

	lab.Must(t, os.Mkdir(l.dir, 0o700))
	image := filepath.Join(l.dir, "lab-foreign.img")
	lab.Must(t, os.WriteFile(image, nil, 0o600))
	l.refuse("not made by loopdev.sh", "create", "1", "4M")
	l.refuse("not made by loopdev.sh", "destroy")
	if _, err := os.Stat(image); err != nil {
		t.Errorf("foreign file after destroy: %v", err)
	}
}

//gate:when harness
func TestLoopdevLeavesWhatIsInUse(t *testing.T) {
	l := newLoopdev(t)
	devices := l.run("create", "3", "8M")
	mounted, held, free := devices[0], devices[1], devices[2]
	lab.RunTool(t, "mkfs.ext4", "-q", mounted)
	mount := t.TempDir()
	lab.Must(t, unix.Mount(mounted, mount, "ext4", 0, ""))
	lab.RunTool(t, "dmsetup", "create", "plexlab-holder", "--table", "0 8 linear "+held+" 0")

	l.refuse("in use", "destroy")
	list := strings.Join(l.run("list"), " ")
	if !strings.Contains(list, mounted+" ") || !strings.Contains(list, held+" ") || strings.Contains(list, free+" ") {
		t.Errorf("after destroy: %q, want %s and %s", list, mounted, held)
	}
	lab.Must(t, unix.Unmount(mount, 0))
	lab.RunTool(t, "dmsetup", "remove", "--retry", "plexlab-holder")
	l.run("destroy")
}
