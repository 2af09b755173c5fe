package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// results is what the output of tests says. It reads what they print with -test.v=test2json, in which each line of the test
// binary itself begins with a byte that no test prints.
type results struct {
	log     io.Writer // gets everything, without those bytes
	pkg     string    // whose tests run now
	current []string  // output of the test that runs now
	ended   map[string]float64
	passed  int // tests and subtests
	failed  []string
	broken  strings.Builder // output of the tests that failed
}

// marker is the byte before each line of the test binary.
const marker = "\x16"

// packageLine is how a guest says whose tests follow.
const packageLine = marker + "package "

func newResults(log io.Writer) *results { return &results{log: log, ended: map[string]float64{}} }

// verdictLine is the line for a test that has ended: "--- PASS: TestScan/all (1.20s)", indented for a subtest.
var verdictLine = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+) \(([0-9.]+)s\)\n?$`)

// Write takes whole lines.
func (r *results) Write(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		if err := r.line(string(line)); err != nil {
			return 0, err
		}
	}
	return len(text), nil
}

// line takes one line. What a test printed without a line feed is before the marker.
func (r *results) line(text string) error {
	plain := strings.ReplaceAll(text, marker, "")
	if _, err := io.WriteString(r.log, plain); err != nil {
		return err
	}
	r.current = append(r.current, plain)
	if pkg, ok := strings.CutPrefix(text, packageLine); ok {
		r.pkg, r.current = strings.TrimSpace(pkg), nil
		return nil
	}
	_, own, ok := strings.Cut(text, marker)
	if !ok {
		return nil
	}
	if name, ok := strings.CutPrefix(own, "=== RUN   "); ok && !strings.Contains(name, "/") {
		r.current = []string{plain}
	}
	if found := verdictLine.FindStringSubmatch(own); found != nil {
		return r.verdict(found[1], found[2], found[3])
	}
	return nil
}

// verdict counts a test that has ended. One that was skipped has failed.
func (r *results) verdict(verdict, name, seconds string) error {
	if verdict == "PASS" {
		r.passed++
	} else {
		r.failed = append(r.failed, fmt.Sprintf("%s.%s: %s", r.pkg, name, strings.ToLower(verdict)))
	}
	if strings.Contains(name, "/") {
		return nil
	}
	if verdict != "PASS" {
		r.broken.WriteString(strings.Join(r.current, ""))
	}
	r.current = nil
	var err error
	r.ended[r.pkg+"."+name], err = strconv.ParseFloat(seconds, 64)
	return err
}

// missing counts the tests that did not end as failed, with what was printed last.
func (r *results) missing(tests []test) {
	for _, t := range tests {
		if _, ok := r.ended[t.String()]; !ok {
			r.failed = append(r.failed, t.String()+": did not end")
		}
	}
	if len(r.current) > 0 {
		r.broken.WriteString(strings.Join(r.current, ""))
	}
}
