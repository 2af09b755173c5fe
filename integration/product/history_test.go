package product

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/plexctl/plexctl/integration/internal/cut"
	"github.com/plexctl/plexctl/integration/internal/lab"
	"github.com/plexctl/plexctl/internal/sweep"
)

// imageOf copies a device as it is now.
func imageOf(t *testing.T, device string) string {
	t.Helper()
	image, err := os.CreateTemp(t.TempDir(), "image")
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	copyTo(t, image, device)
	return image.Name()
}

// copyTo copies all of a device or file into another, durably.
func copyTo(t *testing.T, into *os.File, from string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if _, err := io.Copy(into, source); err != nil {
		t.Fatal(err)
	}
	if err := into.Sync(); err != nil {
		t.Fatal(err)
	}
}

// restore makes a device what it was when its image was taken.
func restore(t *testing.T, device, image string) {
	t.Helper()
	into, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer into.Close()
	copyTo(t, into, image)
}

// A drive of a mirror of three is replaced by an image of itself from an earlier moment, again and again: from an orderly stop,
// from the middle of a later run, from before the last growth of the record. The LUN has its newest data each time.
func TestReplacedByItsImage(t *testing.T) {
	rounds := 2
	if sweep.On() {
		rounds = 200
	}
	r := lab.NewRig(t, 3, cut.FailLength+16<<20)
	l := mirrorOn(r, "web1", 3)
	images := make([][]string, 3)
	keep := func() {
		for i, device := range r.Drives {
			if images[i] = append(images[i], imageOf(t, device)); len(images[i]) > 4 {
				n := rand.IntN(len(images[i]))
				_ = os.Remove(images[i][n])
				images[i] = append(images[i][:n], images[i][n+1:]...)
			}
		}
	}
	keep() // in use
	for round := range rounds {
		l.Down(false)
		drive := rand.IntN(3)
		keep()
		image := images[drive][rand.IntN(len(images[drive]))]
		restore(t, r.Drives[drive], image)
		r.Run("assemble")
		l.Writer.Verify(t, l.Writer.Path)
		out, _ := lab.TryTool(t, "plexctl", "status") // exit status 20, as long as the copy runs
		t.Logf("round %d, drive %d:\n%s", round, drive, out)
		if !strings.Contains(out, "earlier copy") && strings.Contains(out, "rebuilding") {
			t.Error("it does not say why a plex is filled")
		}
		l.Writer.GoOn(t)
		l.More(20)
		if round%2 > 0 {
			keep() // perhaps in the middle of the copy
		}
		r.Run("op", "wait", "web1")
		l.Verify(fmt.Sprintf("round %d", round), 3)
	}
}

// Each half of a mirror is started without the other. Together they are a conflict, until one of them is kept.
//
//gate:kernels others
func TestForkedMirror(t *testing.T) {
	r, drives := lab.BrittleRig(t, 2, cut.FailDrive)
	l := mirrorOn(r, "web1", 2)
	l.Down(false)
	alone := func(drive int) {
		drives[1-drive].Pull()
		r.Run("assemble", "--force", "web1", "--yes")
		l.Writer.Verify(t, l.Writer.Path)
	}
	alone(1)
	lab.FillWith(t, "/dev/mapper/plex-web1", "\x00", cut.FailHot) // the other history
	r.Run("deactivate")
	drives[0].Heal()
	alone(0)
	l.Writer.GoOn(t)
	l.More(20)
	l.Down(false)
	drives[1].Heal()
	r.Refuse(6, []string{"assemble"}, "without each other")
	r.StatusSays(21, "without each other", "lun recover web1 --keep")
	r.Refuse(6, []string{"lun", "recover", "web1"}, "without each other")
	r.Run("lun", "recover", "web1", "--keep", r.Drives[0], "--yes")
	r.Run("assemble")
	l.Writer.Verify(t, l.Writer.Path)
	r.Run("lun", "recover", "web1", "--wait")
	l.Writer.GoOn(t)
	l.Verify("recover", 2)
}
