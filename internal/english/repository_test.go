package english

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	update = flag.Bool("update", false, "write the faults that are left to "+allowedFile+"; their sum may not rise")
	list   = flag.String("list", "", "print the faults of the files whose path begins with this")
)

const (
	root        = "../.."
	allowedFile = "testdata/allowed.txt"
)

// notProduct are folders whose comments are for whoever works on tests and tools.
var notProduct = []string{"bench", "bin", "integration", "mutation", "tools"}

// TestProse checks the documents, the help texts, and the comments of all product packages. A file may have as many faults
// as allowed.txt says, no more and no fewer. After an improvement, lower the numbers:
//
//	go test ./internal/english -run TestProse -v -args -list README.md   what is wrong in a file
//	go test ./internal/english -run TestProse -update           take the numbers that are reached
func TestProse(t *testing.T) {
	faults := repository(t)
	found := Ratchet{}
	for p, of := range faults {
		found[p] = len(of)
	}
	allowed := readAllowed(t)
	if *update {
		allowed = writeAllowed(t, allowed, found)
	}
	for _, line := range allowed.Differences(found) {
		t.Error(line)
	}
	for _, p := range slices.Sorted(maps.Keys(faults)) {
		if found[p] > allowed[p] || *list != "" && strings.HasPrefix(p, *list) {
			for _, f := range faults[p] {
				t.Logf("%s:%s", p, f)
			}
		}
	}
	t.Logf("%d faults in %d files", found.Total(), len(found))
}

func readAllowed(t *testing.T) Ratchet {
	t.Helper()
	text, err := os.ReadFile(allowedFile)
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := ParseRatchet(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return allowed
}

func writeAllowed(t *testing.T, allowed, found Ratchet) Ratchet {
	t.Helper()
	renewed, err := allowed.Renew(found)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(allowedFile, []byte(renewed.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return renewed
}

// repository is the faults of every file that has some, by its path from the top.
func repository(t *testing.T) map[string][]Fault {
	t.Helper()
	faults := map[string][]Fault{}
	checked := 0
	check := func(p string, blocks []Block) {
		checked += len(blocks)
		if found := Check(blocks); len(found) > 0 {
			faults[p] = found
		}
	}
	for _, p := range documents(t) {
		text, err := os.ReadFile(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		check(p, Markdown(string(text)))
	}
	for _, dir := range folders(t) {
		files, err := Folder(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for name, blocks := range files {
			check(path.Join(dir, name), blocks)
		}
	}
	if checked < 1500 {
		t.Errorf("only %d paragraphs and comments found; where is the rest?", checked)
	}
	return faults
}

// documents are the pages that are checked.
func documents(t *testing.T) []string {
	t.Helper()
	pages := []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"}
	docs, err := fs.Glob(os.DirFS(root), "docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("pages in docs: %v, %v", docs, err)
	}
	return append(pages, docs...)
}

// folders are those that can have product packages.
func folders(t *testing.T) []string {
	t.Helper()
	var dirs []string
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || !entry.IsDir():
			return err
		case p != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || slices.Contains(notProduct, p)):
			return fs.SkipDir
		}
		dirs = append(dirs, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}
