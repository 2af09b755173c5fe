//go:build linux

package blockdev_test

import (
	"context"
	"fmt"
	"log"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/size"
)

// A write survives a power cut once Sync has returned. On a real machine, blockdev.Host{} takes the place of blocktest.New().
func Example() {
	ctx := context.Background()
	host := blocktest.New()
	host.AddDisk(blockdev.Info{Path: "/dev/sda", Size: size.GiB})
	disk, err := host.Open(ctx, "/dev/sda", blockdev.Exclusive)
	must(err)
	defer disk.Close()

	block := make([]byte, blockdev.Align)
	copy(block, "hello")
	_, err = disk.WriteAt(block, 0)
	must(err)
	read := func(host *blocktest.Mem) string {
		d, err := host.Open(ctx, "/dev/sda", blockdev.Read)
		must(err)
		defer d.Close()
		b := make([]byte, blockdev.Align)
		_, err = d.ReadAt(b, 0)
		must(err)
		return string(b[:5])
	}
	fmt.Printf("cut before the flush: %q\n", read(host.Cut(blocktest.Lost)))
	must(disk.Sync())
	fmt.Printf("cut after it: %q\n", read(host.Cut(blocktest.Lost)))
	// Output:
	// cut before the flush: "\x00\x00\x00\x00\x00"
	// cut after it: "hello"
}

// must ends the example.
func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
