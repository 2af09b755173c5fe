package integration

import (
	"errors"
	"testing"

	"github.com/plexctl/plexctl/internal/sweep"
	"github.com/plexctl/plexctl/lun"
	"github.com/plexctl/plexctl/size"
	"github.com/plexctl/plexctl/vds"
)

// The checks of all tests here must be able to fail: a byte that is changed behind a mirror's back is found by both.
func TestDifferencesAreFound(t *testing.T) {
	r := newRig(t, 2, 48*size.MiB)
	l := r.create("web1", 16*size.MiB, 0)
	r.addOn(l, 1)
	r.whole("attach", "web1", 2)
	record := r.record("web1")
	at := record.Plexes[1].Data[0]
	block := alignedBuffer(blockSize)
	block[7] = 1
	f, err := openDirect(r.drives[1], 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(block, int64((at.Start + 4096).Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if sums := r.legs(record); sums[0] == sums[1] {
		t.Error("the plexes read the same though one was changed")
	}
	if n := r.mismatches("web1"); n == 0 {
		t.Error("the kernel finds no difference though one plex was changed")
	}
}

// One LUN goes through every number of plexes up to 4 and back, in use all the while; with PLEXCTL_SWEEP up to 8, which is as
// many as there can be.
func TestPlexChain(t *testing.T) {
	r := newRig(t, rounds(4, 8), 40*size.MiB)
	room := r.free(0)
	l := r.liveOn("web1", 24*size.MiB, 0)

	spare := r.create("spare", 28*size.MiB, 1)
	r.end(l.l.AddPlex(t.Context(), spare.ID(), lun.AttachOptions{}))
	r.addOn(l.l, 2)
	l.verify("1 to 3: a larger LUN, a new plex", 3)
	r.removeFrom(l.l, 0)
	if got := r.free(0); got != room {
		t.Errorf("the drive of the removed plex has %v free, want %v", got, room)
	}
	r.removeFrom(l.l, 2)
	r.exactDevices("3 to 1: without the first and the last", l.l.ID(), "web1", 1)
	r.addOn(l.l, 0)

	pair := r.create("pair", 24*size.MiB, 2)
	r.addOn(pair, 3)
	r.end(l.l.AddPlex(t.Context(), pair.ID(), lun.AttachOptions{}))
	l.verify("1 to 4: on the drive that it came from, a mirror", 4)
	if sweep.On() {
		l.throughEight()
	}
	l.backToOne()
	t.Logf("writer: %v", l.w.finish(t))
}

// throughEight gives a LUN with plexes on the first 4 drives as many as there can be, and takes 4 of them away here and there.
func (l *live) throughEight() {
	l.t.Helper()
	for drive := 4; drive < 8; drive++ {
		l.addOn(l.l, drive)
	}
	l.verify("4 to 8", 8)
	l.refuseNinth()
	for _, drive := range []int{0, 5, 1, 7} {
		l.removeFrom(l.l, drive)
	}
	l.verify("8 to 4", 4)
}

// backToOne takes all plexes away but the last one, which cannot be taken away.
func (l *live) backToOne() {
	l.t.Helper()
	plexes := l.record(l.l.Name()).Plexes
	last := plexes[len(plexes)-1].ID
	for _, p := range plexes[:len(plexes)-1] {
		l.end(l.l.RemovePlex(l.t.Context(), p.ID))
	}
	l.verify("back to 1", 1)
	if _, err := l.l.RemovePlex(l.t.Context(), last); !errors.Is(err, vds.ErrInvalidOperation) {
		l.t.Errorf("remove the only plex: %v, want VDS_E_INVALID_OPERATION", err)
	}
	l.more(20)
}

// refuseNinth tries to give a LUN with the most plexes there can be another one.
func (l *live) refuseNinth() {
	l.t.Helper()
	device := newLoop(l.t, 40*size.MiB, 512)
	l.t.Cleanup(l.takeDown)
	l.run("drive", "init", device, "--yes")
	l.refresh()
	_, err := l.l.AddNewPlex(l.t.Context(), []string{device}, lun.AttachOptions{})
	if !errors.Is(err, vds.ErrInvalidOperation) {
		l.t.Errorf("a ninth plex: %v, want VDS_E_INVALID_OPERATION", err)
	}
	l.verify("a ninth plex is refused", 8)
}
