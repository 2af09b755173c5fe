package product

import (
	"errors"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// The checks of all tests here must be able to fail: a byte that is changed behind a mirror's back is found by both.
//
//gate:kernels bare
func TestDifferencesAreFound(t *testing.T) {
	r := lab.NewRig(t, 2, 48*size.MiB)
	l := r.Create("web1", 16*size.MiB, 0)
	r.AddOn(l, 1)
	r.Whole("attach", "web1", 2)
	record := r.Record("web1")
	at := record.Plexes[1].Data[0]
	block := lab.AlignedBuffer(lab.BlockSize)
	block[7] = 1
	f, err := lab.OpenDirect(r.Drives[1], 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(block, int64((at.Start + 4096).Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if sums := r.Legs(record); sums[0] == sums[1] {
		t.Error("the plexes read the same though one was changed")
	}
	if n := r.Mismatches("web1"); n == 0 {
		t.Error("the kernel finds no difference though one plex was changed")
	}
}

// One LUN goes through every number of plexes up to 4 and back, in use all the while; with PLEXCTL_SWEEP up to 8, which is as
// many as there can be.
//
//gate:kernels bare
func TestPlexChain(t *testing.T) {
	r := lab.NewRig(t, lab.Rounds(4, 8), 40*size.MiB)
	room := r.Free(0)
	l := r.LiveOn("web1", 24*size.MiB, 0)

	spare := r.Create("spare", 28*size.MiB, 1)
	r.End(l.LUN.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{}))
	r.AddOn(l.LUN, 2)
	l.Verify("1 to 3: a larger LUN, a new plex", 3)
	r.RemoveFrom(l.LUN, 0)
	if got := r.Free(0); got != room {
		t.Errorf("the drive of the removed plex has %v free, want %v", got, room)
	}
	r.RemoveFrom(l.LUN, 2)
	r.ExactDevices("3 to 1: without the first and the last", l.LUN.ID(), "web1", 1)
	r.AddOn(l.LUN, 0)

	pair := r.Create("pair", 24*size.MiB, 2)
	r.AddOn(pair, 3)
	r.End(l.LUN.AddPlex(t.Context(), pair.ID(), lun.AttachOptions{}))
	l.Verify("1 to 4: on the drive that it came from, a mirror", 4)
	if sweep.On() {
		throughEight(l)
	}
	backToOne(l)
	t.Logf("writer: %v", l.Writer.Finish(t))
}

// throughEight gives a LUN with plexes on the first 4 drives as many as there can be, and takes 4 of them away here and there.
func throughEight(l *lab.Live) {
	l.T.Helper()
	for drive := 4; drive < 8; drive++ {
		l.AddOn(l.LUN, drive)
	}
	l.Verify("4 to 8", 8)
	refuseNinth(l)
	for _, drive := range []int{0, 5, 1, 7} {
		l.RemoveFrom(l.LUN, drive)
	}
	l.Verify("8 to 4", 4)
}

// backToOne takes all plexes away but the last one, which cannot be taken away.
func backToOne(l *lab.Live) {
	l.T.Helper()
	plexes := l.Record(l.LUN.Name()).Plexes
	last := plexes[len(plexes)-1].ID
	for _, p := range plexes[:len(plexes)-1] {
		l.End(l.LUN.RemovePlex(l.T.Context(), p.ID))
	}
	l.Verify("back to 1", 1)
	if _, err := l.LUN.RemovePlex(l.T.Context(), last); !errors.Is(err, vds.ErrInvalidOperation) {
		l.T.Errorf("remove the only plex: %v, want VDS_E_INVALID_OPERATION", err)
	}
	l.More(20)
}

// refuseNinth tries to give a LUN with the most plexes there can be another one.
func refuseNinth(l *lab.Live) {
	l.T.Helper()
	device := lab.NewLoop(l.T, 40*size.MiB, 512)
	l.T.Cleanup(l.TakeDown)
	l.Run("drive", "init", device, "--yes")
	l.Refresh()
	_, err := l.LUN.AddNewPlex(l.T.Context(), []string{device}, lun.AttachOptions{})
	if !errors.Is(err, vds.ErrInvalidOperation) {
		l.T.Errorf("a ninth plex: %v, want VDS_E_INVALID_OPERATION", err)
	}
	l.Verify("a ninth plex is refused", 8)
}
