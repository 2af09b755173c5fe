package integration

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Environment variables of a sweep, which scripts/sweep.sh sets: how long a test that can go on for ever is to go on, as a Go
// duration, and the seed of what it draws.
const (
	sweepVar = "PLEXCTL_SWEEP"
	seedVar  = "PLEXCTL_SEED"
)

// sweepTime is how long a test is to go on, and whether there is a sweep at all; without one a test takes a short slice.
func sweepTime(t testing.TB) (time.Duration, bool) {
	t.Helper()
	text := os.Getenv(sweepVar)
	if text == "" {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s is %q, not a duration such as 10m", sweepVar, text)
	}
	return d, true
}

// sweepSeed is the seed of what a test draws: that of the environment, else a new one in a sweep, and a fixed one without.
func sweepSeed(t testing.TB, fixed uint64) uint64 {
	t.Helper()
	if text := os.Getenv(seedVar); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q, not a number", seedVar, text)
		}
		return seed
	}
	if _, sweeping := sweepTime(t); sweeping {
		return rand.Uint64()
	}
	return fixed
}

// sweep reports whether tests are to do everything, however long that takes.
func sweep() bool { return os.Getenv(sweepVar) != "" }

// rounds is how many rounds a test makes: the few, or the many of a sweep.
func rounds(few, many int) int {
	if sweep() {
		return many
	}
	return few
}
