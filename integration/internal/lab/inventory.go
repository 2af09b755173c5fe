package lab

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// NewLab starts a test on the kernel: when the test ends, and after all that it registered with Cleanup, nothing that it
// made may be left. Call it first.
func NewLab(t testing.TB) {
	t.Helper()
	Settle(t)
	before := takeInventory(t)
	t.Cleanup(func() {
		Settle(t)
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
		for deadline := time.Now().Add(10 * time.Second); !clean() && time.Now().Before(deadline); {
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
	for _, name := range Glob(t, "/dev/mapper/*") {
		found[name] = "link or node"
	}
	for _, name := range Glob(t, "/dev/disk/*/*") {
		target, err := os.Readlink(name)
		_, gone := os.Stat(name)
		// Loop devices keep theirs, and get another by-diskseq each time.
		if err == nil && filepath.Base(filepath.Dir(name)) != "by-diskseq" && (gone != nil || strings.HasPrefix(filepath.Base(target), "dm-")) {
			found[name] = "link to " + target
		}
	}
	for _, process := range Processes(t, "plexctl") {
		found[process] = "running"
	}
	found.addDescriptors(t)
	return found
}

// addDescriptors adds what this process has open, but for what the Go runtime waits with, which it opens at its first need.
func (i inventory) addDescriptors(t testing.TB) {
	t.Helper()
	open := map[string]int{}
	for _, name := range Glob(t, "/proc/self/fd/*") {
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

// Processes are those that run a program of the given name.
func Processes(t testing.TB, name string) []string {
	t.Helper()
	var found []string
	for _, link := range Glob(t, "/proc/[0-9]*/exe") {
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
	for _, name := range Glob(t, pattern) {
		text, err := os.ReadFile(name)
		if err == nil { // else it went away just now
			i[name] = strings.TrimSpace(string(text))
		}
	}
}
