package product

import (
	"strings"
	"testing"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// foreign makes a device that is not plexctl's.
func foreign(r *lab.Rig, name string) {
	r.T.Helper()
	ctx := r.T.Context()
	_, err := r.Control.Create(ctx, name, "")
	lab.Must(r.T, err)
	lab.Must(r.T, r.Control.Load(ctx, name, dm.Table{{Length: size.MiB.Sectors(), Target: dm.Other{Name: "zero"}}}))
	lab.Must(r.T, r.Control.Resume(ctx, name, dm.Private))
}

// Another device has the name that a LUN is to get. Nothing changes. When a rename was interrupted and the name was taken
// meanwhile, the LUN goes on under its old name, which status says, and gets the new one as soon as that is free.
func TestRenameOntoATakenName(t *testing.T) {
	r := lab.NewSmallRig(t, 2)
	l := r.Mirrored("web1", 0, 1)
	exit := lab.ExitStatuses[vds.ErrNameNotUnique]
	foreign(r, "plex-foreign")
	for _, args := range [][]string{
		{"lun", "rename", "web1", "foreign"},
		{"lun", "create", "foreign", "--size", "1MiB"},
		{"plex", "split", "web1", r.PlexOn(l, 1).String(), "--name", "foreign"},
	} {
		r.Refuse(exit, args, "VDS_E_NAME_NOT_UNIQUE", "plex-foreign")
	}
	r.Run("assemble")
	r.Run("lun", "rename", "web1", "web2")
	lab.Must(t, r.Control.Rename(t.Context(), "plex-web2", "plex-web1", dm.Public)) // as if the rename had been cut off
	foreign(r, "plex-web2")
	r.Run("assemble")
	r.StatusSays(20, "/dev/mapper/plex-web1", "another device has the name plex-web2")
	lab.FillWith(t, "/dev/mapper/plex-web1", "under the old name", size.MiB)
	r.Refresh()
	r.RemoveFrom(l, 1)
	r.AddOn(l, 1)
	r.Run("deactivate")
	r.Refuse(exit, []string{"assemble"}, "plex-web2")
	lab.Must(t, r.Control.Remove(t.Context(), "plex-web2"))
	r.Run("assemble")
	if said := r.Run("status"); !strings.Contains(said, "/dev/mapper/plex-web2") || strings.Contains(said, "problem") {
		t.Errorf("status says\n%s", said)
	}
	lab.Must(t, r.Control.Remove(t.Context(), "plex-foreign"))
	r.EqualLegs(r.Record("web2"))
}

// No LUN gets a name that a command would take for a GUID.
//
//gate:kernels bare
func TestNamesThatReadAsAGUID(t *testing.T) {
	r := lab.NewSmallRig(t, 1)
	l := r.Create("web1", size.MiB, 0)
	for _, name := range []string{l.ID().String(), l.ID().String()[:8], "cafe", "2024-01"} {
		r.Refuse(lab.ExitStatuses[vds.ErrInvalidArg], []string{"lun", "create", name, "--size", "1MiB"}, "E_INVALIDARG", "reads as a GUID")
		r.Refuse(lab.ExitStatuses[vds.ErrInvalidArg], []string{"lun", "rename", "web1", name}, "E_INVALIDARG", "reads as a GUID")
	}
	if said := r.Run("lun", "show", l.ID().String()[:8]); !strings.Contains(said, "web1") {
		t.Errorf("lun show says\n%s", said)
	}
}
