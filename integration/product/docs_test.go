package product

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// TestReadmeCommands runs what the README tells a user to run, on lab devices in the place of real ones.
func TestReadmeCommands(t *testing.T) {
	lab.NewLab(t)
	text, err := os.ReadFile(filepath.Join(lab.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := lab.OpenRig(t)
	dir := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	script := strings.NewReplacer(
		"/dev/sdb", lab.NewLoop(t, 96*size.MiB, 512), "/dev/sdc", lab.NewLoop(t, 96*size.MiB, 512),
		"100GiB", "64MiB", "/srv", dir,
		"drive init", "drive init --yes", "plex add", "plex add --yes",
	).Replace(shellBlock(t, string(text), "## Use it"))
	t.Cleanup(r.TakeDown)
	t.Log(lab.RunTool(t, "bash", "-exc", script))
	lab.Unmount(t, dir)
	r.EqualLegs(r.Record("web1"))
}

// shellBlock is the first block of shell commands under a heading of a Markdown text.
func shellBlock(t *testing.T, text, heading string) string {
	t.Helper()
	_, section, ok := strings.Cut(text, heading+"\n")
	_, block, found := strings.Cut(section, "```sh\n")
	block, _, closed := strings.Cut(block, "```")
	if !ok || !found || !closed || strings.TrimSpace(block) == "" {
		t.Fatalf("no commands under %q", heading)
	}
	return block
}

// demoLimit bounds the demonstration.
const demoLimit = 6 * time.Minute

// TestDemo runs what the README names first, and looks for what it is to prove. A LUN and a lab device that were there before stay as
// they are.
func TestDemo(t *testing.T) {
	r := lab.NewSmallRig(t, 1)
	r.Create("production", 16*size.MiB, 0)
	tables := r.Tables()
	loopdev := filepath.Join(lab.Root(), "scripts/loopdev.sh")
	device := strings.TrimSpace(lab.RunTool(t, "bash", loopdev, "create", "1", "64MiB"))
	defer lab.RunTool(t, "bash", loopdev, "destroy")
	ctx, stop := context.WithTimeout(t.Context(), demoLimit)
	defer stop()
	out, err := exec.CommandContext(ctx, "bash", filepath.Join(lab.Root(), "scripts/demo.sh"), "--here").CombinedOutput()
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	for _, proof := range []string{
		"all is healthy", "failed-redundancy", "the data has its old checksum", "both plexes are byte for byte the same",
	} {
		if !strings.Contains(string(out), proof) {
			t.Errorf("the demo does not say %q:\n%s", proof, out)
		}
	}
	if after := r.Tables(); !maps.Equal(tables, after) {
		t.Errorf("devices of LUNs are %v after it, %v before", after, tables)
	}
	if list := lab.RunTool(t, "bash", loopdev, "list"); !strings.Contains(list, device) {
		t.Errorf("lab devices after it:\n%swithout %s", list, device)
	}
}
