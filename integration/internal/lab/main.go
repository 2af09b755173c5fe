package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plexctl/plexctl/integration/vm"
	"github.com/plexctl/plexctl/lun"
)

// CommandVar names the environment variable that says which plexctl is tested. When it is not set, one is built.
const CommandVar = "PLEXCTL_BIN"

// Main runs the tests of a package where they belong, see package vm, and returns the exit status for TestMain. It must
// come before anything else. The guest has plexctl, the scripts and the README of this repository, below root.
func Main(m *testing.M) int {
	if lun.BeGuard() {
		return 0
	}
	vm.Init()
	if vm.InGuest() {
		return vm.Main(m, vm.Machine{})
	}
	dir, err := os.MkdirTemp("", "plexctl-bin-*")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = ProvideCommand(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return vm.Main(m, Machine())
}

// ProvideCommand makes the plexctl under test the one that tests find in PATH. It builds it into dir if need be.
func ProvideCommand(dir string) error {
	if os.Getenv(CommandVar) == "" {
		build := exec.Command("go", "build", "-trimpath", "-o", dir, "github.com/plexctl/plexctl/cmd/plexctl")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build plexctl: %w: %s", err, out)
		}
		if err := os.Setenv(CommandVar, filepath.Join(dir, "plexctl")); err != nil {
			return err
		}
	}
	return os.Setenv("PATH", filepath.Dir(os.Getenv(CommandVar))+":"+os.Getenv("PATH"))
}

// Machine is the guest of these tests but for its kernel and its disks: tests that run on the host boot it too.
func Machine() vm.Machine {
	return vm.Machine{
		Tools: []string{"bash", "busybox", "dmsetup", "mkfs.ext4", "e2fsck", "resize2fs", "losetup", "blockdev", "numfmt", "mktemp", "truncate", "cmp", "mountpoint", "fallocate"},
		Files: map[string]string{"/usr/bin/plexctl": os.Getenv(CommandVar), filepath.Join(guestRoot, "scripts"): filepath.Join(Root(), "scripts"), filepath.Join(guestRoot, "README.md"): filepath.Join(Root(), "README.md"), filepath.Join(guestRoot, "docs/administration.md"): filepath.Join(Root(), "docs/administration.md")},
		Dir:   filepath.Join(guestRoot, "integration"),
	}
}

// guestRoot is the folder of the repository in a guest.
const guestRoot = "/root"

// Root is the folder of the repository: tests start in the folder of their package, somewhere below it.
func Root() string {
	if vm.InGuest() {
		return guestRoot
	}
	dir, err := filepath.Abs(".")
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	panic("these tests run in a folder of the repository")
}
