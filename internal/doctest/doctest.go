// Package doctest reads what the documents claim about the code and its tests. Tests hold the claims against both.
package doctest

import (
	"os"
	"regexp"
	"strings"
)

// CodeTest is a test that docs/vds.md names for a code: a subtest of TestCodes.
type CodeTest struct {
	Name     string // CODE/situation
	InMemory bool   // it is in cmd/plexctl, on a simulated kernel; else in integration, on the real one
}

// CodeTests reads the tests that the last column of the tables of docs/vds.md names. `M/x` in a row is the situation x of each
// code of that row in memory, `K/x` is one on the real kernel. `M/C/x` names its code C itself. A test that several rows name
// comes several times.
func CodeTests(path string) ([]CodeTest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var tests []CodeTest
	for line := range strings.Lines(string(text)) {
		tests = append(tests, testsOfRow(line)...)
	}
	return tests, nil
}

var (
	situation = regexp.MustCompile("`([KM])/(?:([A-Z_]+)/)?([a-z_]+)`")
	code      = regexp.MustCompile("`((?:VDS_|S_|E_)[A-Z_]+)`")
)

func testsOfRow(line string) []CodeTest {
	cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	if !strings.HasPrefix(line, "| ") || len(cells) < 4 {
		return nil
	}
	var tests []CodeTest
	for _, named := range situation.FindAllStringSubmatch(cells[len(cells)-1], -1) {
		codes := code.FindAllStringSubmatch(strings.Join(cells[:2], "|"), -1)
		if named[2] != "" {
			codes = [][]string{named[1:]}
		}
		for _, c := range codes {
			tests = append(tests, CodeTest{Name: c[1] + "/" + named[3], InMemory: named[1] == "M"})
		}
	}
	return tests
}
