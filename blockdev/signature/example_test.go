package signature_test

import (
	"bytes"
	"fmt"

	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/size"
)

func ExampleFind() {
	device := make([]byte, size.MiB)
	copy(device, "XFSB")
	copy(device[108:], "archive")

	found, err := signature.Find(bytes.NewReader(device), size.MiB)
	for _, s := range found {
		fmt.Printf("%s %q\n", s.Type, s.Label)
	}
	fmt.Println(err)
	// Output:
	// xfs "archive"
	// <nil>
}
