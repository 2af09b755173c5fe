package lun_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// scannable makes all drives able to zero by themselves. All but the first have content in every MiB.
func (w *world) scannable() {
	w.t.Helper()
	for i, d := range w.p.Drives() {
		if i > 0 {
			w.litters(i)
		}
		w.mem.SetOffload(d.Info.Path, true)
	}
}

// scan scans web1 for spare3 to the end.
func scan(w *world) error {
	return w.find("web1").Scan(w.t.Context(), lun.ScanOptions{Source: w.find("spare3").ID(), Rate: size.TiB})
}

// scanPart scans web1 for a part of the time that it takes.
func scanPart(w *world) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 25*time.Second)
	defer cancel()
	err := w.find("web1").Scan(ctx, lun.ScanOptions{Source: w.find("spare3").ID(), Rate: 100 * size.KiB})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return errors.Join(err, errEnded)
}

var errEnded = errors.New("the scan was not interrupted")

func endScan(w *world) error { return w.find("web1").EndScan(w.t.Context()) }

// scanScenarios are operations of LUNs that are scanned.
func scanScenarios() []scenario {
	good := (*world).scannable
	scanned := func(w *world) { w.must(scan(w)) }
	return []scenario{
		{name: "scan", good: good, prepare: func(*world) {}, act: scan},
		{name: "scan in part", good: good, prepare: func(*world) {}, act: scanPart},
		{name: "go on with a scan", good: good, prepare: func(w *world) { w.must(scanPart(w)); w.put(noise) }, act: scan},
		{name: "go on with a scan after a cut", good: good, prepare: func(w *world) {
			w.must(scanPart(w))
			w.put(noise)
			w.cut(blocktest.Kept)
			w.must(assemble(w))
		}, act: scan},
		{name: "give up a scan", good: good, prepare: scanned, act: endScan},
		{name: "assemble a scanned LUN", good: good, prepare: func(w *world) { scanned(w); w.cut(blocktest.Lost) }, act: assemble},
		{name: "deactivate a scanned LUN", good: good, prepare: scanned, act: deactivate},
		{name: "attach after a scan", good: good, prepare: func(w *world) { scanned(w); w.put(noise) }, act: addPlex("web1", "spare3")},
		{name: "attach after a part of a scan", good: good, prepare: func(w *world) { w.must(scanPart(w)) }, act: addPlex("web1", "spare3")},
		{name: "attach after a scan and a cut", good: good, prepare: func(w *world) {
			scanned(w)
			w.put(noise)
			w.cut(blocktest.Kept)
			w.must(assemble(w))
		}, act: addPlex("web1", "spare3")},
	}
}

// copiedAfter is how many regions the kernel copies to the plex that web1 gets.
func copiedAfter(w *world) uint64 {
	w.t.Helper()
	w.must(addPlex("web1", "spare3")(w))
	bits := w.oracle().slot(w.plexOn(0)).Bitmap.Bits.Count()
	w.settle()
	w.verify()
	w.oracle().inOrder()
	w.oracle().stands()
	return bits
}

// scanWorld is a machine with web1 and spare3, and two regions of six of web1 written.
func scanWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, dmtest.Linux6_12, 3)
	w.scannable()
	w.create("web1", lunSize, 0)
	w.create("spare3", lunSize, 1)
	for at := range int64(20) {
		w.write(at * 25)
	}
	return w
}

// What is copied after a scan, by what happens between the two.
func TestScanCopiesWhatIsNotZero(t *testing.T) {
	tests := map[string]struct {
		between func(w *world)
		want    uint64
	}{
		"nothing happens":     {func(*world) {}, 2},
		"a region is written": {func(w *world) { w.write(1000) }, 3},
		"the machine starts anew": {func(w *world) {
			w.write(1000)
			w.cut(blocktest.Lost)
			w.must(assemble(w))
		}, 3},
		"it is stopped and started": {func(w *world) { w.must(deactivate(w)); w.must(assemble(w)); w.write(1000) }, 3},
		"the map is damaged":        {func(w *world) { w.spoilMap(4096 + 100) }, 6},
		"the map is gone":           {func(w *world) { w.spoilMap(20) }, 6},
		"the bitmap is gone": {func(w *world) {
			w.must(deactivate(w))
			p := w.record("web1").Plexes[0]
			w.spoil(p.Meta.Start.Bytes() + p.Meta.Length.Bytes()/2*size.Bytes(strings.Index("ab", string(p.Slot))))
			w.must(assemble(w))
		}, 6},
		"the scan is given up":            {func(w *world) { w.must(endScan(w)) }, 6},
		"it is given up, and begins anew": {func(w *world) { w.must(endScan(w)); w.write(1000); w.must(scan(w)) }, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := scanWorld(t)
				w.must(scan(w))
				test.between(w)
				if got := copiedAfter(w); got != test.want {
					t.Errorf("%d regions are copied, want %d", got, test.want)
				}
			})
		})
	}
}

// spoil writes something to the first drive.
func (w *world) spoil(at size.Bytes) {
	w.t.Helper()
	_, err := w.medium(0).WriteAt(bytes.Repeat([]byte{0x5A}, 64), int64(at))
	w.must(err)
}

// spoilMap writes something to the map of web1's scan.
func (w *world) spoilMap(at size.Bytes) {
	w.t.Helper()
	p := w.record("web1").Plexes[0]
	half := size.Bytes(0)
	if p.Slot == catalog.SlotA {
		half = p.Meta.Length.Bytes() / 2
	}
	w.spoil(p.Meta.Start.Bytes() + half + at)
}

// A region that is written while it is read, before or after, is copied.
func TestScanBesideAWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := scanWorld(t)
		reports := 0
		err := w.find("web1").Scan(t.Context(), lun.ScanOptions{
			Source: w.find("spare3").ID(), Rate: 100 * size.KiB,
			Report: func(p lun.ScanProgress) {
				w.write(int64(256 * (5 - reports%2)))
				if reports++; p.Done > p.Total || p.Zero > p.Done || p.Total != lunSize {
					t.Errorf("progress %+v", p)
				}
			},
		})
		w.must(err)
		if got := copiedAfter(w); got != 4 || reports < 4 {
			t.Errorf("%d regions are copied, want 4; %d reports", got, reports)
		}
	})
}

// A scan that is interrupted does not read again what it has found.
func TestScanGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := scanWorld(t)
		w.must(scanPart(w))
		props, err := w.find("web1").Properties(t.Context())
		w.must(err)
		if !props.Scanning || len(props.Plexes) != 1 || props.Health != vds.HealthHealthy {
			t.Errorf("properties %+v", props)
		}
		w.restart()
		var first lun.ScanProgress
		err = w.find("web1").Scan(t.Context(), lun.ScanOptions{
			Source: w.find("spare3").ID(), Rate: 100 * size.KiB,
			Report: func(p lun.ScanProgress) {
				if first == (lun.ScanProgress{}) {
					first = p
				}
			},
		})
		w.must(err)
		if first.Zero == 0 {
			t.Errorf("progress %+v; want something that was known", first)
		}
		if got := copiedAfter(w); got != 2 {
			t.Errorf("%d regions are copied, want 2", got)
		}
	})
}

// A scan ends when another process discards it, even if a new scan has begun by then. The first scan's findings do not count.
func TestScanEndsWhenItIsGivenUp(t *testing.T) {
	for _, again := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := scanWorld(t)
			ended := false
			err := w.find("web1").Scan(t.Context(), lun.ScanOptions{
				Source: w.find("spare3").ID(), Rate: 50 * size.KiB,
				Report: func(p lun.ScanProgress) {
					if ended || p.Zero == 0 {
						return
					}
					ended = true
					other, err := lun.Open(t.Context(), lun.Options{Kernel: w.kernel, Devices: w.mem, LockPath: w.lock})
					w.must(err)
					defer other.Close()
					w.must(w.on(other, endScan))
					w.write(600) // in a region that was zero
					if again {
						w.must(w.on(other, scanPart))
					}
				},
			})
			if !errors.Is(err, vds.ErrOperationCanceled) {
				t.Errorf("scan: %v, want VDS_E_OPERATION_CANCELED", err)
			}
			w.must(w.p.Refresh(t.Context()))
			copiedAfter(w)
		})
	}
}

// What a LUN that is scanned refuses, and what refuses to be scanned.
func TestScanRefusals(t *testing.T) {
	tests := map[string]struct {
		prepare func(w *world)
		act     func(w *world) error
		want    vds.Code
	}{
		"extend":      {func(w *world) { w.must(scan(w)) }, extend, vds.ErrAnotherCallInProgress},
		"be a source": {func(w *world) { w.must(scan(w)); w.create("web2", lunSize, 2) }, addPlex("web2", "web1"), vds.ErrAnotherCallInProgress},
		"scan a mirror": {func(w *world) {
			attached(w, -1)
			w.create("third", lunSize, 2)
		}, func(w *world) error {
			return w.find("web1").Scan(w.t.Context(), lun.ScanOptions{Source: w.find("third").ID()})
		}, vds.ErrNotSupported},
		"scan for nothing": {func(w *world) { w.mem.SetOffload(w.path(1), false) }, scan, vds.ErrNotSupported},
		"scan for a smaller LUN": {func(w *world) { w.create("small", lunSize/2, 2) }, func(w *world) error {
			return w.find("web1").Scan(w.t.Context(), lun.ScanOptions{Source: w.find("small").ID()})
		}, vds.ErrInvalidOperation},
		"scan for what is not there": {func(*world) {}, func(w *world) error {
			return w.find("web1").Scan(w.t.Context(), lun.ScanOptions{Source: uuid.New()})
		}, vds.ErrObjectNotFound},
		"scan at a standstill": {func(*world) {}, func(w *world) error {
			return w.find("web1").Scan(w.t.Context(), lun.ScanOptions{Source: w.find("spare3").ID(), Rate: lun.Paused})
		}, vds.ErrInvalidArg},
		"end no scan": {func(*world) {}, endScan, vds.ErrInvalidOperation},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := scanWorld(t)
			test.prepare(w)
			before := w.shape()
			if err := test.act(w); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if after := w.shape(); after != before {
				t.Errorf("the machine is\n%swas\n%s", after, before)
			}
			w.verify()
		})
	}
}

func renamed(w *world, name, to string) error { return w.find(name).Rename(w.t.Context(), to) }

// A LUN that is scanned is renamed and deleted like any other.
func TestScannedLUNIsRenamedAndDeleted(t *testing.T) {
	w := scanWorld(t)
	w.must(scan(w))
	w.must(renamed(w, "web1", "web2"))
	w.must(renamed(w, "web2", "web1"))
	w.verify()
	w.must(w.find("web1").Delete(t.Context()))
	w.nothingToDo("after the LUN was deleted")
}

// A tracked LUN needs no scan.
func TestScanOfATrackedLUN(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 2)
	w.tracks()
	w.create("web1", lunSize, 0)
	w.create("spare3", lunSize, 1)
	before := w.shape()
	w.must(scan(w))
	if after := w.shape(); after != before {
		t.Errorf("the machine is\n%swas\n%s", after, before)
	}
}

// A random order of events between scans. The plex that is added afterwards is equal. If there were only scans, writes and
// restarts, no zero region is copied.
func TestScanRandomly(t *testing.T) {
	seed := sweep.Seed(t, 1)
	limit, _ := sweep.Time(t)
	for n, start := uint64(0), time.Now(); n < 40 || time.Since(start) < limit/10; n++ {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, n))
			w := scanWorld(t)
			var story []string
			for range 2 + random.IntN(9) {
				story = append(story, w.happensToScan(random))
			}
			w.notSuspended()
			w.verify()
			w.must(scan(w))
			story = append(story, fmt.Sprintf("%d copied", copiedAfter(w)))
			if t.Failed() {
				t.Errorf("PLEXCTL_SEED=%d, story %d: %s", seed, n, strings.Join(story, ", "))
			}
		})
	}
}

// happensToScan lets something happen to web1, and says what.
func (w *world) happensToScan(random *rand.Rand) string {
	w.t.Helper()
	switch what := random.IntN(8); what {
	case 0:
		w.must(scan(w))
		return "scan"
	case 1:
		if err := scanPart(w); err != nil && err.Error() != errEnded.Error() { // nothing else is joined to it
			w.t.Error(err)
		}
		return "scan in part"
	case 2, 3:
		at := int64(2 * random.IntN(6*128))
		w.write(at)
		return fmt.Sprintf("write %d", at)
	case 4:
		at := int64(501 + 2*random.IntN(517)) // where nobody counts on what is there
		w.put(at)
		return fmt.Sprintf("write %d, not flushed", at)
	case 5:
		w.keep()
		w.cut([]blocktest.Fate{blocktest.Lost, blocktest.Kept}[random.IntN(2)])
		w.must(assemble(w))
		return "cut"
	case 6:
		w.must(deactivate(w))
		w.must(assemble(w))
		return "restart"
	default:
		if err := endScan(w); err != nil && !errors.Is(err, vds.ErrInvalidOperation) {
			w.t.Error(err)
		}
		return "give up"
	}
}
