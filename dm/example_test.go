//go:build linux

package dm_test

import (
	"fmt"
	"log"

	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm"
)

// A mirror of two legs, as Control.Load takes it and as `dmsetup table` prints it. The second leg is missing.
func ExampleTable_String() {
	mirror := dm.Raid1{
		RegionSize: 2048,
		Legs: []dm.Leg{
			{Meta: devno.No{Major: 253, Minor: 0}, Data: devno.No{Major: 253, Minor: 1}},
			{},
		},
	}
	fmt.Println(dm.Table{{Length: 262144, Target: mirror}})
	// Output:
	// 0 262144 raid raid1 3 0 region_size 2048 2 253:0 253:1 - -
}

// A target of a table line that the kernel has printed.
func ExampleParseTarget() {
	target, err := dm.ParseTarget("linear", "8:16 4096")
	if err != nil {
		log.Fatal(err)
	}
	if linear, ok := target.(dm.Linear); ok {
		fmt.Println("device", linear.Dev, "from sector", uint64(linear.Offset), "on")
	}
	// Output:
	// device 8:16 from sector 4096 on
}

// A mirror whose second leg is being filled.
func ExampleParseRaidStatus() {
	status, err := dm.ParseRaidStatus("raid1 2 Aa 65536/262144 recover 0 0 -")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d %% of the second leg, complete: %t\n", status.Action, 100*status.Done/status.Total, status.Complete())
	// Output:
	// recover: 25 % of the second leg, complete: false
}
