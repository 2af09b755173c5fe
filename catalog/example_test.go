//go:build linux

package catalog_test

import (
	"context"
	"fmt"
	"log"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
)

// A device becomes a drive, gets the record of a LUN, and is read again.
func Example() {
	mem := blocktest.New()
	mem.AddDisk(blockdev.Info{Path: "/dev/sda", Size: 64 * size.MiB})
	disk, err := mem.Open(context.Background(), "/dev/sda", blockdev.Exclusive)
	must(err)
	defer disk.Close()

	drive := uuid.MustParse("ce3f30e4-0d82-4788-8dff-7a7568442b01")
	must(catalog.Init(disk, catalog.Label{Drive: drive, Size: disk.Info().Size}))
	d, err := catalog.ReadDrive(disk, disk.Info().Size)
	must(err)

	set := catalog.Merge([]catalog.Drive{d})
	space := set.Free(drive)[0]
	mib := catalog.ExtentAlign.Sectors()
	web := set.Next(catalog.LUN{
		ID: uuid.MustParse("405f4a03-be13-456f-9756-dbdf5ea0bd1a"), Name: "web1", Size: 8 * mib,
		Plexes: []catalog.Plex{{
			ID:   uuid.MustParse("cbf16313-e945-4125-b8b1-fc8c4afe2897"),
			Meta: catalog.Extent{Drive: drive, Start: space.Start, Length: catalog.MetaSize.Sectors()},
			Data: []catalog.Extent{{Drive: drive, Start: space.Start + mib, Length: 8 * mib}},
			Slot: catalog.SlotA,
		}},
	})
	must(d.Write(disk, set.Apply(drive, web)))

	again, err := catalog.ReadDrive(disk, disk.Info().Size)
	must(err)
	for _, l := range catalog.Merge([]catalog.Drive{again}).LUNs {
		fmt.Println(l.Name, l.Size, "generation", l.Generation)
	}
	// Output:
	// web1 8.0 MiB generation 1
}

// must ends the example.
func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
