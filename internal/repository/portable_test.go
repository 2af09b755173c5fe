package repository

import (
	"errors"
	"go/build"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the top of the repository.
const root = "../.."

// linuxOnly are the packages that need Linux themselves. Every file of theirs says so, so that a build for another system
// names the package instead of a constant of package unix that does not exist there.
var linuxOnly = []string{"blockdev", "blockdev/allocation", "dm"}

// portable are packages that a program on another system can use, to read a catalog or to print a code.
var portable = []string{"./blockdev/signature", "./catalog", "./devno", "./dm/raidmeta", "./resync", "./size", "./vds"}

// TestLinuxOnly looks at the packages that need Linux as a build for another system does.
func TestLinuxOnly(t *testing.T) {
	for _, dir := range linuxOnly {
		for _, system := range []string{"darwin", "windows"} {
			context := build.Default
			context.GOOS, context.CgoEnabled = system, false
			pkg, err := context.ImportDir(filepath.Join(root, dir), 0)
			if none := (*build.NoGoError)(nil); !errors.As(err, &none) || len(pkg.TestGoFiles)+len(pkg.XTestGoFiles) > 0 {
				t.Errorf("%s on %s: %v %v %v, %v; want //go:build linux in each file", dir, system, pkg.GoFiles, pkg.TestGoFiles, pkg.XTestGoFiles, err)
			}
		}
		if pkg, err := build.Default.ImportDir(filepath.Join(root, dir), 0); err != nil || len(pkg.GoFiles) == 0 {
			t.Errorf("%s: %v, %v", dir, pkg.GoFiles, err)
		}
	}
}

// TestPortable builds the portable packages for macOS. The compiler takes little time for code that nothing runs.
func TestPortable(t *testing.T) {
	command := exec.Command("go", append([]string{"build", "-gcflags=all=-N -l -dwarf=false"}, portable...)...)
	command.Dir = root
	command.Env = append(command.Environ(), "GOOS=darwin", "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, strings.TrimSpace(string(out)))
	}
}
