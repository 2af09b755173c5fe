//go:build linux

package allocation

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// blocks is n blocks of 4 KiB full of b.
func blocks(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n*align) }

// memoryFile is a file on tmpfs.
func memoryFile(t testing.TB, length size.Bytes) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("plexctl-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	t.Cleanup(func() { _ = file.Close() }) // a test may have closed it
	if err := file.Truncate(int64(length)); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFileHoles(t *testing.T) {
	file := memoryFile(t, 64*align)
	for _, block := range []int64{4, 10, 11, 40} {
		if _, err := file.WriteAt(blocks(1, 1), block*align); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		offset, at, end, cut size.Bytes // in blocks
		blank                bool
		until                size.Bytes
	}{
		"hole before data":        {at: 0, end: 64, blank: true, until: 4},
		"within a hole":           {at: 6, end: 64, blank: true, until: 10},
		"a hole and more":         {at: 6, end: 8, blank: true, until: 8},
		"data":                    {at: 10, end: 64, until: 12},
		"the end is a hole":       {at: 41, end: 64, blank: true, until: 64},
		"behind an offset":        {offset: 4, at: 0, end: 60, until: 1},
		"hole behind an offset":   {offset: 4, at: 1, end: 60, blank: true, until: 6},
		"more than the file has":  {at: 41, end: 100, blank: true, until: 64},
		"behind the file":         {at: 64, end: 100, until: 100},
		"cut off within the hole": {at: 41, end: 64, cut: 50, blank: true, until: 50},
		"cut off before":          {at: 52, end: 64, cut: 50, until: 64},
		"cut off, data behind":    {at: 12, end: 64, cut: 30, blank: true, until: 30},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := fileHoles{file: file, offset: tt.offset * align}
			if err := f.look(); err != nil {
				t.Fatal(err)
			}
			if tt.cut > 0 {
				f.length = tt.cut * align
			}
			blank, until, err := f.Extent(tt.at*align, tt.end*align)
			if blank != tt.blank || until != tt.until*align || err != nil {
				t.Errorf("blank %t up to %d, %v, want %t up to %d", blank, until/align, err, tt.blank, tt.until)
			}
		})
	}
}

func TestFileHolesFails(t *testing.T) {
	file := memoryFile(t, 64*align)
	f := fileHoles{file: file, length: 64 * align}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.look(); err == nil {
		t.Error("closed file: its length is known")
	}
	if _, _, err := f.Extent(0, align); err == nil {
		t.Error("closed file: its holes are known")
	}
}

// TestLoopFile has the file of a loop device, and others under its name.
func TestLoopFile(t *testing.T) {
	file, other := memoryFile(t, align), memoryFile(t, align)
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	status := unix.LoopInfo64{Device: uint64(st.Dev), Inode: st.Ino} //nolint:unconvert // 32 bits on some machines
	elsewhere := status
	elsewhere.Device++
	proc, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if err := unix.Fstat(int(proc.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file   *os.File
		status unix.LoopInfo64
		right  bool
	}{
		"the file":             {file, status, true},
		"another file":         {other, status, false},
		"another file system":  {file, elsewhere, false},
		"holes not to trust":   {proc, unix.LoopInfo64{Device: uint64(st.Dev), Inode: st.Ino}, false}, //nolint:unconvert // as above
		"no longer to be read": {os.NewFile(^uintptr(0)>>1, "none"), status, false},
	} {
		l := &loopFile{fileHoles: fileHoles{file: tt.file}, status: tt.status}
		if err := l.checkFile(); (err == nil) != tt.right {
			t.Errorf("%s: %v, want it to be right: %t", name, err, tt.right)
		}
	}
}

func TestOpenRegular(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	for path, right := range map[string]bool{dir + "/file": true, dir + "/fifo": false, dir: false, "/dev/null": false, dir + "/none": false, "": false} {
		file, err := openRegular(path)
		if (err == nil) != right {
			t.Errorf("%q: %v, want it to be opened: %t", path, err, right)
		}
		if err == nil {
			_ = file.Close() // read only
		}
	}
}
