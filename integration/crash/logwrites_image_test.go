package crash

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// image is what a device holds: its blocks that were ever written to, by their place. Blocks are never changed in place, so
// that images share them.
type image map[size.Bytes]*[lab.BlockSize]byte

// after is m after the entries of a log.
func (m image) after(log []logged) image {
	m = maps.Clone(m)
	for _, e := range log {
		m.write(e.At, e.Data)
	}
	return m
}

// write makes a write of whole sectors.
func (m image) write(at size.Bytes, data []byte) {
	for len(data) > 0 {
		place := at.RoundDown(lab.BlockSize)
		block := new([lab.BlockSize]byte)
		if old := m[place]; old != nil {
			*block = *old
		}
		n := copy(block[at-place:], data)
		m[place] = block
		at, data = at+size.Bytes(n), data[n:]
	}
}

// slice is the part of m from start on, as a device of its own.
func (m image) slice(start, length size.Bytes) image {
	part := image{}
	for at, block := range m {
		if at >= start && at < start+length {
			part[at-start] = block
		}
	}
	return part
}

// store makes a loop device hold m, and zeros everywhere else. Nobody may use it.
func (m image) store(t *testing.T, loop string) {
	t.Helper()
	file, err := os.ReadFile("/sys/block/" + filepath.Base(loop) + "/loop/backing_file")
	lab.Must(t, err)
	f, err := os.OpenFile(strings.TrimSpace(string(file)), os.O_RDWR, 0)
	lab.Must(t, err)
	defer f.Close()
	info, err := f.Stat()
	lab.Must(t, err)
	lab.Must(t, f.Truncate(0))
	lab.Must(t, f.Truncate(info.Size()))
	for at, block := range m {
		if _, err := f.WriteAt(block[:], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	lab.Must(t, lab.OnDevice(loop, func(fd int) error { return unix.IoctlSetInt(fd, unix.BLKFLSBUF, 0) }))
}
