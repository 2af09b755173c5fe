package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A test says in its doc comment where the gate runs it, if that is not the full run alone:
//
//	//gate:kernels every     on every kernel, with udevd and without: what it shows can differ
//	//gate:kernels releases  on the kernel of the full run and on the old one, which has no udevd: without udevd on the former it
//	                         would show nothing more
//	//gate:kernels others    on both kernels without udevd: it has no say in what it shows, or would be in the way
//	//gate:kernels old       on the old kernel
//	//gate:kernels bare      on the kernel of the full run without udevd in the place of with it: udevd takes half of the time there
//	                         and has no say in what it shows, nor has the old kernel
//	//gate:kernels plain     on the kernel of the full run, without udevd
//	//gate:when harness      only when the files of the harness have changed, and in the sweep
//	//gate:when model        only when the simulated kernel, or what compares it with the real ones, has changed, and in the sweep
//	//gate:when sweep        only in the sweep
const directive = "//gate:"

// test is a test function and where it runs.
type test struct {
	pkg     string // folder below integration
	name    string
	kernels string // "" for the full run, or every, releases, others, old, bare, plain
	when    string // "" for always, or harness, model, sweep
}

// String names a test for messages and for the file of times.
func (t test) String() string { return t.pkg + "." + t.name }

// onHost reports whether a test runs on the host and boots machines of its own.
func (t test) onHost() bool { return strings.HasPrefix(t.name, "TestHost") || t.pkg == machinePackage }

// machinePackage tests the machines themselves, on the host and on no kernel in particular.
const machinePackage = "vm"

// noKernel stands in the place of a kernel for the tests of the machines.
const noKernel = "none"

// packages are the folders with tests for the gate.
var packages = []string{"product", "codes", "crash", "kernel", "harness", "measure", machinePackage}

// findTests reads the tests of all packages below integration. Scenarios and benchmarks, which nobody runs by themselves, are
// none of them.
func findTests(integration string) ([]test, error) {
	var all []test
	for _, pkg := range packages {
		files, err := filepath.Glob(filepath.Join(integration, pkg, "*_test.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			found, err := testsOf(pkg, file, text)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

// testsOf reads the tests of a file.
func testsOf(pkg, file string, text []byte) ([]test, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var all []test
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		t := test{pkg: pkg, name: f.Name.Name}
		if err := t.read(f.Doc); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, t.name, err)
		}
		if f.Recv == nil && strings.HasPrefix(t.name, "Test") && t.name != "TestMain" && !strings.HasPrefix(t.name, "TestGuest") {
			all = append(all, t)
		} else if t.kernels != "" || t.when != "" {
			return nil, fmt.Errorf("%s: %s is no test for the gate", file, t.name)
		}
	}
	return all, nil
}

// read takes over the directives of a doc comment.
func (t *test) read(doc *ast.CommentGroup) error {
	if doc == nil {
		return nil
	}
	for _, line := range doc.List {
		text, ok := strings.CutPrefix(line.Text, directive)
		if !ok {
			continue
		}
		key, value, _ := strings.Cut(text, " ")
		switch {
		case key == "kernels" && slices.Contains([]string{"every", "releases", "others", "old", "bare", "plain"}, value):
			t.kernels = value
		case key == "when" && slices.Contains([]string{"harness", "model", "sweep"}, value):
			t.when = value
		default:
			return fmt.Errorf("%s%s says nothing", directive, text)
		}
	}
	return nil
}

// Kernels with a part of their own. Others, which are tested on request, run all tests.
const (
	fullKernel  = "6.12+udev"
	plainKernel = "6.12"
	oldKernel   = "6.1"
)

// runsOn reports whether the gate runs a test on a kernel.
func (t test) runsOn(kernel string) bool {
	switch t.kernels {
	case "every":
		return true
	case "releases":
		return kernel != plainKernel
	case "others":
		return kernel == plainKernel || kernel == oldKernel
	case "old":
		return kernel == oldKernel
	case "bare":
		return kernel != fullKernel && kernel != oldKernel
	case "plain":
		return kernel == plainKernel
	}
	return kernel != plainKernel && kernel != oldKernel
}
