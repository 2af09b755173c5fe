//go:build linux

package blockdev

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

// newFileDisk is a disk on a file of length bytes. It goes through the page cache: what a real device does differently is
// tested on one, in integration/kernel.
func newFileDisk(t testing.TB, length int64) (*hostDisk, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(length); err != nil {
		t.Fatal(err)
	}
	d := &hostDisk{file: file, path: path, info: known(Info{Path: path, Size: size.Bytes(length)})}
	t.Cleanup(func() { _ = d.Close() }) // a test may have closed it
	return d, path
}

// blocks is n blocks of 4 KiB full of b.
func blocks(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n*Align) }

// known is the description of a disk that a test makes up.
func known(info Info) func() Info { return func() Info { return info } }

// withBlock is the description of d with logical blocks of another size.
func withBlock(d *hostDisk, block size.Bytes) func() Info {
	info := d.info()
	info.LogicalBlock = block
	return known(info)
}

// memory is n random bytes that start shift bytes behind an aligned place.
func memory(n, shift int) []byte {
	b := alignedBuffer(n + Align)[shift : shift+n]
	random := rand.NewChaCha8([32]byte{byte(n), byte(shift)})
	_, _ = random.Read(b)
	return b
}

func TestHostDiskRoundTrip(t *testing.T) {
	const mib = int(size.MiB)
	d, path := newFileDisk(t, int64(8*mib))
	for _, n := range []int{0, Align, 3 * Align, mib - Align, mib, mib + Align, 3*mib + 2*Align} {
		for _, shift := range []int{0, 1, 512, Align - 1} {
			data := memory(n, shift)
			if got, err := d.WriteAt(data, 2*Align); got != n || err != nil {
				t.Fatalf("write %d bytes, shift %d: %d, %v", n, shift, got, err)
			}
			back := memory(n, (shift+7)%Align)
			if got, err := d.ReadAt(back, 2*Align); got != n || err != nil || !bytes.Equal(back, data) {
				t.Fatalf("read %d bytes, shift %d: %d, %v, equal %t", n, shift, got, err, bytes.Equal(back, data))
			}
		}
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(content[:2*Align], make([]byte, 2*Align)) || len(content) != 8*mib {
		t.Errorf("%d bytes, %v, or what is before the writes changed", len(content), err)
	}
}

func TestHostDiskAlignment(t *testing.T) {
	d, _ := newFileDisk(t, int64(size.MiB))
	tests := map[string]struct {
		n   int
		off int64
	}{
		"length":          {n: 512, off: 0},
		"length of one":   {n: 1, off: 0},
		"length too long": {n: Align + 1, off: Align},
		"offset":          {n: Align, off: 512},
		"offset negative": {n: Align, off: -Align},
		"both":            {n: 100, off: 100},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if n, err := d.ReadAt(make([]byte, tt.n), tt.off); n != 0 || !errors.Is(err, ErrAlign) {
				t.Errorf("read: %d, error %v, want %v", n, err, ErrAlign)
			}
			if n, err := d.WriteAt(make([]byte, tt.n), tt.off); n != 0 || !errors.Is(err, ErrAlign) {
				t.Errorf("write: %d, error %v, want %v", n, err, ErrAlign)
			}
		})
	}
}

// TestHostDiskEnd reads at the end of devices, one of which ends within a unit of I/O.
func TestHostDiskEnd(t *testing.T) {
	tests := map[string]struct {
		length, off int64
		n, want     int
		err         error
	}{
		"up to the end":        {length: 3 * Align, off: Align, n: 2 * Align, want: 2 * Align},
		"across the end":       {length: 3 * Align, off: 2 * Align, n: 2 * Align, want: Align, err: io.EOF},
		"behind the end":       {length: 3 * Align, off: 3 * Align, n: Align, want: 0, err: io.EOF},
		"last unit is short":   {length: 3*Align - 512, off: 2 * Align, n: Align, want: Align - 512, err: io.EOF},
		"across in many steps": {length: int64(size.MiB) + 512, off: 0, n: int(2 * size.MiB), want: int(size.MiB) + 512, err: io.EOF},
	}
	for name, tt := range tests {
		for _, shift := range []int{0, 8} {
			t.Run(name, func(t *testing.T) {
				d, _ := newFileDisk(t, tt.length)
				if n, err := d.ReadAt(memory(tt.n, shift), tt.off); n != tt.want || !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
					t.Errorf("%d, error %v, want %d, %v", n, err, tt.want, tt.err)
				}
			})
		}
	}
}

func TestHostDiskErrors(t *testing.T) {
	d, path := newFileDisk(t, int64(size.MiB))
	readOnly, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	r := &hostDisk{file: readOnly, path: path, info: d.info}
	if _, err := r.WriteAt(make([]byte, Align), 0); !errors.Is(err, unix.EBADF) || strings.Count(err.Error(), path) != 1 {
		t.Errorf("write to what is open for reading: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := d.ReadAt(make([]byte, Align), Align); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), "at 4096") {
		t.Errorf("read after close: %v", err)
	}
	if _, err := d.WriteAt(make([]byte, Align), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := d.Sync(); !errors.Is(err, os.ErrClosed) || strings.Count(err.Error(), path) != 1 {
		t.Errorf("flush after close: %v", err)
	}
	if err := d.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("close after close: %v", err)
	}
}

func TestHostDiskConcurrent(t *testing.T) {
	const workers, rounds = 4, 50
	d, _ := newFileDisk(t, workers*int64(size.MiB))
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range rounds {
				data, back := memory(5*Align, i+1), make([]byte, 5*Align)
				off := int64(w)*int64(size.MiB) + int64(i)*Align
				if _, err := d.WriteAt(data, off); err != nil {
					t.Error(err)
				}
				if _, err := d.ReadAt(back, off); err != nil || !bytes.Equal(data, back) {
					t.Errorf("worker %d, round %d: %v, or other data", w, i, err)
				}
			}
		})
	}
	group.Wait()
}

func TestAlignedBuffer(t *testing.T) {
	for _, n := range []int{0, 1, 511, Align, Align + 1, int(size.MiB)} {
		for range 100 {
			b := alignedBuffer(n)
			if len(b) != n || cap(b) != n || n > 0 && !isAligned(b) {
				t.Fatalf("%d bytes: length %d, capacity %d, aligned %t", n, len(b), cap(b), isAligned(b))
			}
		}
	}
	b := alignedBuffer(2 * Align)
	for shift, want := range map[int]bool{0: true, 1: false, 512: false, Align - 1: false, Align: true} {
		if got := isAligned(b[shift:]); got != want {
			t.Errorf("shift %d: aligned %t", shift, got)
		}
	}
	if !isAligned(nil) {
		t.Error("no memory is not aligned")
	}
}

func TestOpenFlags(t *testing.T) {
	for mode, want := range map[Mode]int{
		Read:      unix.O_DIRECT | unix.O_CLOEXEC,
		Write:     unix.O_DIRECT | unix.O_CLOEXEC | unix.O_RDWR,
		Exclusive: unix.O_DIRECT | unix.O_CLOEXEC | unix.O_RDWR | unix.O_EXCL,
	} {
		if got := openFlags(mode); got != want {
			t.Errorf("mode %d: flags %#x, want %#x", mode, got, want)
		}
	}
}

// TestLockDisk locks devices of a made-up machine whose nodes are files: the flock is on the whole disk.
func TestLockDisk(t *testing.T) {
	tests := map[string]struct {
		dev  devno.No
		node string // whose flock is taken
	}{
		"whole disk": {devno.No{Major: 8, Minor: 16}, "sdb"},
		"partition":  {devno.No{Major: 8, Minor: 1}, "sda"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tr := newMachine(t)
			for _, node := range []string{"sda", "sda1", "sdb"} {
				tr.file("dev/"+node, "")
			}
			d := tr.openFile(tt.dev)
			if err := tr.host.lockDisk(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			other := tr.openFile(tt.dev)
			ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer stop()
			err := tr.host.lockDisk(ctx, other)
			if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("second lock: error %v, want %v", err, ErrBusy)
			}
			if free := tr.lockable(tt.node); free {
				t.Errorf("%s is not locked", tt.node)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if free := tr.lockable(tt.node); !free {
				t.Errorf("%s is locked after close", tt.node)
			}
		})
	}
}

// openFile opens the file that stands for a device's node.
func (tr *tree) openFile(dev devno.No) *hostDisk {
	tr.t.Helper()
	info, err := tr.host.byNumber(dev)
	if err != nil {
		tr.t.Fatal(err)
	}
	file, err := os.OpenFile(info.Path, os.O_RDWR, 0)
	if err != nil {
		tr.t.Fatal(err)
	}
	d := &hostDisk{file: file, node: tr.host.node(filepath.Base(info.Path)), path: info.Path, info: known(info)}
	tr.t.Cleanup(func() { _ = d.Close() })
	return d
}

// lockable reports whether udevd would get its lock on a node.
func (tr *tree) lockable(node string) bool {
	tr.t.Helper()
	file, err := os.Open(tr.root + "/dev/" + node)
	if err != nil {
		tr.t.Fatal(err)
	}
	defer file.Close()
	return unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil
}

func TestLockDiskFails(t *testing.T) {
	tr := newMachine(t)
	tr.file("dev/sda1", "")
	if err := tr.host.lockDisk(t.Context(), tr.openFile(devno.No{Major: 8, Minor: 1})); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("partition whose disk has no node: error %v", err)
	}
	tr.file("dev/sdb", "")
	closed := tr.openFile(devno.No{Major: 8, Minor: 16})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tr.host.lockDisk(t.Context(), closed); err == nil || errors.Is(err, ErrBusy) {
		t.Errorf("closed file: error %v, want one that is not %v", err, ErrBusy)
	}
}

// TestLockErrorOwnDeadline tells the package's own patience from the caller's.
func TestLockErrorOwnDeadline(t *testing.T) {
	ended, stop := context.WithCancel(t.Context())
	stop()
	own := lockError(t.Context(), ended, ended.Err())
	if !errors.Is(own, ErrBusy) || errors.Is(own, context.Canceled) {
		t.Errorf("own deadline: %v", own)
	}
	callers := lockError(ended, ended, ended.Err())
	if !errors.Is(callers, ErrBusy) || !errors.Is(callers, context.Canceled) {
		t.Errorf("caller's deadline: %v", callers)
	}
	other := lockError(t.Context(), t.Context(), unix.ENOLCK)
	if errors.Is(other, ErrBusy) || !errors.Is(other, unix.ENOLCK) {
		t.Errorf("another error: %v", other)
	}
}

func TestZero(t *testing.T) {
	tests := map[string]struct {
		start, length size.Bytes
		want          error
	}{
		"nothing":               {0, 0, nil},
		"one unit":              {Align, Align, nil},
		"chunks and a bit":      {Align, 2*size.MiB + Align, nil},
		"all":                   {0, 4 * size.MiB, nil},
		"start is not aligned":  {512, Align, ErrAlign},
		"length is not aligned": {0, size.MiB + 1, ErrAlign},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, path := newFileDisk(t, int64(4*size.MiB))
			before := bytes.Repeat([]byte{0xa5}, int(4*size.MiB))
			if _, err := d.WriteAt(before, 0); err != nil {
				t.Fatal(err)
			}
			if err := Zero(t.Context(), d, tt.start, tt.length); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if tt.want == nil {
				clear(before[tt.start : tt.start+tt.length])
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, before) {
				t.Errorf("content differs (%v)", err)
			}
		})
	}
}

func TestZeroStops(t *testing.T) {
	d, path := newFileDisk(t, int64(4*size.MiB))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := Zero(ctx, d, 0, 4*size.MiB); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
		t.Errorf("canceled: error %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Zero(t.Context(), d, 0, 4*size.MiB); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: error %v", err)
	}
}
