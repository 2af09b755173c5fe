package vm

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Tests on the host's own device-mapper refuse a machine that has drives.
func TestLabelled(t *testing.T) {
	class, dev := t.TempDir(), t.TempDir()
	image := append(make([]byte, labelAt), label...)
	for name, content := range map[string][]byte{"sda": nil, "sdb": image, "cciss!c0d0": image, "sdc": make([]byte, 1<<16)} {
		if err := os.Mkdir(filepath.Join(class, name), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dev, filepath.FromSlash(map[bool]string{true: "cciss/c0d0", false: name}[name == "cciss!c0d0"]))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(class, "sr0"), 0o700); err != nil { // has no node that can be opened
		t.Fatal(err)
	}
	found, err := labelled(class, dev)
	slices.Sort(found)
	want := []string{filepath.Join(dev, "cciss/c0d0"), filepath.Join(dev, "sdb")}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("found %v, %v; want %v", found, err, want)
	}
	if _, err := labelled(filepath.Join(class, "none"), dev); err == nil {
		t.Error("a machine that cannot be looked at is taken")
	}
}
