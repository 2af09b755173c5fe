package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexctl/plexctl/dm"
)

func TestCheckRelease(t *testing.T) {
	tests := []struct {
		release string
		want    level
	}{
		{"6.12.48-amd64", levelOK},
		{"5.10.0-35-cloud-amd64", levelOK},
		{"6.1.0", levelOK},
		{"6.6.63", levelOK},
		{"6.9.0", levelOK},
		{"6.70.1", levelOK},
		{"7.2.13", levelOK},
		{"10.0", levelOK},
		{"5.9.16", levelFail},
		{"4.19.0", levelFail},
		{"3.10.0-1160.el7", levelFail},
		{"6.7.0", levelFail},
		{"6.8.0-31-generic", levelFail},
		{"6", levelWarn},
		{"", levelWarn},
		{"linux", levelWarn},
	}
	for _, tt := range tests {
		t.Run(tt.release, func(t *testing.T) {
			got := checkRelease(tt.release)
			if got.Level != tt.want {
				t.Errorf("%+v, want level %s", got, tt.want)
			}
			if got.Level == levelFail && got.Advice == "" {
				t.Errorf("%+v gives no advice", got)
			}
		})
	}
}

func TestCheckMachine(t *testing.T) {
	good := func() facts {
		return facts{
			root: true, release: "6.12.48", udev: true, lockDir: "/run/plexctl",
			kernel: dm.Report{Interface: dm.Version{Major: 4, Minor: 48}, Raid1: dm.Loaded, Targets: map[string]dm.Version{"linear": {}, "raid": {}}},
		}
	}
	tests := []struct {
		name   string
		change func(*facts)
		want   map[string]level // of the checks that are not ok
	}{
		{"all is there", func(*facts) {}, map[string]level{}},
		{"not root", func(f *facts) { f.root = false }, map[string]level{"privilege": levelFail}},
		{
			"not root, so nothing more can be told", func(f *facts) { f.root, f.dmErr, f.lockErr = false, unix.EACCES, unix.EACCES },
			map[string]level{"privilege": levelFail},
		},
		{
			"not root, and no place for the lock", func(f *facts) { f.root, f.dmErr, f.lockErr = false, dm.ErrNotSupported, unix.EROFS },
			map[string]level{"privilege": levelFail, "device-mapper": levelFail, "lock": levelFail},
		},
		{"no udev", func(f *facts) { f.udev = false }, map[string]level{}},
		{"no device-mapper", func(f *facts) { f.dmErr = dm.ErrNotSupported }, map[string]level{"device-mapper": levelFail}},
		{"device-mapper refuses", func(f *facts) { f.dmErr = unix.EACCES }, map[string]level{"device-mapper": levelFail}},
		{"old interface", func(f *facts) { f.kernel.Interface.Minor = 36 }, map[string]level{"device-mapper": levelWarn}},
		{"no linear", func(f *facts) { delete(f.kernel.Targets, "linear") }, map[string]level{"linear target": levelFail}},
		{"no raid", func(f *facts) { delete(f.kernel.Targets, "raid") }, map[string]level{"raid target": levelFail}},
		{"no raid1", func(f *facts) { f.kernel.Raid1 = dm.Missing }, map[string]level{"raid1 personality": levelFail}},
		{"raid1 can be loaded", func(f *facts) { f.kernel.Raid1 = dm.Loadable }, map[string]level{}},
		{"no place for the lock", func(f *facts) { f.lockErr = unix.EROFS }, map[string]level{"lock": levelFail}},
		{
			"several", func(f *facts) { f.lockErr, f.kernel.Raid1, f.release = errors.New("x"), dm.Missing, "5.4.0" },
			map[string]level{"lock": levelFail, "raid1 personality": levelFail, "kernel": levelFail},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := good()
			tt.change(&f)
			got := map[string]level{}
			for _, c := range checkMachine(f) {
				if c.Level != levelOK {
					got[c.Name] = c.Level
				}
				if c.Text == "" {
					t.Errorf("%s says nothing", c.Name)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	if err := writable(filepath.Join(dir, "a", "b")); err != nil {
		t.Errorf("below a folder that can be written to: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writable(filepath.Join(file, "a")); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v, want ENOTDIR", err)
	}
}
