//go:build linux

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/blockdev"
)

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Config
		err        string
	}{
		{"empty", "", Config{}, ""},
		{"comments", "# all\n\n   # of them\n", Config{}, ""},
		{"both", "only-device /dev/sd* /dev/dm-?  # disks\nnever-device\t/dev/sdz\nonly-device /dev/vd[ab]\n", Config{Only: []string{"/dev/sd*", "/dev/dm-?", "/dev/vd[ab]"}, Never: []string{"/dev/sdz"}}, ""},
		{"unknown", "\nnever-device /dev/sda\ndevice /dev/sda\n", Config{}, `plexctl.conf: line 3: "device" is not known: a line begins with only-device or never-device`},
		{"no pattern", "only-device # none\n", Config{}, "line 1: only-device without a pattern"},
		{"no path", "never-device sda", Config{}, `line 1: "sda" is no pattern for paths below /dev/`},
		{"bad pattern", "never-device /dev/sd[", Config{}, `line 1: "/dev/sd[" is no pattern`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "plexctl.conf")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Read(path)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
	if got, err := Read(filepath.Join(t.TempDir(), "none")); err != nil || !got.Empty() {
		t.Errorf("without a file: %v, %v", got, err)
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func TestLeaveOut(t *testing.T) {
	for _, tt := range []struct {
		config Config
		path   string
		out    bool
	}{
		{Config{}, "/dev/sda", false},
		{Config{Never: []string{"/dev/sd*"}}, "/dev/sda", true},
		{Config{Never: []string{"/dev/sd?"}}, "/dev/sda1", false},
		{Config{Only: []string{"/dev/sd*", "/dev/vd*"}}, "/dev/vda", false},
		{Config{Only: []string{"/dev/sd*"}}, "/dev/vda", true},
		{Config{Only: []string{"/dev/sd*"}, Never: []string{"/dev/sdb"}}, "/dev/sdb", true},
	} {
		if got := tt.config.LeaveOut()(blockdev.Info{Path: tt.path}); (got != nil) != tt.out {
			t.Errorf("%s leaves out %s: %v", tt.config, tt.path, got)
		}
	}
	if got, want := (Config{Only: []string{"/dev/a", "/dev/b"}, Never: []string{"/dev/c"}}).String(), "only-device /dev/a /dev/b; never-device /dev/c"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}
