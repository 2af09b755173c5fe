package main

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// manDir is where the manual pages are kept.
const manDir = "../../docs/man"

var update = flag.Bool("update", false, "write the manual pages to "+manDir)

// TestManPages compares docs/man with the commands. `go test ./cmd/plexctl -run TestManPages -update` writes it anew.
func TestManPages(t *testing.T) {
	fresh := t.TempDir()
	date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // fixed, so that pages change with the commands alone
	head := &doc.GenManHeader{Section: "8", Date: &date, Source: "plexctl", Manual: "plexctl manual"}
	root := newRoot(newCLI(newApp()))
	if err := doc.GenManTree(root, head, fresh); err != nil {
		t.Fatal(err)
	}
	for name, page := range readDir(t, fresh) {
		if err := os.WriteFile(filepath.Join(fresh, name), []byte(finished(page, flagWords(root), name == "plexctl.8")), 0o644); err != nil {
			t.Fatal(err)
		}
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

// flagWords is the word for the value of each flag of a command and of those below it that has one.
func flagWords(cmd *cobra.Command) map[string]string {
	words := map[string]string{}
	note := func(f *pflag.Flag) {
		if f.NoOptDefVal == "" {
			words[f.Name] = strings.ToUpper(f.Value.Type())
		}
	}
	cmd.Flags().VisitAll(note)
	cmd.PersistentFlags().VisitAll(note)
	for _, sub := range cmd.Commands() {
		maps.Copy(words, flagWords(sub))
	}
	return words
}

// finished is a page that cobra has made, with flags as people write them, and with the sections that cobra does not know.
func finished(page string, words map[string]string, first bool) string {
	page = regexp.MustCompile(`\\fB--([a-z-]+)\\fP(\[=.*\]|=.*)`).ReplaceAllStringFunc(page, func(flag string) string {
		name := regexp.MustCompile(`[a-z][a-z-]+`).FindString(flag)
		if strings.HasSuffix(flag, "]") {
			return `\fB--` + name + `\fP`
		}
		return `\fB--` + name + `\fP \fI` + words[name] + `\fP`
	})
	more := shortSections
	if first {
		more = manSections
	}
	body, also, ok := strings.Cut(page, "\n.SH SEE ALSO\n")
	if !ok {
		return page + more
	}
	return body + "\n" + more + "\n.SH SEE ALSO\n" + also
}

// shortSections is what every page but the first ends with.
const shortSections = `.SH EXIT STATUS
0: done. Otherwise as in \fBplexctl(8)\fP.
`

// manSections is what the first page ends with. TestExitStatusesAreInTheManPage holds the numbers.
const manSections = `.SH EXIT STATUS
.TS
l l.
0	done
1	another failure
2	the command line is wrong
3	an object is not there
4	busy: it is in use, or another plexctl is at work
5	the operation is not possible
6	an object has failed
7	no space
8	permission
9	cancelled, or not confirmed
10	the time to wait has run out
20	status: degraded
21	status: a LUN has failed
22	status: a LUN is not active
130	interrupted
.TE
.SH FILES
.TP
\fI/dev/mapper/plex-NAME\fP
the device of a LUN
.TP
\fI/run/plexctl/lock\fP
held while a plexctl changes something
.TP
\fI/etc/machine-id\fP
tells whose a drive is
.SH ENVIRONMENT
.TP
\fBNO_COLOR\fP
no colours, if it is set to anything
`

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

func TestExitStatusesAreInTheManPage(t *testing.T) {
	page := readDir(t, manDir)["plexctl.8"]
	source, err := os.ReadFile("exit.go")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^\texit\w+ +exit = (\d+)`).FindAllStringSubmatch(string(source), -1)
	if len(all) < 14 {
		t.Fatalf("%d exit statuses in exit.go", len(all))
	}
	for _, m := range all {
		if !strings.Contains(page, "\n"+m[1]+"\t") {
			t.Errorf("exit status %s is not in plexctl.8", m[1])
		}
	}
}

func TestManPagesCoverEveryCommand(t *testing.T) {
	pages := readDir(t, manDir)
	for _, want := range []string{
		"plexctl.8", "plexctl-drive-init.8", "plexctl-drive-list.8", "plexctl-drive-show.8", "plexctl-drive-take-over.8", "plexctl-drive-grow.8",
		"plexctl-drive-remove.8", "plexctl-lun-create.8", "plexctl-lun-list.8", "plexctl-lun-show.8", "plexctl-lun-rename.8",
		"plexctl-lun-extend.8", "plexctl-lun-recover.8", "plexctl-lun-delete.8", "plexctl-plex-add.8", "plexctl-plex-list.8",
		"plexctl-plex-remove.8", "plexctl-plex-split.8", "plexctl-op-list.8", "plexctl-op-show.8", "plexctl-op-wait.8",
		"plexctl-op-set-rate.8", "plexctl-op-cancel.8", "plexctl-status.8", "plexctl-assemble.8", "plexctl-deactivate.8",
		"plexctl-refresh.8", "plexctl-reenumerate.8", "plexctl-doctor.8", "plexctl-version.8",
	} {
		if pages[want] == "" {
			t.Errorf("docs/man has no %s, but %v", want, slices.Sorted(maps.Keys(pages)))
		}
	}
}
