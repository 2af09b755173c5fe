package integration

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/size"
)

// TestReadmeCommands runs what the README tells a user to run, on lab devices in the place of real ones.
func TestReadmeCommands(t *testing.T) {
	newLab(t)
	text, err := os.ReadFile("/root/README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := openRig(t)
	dir := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	script := strings.NewReplacer(
		"/dev/sdb", newLoop(t, 96*size.MiB, 512), "/dev/sdc", newLoop(t, 96*size.MiB, 512),
		"100GiB", "64MiB", "/srv", dir,
		"drive init", "drive init --yes", "plex add", "plex add --yes",
	).Replace(shellBlock(t, string(text), "## Use it"))
	t.Cleanup(r.takeDown)
	t.Log(runTool(t, "bash", "-exc", script))
	unmount(t, dir)
	r.equalLegs(r.record("web1"))
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
