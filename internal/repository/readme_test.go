package repository

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeProgram builds the Go program of the README.
func TestReadmeProgram(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	program, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("the README has no Go program")
	}
	const head = "package main\n\nimport (\n\t\"context\"\n\t\"log\"\n\n\t\"github.com/plexctl/plexctl/lun\"\n)\n\n"
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(head+program), 0o600); err != nil {
		t.Fatal(err)
	}
	place, err := filepath.Abs(filepath.Join(root, "internal/repository/readme/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{place: file}})
	if err != nil {
		t.Fatal(err)
	}
	laid := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(laid, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("go", "build", "-overlay", laid, "-o", filepath.Join(t.TempDir(), "readme"), "./internal/repository/readme")
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
