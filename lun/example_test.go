package lun_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// exampleMachine is a machine in memory with two drives. On a real one there are no Options to set.
func exampleMachine(ctx context.Context) (p *lun.Provider, kernel *dmtest.Kernel, done func()) {
	mem := blocktest.New()
	kernel = dmtest.New(mem, dmtest.Linux6_12)
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	p, err = lun.Open(ctx, lun.Options{Kernel: kernel, Devices: mem, LockPath: filepath.Join(dir, "lock")})
	if err != nil {
		log.Fatal(err)
	}
	for i, path := range []string{"/dev/sdb", "/dev/sdc"} {
		mem.AddDisk(blockdev.Info{Path: path, Size: size.Bytes(64-8*i) * size.MiB})
		if _, err := p.InitDrive(ctx, path, lun.InitOptions{}); err != nil {
			log.Fatal(err)
		}
	}
	return p, kernel, func() { p.Close(); _ = os.RemoveAll(dir) }
}

// check ends an example that does not go as it should.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A LUN becomes a mirror while it is in use.
func ExampleLUN_AddPlex() {
	ctx := context.Background()
	p, kernel, done := exampleMachine(ctx)
	defer done()

	web, err := p.CreateLUN(ctx, lun.Spec{Name: "web1", Size: 32 * size.MiB, Drives: []string{"/dev/sdb"}})
	check(err)
	spare, err := p.CreateLUN(ctx, lun.Spec{Name: "spare3", Size: 32 * size.MiB, Drives: []string{"/dev/sdc"}})
	check(err)
	op, err := web.AddPlex(ctx, spare.ID(), lun.AttachOptions{})
	check(err)
	fmt.Println("attached:", op.Type)
	_ = kernel.RunToEnd() // time passes
	check(op.Wait(ctx))
	props, err := web.Properties(ctx)
	check(err)
	fmt.Println(props.Name, props.Type, props.Health, len(props.Plexes), "plexes")
	_, err = p.LUN("spare3")
	fmt.Println("the source is gone:", errors.Is(err, vds.ErrObjectNotFound))
	// Output:
	// attached: add-plex
	// web1 mirror healthy 2 plexes
	// the source is gone: true
}

// Every error says what happened to what and why, carries a VDS code, and often says what to do.
func ExampleProvider_CreateLUN_refused() {
	ctx := context.Background()
	p, _, done := exampleMachine(ctx)
	defer done()

	_, err := p.CreateLUN(ctx, lun.Spec{Name: "big", Size: size.GiB})
	fmt.Println(err)
	fmt.Println(vds.CodeOf(err), vds.CodeOf(err).Hex())
	fmt.Println("hint:", vds.HintOf(err))
	// Output:
	// allocate 1.0 GiB: the drive with the most room, /dev/sdb, has room for 55 MiB
	// VDS_E_NOT_ENOUGH_SPACE 0x8004240F
	// hint: make room, or make another drive with `plexctl drive init DEVICE`
}
