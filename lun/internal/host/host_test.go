package host_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/dm/raidmeta"
	"github.com/plexctl/plexctl/lun/internal/fixture"
	"github.com/plexctl/plexctl/lun/internal/host"
)

// slotsOn is the current metadata of a mirror of n plexes.
func slotsOn(t *testing.T, h *host.Host, n int) []raidmeta.Slot {
	t.Helper()
	reads, err := h.ReadSlots(t.Context(), fixture.Mirrored(n))
	if err != nil {
		t.Fatal(err)
	}
	var slots []raidmeta.Slot
	for _, r := range reads {
		slots = append(slots, r.Slot)
	}
	return slots
}

// Metadata is on the drives, and not in their caches, before anything relies on it. A mirror is marked clean after its data is.
func TestMetadataIsDurable(t *testing.T) {
	l := fixture.Mirrored(3)
	slots := []raidmeta.Slot{fixture.Slot(0, 1), fixture.Slot(1, 1), fixture.Slot(2, 1)}
	h, mem := fixture.Host(t, l, slots)
	h.Devices = mem.Cut(blocktest.Lost)
	if diff := cmp.Diff(slots, slotsOn(t, h, 3)); diff != "" {
		t.Errorf("after a power cut (-want +got):\n%s", diff)
	}
	h.Devices = mem
	var effects []string
	mem.OnEffect = func(e blocktest.Effect) error { effects = append(effects, e.Kind); return nil }
	if _, marked, err := h.EndRun(t.Context(), l, true); err != nil || !marked {
		t.Fatal(marked, err)
	}
	want := "flush flush flush write flush write flush write flush"
	if got := strings.Join(effects, " "); got != want {
		t.Errorf("effects %q, want %q", got, want)
	}
}

// A mirror whose plexes are not equal is not marked clean.
func TestOnlyEqualPlexesAreMarkedClean(t *testing.T) {
	l := fixture.Mirrored(2)
	slots := []raidmeta.Slot{fixture.Slot(0, 1), fixture.Slot(1, 1)}
	slots[1].Super.ResyncOffset = 64
	h, _ := fixture.Host(t, l, slots)
	if _, marked, err := h.EndRun(t.Context(), l, true); err != nil || !marked {
		t.Fatal(marked, err)
	}
	if diff := cmp.Diff(slots, slotsOn(t, h, 2), cmpopts.IgnoreFields(raidmeta.Bitmap{}, "Run")); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}
