package integration

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/size"
)

// toolTimeout bounds every tool that a test runs.
const toolTimeout = 2 * time.Minute

// newLab starts a test on the kernel: when the test ends, and after all that it registered with Cleanup, nothing that it
// made may be left. Call it first.
func newLab(t testing.TB) {
	t.Helper()
	before := takeInventory(t)
	t.Cleanup(func() {
		var left inventory
		clean := func() bool {
			left = takeInventory(t)
			maps.DeleteFunc(before, func(name, _ string) bool { // a link that udevd had not removed yet by then
				_, still := left[name]
				return !still && strings.HasPrefix(name, "/dev/disk/")
			})
			return maps.Equal(before, left)
		}
		// udevd removes links, and a lazily detached loop device goes, a moment after the call that asked for it.
		for deadline := time.Now().Add(2 * time.Second); !clean() && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond)
		}
		if diff := cmp.Diff(before, left); diff != "" {
			t.Errorf("left behind (-before +after):\n%s", diff)
		}
	})
}

// inventory is what a test may leave behind, each thing with its state.
type inventory map[string]string

// takeInventory lists device-mapper devices and whether they are suspended, loop devices and their files, names in
// /dev/mapper, links in /dev/disk to one of its devices or to nowhere, mounts, processes of plexctl, and how often this
// process has each file, device, pipe and socket open.
func takeInventory(t testing.TB) inventory {
	t.Helper()
	found := inventory{}
	found.addAttributes(t, "/sys/block/dm-*/dm/name")
	found.addAttributes(t, "/sys/block/dm-*/dm/suspended")
	found.addAttributes(t, "/sys/block/loop*/loop/backing_file")
	found.addAttributes(t, "/proc/self/mounts")
	for _, name := range glob(t, "/dev/mapper/*") {
		found[name] = "link or node"
	}
	for _, name := range glob(t, "/dev/disk/*/*") {
		target, err := os.Readlink(name)
		_, gone := os.Stat(name)
		// Loop devices keep theirs, and get another by-diskseq each time.
		if err == nil && filepath.Base(filepath.Dir(name)) != "by-diskseq" && (gone != nil || strings.HasPrefix(filepath.Base(target), "dm-")) {
			found[name] = "link to " + target
		}
	}
	for _, process := range processes(t, "plexctl") {
		found[process] = "running"
	}
	found.addDescriptors(t)
	return found
}

// addDescriptors adds what this process has open, but for what the Go runtime waits with, which it opens at its first need.
func (i inventory) addDescriptors(t testing.TB) {
	t.Helper()
	open := map[string]int{}
	for _, name := range glob(t, "/proc/self/fd/*") {
		target, err := os.Readlink(name)
		if err != nil || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			continue // the first: the folder itself was read with it
		}
		kind, _, _ := strings.Cut(target, ":[") // pipes and sockets have numbers
		open[kind]++
	}
	for target, n := range open {
		i["descriptor of "+target] = fmt.Sprintf("open %d times", n)
	}
}

// processes are those that run a program of the given name.
func processes(t testing.TB, name string) []string {
	t.Helper()
	var found []string
	for _, link := range glob(t, "/proc/[0-9]*/exe") {
		exe, err := os.Readlink(link)
		if err != nil || filepath.Base(exe) != name {
			continue // a kernel thread, or it has just ended
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline"))
		found = append(found, fmt.Sprintf("process %s of %s: %s", filepath.Base(filepath.Dir(link)), name, bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return found
}

// addAttributes adds the content of all files that match the pattern.
func (i inventory) addAttributes(t testing.TB, pattern string) {
	t.Helper()
	for _, name := range glob(t, pattern) {
		text, err := os.ReadFile(name)
		if err == nil { // else it went away just now
			i[name] = strings.TrimSpace(string(text))
		}
	}
}

// glob is the files that match a pattern.
func glob(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// newLoop makes a loop device of the given length and logical block size (512 or 4096) on a sparse file, and returns its
// path. It is detached when the test ends.
func newLoop(t testing.TB, length, block size.Bytes) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := vm.CreateImage(image, length); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device, err := attachLoop(file, block)
	if err != nil {
		t.Fatalf("attach loop device: %v", err)
	}
	t.Cleanup(func() {
		if err := detachLoop(device); err != nil {
			t.Errorf("detach %s: %v", device, err)
		}
	})
	return device
}

// attachLoop attaches file to a free loop device. Another process may take the free device first: then it tries the next.
func attachLoop(file *os.File, block size.Bytes) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", err
		}
		device := fmt.Sprintf("/dev/loop%d", n)
		err = onDevice(device, func(fd int) error {
			return unix.IoctlLoopConfigure(fd, &unix.LoopConfig{Fd: uint32(file.Fd()), Size: uint32(block)})
		})
		if !errors.Is(err, unix.EBUSY) {
			return device, err
		}
	}
}

// detachLoop detaches a loop device from its file.
func detachLoop(device string) error {
	return onDevice(device, func(fd int) error { return unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0) })
}

// onDevice calls do with a descriptor of the device.
func onDevice(device string, do func(fd int) error) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(int(f.Fd())), f.Close())
}

// diskPath is the virtio disk with the given serial: one of Machine.Disks of the test on the host that booted this guest.
func diskPath(t testing.TB, serial string) string {
	t.Helper()
	path, err := vm.DiskPath(serial)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// loadModule loads a kernel module: "brd rd_nr=4 rd_size=65536".
func loadModule(t testing.TB, line string) {
	t.Helper()
	if !vm.InGuest() {
		runTool(t, "modprobe", strings.Fields(line)...)
		return
	}
	if err := vm.LoadModule(line); err != nil {
		t.Fatal(err)
	}
}

// runTool runs a command and returns what it printed; the test fails with that if the command does.
func runTool(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := tryTool(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// tryTool runs a command and returns what it printed and how it ended: nil or an *exec.ExitError.
func tryTool(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	// No udevd, or one that knows nothing of the test: dmsetup then does what udev would.
	cmd.Env = append(os.Environ(), "DM_DISABLE_UDEV=1", "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(toolTimeout, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	return out.String(), err
}

// waitFor waits until done reports true and fails the test when that takes longer than limit.
func waitFor(t testing.TB, what string, limit time.Duration, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}
