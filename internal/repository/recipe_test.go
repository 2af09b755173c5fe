package repository

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
)

// recipe is the command of docs/on-disk-format.md that prints the catalog in slot A, and in slot B.
func recipe(t *testing.T) [2]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/on-disk-format.md")
	if err != nil {
		t.Fatal(err)
	}
	const lead, end = "When all else fails you can read a catalog without plexctl. This prints slot A:\n\n```sh\n", "\n```\n"
	_, rest, found := strings.Cut(string(page), lead)
	command, after, whole := strings.Cut(rest, end)
	if !found || !whole || !strings.Contains(after, "For slot B use 2129985 and 2129960 in place of 65601 and 65576.") {
		t.Fatal("docs/on-disk-format.md has no such recipe")
	}
	return [2]string{command, strings.NewReplacer("65601", "2129985", "65576", "2129960").Replace(command)}
}

// The recipe for an emergency works on the image of a drive, in whose slots longer catalogs have been before.
func TestTheEmergencyRecipe(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const length = 64 * size.MiB
	must(f.Truncate(int64(length)))
	label := catalog.Label{Drive: uuid.New(), Size: length, Host: "host-1", Created: time.Unix(1e9, 0)}
	must(catalog.Init(f, label))
	d, err := catalog.ReadDrive(f, length)
	must(err)
	at := func(start, mib size.Bytes) catalog.Extent {
		return catalog.Extent{Drive: label.Drive, Start: (start * size.MiB).Sectors(), Length: (mib * size.MiB).Sectors()}
	}
	plex := catalog.Plex{ID: uuid.New(), Meta: at(5, 1), Data: []catalog.Extent{at(6, 8)}, Slot: catalog.SlotA}
	l := catalog.LUN{ID: uuid.New(), Size: (8 * size.MiB).Sectors(), Generation: 1, Plexes: []catalog.Plex{plex}}
	for _, name := range []string{strings.Repeat("long", 16), strings.Repeat("long", 16), "s", "s"} { // each slot twice
		l.Name = name
		must(d.Write(f, []catalog.LUN{l}))
	}
	must(f.Sync())
	for _, command := range recipe(t) {
		pipeline, _, shown := strings.Cut(strings.ReplaceAll(command, "DEVICE", image), " | jq .")
		if !shown {
			t.Fatalf("%q shows no JSON", command)
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", pipeline).Output()
		must(err)
		decoder := json.NewDecoder(bytes.NewReader(out))
		var doc struct{ LUNs []struct{ Name string } }
		if err := decoder.Decode(&doc); err != nil || len(doc.LUNs) != 1 || doc.LUNs[0].Name != "s" {
			t.Errorf("%s: %v, LUNs %+v in %q", pipeline, err, doc.LUNs, out)
		}
		if err := decoder.Decode(&doc); err != io.EOF {
			t.Errorf("%s: what comes behind the catalog: %v", pipeline, err)
		}
	}
}
