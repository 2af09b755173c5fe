package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// These tests show that the helpers of the lab notice what they are there to notice.

// failures stands in for the test that a helper works for, to see whether the helper fails it.
type failures struct {
	testing.TB
	messages []string
	cleanups []func()
}

// Helper does nothing: the messages are compared without their place.
func (f *failures) Helper() {}

// Errorf keeps the message.
func (f *failures) Errorf(format string, args ...any) {
	f.messages = append(f.messages, fmt.Sprintf(format, args...))
}

// Cleanup keeps do for end.
func (f *failures) Cleanup(do func()) { f.cleanups = append(f.cleanups, do) }

// end runs the cleanups, last first.
func (f *failures) end() {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}

//gate:when harness
func TestLabNoticesLeaks(t *testing.T) {
	lab.NewLab(t)
	lab.RunTool(t, "dmsetup", "create", "plexlab-suspended", "--table", "0 8 zero")
	first, err := os.Open("/dev/null")
	lab.Must(t, err)
	defer first.Close()
	var test failures
	lab.NewLab(&test)
	undo := leakAll(t)
	test.end()
	undo()
	if len(test.messages) != 1 {
		t.Fatalf("%d failures, want 1: %q", len(test.messages), test.messages)
	}
	for _, want := range []string{
		"dm/suspended", `"plexlab-leak"`, `"/dev/mapper/plexlab-leak"`, `"/dev/mapper/plexlab-link"`, "none /mnt tmpfs",
		`"/dev/disk/by-plexlab/leak"`, `"descriptor of /dev/loop-control"`, `"descriptor of /dev/null"`, `"descriptor of pipe"`,
		`"descriptor of socket"`, "of plexctl: sleep 60",
	} {
		if !strings.Contains(test.messages[0], want) {
			t.Errorf("nothing about %s in: %s", want, test.messages[0])
		}
	}
}

// leakAll leaves something of every kind behind, and returns what takes it away.
func leakAll(t *testing.T) (undo func()) {
	t.Helper()
	lab.RunTool(t, "dmsetup", "suspend", "plexlab-suspended")
	lab.RunTool(t, "dmsetup", "create", "plexlab-leak", "--table", "0 8 zero")
	lab.Must(t, os.Symlink("../nowhere", "/dev/mapper/plexlab-link"))
	lab.Must(t, os.MkdirAll("/dev/disk/by-plexlab", 0o755))
	lab.Must(t, os.Symlink("../../nowhere", "/dev/disk/by-plexlab/leak"))
	lab.Must(t, unix.Mount("none", "/mnt", "tmpfs", 0, ""))
	control, err := os.Open("/dev/loop-control")
	lab.Must(t, err)
	second, err := os.Open("/dev/null")
	lab.Must(t, err)
	read, write, err := os.Pipe()
	lab.Must(t, err)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	lab.Must(t, err)
	stray := strayProcess(t)
	return func() {
		lab.Must(t, stray.Process.Kill())
		_ = stray.Wait() // killed
		lab.Must(t, errors.Join(control.Close(), second.Close(), read.Close(), write.Close(), unix.Close(socket)))
		lab.Must(t, unix.Unmount("/mnt", 0))
		lab.Must(t, errors.Join(os.RemoveAll("/dev/disk/by-plexlab"), os.Remove("/dev/mapper/plexlab-link")))
		lab.RunTool(t, "dmsetup", "resume", "plexlab-suspended")
		lab.RunTool(t, "dmsetup", "remove", "--retry", "plexlab-suspended")
		lab.RunTool(t, "dmsetup", "remove", "--retry", "plexlab-leak")
	}
}

// strayProcess starts a program that is called plexctl and does nothing for a minute.
func strayProcess(t *testing.T) *exec.Cmd {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	lab.Must(t, err)
	program, err := os.ReadFile(sleep)
	lab.Must(t, err)
	path := filepath.Join(t.TempDir(), "plexctl")
	lab.Must(t, os.WriteFile(path, program, 0o755))
	cmd := &exec.Cmd{Path: path, Args: []string{"sleep", "60"}}
	lab.Must(t, cmd.Start())
	return cmd
}

//gate:when harness
func TestLabNoticesLoop(t *testing.T) {
	lab.NewLab(t)
	var test failures
	lab.NewLab(&test)
	device := lab.NewLoop(t, size.MiB, 512)
	test.end()
	if len(test.messages) != 1 || !strings.Contains(test.messages[0], filepath.Base(device)) {
		t.Errorf("failures %q, want one about %s", test.messages, device)
	}
}

//gate:when harness
func TestLabIsQuietWhenClean(t *testing.T) {
	var test failures
	lab.NewLab(&test)
	lab.RunTool(t, "dmsetup", "create", "plexlab-clean", "--table", "0 8 zero")
	lab.RunTool(t, "dmsetup", "remove", "--retry", "plexlab-clean")
	test.end()
	if len(test.messages) != 0 {
		t.Errorf("failures %q, want none", test.messages)
	}
}

//gate:when harness
func TestWriterNotices(t *testing.T) {
	lab.NewLab(t)
	const length = size.MiB
	image := lab.NewLoop(t, length, 512)
	w := &lab.Writer{Path: image, Stamps: lab.Stamps{Seed: 7, Length: length}, Limit: 2000}
	w.Start(t)
	lab.WaitFor(t, "the last write", time.Minute, func() bool { return w.Acked.Load() == w.Limit })
	w.Stop()
	whole, err := os.ReadFile(image)
	lab.Must(t, err)
	lab.Must(t, w.Check(image, w.Limit, 0))
	for _, tt := range []struct {
		name  string
		spoil func(content []byte)
		want  string
	}{
		{"flipped bit", func(c []byte) { c[5*lab.BlockSize+100] ^= 1 }, "block 5: torn"},
		{"torn write", func(c []byte) { clear(c[9*lab.BlockSize : 9*lab.BlockSize+512]) }, "block 9: torn"},
		{"lost write", func(c []byte) { clear(c[3*lab.BlockSize : 4*lab.BlockSize]) }, "block 3: holds write 0"},
		{"misplaced write", func(c []byte) { copy(c[2*lab.BlockSize:3*lab.BlockSize], c[lab.BlockSize:]) }, "block 2: holds write"},
		{"old write", func(c []byte) { w.Fill(c[w.Block(1)*uint64(lab.BlockSize):][:lab.BlockSize], 1) }, "holds write 1, want"},
		{"write never made", func(c []byte) {
			w.Fill(c[w.Block(w.Limit+1)*uint64(lab.BlockSize):][:lab.BlockSize], w.Limit+1)
		}, "holds write 2001, want"},
		{"foreign data", func(c []byte) { (lab.Stamps{Seed: 8, Length: length}).Fill(c[:lab.BlockSize], 1) }, "of seed 8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spoilt := append([]byte(nil), whole...)
			tt.spoil(spoilt)
			lab.Must(t, os.WriteFile(image, spoilt, 0o600))
			if err := w.Check(image, w.Limit, 0); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("check = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

//gate:when harness
func TestLatency(t *testing.T) {
	var waits []time.Duration
	for i := range 100 {
		waits = append(waits, time.Duration(100-i)*time.Millisecond)
	}
	want := lab.Latency{Writes: 100, P50: 50 * time.Millisecond, P99: 99 * time.Millisecond, Max: 100 * time.Millisecond}
	if diff := cmp.Diff(want, lab.LatencyOf(waits), cmp.AllowUnexported(lab.Latency{})); diff != "" {
		t.Errorf("latency (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(lab.Latency{}, lab.LatencyOf(nil), cmp.AllowUnexported(lab.Latency{})); diff != "" {
		t.Errorf("latency of no writes (-want +got):\n%s", diff)
	}
}

// TestContains looks for a text that no single read has all of.
//
//gate:when harness
func TestContains(t *testing.T) {
	lab.NewLab(t)
	device := lab.NewLoop(t, 4*size.MiB, 512)
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	lab.Must(t, err)
	_, err = f.WriteAt([]byte("needle"), int64(size.MiB)-3)
	lab.Must(t, errors.Join(err, f.Sync(), f.Close()))
	for text, want := range map[string]bool{"needle": true, "needles": false} {
		if got := lab.Contains(t, device, text, 4*size.MiB); got != want {
			t.Errorf("%q is found: %v, want %v", text, got, want)
		}
	}
}
