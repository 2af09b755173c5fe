package lab

import (
	"github.com/plexctl/plexctl/internal/sweep"
)

// Rounds is how many rounds a test makes: the few, or the many of a sweep.
func Rounds(few, many int) int {
	if sweep.On() {
		return many
	}
	return few
}
