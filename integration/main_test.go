// Package integration tests plexctl on the real kernel. Where a test runs goes by its name, see package vm; what it may
// use there is in lab_test.go and writer_test.go.
package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plexctl/plexctl/integration/vm"
)

// commandVar names the environment variable that says which plexctl is tested. When it is not set, one is built.
const commandVar = "PLEXCTL_BIN"

func TestMain(m *testing.M) {
	vm.Init()
	os.Exit(runTests(m))
}

// runTests sees to the command under test and hands over to package vm.
func runTests(m *testing.M) int {
	if vm.InGuest() {
		return vm.Main(m, vm.Machine{})
	}
	dir, err := os.MkdirTemp("", "plexctl-bin-*")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = provideCommand(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return vm.Main(m, machine())
}

// provideCommand makes the plexctl under test the one that tests find in PATH. It builds it into dir if need be.
func provideCommand(dir string) error {
	if os.Getenv(commandVar) == "" {
		build := exec.Command("go", "build", "-trimpath", "-o", dir, "../cmd/plexctl")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build plexctl: %w: %s", err, out)
		}
		if err := os.Setenv(commandVar, filepath.Join(dir, "plexctl")); err != nil {
			return err
		}
	}
	return os.Setenv("PATH", filepath.Dir(os.Getenv(commandVar))+":"+os.Getenv("PATH"))
}

// machine is the guest of these tests but for its kernel and its disks: tests that run on the host boot it too.
func machine() vm.Machine {
	return vm.Machine{
		Tools: []string{"bash", "busybox", "dmsetup", "mkfs.ext4", "e2fsck", "resize2fs", "losetup", "blockdev", "numfmt", "mktemp", "truncate", "cmp", "mountpoint", "fallocate"},
		Files: map[string]string{"/usr/bin/plexctl": os.Getenv(commandVar), "/root/scripts": "../scripts", "/root/README.md": "../README.md"},
		Dir:   "/root/integration",
	}
}
