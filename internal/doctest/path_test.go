package doctest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the directory of the module.
const root = "../.."

// The section of ARCHITECTURE.md that follows one command, and how many files its numbered steps may lead through.
const (
	pathSection = "## One command, from `main` to the ioctl"
	maxFiles    = 6
)

// TestArchitecturePath checks what the section names in backquotes:
//
//	`dir/file.go`, `dir/dir`     the file or the directory exists
//	`dir/file.go: F, T, T.M`     function F, type T, and method M of T are declared in that file
//	`pkg.F`, `pkg.T`, `pkg.T.M`  they are declared in the package whose directory is called pkg
//	`F`, `T`, `T.M`              they are declared in the package of the file that was named last
//
// M may also be a field of T, or a method of the interface T. Paths begin at the module's root. Every other text in
// backquotes, such as a command or a constant of the kernel, has a space or is in capitals, and is not checked.
//
// The path is the files that the numbered steps name. What the steps mention without its file is not on the path.
func TestArchitecturePath(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), pathSection+"\n")
	if !ok {
		t.Fatalf("ARCHITECTURE.md has no section %q", pathSection)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, fault := range checkPath(root, section) {
		t.Error(fault)
	}
}

// TestPathChecker proves that the check fails where it should, on a module of its own.
func TestPathChecker(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cmd/add.go":  "package main\nfunc run() {}\n",
		"lun/lun.go":  "package lun\ntype LUN struct{ name string }\nfunc (l *LUN) Add() {}\n",
		"lun/port.go": "package lun\ntype Kernel interface{ Load() }\nfunc open[T any]() {}\n",
		"dm/dm.go":    "package dm\ntype Control struct{}\nfunc (Control) Load() {}\ntype box[T any] struct{}\nfunc (b *box[T]) get() {}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, section string
		want          []string // a part of each fault
	}{
		{"all is there", "1. `cmd/add.go: run` calls `lun/lun.go: LUN.Add, LUN` and `open`,\n   `Kernel.Load`, `LUN.name`, `dm.Control.Load`, `dm.box.get`\n", nil},
		{"not checked", "1. `lun/lun.go`: `plexctl plex add`, `DM_TABLE_LOAD`\n", nil},
		{"no directory", "1. `lun/lun.go`, `./lun` and `lun/ops`\n", []string{"lun/ops"}},
		{"no file", "1. `lun/add.go`\n", []string{"lun/add.go"}},
		{"no such function", "1. `cmd/add.go: walk`\n", []string{"walk"}},
		{"in another file", "1. `lun/lun.go: Kernel`\n", []string{"Kernel"}},
		{"no such method", "1. `lun/lun.go: LUN.Remove`\n", []string{"LUN.Remove"}},
		{"a method is no function", "1. `lun/lun.go: Add`\n", []string{"Add"}},
		{"not in the package", "1. `lun/lun.go` `Control.Load`\n", []string{"Control.Load"}},
		{"not in the other package", "1. `lun/lun.go` `dm.Control.Save`\n", []string{"dm.Control.Save"}},
		{"no file before", "1. `open`\n", []string{"open"}},
		{"after the steps", "1. `lun/lun.go`\n\nAlso `lun/gone.go`.\n", []string{"lun/gone.go"}},
		{"no steps", "`lun/lun.go`\n", []string{"no numbered step"}},
		{"half a name", "1. `lun/lun.go: LUN.Add()`\n", []string{"LUN.Add()"}},
		{"too long", "1. `a/1.go` `a/2.go` `a/3.go`\n2. `a/4.go` `a/5.go`\n   `a/6.go`\n3. `a/7.go`\n", []string{
			"a/1.go", "a/2.go", "a/3.go", "a/4.go", "a/5.go", "a/6.go", "a/7.go", "7 files",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := checkPath(dir, tt.section)
			if len(got) != len(tt.want) {
				t.Fatalf("%q, want %q", got, tt.want)
			}
			for i, part := range tt.want {
				if !strings.Contains(got[i], part) {
					t.Errorf("fault %q does not name %q", got[i], part)
				}
			}
		})
	}
}

var (
	stepStart = regexp.MustCompile(`^\d+\. `)
	quoted    = regexp.MustCompile("`([^`]+)`")
	ofFile    = regexp.MustCompile(`^([\w./-]+\.go)(?:: (.+))?$`)
	aName     = regexp.MustCompile(`^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$`)
)

// checkPath is everything in the section that is not true of the module in dir.
func checkPath(dir, section string) []string {
	c := checker{dir: dir}
	inStep := false
	for line := range strings.Lines(section) {
		switch {
		case stepStart.MatchString(line):
			inStep = true
			c.steps++
		case !strings.HasPrefix(line, " "):
			inStep = false
		}
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			c.check(m[1], inStep)
		}
	}
	if c.steps == 0 {
		c.fault("there is no numbered step")
	}
	if len(c.path) > maxFiles {
		c.fault("the path has %d files, want at most %d: %s", len(c.path), maxFiles, strings.Join(c.path, ", "))
	}
	return c.faults
}

// checker checks one section.
type checker struct {
	dir    string
	last   string   // the file that was named last
	path   []string // the files of the steps
	steps  int
	faults []string
}

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// check checks one text in backquotes.
func (c *checker) check(text string, inStep bool) {
	if m := ofFile.FindStringSubmatch(text); m != nil {
		c.checkFile(m[1], m[2], inStep)
		return
	}
	switch {
	case strings.Contains(text, " ") || text == strings.ToUpper(text):
	case strings.Contains(text, "/"):
		if info, err := os.Stat(filepath.Join(c.dir, text)); err != nil || !info.IsDir() {
			c.fault("there is no directory %s", text)
		}
	default:
		c.checkName(text)
	}
}

func (c *checker) checkFile(file, names string, inStep bool) {
	c.last = file
	if inStep && !slices.Contains(c.path, file) {
		c.path = append(c.path, file)
	}
	declared, err := declarations(filepath.Join(c.dir, file))
	if err != nil {
		c.fault("%s: %v", file, err)
		return
	}
	if names == "" {
		return
	}
	for _, name := range strings.Split(names, ", ") {
		if !slices.Contains(declared, name) {
			c.fault("%s does not declare %s", file, name)
		}
	}
}

// checkName checks a name without a file.
func (c *checker) checkName(name string) {
	if !aName.MatchString(name) {
		c.fault("`%s` is no name", name)
		return
	}
	pkg, rest, qualified := strings.Cut(name, ".")
	for _, dir := range packages(c.dir) {
		if qualified && filepath.Base(dir) == pkg && declares(dir, rest) {
			return
		}
	}
	if c.last == "" || !declares(filepath.Join(c.dir, filepath.Dir(c.last)), name) {
		c.fault("`%s` is not declared in a package of that name, nor beside %q", name, c.last)
	}
}

// packages is every directory of the module that may hold a package.
func packages(dir string) []string {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != dir && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		dirs = append(dirs, path)
		return nil
	})
	return dirs
}

// declares reports whether a file of the package in dir, tests apart, declares name.
func declares(dir, name string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(files, func(file string) bool {
		if strings.HasSuffix(file, "_test.go") {
			return false
		}
		declared, err := declarations(file)
		return err == nil && slices.Contains(declared, name)
	})
}

// declarations is what a file declares: functions, types, and methods and fields as Type.Name.
func declarations(path string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			names = append(names, funcName(d))
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if s, ok := spec.(*ast.TypeSpec); ok {
					names = append(names, typeNames(s)...)
				}
			}
		}
	}
	return names, nil
}

// funcName is the name of a function, behind its receiver's type when it has one.
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	of := d.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	switch generic := of.(type) {
	case *ast.IndexExpr:
		of = generic.X
	case *ast.IndexListExpr:
		of = generic.X
	}
	return fmt.Sprint(of, ".", d.Name.Name)
}

// typeNames is a type, and what a struct or an interface has.
func typeNames(s *ast.TypeSpec) []string {
	names := []string{s.Name.Name}
	var fields *ast.FieldList
	switch of := s.Type.(type) {
	case *ast.StructType:
		fields = of.Fields
	case *ast.InterfaceType:
		fields = of.Methods
	default:
		return names
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			names = append(names, s.Name.Name+"."+name.Name)
		}
	}
	return names
}
