package dmtest_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/size"
)

// A device on a drive in memory. It is suspended, so a write to it would wait.
func Example() {
	ctx := context.Background()
	machine := blocktest.New()
	drive := machine.AddDisk(blockdev.Info{Path: "/dev/sda", Size: 16 * size.MiB})
	kernel := dmtest.New(machine, dmtest.Linux6_12)
	_, err := kernel.Create(ctx, "web1", "")
	table := dm.Table{{Length: 2048, Target: dm.Linear{Dev: drive, Offset: 4096}}}
	err = errors.Join(
		err,
		kernel.Load(ctx, "web1", table),
		kernel.Resume(ctx, "web1", dm.Public),
		kernel.WriteAt(ctx, "web1", make([]byte, 4096), 0),
		kernel.Suspend(ctx, "web1", false),
	)
	if err != nil {
		log.Fatal(err)
	}
	info, live, err := kernel.Observe(ctx, "web1")
	fmt.Println(info.Dev, "suspended:", info.Suspended, "table:", live, err)
	fmt.Println(kernel.Remove(ctx, "web2"))
	// Output:
	// 253:0 suspended: true table: 0 2048 linear 8:0 4096 <nil>
	// remove "web2": no such device or address
}
