package integration

import "github.com/plexctl/plexctl/internal/sweep"

// rounds is how many rounds a test makes: the few, or the many of a sweep.
func rounds(few, many int) int {
	if sweep.On() {
		return many
	}
	return few
}
