//go:build linux

package dm

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plexctl/plexctl/devno"
)

// newLinks is a directory like /dev/mapper below one like /dev. Its block nodes are missing: making them needs
// privileges, so the tests on a real kernel do that part.
func newLinks(t *testing.T) (*links, *bytes.Buffer) {
	t.Helper()
	dev := t.TempDir()
	if err := os.Mkdir(filepath.Join(dev, "mapper"), 0o755); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	return &links{
		dir:  filepath.Join(dev, "mapper"),
		udev: filepath.Join(dev, "udev"),
		wait: time.Second,
		log:  slog.New(slog.NewTextHandler(&log, nil)),
	}, &log
}

// put is what stands at a name before a test: a link when text begins with "->", else a file.
func (l *links) put(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(l.dir, name)
	target, isLink := strings.CutPrefix(text, "->")
	var err error
	switch {
	case text == "":
	case isLink:
		err = os.Symlink(strings.ReplaceAll(target, "DEV", filepath.Dir(l.dir)), path)
	default:
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// get is what stands at a name, in the form put takes.
func (l *links) get(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(l.dir, name)
	if target, err := os.Readlink(path); err == nil {
		return "->" + strings.ReplaceAll(target, filepath.Dir(l.dir), "DEV")
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

func TestLinkRight(t *testing.T) {
	tests := []struct {
		name, found string
		want        bool
	}{
		{"udev's", "->../dm-3", true},
		{"absolute", "->DEV/dm-3", true},
		{"roundabout", "->./../dm-3", true},
		{"another device", "->../dm-30", false},
		{"same name elsewhere", "->dm-3", false},
		{"link to a link", "->other", false},
		{"file", "dm-3", false},
		{"nothing", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := newLinks(t)
			l.put(t, "plex-a", tt.found)
			if got := l.right("plex-a", dmDev(3)); got != tt.want {
				t.Errorf("right: %v", got)
			}
		})
	}
}

func TestLinkMake(t *testing.T) {
	tests := []struct {
		name, found, want string
		refused           bool
	}{
		{name: "nothing there", want: "->../dm-3"},
		{name: "right already", found: "->../dm-3", want: "->../dm-3"},
		{name: "another device's, dangling", found: "->../dm-7", want: "->../dm-3"},
		{name: "absolute", found: "->DEV/dm-7", want: "->../dm-3"},
		{name: "link elsewhere", found: "->../sda", want: "->../sda", refused: true},
		{name: "link to another name", found: "->vg-root", want: "->vg-root", refused: true},
		{name: "file", found: "precious", want: "precious", refused: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := newLinks(t)
			l.put(t, "plex-a", tt.found)
			err := l.make("plex-a", dmDev(3))
			if (err != nil) != tt.refused {
				t.Errorf("error %v", err)
			}
			if got := l.get(t, "plex-a"); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLinkMakeAfterCrash(t *testing.T) {
	l, _ := newLinks(t)
	l.put(t, "plex-a", "->../dm-9") // a draft is made in place of a link that is wrong
	l.put(t, ".plex-a.new", "->../dm-7")
	if err := l.make("plex-a", dmDev(3)); err != nil {
		t.Fatal(err)
	}
	if got := l.get(t, "plex-a") + l.get(t, ".plex-a.new"); got != "->../dm-3" {
		t.Errorf("found %q", got)
	}
}

func TestLinkMakeLongestName(t *testing.T) {
	l, _ := newLinks(t)
	if err := l.make(longestName, dmDev(3)); err != nil {
		t.Error(err)
	}
}

// What a killed process has left is removed. What others call the device, and what leads elsewhere, is not.
func TestLinkDropOthers(t *testing.T) {
	l, log := newLinks(t)
	found := map[string]string{
		"plex-web1": "->../dm-3", ".plex-web1.new": "->../dm-3", "plex-old": "->../dm-3", "plex-far": "->DEV/dm-3",
		"data": "->../dm-3", "plex-web2": "->../dm-4", "control": "a file", "plex-file": "a file", "plex-elsewhere": "->../../dm-3",
	}
	for name, text := range found {
		l.put(t, name, text)
	}
	dev := devno.No{Major: 253, Minor: 3}
	l.repair(t.Context(), "plex-web1", dev, Public) // its link is there: nothing is looked for
	l.repair(t.Context(), "plex-gone", dev, Private)
	for name, want := range found {
		if got := l.get(t, name); got != want {
			t.Errorf("before, %s: %q, want %q", name, got, want)
		}
	}
	l.dropOthers(t.Context(), "plex-web1", dev)
	for name, want := range found {
		if slices.Contains([]string{".plex-web1.new", "plex-old", "plex-far"}, name) {
			want = ""
		}
		if got := l.get(t, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
}

func TestLinkDrop(t *testing.T) {
	tests := []struct{ name, found, want string }{
		{"nothing there", "", ""},
		{"its link", "->../dm-3", ""},
		{"stale link", "->../dm-7", ""},
		{"link elsewhere", "->../sda", "->../sda"},
		{"file", "precious", "precious"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, log := newLinks(t)
			l.put(t, "plex-a", tt.found)
			l.drop(t.Context(), "plex-a", dmDev(3))
			if got := l.get(t, "plex-a"); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if log.Len() != 0 {
				t.Errorf("logged %s", log)
			}
		})
	}
}

func TestLinkAwait(t *testing.T) {
	l, _ := newLinks(t)
	write(t, l.udev, "")
	done := make(chan struct{})
	go func() { // udev
		defer close(done)
		time.Sleep(20 * time.Millisecond)
		_ = os.Symlink("../dm-3", filepath.Join(l.dir, "plex-a")) // await fails without it
	}()
	if !l.await(t.Context(), "plex-a", dmDev(3)) {
		t.Error("the link was not waited for")
	}
	<-done
	if l.late.Load() {
		t.Error("udev is called late")
	}
}

func TestLinkAwaitGivesUp(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name  string
		udev  bool
		ctx   context.Context
		found string
		late  bool
	}{
		{"no udev", false, t.Context(), "", false},
		{"udev without rules", true, t.Context(), "", true},
		{"udev makes another link", true, t.Context(), "->../dm-7", true},
		{"cancelled", true, cancelled, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, _ := newLinks(t)
			l.wait = 20 * time.Millisecond
			l.put(t, "plex-a", tt.found)
			if tt.udev {
				write(t, l.udev, "")
			}
			if l.await(tt.ctx, "plex-a", dmDev(3)) {
				t.Error("await reports a link")
			}
			if l.late.Load() != tt.late {
				t.Errorf("late: %v", !tt.late)
			}
		})
	}
}

func TestLinkAwaitOnlyOnce(t *testing.T) {
	l, _ := newLinks(t)
	write(t, l.udev, "")
	l.late.Store(true)
	l.wait = time.Hour
	if l.await(t.Context(), "plex-a", dmDev(3)) {
		t.Error("await reports a link")
	}
}

func TestLinkTroubleIsLogged(t *testing.T) {
	l, log := newLinks(t)
	// The node cannot be made: its place is taken.
	write(t, l.node(dmDev(3)), "")
	l.follow(t.Context(), "plex-a", dmDev(3), Public)
	for _, want := range []string{"level=WARN", "device=plex-a", "number=254:3", "mknod"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q does not contain %q", log, want)
		}
	}
}
