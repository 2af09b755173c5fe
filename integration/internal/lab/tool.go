package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/size"
)

// SyncLimit bounds every wait for a copy, should it hang.
const SyncLimit = 5 * time.Minute

// ExitStatus is the exit status of a command that was run.
func ExitStatus(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// Within is a context that ends with the test or after limit.
func Within(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), limit)
	t.Cleanup(stop)
	return ctx
}

// Briefly is a context for what should fail at once or soon.
func Briefly(t testing.TB) context.Context {
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(stop)
	return ctx
}

// Overhead is how much may be written to a drive beyond what is copied: catalogs, superblocks, bitmaps.
const Overhead = 2 * size.MiB

// Must fails the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ToolTimeout bounds every tool that a test runs.
const ToolTimeout = 4 * time.Minute

// Glob is the files that match a pattern.
func Glob(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// RunTool runs a command and returns what it printed; the test fails with that if the command does.
func RunTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := TryTool(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// TryTool runs a command and returns what it printed and how it ended: nil or an *exec.ExitError.
func TryTool(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if !udevRuns() {
		cmd.Env = append(cmd.Env, "DM_DISABLE_UDEV=1") // dmsetup then does what udevd would
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(ToolTimeout, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	return out.String(), err
}

// udevRuns reports whether udevd is at work on this machine.
func udevRuns() bool {
	_, err := os.Stat("/run/udev/control")
	return err == nil
}

// Settle waits until udevd, if there is one, has done with everything that has happened so far: until then it may have a new
// device open, and links to one that is gone may be there.
func Settle(t testing.TB) {
	t.Helper()
	if !udevRuns() {
		return
	}
	// Under load udevd may end a connection that it has not read from yet: settle asks again.
	WaitFor(t, "udevadm settle", 10*time.Minute, func() bool {
		out, err := TryTool(t, "udevadm", "settle", "--timeout=180")
		if err != nil {
			t.Logf("udevadm settle: %v: %s", err, out)
		}
		return err == nil
	})
}

// WaitFor waits until done reports true and fails the test when that takes longer than limit.
func WaitFor(t testing.TB, what string, limit time.Duration, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}
