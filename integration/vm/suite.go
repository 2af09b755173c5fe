package vm

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// KernelsVar names the environment variable that says which kernels tests run on: series as FindKernel takes them, with
// commas between. A series with "+udev" behind it stands for a machine in which udevd runs.
const KernelsVar = "PLEXCTL_KERNELS"

// HostVar names the environment variable that has kernel tests run on this machine's own device-mapper. They take down every LUN
// that they see, so they refuse a machine with plexctl drives.
const HostVar = "PLEXCTL_TEST_HOST"

// Main runs the tests of the calling binary where they belong, see the package comment, and returns the exit status for
// TestMain. It boots the given machine once for each kernel, with Kernel, Udev, Output, Console and Env of its own.
func Main(m *testing.M, machine Machine) int {
	Init()
	flag.Parse()
	if InGuest() || flagValue("test.list") != "" {
		return m.Run()
	}
	chosen, err := chooseTests()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if os.Getenv(HostVar) != "" {
		return runHere(m, chosen)
	}
	code := 0
	if chosen.runKernel {
		code = runOnKernels(machine, chosen)
	}
	if chosen.runHost || !chosen.runKernel {
		skipTests(slices.Concat(chosen.scenarios, chosen.kernel))
		code = max(code, m.Run())
	}
	return code
}

// runHere runs the tests on this machine's own device-mapper. Tests of several packages take turns: each sees what the others
// make.
func runHere(m *testing.M, chosen selection) int {
	if found, err := labelled("/sys/class/block", "/dev"); err != nil || len(found) > 0 {
		fmt.Fprintf(os.Stderr, "%s: tests would take down the LUNs of this machine, which has plexctl drives: %v, %v\n", HostVar, found, err)
		return 2
	}
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "plexctl-tests.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		defer func() { _ = lock.Close() }() // which lets it go
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lock this machine for the tests:", err)
		return 2
	}
	skipTests(chosen.scenarios)
	return m.Run()
}

// labelled is the block devices with a plexctl label. Devices that cannot be opened have none; without their medium, say.
func labelled(class, dev string) ([]string, error) {
	entries, err := os.ReadDir(class)
	var found []string
	for _, e := range entries {
		path := filepath.Join(dev, strings.ReplaceAll(e.Name(), "!", "/"))
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		magic := make([]byte, len(label))
		if n, _ := f.ReadAt(magic, labelAt); string(magic[:n]) == label {
			found = append(found, path)
		}
		_ = f.Close()
	}
	return found, err
}

// label begins the label of a drive, at labelAt. See docs/on-disk-format.md.
const (
	label   = "PLEXLABL"
	labelAt = 4096
)

// Kernels are the kernels that tests run on, by PLEXCTL_KERNELS.
func Kernels() []string {
	kernels := os.Getenv(KernelsVar)
	if kernels == "" {
		kernels = DefaultKernels
	}
	return strings.Split(kernels, ",")
}

// OnKernel is m with the kernel, and udevd or not, that an element of Kernels asks for.
func (m Machine) OnKernel(ctx context.Context, kernel string) (Machine, error) {
	series, flavour, flavoured := strings.Cut(kernel, "+")
	if flavoured && flavour != "udev" {
		return m, fmt.Errorf("kernel %s: want nothing or udev after the plus sign", kernel)
	}
	var err error
	m.Kernel, err = FindKernel(ctx, series)
	m.Udev = flavoured
	return m, err
}

// TestArgs is the command that runs the named test of the calling binary, a TestGuest…, in a machine: an argument of
// Machine.Run. That the test does not exist is an error of the run.
func TestArgs(name string) []string {
	return []string{initFile, "-test.v", "-test.run=^" + name + "$", "-test.count=1"}
}

// runOnKernels runs the kernel tests in one guest for each kernel, as many at once as there are processors, and returns
// the exit status.
func runOnKernels(machine Machine, chosen selection) int {
	ctx, cancel, guestLimit := deadlines()
	defer cancel()
	args := append([]string{initFile}, guestFlags(guestLimit, slices.Concat(chosen.scenarios, chosen.host))...)
	kernels := Kernels()
	slots := make(chan struct{}, runtime.NumCPU())
	failed := make([]bool, len(kernels))
	out := &sharedWriter{w: os.Stdout}
	var wg sync.WaitGroup
	for i, kernel := range kernels {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			failed[i] = !runOnKernel(ctx, machine, kernel, out.prefixed(kernel, len(kernels) > 1), args)
		})
	}
	wg.Wait()
	if slices.Contains(failed, true) {
		return 1
	}
	return 0
}

// runOnKernel runs the kernel tests on one kernel and reports whether they passed.
func runOnKernel(ctx context.Context, machine Machine, kernel string, out io.Writer, args []string) bool {
	start := time.Now()
	machine, err := machine.OnKernel(ctx, kernel)
	if err == nil {
		machine.Output = out
		machine.Env = append(GuestEnv(), machine.Env...)
		if testing.Verbose() {
			machine.Console = &prefixWriter{w: out, prefix: "kernel: "}
		}
		err = machine.Run(ctx, args...)
	}
	if err != nil {
		fmt.Fprintf(out, "FAIL on kernel %s after %.1fs: %v\n", kernel, time.Since(start).Seconds(), err)
		return false
	}
	fmt.Fprintf(out, "ok on kernel %s (%s) in %.1fs\n", kernel, machine.Kernel.Release, time.Since(start).Seconds())
	return true
}

// deadlines shares out the time that -test.timeout leaves: the tests in a guest end first, with a trace of all
// goroutines, then the guest, with a list of its blocked tasks, then this process.
func deadlines() (ctx context.Context, cancel context.CancelFunc, guest time.Duration) {
	limit, err := time.ParseDuration(flagValue("test.timeout"))
	if err != nil || limit <= 0 {
		limit = time.Hour
	}
	ctx, cancel = context.WithTimeout(context.Background(), limit*9/10)
	return ctx, cancel, limit * 8 / 10
}

// guestFlags are the flags of this process for the one in the guest, which skips the named tests. Files that flags name
// are on the host: those flags stay here.
func guestFlags(timeout time.Duration, skip []string) []string {
	var flags []string
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "test.timeout", "test.skip", "test.testlogfile", "test.outputdir", "test.gocoverdir", "test.coverprofile",
			"test.cpuprofile", "test.memprofile", "test.blockprofile", "test.mutexprofile", "test.trace", "test.artifacts":
		default:
			flags = append(flags, fmt.Sprintf("-%s=%s", f.Name, f.Value))
		}
	})
	return append(flags, "-test.timeout="+timeout.String(), "-test.skip="+skipPattern(skip))
}

// GuestEnv is what a guest gets to know of this process's environment.
func GuestEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(setting string) bool {
		name, _, _ := strings.Cut(setting, "=")
		return !strings.HasPrefix(name, "PLEXCTL_") && name != "GODEBUG" && name != "GOTRACEBACK"
	})
}
