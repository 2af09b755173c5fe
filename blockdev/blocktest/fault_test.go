package blocktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/size"
)

func TestMemFaults(t *testing.T) {
	read := func(block int64) func(blockdev.Disk) error {
		return func(d blockdev.Disk) error { _, err := d.ReadAt(blocks(1, 0), block*blockdev.Align); return err }
	}
	write := func(block int64) func(blockdev.Disk) error {
		return func(d blockdev.Disk) error { _, err := d.WriteAt(blocks(1, 1), block*blockdev.Align); return err }
	}
	flush := func(d blockdev.Disk) error { return d.Sync() }
	type step struct {
		do   func(blockdev.Disk) error
		want error
	}
	tests := []struct {
		name  string
		fault Fault
		steps []step
	}{
		{"the next write", Fault{Kind: "write", Nth: 1}, []step{{read(0), nil}, {write(0), unix.EIO}, {write(0), nil}}},
		{"the second write", Fault{Kind: "write", Nth: 2}, []step{{write(0), nil}, {write(0), unix.EIO}, {write(0), nil}}},
		{"every write", Fault{Kind: "write"}, []step{{write(0), unix.EIO}, {write(9), unix.EIO}, {flush, nil}, {read(0), nil}}},
		{"the next read", Fault{Kind: "read", Nth: 1}, []step{{write(0), nil}, {read(0), unix.EIO}, {read(0), nil}}},
		{"the next flush", Fault{Kind: "flush", Nth: 1}, []step{{write(0), nil}, {flush, unix.EIO}, {flush, nil}}},
		{"reads of a sector", Fault{Kind: "read", Offset: 2*blockdev.Align + 512, Length: 512}, []step{
			{read(1), nil}, {read(2), unix.EIO}, {read(2), unix.EIO}, {read(3), nil}, {write(2), nil},
		}},
		{"the second write of a range", Fault{Kind: "write", Offset: blockdev.Align, Length: blockdev.Align, Nth: 2}, []step{
			{write(0), nil}, {write(1), nil}, {write(2), nil}, {write(1), unix.EIO}, {write(1), nil},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := oneDisk()
			d := mustOpen(t, m, testDisk, blockdev.Write)
			m.Fail(testDisk, tt.fault)
			for i, s := range tt.steps {
				if err := s.do(d); !errors.Is(err, s.want) {
					t.Errorf("step %d: %v, want %v", i, err, s.want)
				}
			}
			m.Heal(testDisk)
			for i, s := range tt.steps {
				if err := s.do(d); err != nil {
					t.Errorf("step %d after Heal: %v", i, err)
				}
			}
		})
	}
}

func TestMemFailedWriteChangesNothing(t *testing.T) {
	m, _ := oneDisk()
	d := mustOpen(t, m, testDisk, blockdev.Write)
	m.Fail(testDisk, Fault{Kind: "write", Nth: 1})
	if n, err := d.WriteAt(blocks(1, 1), 0); n != 0 || !errors.Is(err, unix.EIO) {
		t.Errorf("write = %d, %v, want 0, %v", n, err, unix.EIO)
	}
	if !bytes.Equal(content(t, m, testDisk), make([]byte, size.MiB)) {
		t.Error("content changed")
	}
}

func TestMemFailedFlushKeepsTheCache(t *testing.T) {
	m, _ := oneDisk()
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(1, 1), 0)
	m.Fail(testDisk, Fault{Kind: "flush", Nth: 1})
	if err := d.Sync(); !errors.Is(err, unix.EIO) {
		t.Errorf("flush: %v, want %v", err, unix.EIO)
	}
	if got := content(t, m.Cut(Lost), testDisk)[:blockdev.Align]; !bytes.Equal(got, blocks(1, 0)) {
		t.Error("a failed flush made a write durable")
	}
}

func TestMemCut(t *testing.T) {
	m, dev := oneDisk()
	m.SetSignatures(testDisk, signature.Signature{Type: "ext4"})
	m.Stack(blockdev.Info{Path: "/dev/dm-0", Dev: devno.No{Major: 253, Minor: 0}}, func(blockdev.Mode) (blockdev.Disk, error) { return nil, unix.EIO })
	m.Link("/dev/disk/a", testDisk)
	d := mustOpen(t, m, testDisk, blockdev.Exclusive)
	m.SetUsers(dev, blockdev.User{Kind: "mount", Name: "/srv"})
	write(t, d, blocks(2, 1), 0)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	write(t, d, blocks(1, 2), 0)
	write(t, d, blocks(1, 3), blockdev.Align)
	torn := func(cache []Unflushed) (left []Unflushed) {
		for _, w := range cache {
			if w.Path != testDisk || len(w.Data) != blockdev.Align {
				t.Errorf("write %+v", w)
			}
			left = append(left, Unflushed{Offset: w.Offset + 512, Data: w.Data[512:1024]})
		}
		return left
	}
	second := blocks(2, 1)
	copy(second[512:1024], blocks(1, 2))
	copy(second[blockdev.Align+512:blockdev.Align+1024], blocks(1, 3))
	for name, tt := range map[string]struct {
		fate Fate
		want []byte
	}{
		"lost": {Lost, blocks(2, 1)},
		"kept": {Kept, append(blocks(1, 2), blocks(1, 3)...)},
		"torn": {torn, second},
	} {
		t.Run(name, func(t *testing.T) {
			after := m.Cut(tt.fate)
			if got := content(t, after, "/dev/disk/a")[:2*blockdev.Align]; !bytes.Equal(got, tt.want) {
				t.Error("content is not what the fate left")
			}
			if got := content(t, after.Cut(Lost), testDisk)[:2*blockdev.Align]; !bytes.Equal(got, tt.want) {
				t.Error("content is lost by a second cut")
			}
			infos, err := after.Scan(context.Background())
			if err != nil || len(infos) != 1 {
				t.Errorf("scan = %v, %v, want the drive alone", infos, err)
			}
			if found, err := after.Signatures(context.Background(), testDisk); err != nil || len(found) != 1 {
				t.Errorf("signatures = %v, %v, want one", found, err)
			}
			mustOpen(t, after, testDisk, blockdev.Exclusive)
		})
	}
	write(t, d, blocks(1, 4), 0)
	if got := content(t, m, testDisk)[:blockdev.Align]; !bytes.Equal(got, blocks(1, 4)) {
		t.Error("the machine itself did not go on")
	}
}

func TestTornIsAMixtureOfFates(t *testing.T) {
	fate := Torn(rand.New(rand.NewPCG(1, 2)))
	seen := map[string]bool{}
	for range 100 {
		kept := 0
		for _, w := range fate([]Unflushed{{Data: blocks(1, 1), Offset: blockdev.Align}}) {
			if w.Offset%512 != 0 || w.Offset < blockdev.Align || w.Offset+int64(len(w.Data)) > 2*blockdev.Align {
				t.Fatalf("%d bytes at %d of a write of %d at %d", len(w.Data), w.Offset, blockdev.Align, blockdev.Align)
			}
			kept += len(w.Data)
		}
		switch kept {
		case 0:
			seen["lost"] = true
		case blockdev.Align:
			seen["kept"] = true
		default:
			seen["torn"] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{"lost": true, "kept": true, "torn": true}, seen); diff != "" {
		t.Errorf("fates (-want +got):\n%s", diff)
	}
}

// Of two writes, one of them over the first half of the other, every subset survives at some time, in either order.
func TestReorderedIsAnySubsetInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	m, _ := oneDisk()
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(2, 1), 0)
	write(t, d, blocks(1, 2), 0)
	seen := map[string]bool{}
	for range 200 {
		got := content(t, m.Cut(Reordered(random)), testDisk)
		if !bytes.Equal(got[:512], got[blockdev.Align-512:blockdev.Align]) || !bytes.Equal(got[blockdev.Align:blockdev.Align+512], got[2*blockdev.Align-512:2*blockdev.Align]) {
			t.Fatal("a write is torn")
		}
		seen[fmt.Sprint(got[0], got[blockdev.Align])] = true
	}
	want := map[string]bool{"0 0": true, "1 1": true, "2 0": true, "2 1": true}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
	if got := content(t, m.Cut(Kept), testDisk); got[0] != 2 || got[blockdev.Align] != 1 {
		t.Error("the machine's own cache is in another order now")
	}
}

// A write of what is there already waits for no flush, and the other pages of a write do.
func TestUnflushedIsWhatChanges(t *testing.T) {
	m, _ := oneDisk()
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(1, 1), blockdev.Align)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	write(t, d, append(append(blocks(1, 2), blocks(1, 1)...), blocks(2, 3)...), 0)
	var got []Unflushed
	m.Cut(func(cache []Unflushed) []Unflushed { got = cache; return nil })
	want := []Unflushed{{testDisk, 0, blocks(1, 2)}, {testDisk, 2 * blockdev.Align, blocks(2, 3)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unflushed (-want +got):\n%s", diff)
	}
}

func TestMemEffects(t *testing.T) {
	m, dev := oneDisk()
	var seen []Effect
	var snapshots int
	m.OnEffect = func(e Effect) error {
		seen = append(seen, e)
		m.Cut(Lost) // must not deadlock
		snapshots++
		return nil
	}
	d := mustOpen(t, m, testDisk, blockdev.Write)
	write(t, d, blocks(1, 1), 0)
	if err := errors.Join(d.Sync(), m.Effect(Effect{"load", "x"})); err != nil {
		t.Fatal(err)
	}
	x, err := m.Medium(dev)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.WriteAt(blocks(1, 2), 0); err != nil {
		t.Fatal(err)
	}
	if err := x.Sync(); err != nil {
		t.Fatal(err)
	}
	want := []Effect{{"write", testDisk}, {"flush", testDisk}, {"load", "x"}}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestMemDeathAndRestart(t *testing.T) {
	ctx := context.Background()
	m, dev := oneDisk()
	left := 1
	m.OnEffect = func(Effect) error {
		if left--; left < 0 {
			return errors.New("killed")
		}
		return nil
	}
	d := mustOpen(t, m, testDisk, blockdev.Exclusive)
	write(t, d, blocks(1, 1), 0)
	if _, err := d.WriteAt(blocks(1, 2), 0); !errors.Is(err, ErrDead) {
		t.Errorf("write that is killed: %v, want %v", err, ErrDead)
	}
	left = 100
	_, scan := m.Scan(ctx)
	_, stat := m.Stat(ctx, testDisk)
	_, open := m.Open(ctx, testDisk, blockdev.Read)
	_, users := m.Users(ctx, dev)
	_, signatures := m.Signatures(ctx, testDisk)
	_, read := d.ReadAt(blocks(1, 0), 0)
	_, written := d.WriteAt(blocks(1, 0), 0)
	for i, err := range []error{scan, stat, open, users, signatures, read, written, d.Sync(), m.Alive(), m.Effect(Effect{"load", "x"})} {
		if !errors.Is(err, ErrDead) {
			t.Errorf("call %d of a dead process: %v, want %v", i, err, ErrDead)
		}
	}
	x, err := m.Medium(dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Sync(); err != nil {
		t.Errorf("flush by the kernel: %v", err)
	}
	m.Restart()
	if err := m.Alive(); err != nil {
		t.Errorf("alive after Restart: %v", err)
	}
	if _, err := d.ReadAt(blocks(1, 0), 0); !errors.Is(err, ErrDead) {
		t.Errorf("read through a descriptor of the dead process: %v, want %v", err, ErrDead)
	}
	if got := content(t, m, testDisk)[:blockdev.Align]; !bytes.Equal(got, blocks(1, 1)) {
		t.Error("content is not what was written before the death")
	}
	mustOpen(t, m, testDisk, blockdev.Exclusive)
}

func TestMediumRefuses(t *testing.T) {
	m, dev := oneDisk()
	x, err := m.Medium(dev)
	if err != nil {
		t.Fatal(err)
	}
	if got := x.Info().Path; got != testDisk {
		t.Errorf("path = %q", got)
	}
	if _, err := m.Medium(devno.No{Major: 9, Minor: 9}); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("medium of no drive: %v, want %v", err, blockdev.ErrNotExist)
	}
	m.Vanish(testDisk)
	if _, err := m.Medium(dev); !errors.Is(err, blockdev.ErrNotExist) {
		t.Errorf("medium of a drive that is gone: %v, want %v", err, blockdev.ErrNotExist)
	}
	if err := x.Sync(); !errors.Is(err, unix.EIO) {
		t.Errorf("flush of a drive that is gone: %v, want %v", err, unix.EIO)
	}
}

func TestMemManyGoroutines(t *testing.T) {
	m, dev := oneDisk()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			d, err := m.Open(context.Background(), testDisk, blockdev.Write)
			if err != nil {
				t.Error(err)
				return
			}
			for range 50 {
				if _, err := d.WriteAt(blocks(1, byte(i+1)), int64(i)*blockdev.Align); err != nil {
					t.Error(err)
				}
				m.Cut(Kept)
				if err := errors.Join(d.Sync(), m.Claim(dev, devno.No{Major: 253, Minor: uint32(i)}, "x")); err != nil {
					t.Error(err)
				}
				m.Release(dev, devno.No{Major: 253, Minor: uint32(i)})
			}
		})
	}
	wg.Wait()
	got := content(t, m.Cut(Lost), testDisk)
	for i := range 8 {
		if !bytes.Equal(got[i*blockdev.Align:(i+1)*blockdev.Align], blocks(1, byte(i+1))) {
			t.Errorf("block %d is not what its goroutine wrote", i)
		}
	}
}
