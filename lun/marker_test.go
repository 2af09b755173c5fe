package lun_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/resync"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// unproven is how the kernel's log has come to say nothing about a copy that is under way.
var unproven = map[string]func(w *world){
	"it was overwritten": func(w *world) { w.kernel.OverwriteLog() },
	"there is none":      func(w *world) { w.kernel.HideLog() },
	"the power failed":   func(w *world) { w.rest(); w.cut(blocktest.Kept); w.must(assemble(w)) },
	"it is on other devices": func(w *world) {
		_, err := w.p.Deactivate(w.t.Context(), "web1")
		w.must(err)
		w.must(assemble(w))
	},
}

// copying is a world whose log says nothing about the copy to web1's second plex. The kernel calls the plex in sync, and nobody
// has looked.
func copying(t *testing.T, lose func(w *world)) *world {
	t.Helper()
	w, target, source := pair(t)
	_, err := target.AddPlex(t.Context(), source.ID(), lun.AttachOptions{})
	w.must(err)
	w.restart()
	lose(w)
	w.rest()
	w.must(w.p.Refresh(t.Context()))
	return w
}

// operation is a handle on the operation of web1, which is watched from now on.
func (w *world) operation() *resync.Async {
	w.t.Helper()
	op, err := w.find("web1").Operation()
	w.must(err)
	return op
}

// If the log does not know, the operation has not ended, for no process, until the plexes have been compared.
func TestWithoutAMarkerThePlexesAreCompared(t *testing.T) {
	for name, lose := range unproven {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := copying(t, lose)
				if err := w.find("web1").Rename(t.Context(), "web2"); err != nil {
					t.Fatal(err)
				}
				w.must(w.find("web2").Rename(t.Context(), "web1"))
				if w.record("web1").Operation == nil {
					t.Fatal("a change has recorded an end that nobody has proven")
				}
				if _, err := w.find("web1").RemovePlex(t.Context(), w.plexOn(0).ID); !errors.Is(err, vds.ErrAnotherCallInProgress) ||
					!strings.Contains(vds.HintOf(err), "op wait") {
					t.Errorf("remove of the source: %v, hint %q", err, vds.HintOf(err))
				}
				start := time.Now()
				if err := w.operation().Wait(t.Context()); err != nil {
					t.Errorf("wait: %v", err)
				}
				if took := time.Since(start); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				if record := w.record("web1"); record.Operation != nil || record.Last.Result != vds.OK {
					t.Errorf("operation %+v, last %+v", record.Operation, record.Last)
				}
				w.verify()
			})
		})
	}
}

// A part of the new plex that it never got is found, and the plex is out of date. A recovery fills it.
func TestAHoleInThePlexIsFound(t *testing.T) {
	for name, lose := range unproven {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := copying(t, lose)
				w.damage(1, int64(lunSize/2))
				if err := w.operation().Wait(t.Context()); !errors.Is(err, vds.ErrIO) || !strings.Contains(err.Error(), "differs") {
					t.Errorf("wait: %v", err)
				}
				if p := w.plexOn(1); !p.Stale {
					t.Errorf("plex %+v; want out of date", p)
				}
				_, err := w.find("web1").Recover(t.Context())
				w.must(err)
				w.settle()
				w.verify()
			})
		})
	}
}

// A sector of the source that cannot be read is found, too.
func TestASourceThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := copying(t, unproven["there is none"])
		middle := w.plexOn(0).Data[0].Start.Bytes() + lunSize/2
		w.mem.Fail(w.path(0), blocktest.Fault{Kind: "read", Offset: middle, Length: 4 * size.KiB})
		if err := w.operation().Wait(t.Context()); !errors.Is(err, vds.ErrIO) || !strings.Contains(err.Error(), "filled from cannot be read") {
			t.Errorf("wait: %v", err)
		}
		if p := w.plexOn(1); !p.Stale {
			t.Errorf("plex %+v; want out of date", p)
		}
	})
}

// busyDisk is a drive on which a block differs for some reads, because users write to it.
type busyDisk struct {
	*blocktest.Mem
	path string
	at   int64
	left int
}

type busyReader struct {
	blockdev.Disk
	d *busyDisk
}

func (d *busyDisk) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	disk, err := d.Mem.Open(ctx, path, mode)
	if err != nil || path != d.path || mode != blockdev.Read {
		return disk, err
	}
	return busyReader{disk, d}, nil
}

func (r busyReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := r.Disk.ReadAt(b, off)
	if r.d.left > 0 && off <= r.d.at && r.d.at < off+int64(len(b)) {
		r.d.left--
		b[r.d.at-off]++
	}
	return n, err
}

// Users write while the plexes are compared: a block that differs for a moment is no difference.
func TestAWriterBesideTheComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := copying(t, unproven["it was overwritten"])
		busy := &busyDisk{Mem: w.mem, path: w.path(1), at: int64(w.plexOn(1).Data[0].Start.Bytes()) + 5*block, left: 20}
		p, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: busy, LockPath: w.lock})
		w.must(err)
		defer p.Close()
		op, err := p.Operation("web1")
		w.must(err)
		if err := op.Wait(t.Context()); err != nil || busy.left > 0 {
			t.Errorf("wait: %v; %d reads left", err, busy.left)
		}
	})
}

// The source fails before the plexes have been compared. Then there is nothing to compare with, and the new plex is all there is.
func TestTheSourceFailsBeforeTheComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := copying(t, unproven["it was overwritten"])
		w.mem.Fail(w.path(0), blocktest.Fault{Kind: "write"})
		w.write(7)
		if err := w.operation().Wait(t.Context()); err != nil {
			t.Errorf("wait: %v", err)
		}
		w.verify()
		w.mem.Heal(w.path(0))
		w.assemble()
		w.settle()
		w.verify()
	})
}

// The markers of a table that is loaded again, and of an extension. Nothing is compared where all plexes hold the data.
func TestMarkersOfOtherChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := copying(t, func(w *world) {
			w.must(setRate(size.MiB)(w))
			w.must(setRate(lun.Unlimited)(w))
		})
		if status, err := w.operation().QueryStatus(t.Context()); err != nil || status.Result != vds.OK {
			t.Errorf("a copy whose rate has changed: %+v, %v", status, err)
		}
		w.must(extend(w))
		w.kernel.OverwriteLog()
		w.rest()
		grown, err := w.find("web1").Operation()
		w.must(err)
		if status, err := grown.QueryStatus(t.Context()); err != nil || status.Result != vds.OK {
			t.Errorf("an extension: %+v, %v", status, err)
		}
	})
}
