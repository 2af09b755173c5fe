package lun

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/host"
	"github.com/plexctl/plexctl/lun/internal/ops"
	"github.com/plexctl/plexctl/lun/internal/record"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// firstByteOf is the first byte of a plex, whose LUN has been named after its drive's path.
func firstByteOf(t *testing.T, mem *blocktest.Mem, p catalog.Plex) byte {
	t.Helper()
	for _, path := range []string{"/dev/web1", "/dev/spare3"} {
		disk, err := mem.Open(t.Context(), path, blockdev.Read)
		if err != nil {
			t.Fatal(err)
		}
		info, err := mem.Stat(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		label, err := catalog.ReadDrive(disk, info.Size)
		if err != nil {
			t.Fatal(err)
		}
		if label.Label.Drive != p.Meta.Drive {
			continue
		}
		b := make([]byte, blockdev.Align)
		if _, err := disk.ReadAt(b, int64(p.Data[0].Start.Bytes())); err != nil {
			t.Fatal(err)
		}
		return b[0]
	}
	t.Fatal("no drive has the plex")
	return 0
}

// twins is a host with two LUNs of 6 MiB, each on a drive of its own. The second becomes a plex of the first, which is full of
// data.
func twins(t *testing.T) (*Provider, *blocktest.Mem, *dmtest.Kernel) {
	t.Helper()
	mem := blocktest.New()
	kernel := dmtest.New(mem, dmtest.Linux6_12)
	p, err := Open(t.Context(), Options{Kernel: kernel, Devices: mem, LockPath: t.TempDir() + "/lock"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	made := map[string]*LUN{}
	for _, name := range []string{"web1", "spare3"} {
		mem.AddDisk(blockdev.Info{Path: "/dev/" + name, Size: 32 * size.MiB})
		if _, err := p.InitDrive(t.Context(), "/dev/"+name, InitOptions{}); err != nil {
			t.Fatal(err)
		}
		if made[name], err = p.CreateLUN(t.Context(), Spec{Name: name, Size: 6 * size.MiB, Drives: []string{"/dev/" + name}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := kernel.WriteAt(t.Context(), "plex-web1", bytes.Repeat([]byte{1}, int(6*size.MiB)), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := made["web1"].AddPlex(t.Context(), made["spare3"].ID(), AttachOptions{}); err != nil {
		t.Fatal(err)
	}
	return p, mem, kernel
}

// The ends of a source that is given back are zeroed only after it is no longer a plex, because a cancel may fail.
func TestACancelledSourceIsWipedAtTheEnd(t *testing.T) {
	p, mem, kernel := twins(t)
	for range 2 { // begin, and copy some regions
		if err := kernel.Tick(3); err != nil {
			t.Fatal(err)
		}
	}
	l := p.host().Set.LUNs[0]
	plex := l.Plexes[1]
	firstByte := func() byte {
		return firstByteOf(t, mem, plex)
	}
	before := byte(0)
	mem.OnEffect = func(e blocktest.Effect) error {
		if e.Kind == "resume" && e.Object == "plex-web1" {
			before = firstByte()
		}
		return nil
	}
	_, err := p.env.ChangeLUN(t.Context(), ops.LUN{ID: l.ID, Name: l.Name}, "cancel", ops.Cancel(l.Operation.ID))
	if err != nil {
		t.Fatal(err)
	}
	if after := firstByte(); before != 1 || after != 0 {
		t.Errorf("the source begins with %d before the swap and with %d at the end, want 1 and 0", before, after)
	}
}

// A plex that was never filled completely gets everything when it is recovered, not only the newer writes.
func TestAPlexThatWasNeverWholeGetsEverything(t *testing.T) {
	p, mem, kernel := twins(t)
	mem.Fail("/dev/spare3", blocktest.Fault{Kind: "write"})
	if err := kernel.WriteAt(t.Context(), "plex-web1", make([]byte, blockdev.Align), 0); err != nil {
		t.Fatal(err)
	}
	for _, op := range p.Operations() {
		if _, err := op.QueryStatus(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mem.Heal("/dev/spare3")
	l, err := p.LUN("web1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, err := l.Record(); err != nil || now.Operation == nil || !now.Operation.Whole {
		t.Errorf("%v, record %+v; want an operation that fills the whole plex", err, now)
	}
	if reads, err := p.host().ReadSlots(t.Context(), p.host().Set.LUNs[0]); err != nil || reads[0].Slot.Bitmap.Bits.Count() != 6 || reads[1].Slot.Super.RecoveryOffset == raidmeta.InSync {
		t.Errorf("%v, metadata %+v; want every region set", err, reads)
	}
}

// The record says that a LUN is wiped only after the wipe.
func TestWhatIsCalledWipedIsWiped(t *testing.T) {
	p, mem, _ := twins(t)
	l := p.host().Set.LUNs[0]
	l.Wipe = true
	err := p.env.Change(t.Context(), "wipe", func(ctx context.Context, s *ops.Session) error {
		clean, err := s.FinishWipe(ctx, l)
		if clean.Wipe {
			t.Error("it is still to be wiped")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if b := firstByteOf(t, mem, l.Plexes[0]); b != 0 {
		t.Errorf("the LUN begins with %d", b)
	}
}

// A change is committed once it is on all drives of plexes that hold the data or are targets. A failed drive must not block
// changes of its LUN.
func TestACommitNeedsTheDrivesThatHoldTheData(t *testing.T) {
	for name, want := range map[string]bool{"web1": true, "spare3": false} {
		p, mem, _ := twins(t)
		mem.Fail("/dev/"+name, blocktest.Fault{Kind: "write"})
		err := p.env.Change(t.Context(), "commit", func(ctx context.Context, s *ops.Session) error {
			next := record.Conclude(s.Set.LUNs[0], vds.ErrIO, time.Unix(1e9, 0)) // the plex on spare3 is stale
			return s.Commit(ctx, &host.Transaction{Put: []catalog.LUN{s.Next(next)}})
		})
		if failed := errors.Is(err, vds.ErrDiskConfigurationNotSaved); failed != want {
			t.Errorf("drive of %s fails: %v; want an error: %v", name, err, want)
		}
	}
}
