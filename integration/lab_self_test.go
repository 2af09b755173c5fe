package integration

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

func TestLabNoticesLeaks(t *testing.T) {
	newLab(t)
	runTool(t, "dmsetup", "create", "plexlab-suspended", "--table", "0 8 zero")
	first, err := os.Open("/dev/null")
	must(t, err)
	defer first.Close()
	var test failures
	newLab(&test)
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
	runTool(t, "dmsetup", "suspend", "plexlab-suspended")
	runTool(t, "dmsetup", "create", "plexlab-leak", "--table", "0 8 zero")
	must(t, os.Symlink("../nowhere", "/dev/mapper/plexlab-link"))
	must(t, os.MkdirAll("/dev/disk/by-plexlab", 0o755))
	must(t, os.Symlink("../../nowhere", "/dev/disk/by-plexlab/leak"))
	must(t, unix.Mount("none", "/mnt", "tmpfs", 0, ""))
	control, err := os.Open("/dev/loop-control")
	must(t, err)
	second, err := os.Open("/dev/null")
	must(t, err)
	read, write, err := os.Pipe()
	must(t, err)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	stray := strayProcess(t)
	return func() {
		must(t, stray.Process.Kill())
		_ = stray.Wait() // killed
		must(t, errors.Join(control.Close(), second.Close(), read.Close(), write.Close(), unix.Close(socket)))
		must(t, unix.Unmount("/mnt", 0))
		must(t, errors.Join(os.RemoveAll("/dev/disk/by-plexlab"), os.Remove("/dev/mapper/plexlab-link")))
		runTool(t, "dmsetup", "resume", "plexlab-suspended")
		runTool(t, "dmsetup", "remove", "--retry", "plexlab-suspended")
		runTool(t, "dmsetup", "remove", "--retry", "plexlab-leak")
	}
}

// strayProcess starts a program that is called plexctl and does nothing for a minute.
func strayProcess(t *testing.T) *exec.Cmd {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	must(t, err)
	program, err := os.ReadFile(sleep)
	must(t, err)
	path := filepath.Join(t.TempDir(), "plexctl")
	must(t, os.WriteFile(path, program, 0o755))
	cmd := &exec.Cmd{Path: path, Args: []string{"sleep", "60"}}
	must(t, cmd.Start())
	return cmd
}

func TestLabNoticesLoop(t *testing.T) {
	newLab(t)
	var test failures
	newLab(&test)
	device := newLoop(t, size.MiB, 512)
	test.end()
	if len(test.messages) != 1 || !strings.Contains(test.messages[0], filepath.Base(device)) {
		t.Errorf("failures %q, want one about %s", test.messages, device)
	}
}

func TestLabIsQuietWhenClean(t *testing.T) {
	var test failures
	newLab(&test)
	runTool(t, "dmsetup", "create", "plexlab-clean", "--table", "0 8 zero")
	runTool(t, "dmsetup", "remove", "--retry", "plexlab-clean")
	test.end()
	if len(test.messages) != 0 {
		t.Errorf("failures %q, want none", test.messages)
	}
}

// must fails the test if err is not nil.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWriterNotices(t *testing.T) {
	newLab(t)
	const length = size.MiB
	image := newLoop(t, length, 512)
	w := &writer{path: image, stamps: stamps{seed: 7, length: length}, limit: 2000}
	w.start(t)
	waitFor(t, "the last write", time.Minute, func() bool { return w.acked.Load() == w.limit })
	w.stop()
	whole, err := os.ReadFile(image)
	must(t, err)
	must(t, w.check(image, w.limit, 0))
	for _, tt := range []struct {
		name  string
		spoil func(content []byte)
		want  string
	}{
		{"flipped bit", func(c []byte) { c[5*blockSize+100] ^= 1 }, "block 5: torn"},
		{"torn write", func(c []byte) { clear(c[9*blockSize : 9*blockSize+512]) }, "block 9: torn"},
		{"lost write", func(c []byte) { clear(c[3*blockSize : 4*blockSize]) }, "block 3: holds write 0"},
		{"misplaced write", func(c []byte) { copy(c[2*blockSize:3*blockSize], c[blockSize:]) }, "block 2: holds write"},
		{"old write", func(c []byte) { w.fill(c[w.block(1)*uint64(blockSize):][:blockSize], 1) }, "holds write 1, want"},
		{"write never made", func(c []byte) {
			w.fill(c[w.block(w.limit+1)*uint64(blockSize):][:blockSize], w.limit+1)
		}, "holds write 2001, want"},
		{"foreign data", func(c []byte) { (stamps{seed: 8, length: length}).fill(c[:blockSize], 1) }, "of seed 8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spoilt := append([]byte(nil), whole...)
			tt.spoil(spoilt)
			must(t, os.WriteFile(image, spoilt, 0o600))
			if err := w.check(image, w.limit, 0); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("check = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestLatency(t *testing.T) {
	var waits []time.Duration
	for i := range 100 {
		waits = append(waits, time.Duration(100-i)*time.Millisecond)
	}
	want := latency{writes: 100, p50: 50 * time.Millisecond, p99: 99 * time.Millisecond, max: 100 * time.Millisecond}
	if diff := cmp.Diff(want, latencyOf(waits), cmp.AllowUnexported(latency{})); diff != "" {
		t.Errorf("latency (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(latency{}, latencyOf(nil), cmp.AllowUnexported(latency{})); diff != "" {
		t.Errorf("latency of no writes (-want +got):\n%s", diff)
	}
}
