package size_test

import (
	"fmt"

	"github.com/plexctl/plexctl/size"
)

func ExampleParse() {
	for _, text := range []string{"10GiB", "1.5G", "4096B", "4096", "1,5G"} {
		b, err := size.Parse(text)
		fmt.Println(b, b.Sectors() > 0, err)
	}
	// Output:
	// 10 GiB true <nil>
	// 1.5 GiB true <nil>
	// 4.0 KiB true <nil>
	// 0 B false size "4096": has no unit; write 4096MiB or 4096GiB, say
	// 0 B false size "1,5G": has a comma; write 1.5GiB
}
