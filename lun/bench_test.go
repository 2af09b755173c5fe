package lun_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
)

// many is a machine with n LUNs of 1 MiB on two drives, none of them active.
func many(t testing.TB, n int) *world {
	t.Helper()
	w := newWorld(t, dmtest.Linux6_12, 0)
	for i := range 2 {
		w.mem.AddDisk(blockdev.Info{Path: w.path(i), Size: 16*size.MiB + size.Bytes(n)*size.MiB})
		if _, err := w.p.InitDrive(t.Context(), w.path(i), lun.InitOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i, d := range w.p.Drives() {
		disk, err := w.mem.Open(t.Context(), d.Info.Path, blockdev.Write)
		w.must(err)
		store, err := catalog.ReadDrive(disk, d.Info.Size)
		w.must(err)
		w.must(store.Write(disk, simpleLUNs(d.ID, fmt.Sprintf("lun%d-", i), n/2)))
		w.must(disk.Close())
	}
	w.restart()
	return w
}

// simpleLUNs is records of n LUNs of 1 MiB on an empty drive.
func simpleLUNs(drive uuid.UUID, name string, n int) []catalog.LUN {
	luns := make([]catalog.LUN, n)
	at := catalog.FirstExtent.Sectors()
	for i := range luns {
		meta := catalog.Extent{Drive: drive, Start: at, Length: catalog.MetaSize.Sectors()}
		data := catalog.Extent{Drive: drive, Start: meta.End(), Length: size.MiB.Sectors()}
		luns[i] = catalog.LUN{
			ID: uuid.New(), Name: name + strconv.Itoa(i), Size: data.Length, Generation: 1,
			Plexes: []catalog.Plex{{ID: uuid.New(), Data: []catalog.Extent{data}, Meta: meta, Slot: catalog.SlotA}},
		}
		at = data.End()
	}
	return luns
}

// A machine with many LUNs must not be slower for each of them: however many there are, each costs the kernel and the drives
// the same number of calls.
func TestCallsPerLUN(t *testing.T) {
	for _, n := range []int{10, 100} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			w := many(t, n)
			w.p.Close()
			kernel := &counter{Kernel: w.kernel, asked: map[string]int{}}
			drives := &openCounter{Mem: w.mem}
			p, err := lun.Open(t.Context(), lun.Options{Kernel: kernel, Devices: drives, LockPath: w.lock})
			w.must(err)
			t.Cleanup(p.Close)
			w.p = p
			for _, step := range []struct {
				name           string
				do             func()
				fixed, perLUN  int // calls that ask the kernel
				opened, writes int
			}{
				{"assemble", w.assemble, 2, 1, 2, 0},
				{"assemble again", w.assemble, 2, 3, 2, 0},
				{"survey", func() { _, err := w.p.Survey(t.Context()); w.must(err) }, 1, 1, 0, 0},
				{"create", func() { w.create("another", size.MiB, 0) }, 2, 1, 10, 8},
				{"deactivate", func() { w.deactivateAll() }, 2, 2, 2, 0},
			} {
				clear(kernel.asked)
				drives.opened.Store(0)
				writes := 0
				w.mem.OnEffect = func(e blocktest.Effect) error {
					if e.Kind == "write" {
						writes++
					}
					return nil
				}
				step.do()
				asked := 0
				for _, count := range kernel.asked {
					asked += count
				}
				if most := step.fixed + step.perLUN*(n+1); asked > most {
					t.Errorf("%s asks the kernel %d times, want %d at most: %v", step.name, asked, most, kernel.asked)
				}
				if got := int(drives.opened.Load()); got > step.opened || writes > step.writes {
					t.Errorf("%s opens drives %d times and writes %d times, want %d and %d at most", step.name, got, writes, step.opened, step.writes)
				}
			}
		})
	}
}

// openCounter is drives that count how often one is opened.
type openCounter struct {
	*blocktest.Mem
	opened atomic.Int64
}

func (c *openCounter) Open(ctx context.Context, path string, mode blockdev.Mode) (blockdev.Disk, error) {
	c.opened.Add(1)
	return c.Mem.Open(ctx, path, mode)
}

// deactivateAll takes every LUN down, which must succeed.
func (w *world) deactivateAll() {
	w.t.Helper()
	results, err := w.p.Deactivate(w.t.Context())
	w.must(err)
	for _, r := range results {
		w.must(r.Err)
	}
}

// BenchmarkManyLUNs is what the library itself costs, without a kernel and drives.
func BenchmarkManyLUNs(b *testing.B) {
	for _, n := range []int{10, 100, 500} {
		w := many(b, n)
		b.Run(fmt.Sprintf("refresh/%d", n), func(b *testing.B) {
			for b.Loop() {
				w.must(w.p.Refresh(b.Context()))
			}
		})
		w.assemble()
		b.Run(fmt.Sprintf("assemble/%d", n), func(b *testing.B) {
			for b.Loop() {
				w.assemble()
			}
		})
		b.Run(fmt.Sprintf("survey/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := w.p.Survey(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
