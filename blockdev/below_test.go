//go:build linux

package blockdev

import (
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
)

// TestBelow looks below a mapped device over a partition, by the number of a real node.
func TestBelow(t *testing.T) {
	tr := newMachine(t)
	tests := map[string]struct {
		dev  devno.No
		want []devno.No
	}{
		"disk":      {devno.No{Major: 8, Minor: 0}, nil},
		"partition": {devno.No{Major: 8, Minor: 1}, []devno.No{{Major: 8, Minor: 0}}},
	}
	for name, tt := range tests {
		n, err := tr.host.nodeOf(tt.dev)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, n.below()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWriteError(t *testing.T) {
	for _, err := range []error{&fs.PathError{Err: unix.EPERM}, unix.EPERM, unix.EROFS} {
		if got := writeError(err); got != ErrReadOnly { //nolint:errorlint // bare, as the caller wraps it
			t.Errorf("%v becomes %v", err, got)
		}
	}
	if writeError(nil) != nil {
		t.Error("no error becomes one")
	}
}
