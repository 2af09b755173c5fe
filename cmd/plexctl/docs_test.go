package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// administration is the page whose commands are run.
const administration = "../../docs/administration.md"

// What there is in front of chapters, and how all is in the end, as commands of scripts.
const (
	threeDrives = "disk sdb 64MiB\ndisk sdc 64MiB\ndisk sdd 64MiB\nterminal\n"
	twoLUNs     = threeDrives + `
plexctl drive init /dev/sdb /dev/sdc --yes
plexctl lun create web1 --size 16MiB --drive /dev/sdb
plexctl lun create spare3 --size 16MiB --drive /dev/sdc
`
	mirrored = twoLUNs + `
plexctl plex add web1 spare3 --yes --wait
hold web1
`
	healthy = `
run-to-end
plexctl status web1
stdout 'mirror +healthy'
`
)

// chapter is what happens around the blocks of commands of a section: before each of them, and after the last.
type chapter struct {
	before []string
	after  string
}

// chapters is every section of the page that has commands.
var chapters = map[string]chapter{
	"Attach a plex": {[]string{twoLUNs}, healthy},
	"Copy only what was written": {
		[]string{threeDrives + "plexctl drive init /dev/sdb --yes\n"},
		"stdout 'tracked: +0 B were ever written'\nwrite web2 1MiB 1MiB\nplexctl lun show web2\nstdout 'tracked: +1.0 MiB were ever written'\n",
	},
	"Copy only what is not zero": {[]string{twoLUNs + "zeroes sdd\nplexctl drive init /dev/sdd --yes\n"}, healthy},
	"Replace a drive":            {[]string{mirrored}, healthy + "! plexctl drive show /dev/sdc\ncode 3\nplexctl plex list web1\nstdout /dev/sdd\n"},
	"Split a plex off for a backup": {
		[]string{mirrored, "plexctl lun show web1-monday\nstdout /dev/mapper/plex-web1-monday\n"}, healthy,
	},
	"Extend a LUN": {[]string{mirrored}, healthy + "stdout '^web1 +20 MiB'\n"},
	"A drive has failed": {
		[]string{
			mirrored + "fail sdc write\nwrite web1 4MiB 1MiB\n", "heal sdc\n",
			healthy + "plexctl plex list web1 -o json\ncapture PLEX '\"id\":\"([^\"]+)\"[^{]*\\{\"id\":\"[^\"]+\",\"path\":\"/dev/sdc\"'\nunplug sdc\nwrite web1 1MiB 1MiB\n",
		}, healthy,
	},
	"An operation has failed": {
		[]string{twoLUNs + `
plexctl plex add web1 spare3 --yes
tick 2
fail sdc write
tick 2
tick 2
! plexctl op wait web1
code 6
heal sdc
`}, healthy,
	},
	"A machine has crashed": {
		[]string{twoLUNs + "plexctl plex add web1 spare3 --yes\ntick 2\nwrite web1 4MiB 1MiB\nreboot\n", "run-to-end\nplexctl op show web1\nstdout checking\n"},
		healthy,
	},
	"A drive is missing at the start": {
		[]string{mirrored + "reboot\nunplug sdc\n", "", "tick 1\nplug sdc\n"}, healthy,
	},
	"A drive is there and cannot be used": {
		[]string{
			mirrored + "reboot\ntrait sdc readonly\nplexctl assemble --force web1 --yes\n! plexctl status web1\ncode 20\nstdout write-protected\ntrait sdc writable\n",
			healthy + "plexctl plex remove web1 /dev/sdc --yes\nreboot\nresize sdb 63MiB\n! plexctl assemble\nstderr 'its label says 64 MiB'\n",
		}, "plexctl lun show web1\nstdout /dev/mapper/plex-web1\n",
	},
	"A drive has become larger": {
		[]string{mirrored + "plexctl plex remove web1 /dev/sdc --yes\nresize sdb 128MiB\n"},
		"plexctl lun show web1\nstdout '20 MiB'\n",
	},
	"A label is lost": {
		[]string{
			mirrored + "wipe sdb 0B 1MiB\nwipe sdc 4KiB 4KiB\n! plexctl status\ncode 20\nstdout 'label at the start of the drive is lost'\n",
			"plexctl status\nrelease web1\nplexctl deactivate\nwipe sdb 0B 1MiB\nsignature sdb lvm2\n! plexctl assemble\ncode 6\n",
		},
		healthy,
	},
	"A host was replaced": {
		[]string{"host old\n" + twoLUNs + "plexctl deactivate\nreboot\nhost new\n"},
		"plexctl lun list\nstdout -count=2 ' online '\n",
	},
	"Two devices have one label": {
		[]string{
			"disk sdb 64MiB\nterminal\nplexctl drive init /dev/sdb --yes\nplexctl lun create web1 --size 16MiB\nclone sdb sdd\n! plexctl status\ncode 20\n",
			"plexctl status\nclone sdb sde\nplexctl deactivate\n! plexctl assemble\ncode 6\n",
		},
		"plexctl lun list\nstdout ' online '\n",
	},
	"A drive was copied to a new disk": {
		[]string{"disk sdc 64MiB\nterminal\nidentity sdc serial:old\nplexctl drive init /dev/sdc --yes\nidentity sdc serial:new\n! plexctl status\ncode 20\n"},
		"plexctl status\n",
	},
	"Throttle a copy": {[]string{twoLUNs}, healthy},
	"The kernel has another table": {
		[]string{
			mirrored + "release web1\ntable web1 zero:16MiB\n",
			"plexctl plex list web1 -o json\ncapture PLEX '\"plexes\":\\[.\"id\":\"([^\"]+)\"'\n" +
				"table web1 linear:sdb:5MiB:8MiB linear:sdc:5MiB:8MiB\n! plexctl reenumerate\ncode 6\n",
		}, "plexctl lun recover web1 --wait\n" + healthy,
	},
	"Start and stop the machine": {[]string{mirrored + "release web1\nreboot\n", "run-to-end\n"}, "plexctl lun list\nstdout ' offline '\n"},
}

// TestAdministration runs every command that docs/administration.md shows, section by section.
func TestAdministration(t *testing.T) {
	text, err := os.ReadFile(administration)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unseen := maps.Clone(chapters)
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		if blocks := shellBlocks(body); len(blocks) > 0 {
			delete(unseen, heading)
			writeScript(t, dir, heading, blocks)
		}
	}
	for _, heading := range slices.Sorted(maps.Keys(unseen)) {
		t.Errorf("no section %q with commands", heading)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(env *testscript.Env) error {
			env.Values[stageKey{}] = newStage(env.WorkDir)
			return nil
		},
		Cmds: commands,
	})
}

// writeScript puts the commands of a section, and what its chapter has around them, into a script in dir.
func writeScript(t *testing.T, dir, heading string, blocks []string) {
	t.Helper()
	c := chapters[heading]
	if len(c.before) != len(blocks) {
		t.Fatalf("%q has %d blocks of commands, %d are known", heading, len(blocks), len(c.before))
	}
	var script strings.Builder
	for i, block := range blocks {
		script.WriteString(c.before[i] + scriptOf(t, block))
	}
	script.WriteString(c.after)
	name := filepath.Join(dir, strings.ReplaceAll(heading, " ", "-")+".txtar")
	if err := os.WriteFile(name, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shellBlocks is the content of the blocks of shell commands in a Markdown text.
func shellBlocks(text string) []string {
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// scriptOf is commands of the page as those of a script, where the user answers every question with yes. A comment says
// with what a command exits when that is not 0.
func scriptOf(t *testing.T, block string) string {
	t.Helper()
	var script strings.Builder
	for line := range strings.Lines(block) {
		command, comment, _ := strings.Cut(strings.TrimSpace(line), "#")
		if !strings.HasPrefix(command, "plexctl ") {
			t.Fatalf("no command of plexctl: %q", line)
		}
		command = strings.NewReplacer(" PLEX", " $PLEX", "10GiB", "4MiB").Replace(command)
		code := regexp.MustCompile(`exits with (\d+)`).FindStringSubmatch(comment)
		script.WriteString("type yes\n")
		if code == nil {
			script.WriteString(command + "\n")
			continue
		}
		script.WriteString("! " + command + "\ncode " + code[1] + "\n")
	}
	return script.String()
}
