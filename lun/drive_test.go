package lun_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/signature"
	"github.com/plexctl/plexctl/devno"
	"github.com/plexctl/plexctl/dm/dmtest"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// TestInitDriveAgain expects one reason why a drive is not made one again, and not its signature besides.
func TestInitDriveAgain(t *testing.T) {
	w := newWorld(t, dmtest.Linux6_12, 1)
	w.mem.SetSignatures(w.path(0), signature.Signature{Type: signature.Own})
	_, err := w.p.InitDrive(t.Context(), w.path(0), lun.InitOptions{})
	if vds.CodeOf(err) != vds.ErrObjectExists || strings.Contains(err.Error(), "carries") {
		t.Errorf("%v (%v), want only %v", err, vds.CodeOf(err), vds.ErrObjectExists)
	}
}

func TestInitDriveRefusals(t *testing.T) {
	tests := map[string]struct {
		prepare func(w *world)
		code    vds.Code
		forced  vds.Code // with Force; OK: it is taken
	}{
		"file system": {
			func(w *world) { w.mem.SetSignatures(w.path(5), signature.Signature{Type: "ext4"}) }, vds.ErrDiskNotEmpty, vds.OK,
		},
		"left of a drive": {
			func(w *world) { w.mem.SetSignatures(w.path(5), signature.Signature{Type: signature.Own}) }, vds.ErrDiskNotEmpty, vds.OK,
		},
		"mounted": {
			func(w *world) { w.mem.SetUsers(w.dev(5), blockdev.User{Kind: "mount", Name: "/srv"}) }, vds.ErrDeviceInUse, vds.ErrDeviceInUse,
		},
		"a drive": {
			func(w *world) {
				if _, err := w.p.InitDrive(w.t.Context(), w.path(5), lun.InitOptions{}); err != nil {
					w.t.Fatal(err)
				}
			}, vds.ErrObjectExists, vds.OK,
		},
		"a drive with a LUN": {
			func(w *world) {
				if _, err := w.p.InitDrive(w.t.Context(), w.path(5), lun.InitOptions{}); err != nil {
					w.t.Fatal(err)
				}
				w.create("mine", size.MiB, 5)
				if _, err := w.p.Deactivate(w.t.Context(), "mine"); err != nil {
					w.t.Fatal(err)
				}
			}, vds.ErrObjectExists, vds.ErrObjectExists,
		},
		"read-only": {
			func(w *world) { w.mem.Change(w.path(5), func(i *blockdev.Info) { i.ReadOnly = true }) },
			vds.ErrMediaWriteProtected, vds.ErrMediaWriteProtected,
		},
		"too small": {
			func(w *world) { w.mem.Change(w.path(5), func(i *blockdev.Info) { i.Size = size.MiB }) },
			vds.ErrNotEnoughSpace, vds.ErrNotEnoughSpace,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w, _, _ := pair(t)
			w.mem.AddDisk(blockdev.Info{Path: w.path(5), Size: driveSize})
			test.prepare(w)
			if _, err := w.p.InitDrive(t.Context(), w.path(5), lun.InitOptions{}); !errors.Is(err, test.code) {
				t.Errorf("init: %v (%v), want %v", err, vds.CodeOf(err), test.code)
			}
			_, err := w.p.InitDrive(t.Context(), w.path(5), lun.InitOptions{Force: true})
			if vds.CodeOf(err) != test.forced {
				t.Errorf("init by force: %v, want %v", err, test.forced)
			}
		})
	}
}

func (w *world) dev(drive int) devno.No {
	w.t.Helper()
	info, err := w.mem.Stat(context.Background(), w.path(drive))
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Dev
}
