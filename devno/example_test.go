package devno_test

import (
	"fmt"

	"github.com/plexctl/plexctl/devno"
)

func ExampleParse() {
	n, err := devno.Parse("253:4")
	fmt.Println(n.Major, n.Minor, err)
	_, err = devno.Parse("sda")
	fmt.Println(err)
	// Output:
	// 253 4 <nil>
	// device "sda": not a number such as 253:4
}
