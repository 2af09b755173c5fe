package measure

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// returningLeg measures how a leg comes back, after writes to so many places of the mirror while its drive failed: how long
// it takes from the command on, and how much is written to it.
func (b *bench) returningLeg() {
	second := &lab.Brittle{T: b.t, Name: "lab-second", Loop: b.drives[1], Length: benchDrive.Sectors()}
	second.Path = lab.NewMapping(b.t, "second", dm.Table{{Length: second.Length, Target: dm.Other{Name: "linear", Args: b.drives[1] + " 0"}}})
	disk := b.drives[1]
	b.drives[1] = second.Path
	contenders := []contender{b.plexctl(), b.lvmTuned(), b.mdadmUsual(), b.mdadmTuned()}
	b.inTurns(contenders, func(c contender, round int) {
		b.blank()
		c.create(b.length)
		defer c.remove()
		lab.FillWith(b.t, c.path(), "written ", b.length)
		c.attach()
		b.awaitFilled(c)
		c.settle()
		for _, places := range []int{1, 8, 64} {
			second.Pull()
			b.writePlaces(c.path(), places)
			second.Heal()
			b.takeBack(c, disk, figure{Case: fmt.Sprintf("%d × 4 KiB written", places), Subject: c.name(), Round: round})
		}
	})
}

// writePlaces writes a block at so many places, equally far from each other.
func (b *bench) writePlaces(device string, places int) {
	b.t.Helper()
	f, err := lab.OpenDirect(device, os.O_RDWR)
	lab.Must(b.t, err)
	defer f.Close()
	block := lab.AlignedBuffer(lab.BlockSize)
	defer unix.Munmap(block)
	for i := range places {
		_, err := f.WriteAt(block, int64(b.length/size.Bytes(places))*int64(i))
		lab.Must(b.t, err)
	}
}

// takeBack takes the leg back, whose drive is the disk.
func (b *bench) takeBack(c contender, disk string, f figure) {
	b.t.Helper()
	if c.progress() == 1 {
		b.t.Fatalf("%s has not noticed that a leg has failed", c.name())
	}
	before := lab.WrittenTo(b.t, disk)
	start := time.Now()
	c.takeBack()
	b.awaitFilled(c)
	f.Figure = "return"
	b.tellTime(f, time.Since(start))
	f.Figure = "return-written"
	b.tellBytes(f, lab.WrittenTo(b.t, disk)-before)
	c.settle()
}
