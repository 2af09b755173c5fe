package doctest

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	variable   = regexp.MustCompile(`PLEXCTL_[A-Z][A-Z_]*[A-Z]`)
	namedPath  = regexp.MustCompile("`([a-z_./]+/[a-z_]+\\.(?:go|sh|txt))`")
	namedTest  = regexp.MustCompile(`\bTest[A-Z]\w+`)
	namedPlace = regexp.MustCompile("`(\\w+)` in `([a-z_./]+\\.go)`")
)

// TestContributingIsTrue holds CONTRIBUTING.md against the tree: variables, files, tests and tables that it names.
func TestContributingIsTrue(t *testing.T) {
	page := readFile(t, "CONTRIBUTING.md")
	sources := sourceFiles(t)
	inSources := map[string]bool{}
	tests := map[string]bool{}
	for _, text := range sources {
		for _, name := range variable.FindAllString(text, -1) {
			inSources[name] = true
		}
		for _, name := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(text, -1) {
			tests[name[1]] = true
		}
	}
	onPage := map[string]bool{}
	for _, name := range variable.FindAllString(page, -1) {
		onPage[name] = true
	}
	want, got := slices.Sorted(maps.Keys(inSources)), slices.Sorted(maps.Keys(onPage))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment variables (-in the sources +on the page):\n%s", diff)
	}
	for _, m := range namedPath.FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil && !strings.HasPrefix(m[1], "testdata/") {
			t.Error(err)
		}
	}
	for _, name := range namedTest.FindAllString(page, -1) {
		if !tests[name] {
			t.Errorf("there is no %s", name)
		}
	}
	places := namedPlace.FindAllStringSubmatch(page, -1)
	for _, m := range places {
		if text := sources[m[2]]; !regexp.MustCompile(`\b` + m[1] + `\b`).MatchString(text) {
			t.Errorf("%s has no %s", m[2], m[1])
		}
	}
	if len(want) == 0 || len(places) == 0 {
		t.Errorf("%d variables and %d tables found; what is wrong with this test?", len(want), len(places))
	}
}

func readFile(t *testing.T, p string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, p))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sourceFiles are all Go files and scripts of the repository by path.
func sourceFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && p != "." && (strings.HasPrefix(entry.Name(), ".") || p == "bin"):
			return fs.SkipDir
		case !entry.IsDir() && (strings.HasSuffix(p, ".go") || strings.HasSuffix(p, ".sh")):
			files[p] = readFile(t, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
