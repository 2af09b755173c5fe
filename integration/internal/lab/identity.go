package lab

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
)

// HasID gives the machine an id until the test ends, if it has none.
func HasID(t testing.TB) {
	t.Helper()
	const path = "/etc/machine-id"
	if len((blockdev.Host{}).IDs()) > 0 {
		return // else it is a machine without a file system of its own
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("this host has no id, but %s: %v", path, err)
	}
	Must(t, os.WriteFile(path, []byte("5ca1ab1e0ddba11c0ffee0fadeddecaf\n"), 0o600))
	t.Cleanup(func() { _ = os.Remove(path) })
}

// NewCopy is a loop device that holds what a device holds now.
func NewCopy(t testing.TB, device string) string {
	t.Helper()
	length := StatDevice(t, device).Size
	made := NewLoop(t, length, 512)
	out, err := os.OpenFile(made, os.O_WRONLY, 0)
	Must(t, err)
	CopyRange(t, out, device, 0, length)
	Must(t, errors.Join(out.Sync(), out.Close()))
	return made
}
