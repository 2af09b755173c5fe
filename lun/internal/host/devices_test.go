package host_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/size"
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
	h.Drives[fixture.Drive2].Store = fullStore(t, fixture.Drive2)
	if got := h.Next(second).Devices; got != nil {
		t.Errorf("a catalog with little room: %v, want none", got)
	}
	second.Plexes = second.Plexes[:1]
	if got := h.Next(second).Devices; got != nil {
		t.Errorf("a LUN on one drive: %v, want none: its record goes with the drive", got)
	}
}

// fullStore is a drive whose catalog takes more than half of its slot.
func fullStore(t *testing.T, drive uuid.UUID) catalog.Drive {
	t.Helper()
	mem := blocktest.New()
	dev := mem.AddDisk(blockdev.Info{Path: "/dev/sdz", Size: size.GiB})
	m, err := mem.Medium(dev)
	if err == nil {
		err = catalog.Init(m, catalog.Label{Drive: drive, Size: size.GiB})
	}
	if err != nil {
		t.Fatal(err)
	}
	store, err := catalog.ReadDrive(m, size.GiB)
	if err != nil {
		t.Fatal(err)
	}
	var gone []catalog.LUN
	for range 120 {
		l := catalog.LUN{ID: uuid.New(), Name: "gone", Size: size.MiB.Sectors(), Generation: 1, Deleted: true}
		l.Plexes = fixture.Mirrored(1).Plexes
		for range catalog.MaxHistory {
			l.Former = append(l.Former, uuid.New())
		}
		gone = append(gone, l)
	}
	if err := store.Write(m, gone); err != nil {
		t.Fatal(err)
	}
	return store
}
