package product

import (
	"testing"

	"github.com/plexctl/plexctl/dm"
	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/size"
)

// Somebody gives a mirror another table. Reenumerate replaces it, or says how the user decides.
//
//gate:kernels releases
func TestForeignTable(t *testing.T) {
	r := lab.NewRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	l.Writer.Stop()
	const name = "plex-web1"
	info, err := r.Control.Info(t.Context(), name)
	lab.Must(t, err)
	length, err := r.Control.Table(t.Context(), name)
	lab.Must(t, err)
	other := func(segments ...dm.Segment) {
		t.Helper()
		lab.Must(t, r.Control.Load(t.Context(), info.Name, segments))
		lab.Must(t, r.Control.Resume(t.Context(), info.Name, dm.Public))
		lab.Settle(t)
	}
	whole := length.Size()
	other(dm.Segment{Length: whole, Target: dm.Other{Name: "zero"}})
	r.Refuse(6, []string{"deactivate", "web1"}, "plexctl reenumerate")
	r.Run("reenumerate")
	l.Writer.Verify(t, l.Writer.Path)
	l.Writer.GoOn(t)
	l.Verify("reenumerate", 2)

	l.Writer.Stop()
	half := whole / 2 / size.MiB.Sectors() * size.MiB.Sectors()
	var on []dm.Linear
	for _, p := range r.Record("web1").Plexes {
		drive, err := r.Provider.Drive(p.Data[0].Drive.String())
		lab.Must(t, err)
		on = append(on, dm.Linear{Dev: drive.Info.Dev, Offset: p.Data[0].Start})
	}
	on[1].Offset += half
	other(dm.Segment{Length: half, Target: on[0]}, dm.Segment{Start: half, Length: whole - half, Target: on[1]})
	r.Refuse(6, []string{"reenumerate"}, "plexctl lun recover web1 --keep PLEX")
	r.Run("lun", "recover", "web1", "--keep", r.Drives[0], "--yes")
	l.Writer.Verify(t, l.Writer.Path)
	r.Run("lun", "recover", "web1", "--wait")
	l.Writer.GoOn(t)
	l.Verify("keep", 2)
}
