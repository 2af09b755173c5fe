// Package sweep gives tests what scripts/sweep.sh sets: how long a random search goes on, and its seed.
package sweep

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Environment variables: the time, as a Go duration, and the seed, as a number.
const (
	TimeVar = "PLEXCTL_SWEEP"
	SeedVar = "PLEXCTL_SEED"
)

// On reports whether tests run in full, however long that takes.
func On() bool { return os.Getenv(TimeVar) != "" }

// Time returns how long a random search goes on, and whether there is a sweep at all. Without one, tests search briefly.
func Time(t testing.TB) (time.Duration, bool) {
	t.Helper()
	text := os.Getenv(TimeVar)
	if text == "" {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s is %q, not a duration such as 10m", TimeVar, text)
	}
	return d, true
}

// Seed returns the seed for a test's random choices: the one in the environment, else a new one in a sweep, else fixed.
func Seed(t testing.TB, fixed uint64) uint64 {
	t.Helper()
	if text := os.Getenv(SeedVar); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q, not a number", SeedVar, text)
		}
		return seed
	}
	if On() {
		return rand.Uint64()
	}
	return fixed
}
