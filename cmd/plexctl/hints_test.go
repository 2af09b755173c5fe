package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unwalked lists the hints of the code that no script has shown and then followed to a good end.
const unwalked = "testdata/hints.txt"

// walk is what one script has seen and done.
type walk struct {
	said  []string // what plexctl has said, by command
	ran   [][]string
	ended []bool // well
}

// walks is those of all scripts.
var walks struct {
	sync.Mutex
	all []*walk
}

func newWalk() *walk {
	w := &walk{}
	walks.Lock()
	defer walks.Unlock()
	walks.all = append(walks.all, w)
	return w
}

// note remembers a command. One that looks ends well whatever it finds.
func (w *walk) note(args []string, said string, status int) {
	if w == nil {
		return
	}
	looks := slices.ContainsFunc([]string{"status", "doctor"}, func(verb string) bool { return slices.Contains(args, verb) })
	w.said, w.ran, w.ended = append(w.said, said), append(w.ran, args), append(w.ended, status == 0 || looks)
}

// follows reports whether the script has seen a hint, and then run one of the commands that it named, which ended well.
func (w *walk) follows(hint *regexp.Regexp) bool {
	for i, said := range w.said {
		for _, shown := range hint.FindAllString(said, -1) {
			for _, m := range command.FindAllStringSubmatch(shown, -1) {
				for j := i + 1; j < len(w.ran); j++ {
					if w.ended[j] && says(w.ran[j], strings.Fields(m[1])) {
						return true
					}
				}
			}
		}
	}
	return false
}

// command is one in a hint.
var command = regexp.MustCompile("`plexctl ([^`]+)`")

// says reports whether a command line has all words of a hint. Words in capitals stand for any.
func says(ran, hint []string) bool {
	for _, word := range hint {
		if word != strings.ToUpper(word) && !slices.Contains(ran, word) {
			return false
		}
	}
	return true
}

// checkHints compares the hints of the code that name a command with what scripts have followed. A new hint needs a script that
// provokes it, runs what it says, and ends well.
func checkHints(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	walks.Lock()
	defer walks.Unlock()
	if len(walks.all) < len(files) || t.Failed() {
		return // some scripts alone
	}
	var left []string
	hints := findHints(t)
	for _, hint := range hints {
		if !slices.ContainsFunc(walks.all, func(w *walk) bool { return w.follows(patternOf(hint)) }) {
			left = append(left, strings.ReplaceAll(hint, "\n", " "))
		}
	}
	t.Logf("%d hints name a command, %d are followed", len(hints), len(hints)-len(left))
	text := strings.Join(left, "\n") + "\n"
	if *update {
		if err := os.WriteFile(unwalked, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(unwalked)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("hints that no script follows to a good end (-allowed +found):\n%s", diff)
	}
}

// gap stands for what a hint gets when it is shown.
const gap = "…"

// patternOf matches a hint as it is shown.
func patternOf(hint string) *regexp.Regexp {
	parts := strings.Split(hint, gap)
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile(strings.Join(parts, "[^\n]*?"))
}

// findHints is every text of the code, but for help, that names a command to run.
func findHints(t *testing.T) []string {
	t.Helper()
	var hints []string
	for _, root := range []string{".", "../../lun"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				hints = append(hints, hintsIn(file)...)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(hints)
	return slices.Compact(hints)
}

// hintsIn is the hints of one file.
func hintsIn(file *ast.File) []string {
	var hints []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr: // help
			key, ok := n.Key.(*ast.Ident)
			return !ok || !slices.Contains([]string{"Long", "Short", "Example"}, key.Name)
		case *ast.BinaryExpr, *ast.BasicLit:
			if e, ok := n.(ast.Expr); ok && strings.Contains(textOf(e), "`plexctl ") {
				hints = append(hints, textOf(e))
			}
			return false
		}
		return true
	})
	return hints
}

// verb is a verb of package fmt.
var verb = regexp.MustCompile(`%(\[\d+\])?[a-z]`)

// textOf is a text that the code puts together.
func textOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil || e.Kind != token.STRING {
			return gap
		}
		return verb.ReplaceAllString(text, gap)
	case *ast.BinaryExpr:
		return textOf(e.X) + textOf(e.Y)
	}
	return gap
}
