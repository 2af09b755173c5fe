package repository

import (
	"os/exec"
	"strings"
	"testing"
)

// portable are packages that a program on another system can use, to read a catalog or to print a code.
var portable = []string{"./catalog", "./devno", "./dm/raidmeta", "./resync", "./size", "./vds"}

// TestPortable builds the portable packages for macOS.
func TestPortable(t *testing.T) {
	command := exec.Command("go", append([]string{"build"}, portable...)...)
	command.Dir = root
	command.Env = append(command.Environ(), "GOOS=darwin", "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, strings.TrimSpace(string(out)))
	}
}
