package measure

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// ioTime is for how long each kind of I/O is done.
const ioTime = time.Second

// ioKind is a kind of I/O, past the page cache.
type ioKind struct {
	name    string
	block   size.Bytes
	workers int
	write   bool
	random  bool
}

func ioKinds() []ioKind {
	return []ioKind{
		{"random read, 4 KiB", lab.BlockSize, 4, false, true},
		{"random write, 4 KiB", lab.BlockSize, 4, true, true},
		{"sequential read, 1 MiB", size.MiB, 1, false, false},
		{"sequential write, 1 MiB", size.MiB, 1, true, false},
	}
}

// throughput measures finished mirrors, and a device that is none.
func (b *bench) throughput() {
	contenders := slices.Concat([]contender{&bareContender{bench: b}, b.plexctl()}, b.plexctlTracked(),
		[]contender{b.lvmTuned(), b.mdadmUsual(), b.mdadmTuned()})
	b.inTurns(contenders, func(c contender, round int) {
		b.blank()
		c.create(b.length)
		defer c.remove()
		lab.FillWith(b.t, c.path(), "written ", b.length)
		c.attach()
		b.awaitFilled(c)
		for _, kind := range ioKinds() {
			n := b.load(c.path(), kind)
			f := figure{Figure: "io", Case: kind.name, Subject: c.name(), Round: round}
			if kind.random {
				f.Unit, f.Value = "IO/s", float64(n)/ioTime.Seconds()
			} else {
				f.Unit, f.Value = "MiB/s", float64(n)*float64(kind.block/size.MiB)/ioTime.Seconds()
			}
			b.tell(f)
		}
	})
}

// load does I/O of one kind for a while, and returns how many requests were answered in time.
func (b *bench) load(device string, kind ioKind) uint64 {
	b.t.Helper()
	var done atomic.Uint64
	var wg sync.WaitGroup
	end := time.Now().Add(ioTime)
	for range kind.workers {
		f, err := lab.OpenDirect(device, os.O_RDWR)
		lab.Must(b.t, err)
		wg.Go(func() {
			defer f.Close()
			if err := kind.work(f, b.length, end, &done); err != nil {
				b.t.Errorf("%s: %v", kind.name, err)
			}
		})
	}
	wg.Wait()
	return done.Load()
}

// work does I/O until the time is up.
func (k ioKind) work(f *os.File, length size.Bytes, end time.Time, done *atomic.Uint64) error {
	p := lab.AlignedBuffer(k.block)
	defer unix.Munmap(p)
	do := f.ReadAt
	if k.write {
		do = f.WriteAt
	}
	blocks := int64(length / k.block)
	for n := int64(0); ; n++ {
		at := n % blocks
		if k.random {
			at = rand.Int64N(blocks)
		}
		if _, err := do(p, at*int64(k.block)); err != nil {
			return fmt.Errorf("block %d: %w", at, err)
		}
		if time.Now().After(end) {
			return nil
		}
		done.Add(1)
	}
}

// bareContender is a device-mapper device on the first drive that mirrors nothing.
type bareContender struct{ *bench }

func (c *bareContender) name() string { return "no mirror" }

func (c *bareContender) path() string { return "/dev/mapper/lab-bare" }

func (c *bareContender) suspends() suspends { return mapperSuspends("lab-bare") }

func (c *bareContender) create(length size.Bytes) {
	c.t.Helper()
	table := dm.Table{{Length: length.Sectors(), Target: dm.Other{Name: "linear", Args: c.drives[0] + " 0"}}}
	lab.RunTool(c.t, "dmsetup", "create", "lab-bare", "--table", table.String())
}

func (c *bareContender) attach() {}

func (c *bareContender) progress() float64 { return 1 }

func (c *bareContender) settle() {}

func (c *bareContender) takeBack() {}

func (c *bareContender) remove() {
	c.t.Helper()
	lab.RunTool(c.t, "dmsetup", "remove", "--retry", "lab-bare")
}
