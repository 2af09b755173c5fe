package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// times is how long tests took, in seconds, by kernel and test: "6.12 product.TestScan". The file has a line for each.
type times map[string]float64

// unknownTime is what a test may take that has never been timed.
const unknownTime = 20

// readTimes reads a file of times. A missing one is empty.
func readTimes(file string) (times, error) {
	known := times{}
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: %q is no kernel, test and seconds", file, line)
		}
		seconds, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file, line, err)
		}
		known[fields[0]+" "+fields[1]] = seconds
	}
	return known, nil
}

// write writes a file of times, sorted.
func (k times) write(file string) error {
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(k)) {
		fmt.Fprintf(&text, "%s %.1f\n", key, k[key])
	}
	return os.WriteFile(file, []byte(text.String()), 0o644)
}

// of is how long a test should take on a kernel: as long as it took there, or else as it took where it was slowest.
func (k times) of(kernel string, t test) float64 {
	if seconds, ok := k[kernel+" "+t.String()]; ok {
		return seconds
	}
	longest := 0.0
	for key, seconds := range k {
		if _, name, _ := strings.Cut(key, " "); name == t.String() {
			longest = max(longest, seconds)
		}
	}
	if longest == 0 {
		return unknownTime
	}
	return longest
}

// only is the times of tests that are still there.
func (k times) only(tests []test) times {
	there := map[string]bool{}
	for _, t := range tests {
		there[t.String()] = true
	}
	left := maps.Clone(k)
	maps.DeleteFunc(left, func(key string, _ float64) bool {
		_, name, _ := strings.Cut(key, " ")
		return !there[name]
	})
	return left
}
