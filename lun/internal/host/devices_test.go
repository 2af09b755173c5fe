package host_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fixture"
)

// A record says where the drives of its LUN are, and keeps it of those that are gone.
func TestRecordsSayWhereDrivesAre(t *testing.T) {
	l := fixture.Mirrored(3)
	h, _ := fixture.Host(t, l, nil)
	h.Drives[fixture.Drive1].Info.Path, h.Drives[fixture.Drive1].Info.Model, h.Drives[fixture.Drive1].Info.Serial = "/dev/sdb", "WDC, large", "WD-1"
	h.Drives[fixture.Drive2].Info.Path, h.Drives[fixture.Drive2].Info.Model = "/dev/sdc", strings.Repeat("m", 100)
	delete(h.Drives, fixture.Drive3)
	one := catalog.Device{Drive: fixture.Drive1, Path: "/dev/sdb", Model: "WDC  large", Serial: "WD-1"}
	two := catalog.Device{Drive: fixture.Drive2, Path: "/dev/sdc", Model: strings.Repeat("m", 61) + "…"}

	first := h.Next(l)
	if diff := cmp.Diff([]catalog.Device{one, two}, first.Devices); diff != "" {
		t.Errorf("one drive was never seen (-want +got):\n%s", diff)
	}

	h.Drives[fixture.Drive2].Info.Path = "/dev/sdx"
	two.Path = "/dev/sdx"
	delete(h.Drives, fixture.Drive1)
	second := h.Next(first)
	if diff := cmp.Diff([]catalog.Device{one, two}, second.Devices); diff != "" {
		t.Errorf("one drive has gone, another one moved (-want +got):\n%s", diff)
	}

	second.Plexes = second.Plexes[1:]
	if diff := cmp.Diff([]catalog.Device{two}, h.Next(second).Devices); diff != "" {
		t.Errorf("a plex has left (-want +got):\n%s", diff)
	}
	second.Plexes = second.Plexes[:1]
	if got := h.Next(second).Devices; got != nil {
		t.Errorf("a LUN on one drive: %v, want none: its record goes with the drive", got)
	}
}
