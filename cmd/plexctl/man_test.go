package main

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra/doc"
)

// manDir is where the manual pages are kept.
const manDir = "../../docs/man"

var update = flag.Bool("update", false, "write the manual pages to "+manDir)

// TestManPages compares docs/man with the commands. `go test ./cmd/plexctl -run TestManPages -update` writes it anew.
func TestManPages(t *testing.T) {
	fresh := t.TempDir()
	date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // fixed, so that pages change with the commands alone
	head := &doc.GenManHeader{Section: "1", Date: &date, Source: "plexctl", Manual: "plexctl manual"}
	if err := doc.GenManTree(newRoot(newCLI(newApp())), head, fresh); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.RemoveAll(manDir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(manDir, os.DirFS(fresh)); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(readDir(t, fresh), readDir(t, manDir)); diff != "" {
		t.Errorf("docs/man differs from the commands; write it anew with -update (-commands +docs):\n%s", diff)
	}
}

// readDir is the files of a folder by name.
func readDir(t testing.TB, dir string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = string(text)
	}
	return files
}

func TestManPagesCoverEveryCommand(t *testing.T) {
	pages := readDir(t, manDir)
	for _, want := range []string{
		"plexctl.1", "plexctl-drive-init.1", "plexctl-drive-list.1", "plexctl-drive-show.1", "plexctl-drive-take-over.1", "plexctl-drive-grow.1",
		"plexctl-drive-remove.1", "plexctl-lun-create.1", "plexctl-lun-list.1", "plexctl-lun-show.1", "plexctl-lun-rename.1",
		"plexctl-lun-extend.1", "plexctl-lun-recover.1", "plexctl-lun-delete.1", "plexctl-plex-add.1", "plexctl-plex-list.1",
		"plexctl-plex-remove.1", "plexctl-plex-split.1", "plexctl-op-list.1", "plexctl-op-show.1", "plexctl-op-wait.1",
		"plexctl-op-set-rate.1", "plexctl-op-cancel.1", "plexctl-status.1", "plexctl-assemble.1", "plexctl-deactivate.1",
		"plexctl-refresh.1", "plexctl-reenumerate.1", "plexctl-doctor.1", "plexctl-version.1",
	} {
		if pages[want] == "" {
			t.Errorf("docs/man has no %s, but %v", want, slices.Sorted(maps.Keys(pages)))
		}
	}
}
