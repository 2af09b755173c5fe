package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFiltersPlexes(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		want             bool
	}{
		{"no configuration", "other", "", false},
		{"as delivered", "lvm.conf", "devices {\n\t# global_filter = [ \"r|^/dev/mapper/plex-.*:|\" ]\n}\n", false},
		{"the filter of the documents", "lvm.conf", "devices {\n\t" + lvmFilter + "\n}\n", true},
		{"local", "lvmlocal.conf", "devices { " + lvmFilter + " }\n", true},
		{"nothing else is accepted", "lvm.conf", "filter = [ \"a|^/dev/sda|\", \"r|.*|\" ]\n", true},
		{"with other letters", "lvm.conf", "filter=[\"a/sda/\",\"r/.*/\"]\n", true},
		{"another filter", "lvm.conf", "filter = [ \"r|/dev/cdrom|\" ]\n", false},
		{"a list of devices", "devices/system.devices", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, tt.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := filtersPlexes(dir); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
