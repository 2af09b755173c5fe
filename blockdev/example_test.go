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
	if err != nil {
		log.Fatal(err)
	}
	defer disk.Close()

	block := make([]byte, blockdev.Align)
	copy(block, "hello")
	if _, err := disk.WriteAt(block, 0); err != nil {
		log.Fatal(err)
	}
	read := func(host *blocktest.Mem) string {
		d, err := host.Open(ctx, "/dev/sda", blockdev.Read)
		if err != nil {
			log.Fatal(err)
		}
		defer d.Close()
		b := make([]byte, blockdev.Align)
		if _, err := d.ReadAt(b, 0); err != nil {
			log.Fatal(err)
		}
		return string(b[:5])
	}
	fmt.Printf("cut before the flush: %q\n", read(host.Cut(blocktest.Lost)))
	if err := disk.Sync(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("cut after it: %q\n", read(host.Cut(blocktest.Lost)))
	// Output:
	// cut before the flush: "\x00\x00\x00\x00\x00"
	// cut after it: "hello"
}
