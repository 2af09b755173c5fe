// Package mutation proves that the tests see what they are there to see: it puts a bug into the code, one at a time, and
// has a named test fail. Each bug is a slip of a line that would lose data, bring a stale plex back to life, leave a LUN
// suspended, pass over a region or give room away twice.
//
//	PLEXCTL_SWEEP=1m go test ./mutation -v                                   all of them, in some minutes
//	PLEXCTL_SWEEP=1m go test ./mutation -v -run 'TestMutations/(a_)?word.*'  some of them
//	go test ./mutation                                                       one in eight, and those of changed files
//
// The bugs are not in the product: for each, go builds the test binary of a package with an overlay, in which one file has
// the bug. A bug that does not build is no bug, and the table cannot rot: what an edit replaces must be in its file exactly
// once. Where it is not any more, say the same bug of the code that is there now. TestMutationsUnchanged runs the same tests
// without a bug; they must pass.
//
// To add a bug, add it to the table of its subject: say in a sentence whose data it would hurt, give the edit, and name the
// test that fails (a subtest by its path), and the test's package where that is not the file's. Leave the name empty first: the
// failure lists the tests of the package that do. If there is none, the bug is a finding, and a test is missing.
package mutation

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plexctl/plexctl/internal/sweep"
)

// mutation is a bug.
type mutation struct {
	name  string
	harm  string // what it would do to somebody's data
	file  string // in which it is, from the top of the repository
	edits []edit
	test  string // that must fail; subtests after slashes
	in    string // the package of test, where that is not the file's
}

// edit replaces a text that must be in the file exactly once.
type edit struct{ old, new string }

// all is every mutation.
func all() []mutation {
	return slices.Concat(swapMutations(), recordMutations(), standingMutations(), operationMutations(), catalogMutations(), metadataMutations(), deviceMutations(), trackMutations(), scanMutations(), driveMutations(), identityMutations(), historyMutations(), departMutations(), silentMutations())
}

// dir is the package whose test must fail.
func (m mutation) dir() string { return cmp.Or(m.in, path.Dir(m.file)) }

// Limits of one build and of one run. A test that hangs is no proof: it has to fail.
const (
	buildLimit = 15 * time.Minute
	runLimit   = "600s"
)

// quick has the compiler take little time for the packages of the project: what a bug changes is compiled for it alone, with all
// that stands on it.
const quick = "-gcflags=github.com/plexctl/plexctl/...=-N -l -dwarf=false"

// shareOfGate is one in how many mutations are tried without PLEXCTL_SWEEP: others with each commit, so that each is tried in
// so many commits. What they replace is looked for in all.
const shareOfGate = 8

// chosen is the mutations to try: all in a sweep, otherwise the share whose turn it is, and those of files that differ from
// the last commit but one.
func chosen(t *testing.T) []mutation {
	t.Helper()
	all := all()
	turn, changed := 0, map[string]bool{}
	if count, err := strconv.Atoi(git("rev-list", "--count", "HEAD")); err == nil {
		turn = count % shareOfGate
	}
	for file := range strings.FieldsSeq(git("diff", "--name-only", "HEAD~1")) {
		changed[file] = true
	}
	var some []mutation
	for i, m := range all {
		if sweep.On() || i%shareOfGate == turn || changed[m.file] {
			some = append(some, m)
		}
	}
	t.Logf("%d of %d mutations, share %d of %d", len(some), len(all), turn+1, shareOfGate)
	return some
}

// git is what git says of the repository; nothing where there is no history.
func git(args ...string) string {
	c := exec.Command("git", args...)
	c.Dir = top
	out, err := c.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// TestMutations kills every mutation by the test that is named for it.
func TestMutations(t *testing.T) {
	var tried, survived atomic.Int64
	t.Cleanup(func() { t.Logf("SWEEP mutations mutations=%d violations=%d", tried.Load(), survived.Load()) })
	for _, m := range all() {
		m.mutated(t)
	}
	slots := make(chan struct{}, runtime.NumCPU())
	for _, m := range chosen(t) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Cleanup(func() {
				if tried.Add(1); t.Failed() {
					survived.Add(1)
				}
			})
			m.kill(t)
		})
	}
}

// TestMutationsUnchanged runs every test that kills a mutation on the code as it is, under an overlay that changes nothing
// but a comment.
func TestMutationsUnchanged(t *testing.T) {
	tests := map[string][]string{} // by package
	files := map[string]string{}
	for _, m := range chosen(t) {
		if !slices.Contains(tests[m.dir()], m.test) {
			tests[m.dir()] = append(tests[m.dir()], m.test)
		}
		files[m.dir()] = m.file
	}
	for dir, names := range tests {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			binary := build(t, dir, map[string]string{files[dir]: read(t, files[dir]) + "\n// This comment changes nothing.\n"})
			for _, name := range names {
				t.Run(name, func(t *testing.T) {
					if output, err := run(t, binary, dir, name); err != nil || !strings.Contains(output, "--- PASS: "+written(name)+" ") {
						t.Errorf("it does not pass on the code as it is: %v\n%s", err, output)
					}
				})
			}
		})
	}
}

// kill checks that the test fails that is named for m.
func (m mutation) kill(t *testing.T) {
	t.Helper()
	overlay := m.needless(t)
	overlay[m.file] = m.mutated(t)
	binary := build(t, m.dir(), overlay)
	output, err := run(t, binary, m.dir(), m.test)
	switch {
	case err == nil && !strings.Contains(output, "=== RUN   "+written(m.test)+"\n"):
		t.Errorf("%s has no test %s", m.dir(), m.test)
	case err == nil:
		t.Errorf("it survives %s of %s; it %s", m.test, m.dir(), m.harm)
	case m.test == "":
		t.Errorf("no test is named; these fail:\n%s", strings.Join(failed.FindAllString(output, -1), "\n"))
	case strings.Contains(output, "panic: test timed out"):
		t.Errorf("%s hangs, which proves nothing:\n%s", m.test, output)
	case !strings.Contains(output, "--- FAIL: "+written(m.test)+" "):
		t.Errorf("something else fails than %s: %v\n%s", m.test, err, output)
	default:
		t.Logf("killed by %s: %s", m.test, firstLine(output))
	}
}

// failed finds the failed tests in the output of a test binary.
var failed = regexp.MustCompile(`(?m)^ *--- FAIL: .*$`)

// mutated is the content of m's file with the bug.
func (m mutation) mutated(t *testing.T) string {
	t.Helper()
	text := read(t, m.file)
	for _, e := range m.edits {
		if n := strings.Count(text, e.old); n != 1 || e.old == e.new {
			t.Fatalf("%s has this %d times, want once, and changed:\n%s", m.file, n, e.old)
		}
		text = strings.Replace(text, e.old, e.new, 1)
	}
	return text
}

// top is the repository.
const top = ".."

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// needless is the test files that m's test can do without, with an empty text each: one inside the package needs none of those
// outside of it, and builds three times as fast without them.
func (m mutation) needless(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, m.dir(), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(m.test, "/")
	inside, outside := false, map[string]string{}
	for _, file := range files {
		file = path.Join(m.dir(), filepath.Base(file))
		text := read(t, file)
		if outsider.MatchString(text) {
			outside[file] = ""
		} else {
			inside = inside || name != "" && strings.Contains(text, "\nfunc "+name+"(")
		}
	}
	if !inside {
		clear(outside)
	}
	return outside
}

// outsider finds the first line of a test outside its package.
var outsider = regexp.MustCompile(`(?m)^package \w+_test$`)

// build makes a package's test binary in which these files have these texts; those without one are not there. It returns the
// binary's path.
func build(t *testing.T, pkg string, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for file, text := range texts {
		original, err := filepath.Abs(filepath.Join(top, file))
		if err != nil {
			t.Fatal(err)
		}
		if replace[original] = ""; text == "" {
			continue
		}
		replace[original] = filepath.Join(dir, path.Base(file))
		write(t, replace[original], []byte(text))
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "overlay.json"), overlay)
	binary := filepath.Join(dir, "test")
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
	defer cancel()
	c := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", quick, "-ldflags=-s -w",
		"-overlay="+filepath.Join(dir, "overlay.json"), "-o="+binary, "./"+pkg)
	c.Dir = top
	if output, err := c.CombinedOutput(); err != nil {
		t.Fatalf("it does not build: %v\n%s", err, output)
	}
	return binary
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs one test of a package's test binary, as the gate does: in its folder, and without a sweep. It returns what the
// binary printed, and an error when that test, or the binary, fails.
func run(t *testing.T, binary, dir, test string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary, "-test.v", "-test.timeout="+runLimit, "-test.run="+pattern(test))
	c.Dir = filepath.Join(top, dir)
	c.Env = append(os.Environ(), sweep.TimeVar+"=", sweep.SeedVar+"=")
	output, err := c.CombinedOutput()
	return string(output), err
}

// written is the name of a test as it is printed.
func written(test string) string { return strings.ReplaceAll(test, " ", "_") }

// pattern matches a test and nothing else; every test for none.
func pattern(test string) string {
	if test == "" {
		return "."
	}
	parts := strings.Split(written(test), "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// firstLine is the first thing that a failed test says.
func firstLine(output string) string {
	for line := range strings.Lines(output) {
		if text := strings.TrimSpace(line); strings.Contains(text, "_test.go:") || strings.HasPrefix(text, "panic:") {
			return text
		}
	}
	return "no word"
}
