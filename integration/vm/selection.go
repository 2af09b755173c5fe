package vm

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// selection is the tests of a binary, benchmarks among them, by where they run.
type selection struct {
	kernel    []string
	host      []string // TestHost…
	scenarios []string // TestGuest…

	runKernel bool // the flags of this process choose a kernel test
	runHost   bool // the flags of this process choose a host test
}

// chooseTests asks the running binary for its tests and sorts them.
func chooseTests() (selection, error) {
	self, err := os.Executable()
	if err != nil {
		return selection{}, err
	}
	list, err := exec.Command(self, "-test.list=.").Output()
	if err != nil {
		return selection{}, fmt.Errorf("list tests of %s: %w", self, err)
	}
	return sortTests(strings.Fields(string(list)), flagValue)
}

// sortTests sorts names. The values of -test.run, -test.skip and -test.bench choose some of them.
func sortTests(names []string, value func(name string) string) (selection, error) {
	var s selection
	for _, name := range names {
		wanted, err := wants(name, value)
		if err != nil {
			return s, err
		}
		switch {
		case strings.HasPrefix(name, "TestGuest"):
			s.scenarios = append(s.scenarios, name)
		case strings.HasPrefix(name, "TestHost"):
			s.host = append(s.host, name)
			s.runHost = s.runHost || wanted
		default:
			s.kernel = append(s.kernel, name)
			s.runKernel = s.runKernel || wanted
		}
	}
	return s, nil
}

// wants reports whether the flags choose the named test. A pattern with a slash is about subtests: what is before the
// slash chooses the test, and what it skips is never the whole test.
func wants(test string, value func(name string) string) (bool, error) {
	pattern := value("test.run")
	if strings.HasPrefix(test, "Benchmark") {
		pattern = value("test.bench")
		if pattern == "" {
			return false, nil
		}
	}
	top, _, _ := strings.Cut(pattern, "/")
	chosen, err := regexp.MatchString(top, test)
	skip := value("test.skip")
	if err != nil || !chosen || skip == "" || strings.Contains(skip, "/") {
		return chosen, err
	}
	skipped, err := regexp.MatchString(skip, test)
	return !skipped, err
}

// skipTests makes this process skip the named tests, besides those it was told to skip.
func skipTests(names []string) {
	if err := flag.Set("test.skip", skipPattern(names)); err != nil {
		panic(err) // the flag takes any text
	}
}

// skipPattern is -test.skip with the named tests added.
func skipPattern(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = "^" + name + "$"
	}
	if given := flagValue("test.skip"); given != "" {
		quoted = slices.Insert(quoted, 0, given)
	}
	return strings.Join(quoted, "|")
}

// flagValue is the value of a flag of this process, "" for a flag it does not have.
func flagValue(name string) string {
	f := flag.Lookup(name)
	if f == nil {
		return ""
	}
	return f.Value.String()
}
