package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// Unchanged fails the test when something is not as it was.
func (r *Rig) Unchanged(of Scope, before State) {
	r.T.Helper()
	if diff := cmp.Diff(before, r.State(of)); diff != "" {
		r.T.Errorf("something has changed (-before +after):\n%s", diff)
	}
}

// Scope is how much of the drives a call must leave as it was.
type Scope int

// Scopes, from the largest.
const (
	Everything Scope = iota // every byte; only the catalogs while a mirror is active, whose metadata the kernel writes
	Catalogs                // labels and catalogs; metadata that nobody uses may have been written
	Devices                 // nothing but the kernel's devices
)

// State is what a refused call must not change.
type State struct {
	Tables map[string]string
	Bytes  map[string]uint64 // checksums, by file under a loop device
}

// State is what there is now.
func (r *Rig) State(of Scope) State {
	r.T.Helper()
	s := State{Tables: r.Tables(), Bytes: map[string]uint64{}}
	whole := of == Everything
	for _, table := range s.Tables {
		whole = whole && !strings.Contains(table, " raid ")
	}
	if of == Devices {
		return s
	}
	for _, name := range Glob(r.T, "/sys/block/loop*/loop/backing_file") {
		if text, err := os.ReadFile(name); err == nil {
			file := strings.TrimSpace(string(text))
			s.Bytes[file] = imageSum(r.T, file, whole)
		}
	}
	return s
}

// imageSum is a checksum of a file, of the blocks that are not all zero: a hole is as good as zeros. Without whole it is one
// of the part that a drive's label and catalogs lie on.
func imageSum(t testing.TB, file string, whole bool) uint64 {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	tail := int64(catalog.TailStart(size.Bytes(info.Size())))
	sum, block := NewChecksum(), make([]byte, BlockSize)
	for at := nextData(t, f, 0); at < info.Size(); at = nextData(t, f, at+int64(BlockSize)) {
		if !whole && at >= int64(catalog.FirstExtent) && at < tail {
			at = tail - int64(BlockSize)
			continue
		}
		if n, err := f.ReadAt(block, at); err != nil && err != io.EOF || n == 0 {
			t.Fatal(err)
		}
		if !bytes.Equal(block, zeroBlock[:]) {
			_ = binary.Write(sum, binary.LittleEndian, at)
			_, _ = sum.Write(block)
		}
	}
	return sum.Sum64()
}

// nextData is the first block from at on that is not in a hole; beyond the end when there is none.
func nextData(t testing.TB, f *os.File, at int64) int64 {
	t.Helper()
	next, err := f.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return 1 << 62
	}
	if err != nil {
		t.Fatal(err)
	}
	return next / int64(BlockSize) * int64(BlockSize)
}

// ExitStatuses is how the command ends, by code, for those codes that a test provokes through it.
var ExitStatuses = map[vds.Code]int{
	vds.OK: 0, vds.ErrProviderFailure: 1, vds.ErrInvalidArg: 2, vds.ErrObjectNotFound: 3, vds.ErrObjectDeleted: 3,
	vds.ErrAnotherCallInProgress: 4, vds.ErrDeviceInUse: 4, vds.ErrNotSupported: 5, vds.ErrCancelTooLate: 5,
	vds.ErrInvalidOperation: 5, vds.ErrMediaWriteProtected: 5, vds.ErrInvalidSectorSize: 5, vds.ErrPlexLastActive: 5,
	vds.ErrNameNotUnique: 5, vds.ErrDiskNotEmpty: 5, vds.ErrObjectExists: 5, vds.ErrProviderCacheCorrupt: 6, vds.ErrIO: 6,
	vds.ErrObjectStatusFailed: 6, vds.ErrDiskConfigurationNotSync: 6, vds.ErrDiskConfigurationNotSaved: 6,
	vds.ErrNotEnoughSpace: 7, vds.ErrNotEnoughDrive: 7, vds.ErrAccessDenied: 8, vds.ErrOperationCanceled: 9,
	vds.ErrTimeout: 10, vds.ErrAbort: 130,
}

// Readable looks at every LUN, which must work whatever it is under.
func (r *Rig) Readable() {
	r.T.Helper()
	r.Refresh()
	for _, l := range r.Provider.LUNs() {
		record, err := l.Record()
		if err != nil {
			r.T.Error(err)
		}
		if props, err := l.Properties(r.T.Context()); err != nil || len(props.Plexes) != len(record.Plexes) {
			r.T.Errorf("properties of %s: %v, %d plexes, want %d", l.Name(), err, len(props.Plexes), len(record.Plexes))
		}
	}
}
