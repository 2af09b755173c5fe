package host

import (
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"github.com/plexctl/plexctl/blockdev"
	"github.com/plexctl/plexctl/blockdev/blocktest"
	"github.com/plexctl/plexctl/catalog"
	"github.com/plexctl/plexctl/size"
)

// A drive of another host is not healed.
func TestForeignDrivesAreNotHealed(t *testing.T) {
	mem := blocktest.New()
	info := blockdev.Info{Path: "/dev/d1", Size: 128 * size.MiB}
	mem.AddDisk(info)
	id := uuid.New()
	h := &Host{
		Options: Options{Devices: mem, Log: slog.New(slog.DiscardHandler)},
		Drives:  map[uuid.UUID]*Drive{id: {Info: info, Foreign: true}},
	}
	effects := 0
	mem.OnEffect = func(blocktest.Effect) error { effects++; return nil }
	if n, err := h.healOnce(t.Context(), map[uuid.UUID][]catalog.LUN{id: nil}); n != 0 || err != nil || effects > 0 {
		t.Errorf("%d drives healed, %v, %d effects", n, err, effects)
	}
}
