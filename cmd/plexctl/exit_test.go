package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/vds"
)

// row is a line of the table in docs/exit-codes.md.
type row struct {
	Name string
	Exit exit
}

// documented is the table of docs/exit-codes.md.
func documented(t testing.TB) map[vds.Code]row {
	t.Helper()
	page, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[vds.Code]row{}
	line := regexp.MustCompile("(?m)^\\| `([A-Z0-9_]+)` \\| (0x[0-9A-F]{8}) \\| (\\d+) \\|$")
	for _, m := range line.FindAllStringSubmatch(string(page), -1) {
		number, err := strconv.ParseUint(m[2], 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		status, err := strconv.Atoi(m[3])
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := rows[vds.Code(number)]; twice {
			t.Errorf("docs/exit-codes.md: %s stands there twice", m[2])
		}
		rows[vds.Code(number)] = row{m[1], exit(status)}
	}
	return rows
}

// declared is every constant of type Code that package vds declares, with its value.
func declared(t testing.TB) map[string]vds.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../vds/code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]vds.Code{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		kind, ok := spec.Type.(*ast.Ident)
		if !ok || kind.Name != "Code" || len(spec.Values) != 1 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			number, err := strconv.ParseUint(literal.Value, 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			codes[spec.Names[0].Name] = vds.Code(number)
		}
		return true
	})
	return codes
}

func TestExitCodesAreDocumented(t *testing.T) {
	rows := documented(t)
	codes := declared(t)
	if len(codes) < 30 {
		t.Fatalf("only %d codes were found in package vds", len(codes))
	}
	want := map[vds.Code]row{}
	for _, code := range codes {
		want[code] = row{code.String(), exitOf(code)}
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("docs/exit-codes.md differs from exitOf (-function +page):\n%s", diff)
	}
}

func TestEveryExitHasALineInTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []exit{
		exitDone, exitOther, exitUsage, exitNotFound, exitBusy, exitInvalid, exitFailed, exitNoSpace, exitPermission,
		exitCanceled, exitTimeout, exitDegraded, exitUnavailable, exitInterrupted,
	} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d \| `, int(e))).Match(page) {
			t.Errorf("docs/exit-codes.md does not explain %d", int(e))
		}
	}
}

func TestCodeOf(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want vds.Code
		exit exit
	}{
		{"none", nil, vds.OK, exitDone},
		{"no code", errors.New("disk on fire"), vds.ErrFail, exitOther},
		{"a code", &vds.Error{Code: vds.ErrDeviceInUse}, vds.ErrDeviceInUse, exitBusy},
		{"a code below another error", fmt.Errorf("x: %w", &vds.Error{Code: vds.ErrIO}), vds.ErrIO, exitFailed},
		{"the first of several", errors.Join(&vds.Error{Code: vds.ErrIO}, &vds.Error{Code: vds.ErrTimeout}), vds.ErrIO, exitFailed},
		{"an interrupt", context.Canceled, vds.ErrAbort, exitInterrupted},
		{
			"an interrupt while another process holds the lock",
			&vds.Error{Code: vds.ErrAnotherCallInProgress, Err: fmt.Errorf("lock: %w", context.Canceled)},
			vds.ErrAbort, exitInterrupted,
		},
		{
			"a deadline is no interrupt",
			&vds.Error{Code: vds.ErrTimeout, Err: context.DeadlineExceeded},
			vds.ErrTimeout, exitTimeout,
		},
		{"an unknown code", &vds.Error{Code: 0x80049999}, 0x80049999, exitOther},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := codeOf(tt.err); got != tt.want {
				t.Errorf("codeOf is %s, want %s", got, tt.want)
			}
			if got := exitOf(codeOf(tt.err)); got != tt.exit {
				t.Errorf("exit is %d, want %d", got, tt.exit)
			}
		})
	}
}
