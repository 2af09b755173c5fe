package folder

import (
	"fmt"

	"github.com/spf13/cobra"
)

const shared = "Shared text." // shared is in two texts.

func commands() []any {
	return []any{
		&cobra.Command{
			Use:   "one",
			Short: "A short one",
			Long: "A long one,\n" +
				"on two lines. " + shared + "\n" +
				"\n" +
				"After it.\n" +
				"\n" +
				"  plexctl that is code",
		},
		struct{ Short, Long string }{Short: "no command", Long: "no help text"},
		&cobra.Command{
			Use:     "two",
			Example: "  plexctl two",
			Short: fmt.Sprint(5) + " and " +
				fmt.Sprintf("5 %%"),
		},
	}
}
