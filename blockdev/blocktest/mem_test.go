package blocktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

func TestMemScanAndStat(t *testing.T) {
	ctx := context.Background()
	m := New()
	m.AddDisk(blockdev.Info{Path: "/dev/sda", Size: size.GiB})
	m.AddDisk(blockdev.Info{Path: "/dev/sdb", Size: size.GiB, LogicalBlock: 4096, Serial: "b"})
	m.AddDisk(blockdev.Info{Path: "/dev/loop0", Size: size.MiB, Dev: devno.No{Major: 7, Minor: 0}, PhysicalBlock: 4096})
	m.Link("/dev/disk/by-id/b", "/dev/sdb")
	want := []blockdev.Info{
		{Path: "/dev/sda", Dev: devno.No{Major: 8, Minor: 0}, Size: size.GiB, LogicalBlock: 512, PhysicalBlock: 512},
		{Path: "/dev/sdb", Dev: devno.No{Major: 8, Minor: 16}, Size: size.GiB, LogicalBlock: 4096, PhysicalBlock: 4096, Serial: "b"},
		{Path: "/dev/loop0", Dev: devno.No{Major: 7, Minor: 0}, Size: size.MiB, LogicalBlock: 512, PhysicalBlock: 4096},
	}
	got, err := m.Scan(ctx)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("scan: %v (-want +got):\n%s", err, diff)
	}
	byLink, err := m.Stat(ctx, "/dev/disk/by-id/b")
	if diff := cmp.Diff(want[1], byLink); err != nil || diff != "" {
		t.Errorf("stat of a link: %v (-want +got):\n%s", err, diff)
	}
	m.Change("/dev/sdb", func(i *blockdev.Info) { i.Zoned = true })
	if changed, err := m.Stat(ctx, "/dev/sdb"); err != nil || !changed.Zoned {
		t.Errorf("stat after Change = %+v, %v", changed, err)
	}
	for _, path := range []string{"/dev/sdz", ""} {
		if _, err := m.Stat(ctx, path); !errors.Is(err, blockdev.ErrNotExist) {
			t.Errorf("stat of %q: %v, want %v", path, err, blockdev.ErrNotExist)
		}
	}
}

func TestMemCancelledContext(t *testing.T) {
	m, dev := oneDisk()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, scan := m.Scan(ctx)
	_, stat := m.Stat(ctx, testDisk)
	_, open := m.Open(ctx, testDisk, blockdev.Read)
	_, users := m.Users(ctx, dev)
	_, signatures := m.Signatures(ctx, testDisk)
	for i, err := range []error{scan, stat, open, users, signatures} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %d: %v, want %v", i, err, context.Canceled)
		}
	}
}

func TestMemVanish(t *testing.T) {
	ctx := context.Background()
	m, dev := oneDisk()
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(1, 7), 0)
	m.Vanish(testDisk)
	if infos, err := m.Scan(ctx); err != nil || len(infos) != 0 {
		t.Errorf("scan = %v, %v, want nothing", infos, err)
	}
	if _, err := m.Open(ctx, testDisk, blockdev.Read); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("open: %v, want %v", err, blockdev.ErrNotExist)
	}
	if err := m.Claim(dev, devno.No{Major: 253, Minor: 0}, "x"); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("claim: %v, want %v", err, blockdev.ErrNotExist)
	}
	_, read := d.ReadAt(blocks(1, 0), 0)
	_, written := d.WriteAt(blocks(1, 0), 0)
	for name, err := range map[string]error{"read": read, "write": written, "flush": d.Sync()} {
		if !errors.Is(err, unix.EIO) {
			t.Errorf("%s: %v, want %v", name, err, unix.EIO)
		}
	}
	m.Return(testDisk)
	if got := content(t, m, testDisk)[:blockdev.Align]; !bytes.Equal(got, blocks(1, 7)) {
		t.Error("content is not what was written before")
	}
}

func TestMemExclusive(t *testing.T) {
	ctx := context.Background()
	tests := []struct {
		name  string
		occup func(t *testing.T, m *Mem, dev devno.No)
		want  error
	}{
		{"free", func(*testing.T, *Mem, devno.No) {}, nil},
		{"open for reading", func(t *testing.T, m *Mem, _ devno.No) { mustOpen(t, m, testDisk, blockdev.Read) }, nil},
		{"open for writing", func(t *testing.T, m *Mem, _ devno.No) { mustOpen(t, m, testDisk, blockdev.Write) }, nil},
		{"open exclusively", func(t *testing.T, m *Mem, _ devno.No) { mustOpen(t, m, testDisk, blockdev.Exclusive) }, blockdev.ErrBusy},
		{"closed again", func(t *testing.T, m *Mem, _ devno.No) { mustClose(t, mustOpen(t, m, testDisk, blockdev.Exclusive)) }, nil},
		{"held", func(t *testing.T, m *Mem, dev devno.No) { mustClaim(t, m, dev) }, blockdev.ErrBusy},
		{"held twice, released once", func(t *testing.T, m *Mem, dev devno.No) {
			mustClaim(t, m, dev)
			mustClaim(t, m, dev)
			m.Release(dev, testHolder)
		}, blockdev.ErrBusy},
		{"released", func(t *testing.T, m *Mem, dev devno.No) {
			mustClaim(t, m, dev)
			m.Release(dev, testHolder)
		}, nil},
		{"mounted", func(_ *testing.T, m *Mem, dev devno.No) { m.SetUsers(dev, blockdev.User{Kind: "mount", Name: "/srv"}) }, blockdev.ErrBusy},
		{"swapped on", func(_ *testing.T, m *Mem, dev devno.No) { m.SetUsers(dev, blockdev.User{Kind: "swap", Name: "sda"}) }, blockdev.ErrBusy},
		{"open in a process", func(_ *testing.T, m *Mem, dev devno.No) {
			m.SetUsers(dev, blockdev.User{Kind: "process", Name: "dd[1]"})
		}, nil},
		{"process restarted", func(t *testing.T, m *Mem, _ devno.No) {
			mustOpen(t, m, testDisk, blockdev.Exclusive)
			m.Restart()
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, dev := oneDisk()
			tt.occup(t, m, dev)
			if _, err := m.Open(ctx, testDisk, blockdev.Exclusive); !errors.Is(err, tt.want) {
				t.Errorf("open: %v, want %v", err, tt.want)
			}
			if _, err := m.Open(ctx, testDisk, blockdev.Write); err != nil {
				t.Errorf("open without a claim: %v", err)
			}
		})
	}
}

func TestMemClaim(t *testing.T) {
	ctx := context.Background()
	m, dev := oneDisk()
	first, second := devno.No{Major: 253, Minor: 0}, devno.No{Major: 253, Minor: 1}
	d := mustOpen(t, m, testDisk, blockdev.Exclusive)
	if err := m.Claim(dev, first, "a"); !errors.Is(err, blockdev.ErrBusy) {
		t.Errorf("claim of a drive open exclusively: %v, want %v", err, blockdev.ErrBusy)
	}
	mustClose(t, d)
	for _, c := range []claim{{dev, first, "a"}, {dev, first, "a"}, {dev, second, "b"}} {
		if err := m.Claim(c.dev, c.holder, c.name); err != nil {
			t.Fatal(err)
		}
	}
	info, err := m.Stat(ctx, testDisk)
	if diff := cmp.Diff([]devno.No{first, second}, info.Holders); err != nil || diff != "" {
		t.Errorf("holders: %v (-want +got):\n%s", err, diff)
	}
	m.SetUsers(dev, blockdev.User{Kind: "process", Name: "dd[1]"})
	users, err := m.Users(ctx, dev)
	if diff := cmp.Diff([]blockdev.User{{Kind: "process", Name: "dd[1]"}, {Kind: "holder", Name: "a"}, {Kind: "holder", Name: "b"}}, users); err != nil || diff != "" {
		t.Errorf("users: %v (-want +got):\n%s", err, diff)
	}
	m.Release(dev, devno.No{Major: 253, Minor: 9})
	m.SetUsers(dev, blockdev.User{Kind: "mount", Name: "/srv"})
	if err := m.Claim(dev, first, "a"); !errors.Is(err, blockdev.ErrBusy) {
		t.Errorf("claim of a mounted drive: %v, want %v", err, blockdev.ErrBusy)
	}
	if err := m.Claim(devno.No{Major: 9, Minor: 9}, first, "a"); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("claim of no drive: %v, want %v", err, blockdev.ErrNotExist)
	}
}

func TestMemSignatures(t *testing.T) {
	m, _ := oneDisk()
	want := []signature.Signature{{Type: "ext4", Label: "home"}}
	m.SetSignatures(testDisk, want...)
	got, err := m.Signatures(context.Background(), testDisk)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("signatures: %v (-want +got):\n%s", err, diff)
	}
	if _, err := m.Signatures(context.Background(), "/dev/sdz"); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("signatures of no drive: %v, want %v", err, blockdev.ErrNotExist)
	}
}

func TestMemReadWrite(t *testing.T) {
	m, _ := oneDisk()
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(3, 1), 2*blockdev.Align)
	write(t, d, blocks(1, 2), 3*blockdev.Align)
	want := make([]byte, size.MiB)
	copy(want[2*blockdev.Align:], blocks(3, 1))
	copy(want[3*blockdev.Align:], blocks(1, 2))
	if !bytes.Equal(content(t, m, testDisk), want) {
		t.Error("content is not what was written")
	}
	b := blocks(2, 9)
	n, err := d.ReadAt(b, int64(size.MiB)-blockdev.Align)
	if n != blockdev.Align || !errors.Is(err, io.EOF) {
		t.Errorf("read across the end = %d, %v, want %d, EOF", n, err, blockdev.Align)
	}
	if n, err := d.ReadAt(b, 2*int64(size.MiB)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read beyond the end = %d, %v, want 0, EOF", n, err)
	}
}

func TestMemIORefuses(t *testing.T) {
	ctx := context.Background()
	closed := func(d blockdev.Disk) blockdev.Disk { mustClose(t, d); return d }
	tests := []struct {
		name string
		mode blockdev.Mode
		do   func(d blockdev.Disk) error
		want error
	}{
		{"read at an odd offset", blockdev.Read, func(d blockdev.Disk) error { _, err := d.ReadAt(blocks(1, 0), 512); return err }, blockdev.ErrAlign},
		{"read of an odd length", blockdev.Read, func(d blockdev.Disk) error { _, err := d.ReadAt(make([]byte, 512), 0); return err }, blockdev.ErrAlign},
		{"write at an odd offset", blockdev.Write, func(d blockdev.Disk) error { _, err := d.WriteAt(blocks(1, 0), 1); return err }, blockdev.ErrAlign},
		{"write of an odd length", blockdev.Write, func(d blockdev.Disk) error { _, err := d.WriteAt(make([]byte, 1), 0); return err }, blockdev.ErrAlign},
		{"read before the start", blockdev.Read, func(d blockdev.Disk) error { _, err := d.ReadAt(blocks(1, 0), -blockdev.Align); return err }, unix.EINVAL},
		{"write before the start", blockdev.Write, func(d blockdev.Disk) error { _, err := d.WriteAt(blocks(1, 0), -blockdev.Align); return err }, unix.EINVAL},
		{"write across the end", blockdev.Write, func(d blockdev.Disk) error {
			_, err := d.WriteAt(blocks(2, 0), int64(size.MiB)-blockdev.Align)
			return err
		}, unix.ENOSPC},
		{"write through a reader", blockdev.Read, func(d blockdev.Disk) error { _, err := d.WriteAt(blocks(1, 0), 0); return err }, unix.EBADF},
		{"read after close", blockdev.Read, func(d blockdev.Disk) error { _, err := closed(d).ReadAt(blocks(1, 0), 0); return err }, os.ErrClosed},
		{"write after close", blockdev.Write, func(d blockdev.Disk) error { _, err := closed(d).WriteAt(blocks(1, 0), 0); return err }, os.ErrClosed},
		{"flush after close", blockdev.Write, func(d blockdev.Disk) error { return closed(d).Sync() }, os.ErrClosed},
		{"close after close", blockdev.Write, func(d blockdev.Disk) error { return closed(d).Close() }, os.ErrClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := oneDisk()
			if err := tt.do(mustOpen(t, m, testDisk, tt.mode)); !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if !bytes.Equal(content(t, m, testDisk), make([]byte, size.MiB)) {
				t.Error("content changed")
			}
		})
	}
	m, _ := oneDisk()
	m.Change(testDisk, func(i *blockdev.Info) { i.ReadOnly = true })
	for _, mode := range []blockdev.Mode{blockdev.Write, blockdev.Exclusive} {
		if _, err := m.Open(ctx, testDisk, mode); !errors.Is(err, blockdev.ErrReadOnly) {
			t.Errorf("open of a read-only drive in mode %d: %v, want %v", mode, err, blockdev.ErrReadOnly)
		}
	}
	if _, err := m.Open(ctx, testDisk, blockdev.Read); err != nil {
		t.Errorf("open of a read-only drive for reading: %v", err)
	}
}

func TestMemIsSparse(t *testing.T) {
	m := New()
	dev := m.AddDisk(blockdev.Info{Path: testDisk, Size: size.TiB})
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(1, 1), int64(size.TiB)-blockdev.Align)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if n := len(m.disk(dev).now.pages) + len(m.disk(dev).durable.pages); n != 2 {
		t.Errorf("%d pages in use, want 2", n)
	}
}

func TestMemStacked(t *testing.T) {
	ctx := context.Background()
	m, _ := oneDisk()
	info := blockdev.Info{Path: "/dev/dm-0", Dev: devno.No{Major: 253, Minor: 0}, Size: size.MiB, DMUUID: "PLEX-1", Slaves: []devno.No{{Major: 8, Minor: 0}}}
	var asked []blockdev.Mode
	open := func(mode blockdev.Mode) (blockdev.Disk, error) {
		asked = append(asked, mode)
		_, err := m.Stat(ctx, testDisk) // must not deadlock
		return nil, errors.Join(err, unix.EAGAIN)
	}
	m.Stack(info, open)
	m.Link("/dev/mapper/x", "/dev/dm-0")
	info.Size *= 2
	m.Stack(info, open)
	infos, err := m.Scan(ctx)
	if err != nil || len(infos) != 2 {
		t.Fatalf("scan = %v, %v, want two devices", infos, err)
	}
	if diff := cmp.Diff(info, infos[1]); diff != "" {
		t.Errorf("stacked device (-want +got):\n%s", diff)
	}
	if _, err := m.Open(ctx, "/dev/mapper/x", blockdev.Write); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("open: %v, want the answer of the other layer", err)
	}
	if diff := cmp.Diff([]blockdev.Mode{blockdev.Write}, asked); diff != "" {
		t.Errorf("modes asked for (-want +got):\n%s", diff)
	}
	if err := m.Claim(info.Dev, devno.No{Major: 253, Minor: 1}, "upper"); err != nil {
		t.Errorf("claim of a stacked device: %v", err)
	}
	if _, err := m.Medium(info.Dev); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("medium of a stacked device: %v, want %v", err, blockdev.ErrNotExist)
	}
	m.Unstack(info.Dev)
	if _, err := m.Stat(ctx, "/dev/mapper/x"); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("stat after Unstack: %v, want %v", err, blockdev.ErrNotExist)
	}
}

// TestMemAgainstModel does random reads, writes and flushes on a drive and on a slice.
func TestMemAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New()
		dev := m.AddDisk(blockdev.Info{Path: testDisk, Size: 16 * blockdev.Align})
		x, err := m.Medium(dev)
		if err != nil {
			t.Fatal(err)
		}
		model, durable := make([]byte, 16*blockdev.Align), make([]byte, 16*blockdev.Align)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			off := 512 * rapid.IntRange(0, 127).Draw(t, "sector")
			b := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, 512*rapid.IntRange(1, 128-off/512).Draw(t, "sectors"))
			if _, err := x.WriteAt(b, int64(off)); err != nil {
				t.Fatal(err)
			}
			copy(model[off:], b)
			if rapid.IntRange(0, 3).Draw(t, "flush") == 0 {
				if err := x.Sync(); err != nil {
					t.Fatal(err)
				}
				copy(durable, model)
			}
		}
		for name, want := range map[string]struct {
			m       *Mem
			content []byte
		}{"now": {m, model}, "lost": {m.Cut(Lost), durable}, "kept": {m.Cut(Kept), model}} {
			got, err := want.m.Medium(dev)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 16*blockdev.Align)
			if _, err := got.ReadAt(b, 0); err != nil || !bytes.Equal(b, want.content) {
				t.Fatalf("%s: content is not the model's: %v", name, err)
			}
		}
	})
}
