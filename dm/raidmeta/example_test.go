package raidmeta_test

import (
	"fmt"
	"log"

	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/size"
)

// Metadata for a mirror of two legs. The first holds the data; the second lacks the regions 3 and 5.
func ExampleAttach() {
	array := size.Sectors(128 * size.MiB / size.Sector)
	region := raidmeta.RegionSize(array)
	bits := raidmeta.NewBits(raidmeta.Regions(array, region), false)
	bits.Set(3)
	bits.Set(5)
	slots, err := raidmeta.Attach(raidmeta.AttachPlan{
		ArraySize:  array,
		RegionSize: region,
		InSync:     []bool{true, false},
		Bits:       bits,
	})
	if err != nil {
		log.Fatal(err)
	}
	for i, slot := range slots {
		fmt.Printf("leg %d: %d bytes, events %d, in sync %t, %d of %d regions to copy\n", i, len(slot.Encode()),
			slot.Super.Events, slot.Super.RecoveryOffset == raidmeta.InSync, slot.Bitmap.Bits.Count(), raidmeta.Regions(array, region))
	}
	// Output:
	// leg 0: 8192 bytes, events 2, in sync true, 2 of 128 regions to copy
	// leg 1: 8192 bytes, events 1, in sync false, 2 of 128 regions to copy
}
